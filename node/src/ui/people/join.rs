//! `/join`: what the letter of an invitation opens. Looking uses nothing up: programs that look at mail open links too.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{SignUp, SignedIn};
use twinmcp_actors::teams::OpenInvitation;

use super::super::parameter;
use super::authorize::email;
use super::{Failed, Form, Frame, People, see_other, with_form};
use crate::api::ApiError;
use crate::http::Session;

#[derive(Template)]
#[template(path = "people/join.html")]
struct JoinPage {
    frame: Frame,
    team: String,
    role: &'static str,
    /// Whom the letter went to.
    invited: String,
    token: String,
    /// Whoever is signed in, and with which address.
    signed_in: Option<String>,
    may_sign_up: bool,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let token = parameter(&request, "token").unwrap_or_default();
    let opened = people.teams.open_invitation(&token)?;
    render(&people, &request, opened, token, None)
}

pub(super) async fn submit(people: People, mut request: Request) -> Result<Response, ApiError> {
    let token = parameter(&request, "token").unwrap_or_default();
    let form = Form::read(&mut request).await?;
    let opened = people.teams.open_invitation(&token)?;
    let Some(SignedIn { account, .. }) = Session::of(&request).cloned() else {
        return render(&people, &request, opened, token, None);
    };
    if form.field("decision") == "decline" {
        people.teams.decline(&token).await?;
        return super::told("You have declined", "The link is used up, and nothing else has happened.", None);
    }
    match people.teams.join(&account, &token).await {
        Ok(joined) => Ok(see_other(&format!("/settings/teams/{}?done=joined", joined.team), None)),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, opened, token, Some(failed))
        }
    }
}

fn render(
    people: &People,
    request: &Request,
    opened: OpenInvitation,
    token: String,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let address = email(people, request)?;
    let signed_in = Session::of(request).map(|_| address);
    let may_sign_up = people.accounts.config().sign_up == SignUp::Open;
    with_form(people, request, failed, |frame| JoinPage {
        frame,
        team: opened.team_name,
        role: opened.role.as_str(),
        invited: opened.email.to_string(),
        token,
        signed_in,
        may_sign_up,
    })
}
