//! `/settings/teams/<id>`: one team with its members, invitations, keys and clients, and a form for each change; the same for operators is
//! `/admin/teams/<id>`.
//!
//! In the settings a team that somebody is not in answers like one that is not there, also to operators: these are pages of members.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::SignedIn;
use twinmcp_actors::teams::{MemberView, TeamView, TeamsError};
use twinmcp_actors::{Owner, Teams};
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::teams::Role;

use super::keys::{self, Asked, KeyForm, KeyLine};
use super::{Failed, Form, Frame, People, done, minute, see_other, with_form};
use crate::api::ApiError;
use crate::http::{Caller, Session};

#[derive(Template)]
#[template(path = "people/team.html")]
struct TeamPage {
    frame: Frame,
    here: &'static str,
    /// Which form failed.
    failed_at: String,
    done: Option<&'static str>,
    path: String,
    id: String,
    name: String,
    /// What whoever looks is in it; nothing for an operator.
    role: Option<&'static str>,
    is_admin: bool,
    is_owner: bool,
    libraries: u32,
    members: Vec<MemberLine>,
    invitations: Vec<InvitationLine>,
    invited: String,
    /// Roles that may be given.
    roles: Vec<&'static str>,
    keys: Vec<KeyLine>,
    /// Members make keys, which end with what they are.
    form: Option<KeyForm>,
    revoke: String,
    clients: Vec<ClientLine>,
}

struct MemberLine {
    account: String,
    name: String,
    email: String,
    role: &'static str,
    since: String,
    is_self: bool,
    is_disabled: bool,
    /// Whether whoever looks may change them.
    is_changed: bool,
}

struct InvitationLine {
    email: String,
    role: &'static str,
    ends: String,
    is_withdrawn: bool,
}

struct ClientLine {
    id: String,
    name: String,
    made: String,
}

/// What was done, by the name of its form.
const DONE: &[(&str, &str)] = &[
    ("name", "The name was changed."),
    ("invite", "A letter with a link is on its way; whoever has the address joins by opening it."),
    ("withdraw", "The invitation was taken back."),
    ("role", "The role was changed."),
    ("remove", "The member was removed; the keys and clients that they made for the team have ended."),
    ("revoke", "The key opens nothing any more."),
    ("client", "The client gets no tokens any more."),
    ("joined", "You are in the team."),
];

/// Who looks at a team, and where its pages are.
pub(super) struct Viewer<'a> {
    signed_in: &'a SignedIn,
    who: Owner,
    teams: &'static str,
}

impl<'a> Viewer<'a> {
    /// Somebody in their settings.
    fn member(signed_in: &'a SignedIn) -> Self {
        Self { signed_in, who: Owner::Account(signed_in.account.clone()), teams: "/settings/teams" }
    }

    /// Somebody who runs this service.
    pub(super) fn operator(signed_in: &'a SignedIn) -> Self {
        Self { signed_in, who: Owner::Operator, teams: "/admin/teams" }
    }
}

pub(super) fn team_id(request: &Request) -> Result<AccountId, ApiError> {
    let id = request.raw_path_param("id").and_then(|id| id.parse().ok());
    id.ok_or_else(|| TeamsError::NotFound.into())
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let id = team_id(&request)?;
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other(&format!("/signin?return_to=/settings/teams/{id}"), None));
    };
    render(&people, &request, &Viewer::member(&signed_in), &id, None)
}

pub(super) async fn change(people: People, request: Request) -> Result<Response, ApiError> {
    let id = team_id(&request)?;
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other(&format!("/signin?return_to=/settings/teams/{id}"), None));
    };
    take(&people, request, &Viewer::member(&signed_in), &id).await
}

/// Takes a form of one team.
pub(super) async fn take(
    people: &People,
    mut request: Request,
    viewer: &Viewer<'_>,
    id: &AccountId,
) -> Result<Response, ApiError> {
    let what = request.raw_path_param("what").unwrap_or_default().to_owned();
    let form = Form::read(&mut request).await?;
    match act(people, viewer, id, &what, &form).await {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Ok(see_other(&format!("{}/{id}?done={what}", viewer.teams), None)),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(people, &request, viewer, id, Some((failed, what, form)))
        }
    }
}

/// Does what one form asks; nothing to show of it but the team, unless there is.
async fn act(
    people: &People,
    viewer: &Viewer<'_>,
    id: &AccountId,
    what: &str,
    form: &Form,
) -> Result<Option<Response>, ApiError> {
    let (teams, Viewer { signed_in, who, teams: path }) = (&people.teams, viewer);
    match what {
        "name" => teams.rename(who, id, form.field("name")).await?,
        "invite" => teams.invite(who, id, form.field("email"), role(form)?).await?,
        "withdraw" => teams.withdraw(who, id, form.field("email")).await?,
        "role" => teams.set_role(who, id, &member(form)?, role(form)?).await?,
        "remove" => {
            let member = member(form)?;
            teams.remove(who, id, &member).await?;
            if who.account().as_ref() == Some(&member) {
                return Ok(Some(see_other("/settings/teams?done=left", None)));
            }
        }
        "keys" => {
            // An operator who is in it makes them in the settings.
            teams.admitted(&Owner::Account(signed_in.account.clone()), id, Role::Developer)?;
            let Asked { name, scopes, expires_at } = Asked::read(form, signed_in, people.clock.now())?;
            let new = people.api_keys.create_for(&signed_in.account, id, &name, scopes, expires_at).await?;
            return Ok(Some(keys::made(&new, "teams", &format!("{path}/{id}"))?));
        }
        "revoke" => {
            let key = form
                .field("id")
                .parse()
                .map_err(|_| ApiError::not_found("api_key_not_found", "No such key."))?;
            match who {
                Owner::Operator => people.api_keys.revoke(id, &key).await?,
                Owner::Account(account) => people.api_keys.revoke_for(account, id, &key).await?,
            }
        }
        "client" => {
            teams.admitted(who, id, Role::Admin)?;
            // One that was removed meanwhile is removed.
            people.oauth.remove_client(&Owner::Account(id.clone()), form.field("id")).await?;
        }
        "delete" => {
            teams.delete(who, id).await?;
            return Ok(Some(see_other(&format!("{path}?done=deleted"), None)));
        }
        _ => return Err(ApiError::not_found("not_found", "There is no such setting.")),
    }
    Ok(None)
}

fn role(form: &Form) -> Result<Role, ApiError> {
    Role::parse(form.field("role")).ok_or_else(|| ApiError::bad_request("Choose a role."))
}

fn member(form: &Form) -> Result<AccountId, ApiError> {
    form.field("account").parse().map_err(|_| TeamsError::MemberNotFound.into())
}

pub(super) fn render(
    people: &People,
    request: &Request,
    viewer: &Viewer<'_>,
    id: &AccountId,
    failed: Option<(Failed, String, Form)>,
) -> Result<Response, ApiError> {
    let Viewer { signed_in, who, teams } = viewer;
    let view = people.teams.get(who, id)?;
    let path = format!("{teams}/{id}");
    let (failed, failed_at, sent) = match failed {
        Some((failed, at, form)) => (Some(failed), at, Some(form)),
        None => (None, String::new(), None),
    };
    // An operator may what an owner may.
    let own = view.role.unwrap_or(Role::Owner);
    let form = view.role.map(|role| {
        let person = Caller::with_session((*signed_in).clone());
        let offered = person.scopes().iter().copied().filter(|scope| role.gives(*scope));
        KeyForm::new(&format!("{path}/keys"), offered, sent.as_ref().filter(|_| failed_at == "keys"))
    });
    let keys = key_lines(&people.teams, who, &view, people.clock.now())?;
    let is_admin = own >= Role::Admin;
    let clients = if is_admin { people.oauth.clients_of(Some(id))? } else { Vec::new() };
    let done = done(request, DONE);
    let invited = sent.as_ref().filter(|_| failed_at == "invite");
    let invited = invited.map(|form| form.field("email").to_owned()).unwrap_or_default();
    let shown = view.invitations.iter().filter(|_| is_admin);
    let invitations = shown.map(|open| InvitationLine {
        email: open.email.to_string(),
        role: open.role.as_str(),
        ends: minute(open.expires_at),
        is_withdrawn: open.role <= own,
    });
    with_form(people, request, failed, |frame| TeamPage {
        frame,
        here: "teams",
        failed_at,
        done,
        id: id.to_string(),
        name: view.name.clone(),
        role: view.role.map(Role::as_str),
        is_admin,
        is_owner: own == Role::Owner,
        libraries: view.team.libraries,
        members: view.members.iter().map(|member| MemberLine::new(member, who, own)).collect(),
        invitations: invitations.collect(),
        invited,
        roles: Role::ALL.into_iter().filter(|role| *role <= own).map(Role::as_str).collect(),
        keys,
        form,
        revoke: format!("{path}/revoke"),
        clients: clients
            .into_iter()
            .map(|client| ClientLine { id: client.id, name: client.name, made: minute(client.created_at) })
            .collect(),
        path,
    })
}

impl MemberLine {
    fn new(view: &MemberView, who: &Owner, own: Role) -> Self {
        let member = &view.member;
        Self {
            account: member.account.to_string(),
            name: view.name.clone(),
            email: view.email.to_string(),
            role: member.role.as_str(),
            since: minute(member.since),
            is_self: who.account().as_ref() == Some(&member.account),
            is_disabled: view.is_disabled,
            is_changed: own >= Role::Admin && member.role <= own,
        }
    }
}

/// The keys that whoever looks is shown, the newest first, with their makers where others may have made them.
fn key_lines(
    teams: &Teams,
    who: &Owner,
    view: &TeamView,
    now: twinmcp_storage::clock::Timestamp,
) -> Result<Vec<KeyLine>, ApiError> {
    let name = |account: &AccountId| {
        let member = view.members.iter().find(|member| member.member.account == *account);
        member.map(|member| member.name.clone())
    };
    let keys = teams.keys(who, view.id())?;
    let line = |it: &twinmcp_actors::teams::TeamKey| KeyLine {
        maker: it.maker.as_ref().and_then(name),
        ..KeyLine::new(&it.key, now)
    };
    Ok(keys.iter().rev().map(line).collect())
}
