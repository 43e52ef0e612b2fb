//! `/settings/teams`: the teams somebody is in, and the form that makes one.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::SignedIn;
use twinmcp_actors::teams::Membership;

use super::{Failed, Form, Frame, People, done, see_other, with_form};
use crate::api::ApiError;
use crate::http::Session;

#[derive(Template)]
#[template(path = "people/teams.html")]
struct TeamsPage {
    frame: Frame,
    here: &'static str,
    done: Option<&'static str>,
    teams: Vec<Membership>,
    name: String,
}

/// What was done elsewhere and ends here.
const DONE: &[(&str, &str)] = &[
    ("left", "You have left the team; the keys and clients that you made for it have ended."),
    ("deleted", "The team is deleted, with its keys and clients."),
];

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings/teams", None));
    };
    render(&people, &request, &signed_in, None)
}

pub(super) async fn make(people: People, mut request: Request) -> Result<Response, ApiError> {
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings/teams", None));
    };
    let form = Form::read(&mut request).await?;
    match people.teams.make(&signed_in.account, form.field("name")).await {
        Ok(view) => Ok(see_other(&format!("/settings/teams/{}", view.id()), None)),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, &signed_in, Some((failed, form.field("name").to_owned())))
        }
    }
}

fn render(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    failed: Option<(Failed, String)>,
) -> Result<Response, ApiError> {
    let teams = people.teams.of(&signed_in.account)?;
    let done = done(request, DONE);
    let (failed, name) = failed.map_or((None, String::new()), |(failed, name)| (Some(failed), name));
    with_form(people, request, failed, |frame| TeamsPage { frame, here: "teams", done, teams, name })
}
