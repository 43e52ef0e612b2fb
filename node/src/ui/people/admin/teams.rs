//! `/admin/teams`: every team; one of them is shown and changed as its own members do it.

use askama::Template;
use poem::http::StatusCode;
use poem::{Request, Response};
use twinmcp_actors::accounts::SignedIn;
use twinmcp_actors::teams::{TeamView, TeamsError};
use twinmcp_storage::teams::Role;

use super::super::super::{html, parameter};
use super::super::team::{self, Viewer, team_id};
use super::super::{People, minute};
use crate::api::ApiError;

/// Teams of a page.
const PAGE_ITEMS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "admin/teams.html")]
struct TeamsPage {
    here: &'static str,
    is_deleted: bool,
    teams: Vec<TeamLine>,
    next: Option<String>,
}

struct TeamLine {
    id: String,
    name: String,
    since: String,
    members: usize,
    libraries: u32,
    /// Mail addresses.
    owners: Vec<String>,
}

impl From<TeamView> for TeamLine {
    fn from(view: TeamView) -> Self {
        let owners = view.members.iter().filter(|member| member.member.role == Role::Owner);
        Self {
            id: view.id().to_string(),
            since: minute(view.created_at()),
            members: view.members.len(),
            libraries: view.team.libraries,
            owners: owners.map(|owner| owner.email.to_string()).collect(),
            name: view.name,
        }
    }
}

pub(super) async fn show(people: People, request: Request, _: SignedIn) -> Result<Response, ApiError> {
    let after = parameter(&request, "after").map(|after| after.parse()).transpose();
    let after = after.map_err(|_| ApiError::from(TeamsError::NotFound))?;
    let mut listed = people.teams.all(after.as_ref(), PAGE_ITEMS_MAX + 1)?;
    let is_more = listed.len() > PAGE_ITEMS_MAX;
    listed.truncate(PAGE_ITEMS_MAX);
    let next = listed.last().filter(|_| is_more).map(|last| last.id().to_string());
    let is_deleted = parameter(&request, "done").as_deref() == Some("deleted");
    let teams = listed.into_iter().map(TeamLine::from).collect();
    html(StatusCode::OK, &TeamsPage { here: "teams", is_deleted, teams, next })
}

pub(super) async fn show_one(
    people: People,
    request: Request,
    operator: SignedIn,
) -> Result<Response, ApiError> {
    let id = team_id(&request)?;
    team::render(&people, &request, &Viewer::operator(&operator), &id, None)
}

pub(super) async fn change(
    people: People,
    request: Request,
    operator: SignedIn,
) -> Result<Response, ApiError> {
    let id = team_id(&request)?;
    team::take(&people, request, &Viewer::operator(&operator), &id).await
}
