//! `/admin/people`: who is let in, by whom it is run, and letting more in.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{NewPerson, PersonMade, PersonView, SignedIn};
use twinmcp_storage::ids::AccountId;

use super::super::super::parameter;
use super::super::{Failed, Form, Frame, People, done, minute, see_other, with_form};
use crate::api::ApiError;

/// People of a page.
const PAGE_ITEMS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "admin/people.html")]
struct PeoplePage {
    here: &'static str,
    frame: Frame,
    done: Option<&'static str>,
    /// Lets somebody in who was invited just now.
    link: Option<String>,
    people: Vec<PersonLine>,
    next: Option<String>,
    asked: Asked,
}

/// What the form that lets somebody in begins with.
#[derive(Default)]
struct Asked {
    email: String,
    name: String,
    is_operator: bool,
    is_sent: bool,
}

impl Asked {
    /// What was asked, so that nobody types it again.
    fn once_more(form: &Form) -> Self {
        Self {
            email: form.field("email").to_owned(),
            name: form.field("name").to_owned(),
            is_operator: form.field("operator") == "on",
            is_sent: form.field("send") == "on",
        }
    }
}

struct PersonLine {
    id: String,
    name: String,
    email: String,
    since: String,
    is_verified: bool,
    is_operator: bool,
    is_kept_out: bool,
    /// Nobody keeps themselves out, or takes from themselves what they need to undo it.
    is_self: bool,
}

impl PersonLine {
    fn new(view: PersonView, operator: &SignedIn) -> Self {
        let PersonView { name, created_at, person } = view;
        Self {
            is_self: person.account == operator.account,
            id: person.account.to_string(),
            name,
            email: person.email.to_string(),
            since: minute(created_at),
            is_verified: person.verified_at.is_some(),
            is_operator: person.is_operator,
            is_kept_out: person.disabled_at.is_some(),
        }
    }
}

/// What was done, by the name of its form.
const DONE: &[(&str, &str)] = &[
    ("keep-out", "They are kept out, and their sessions have ended."),
    ("let-in", "They may sign in."),
    ("make-operator", "They run this service from now on."),
    ("unmake-operator", "They run this service no more."),
];

pub(super) async fn show(people: People, request: Request, operator: SignedIn) -> Result<Response, ApiError> {
    render(&people, &request, &operator, None, None, Asked::default())
}

pub(super) async fn change(
    people: People,
    mut request: Request,
    operator: SignedIn,
) -> Result<Response, ApiError> {
    let what = request.path_params::<String>().unwrap_or_default();
    let form = Form::read(&mut request).await?;
    match act(&people, &operator, &what, &form).await {
        Ok(Some(link)) => render(&people, &request, &operator, None, Some(link), Asked::default()),
        Ok(None) => Ok(see_other(&format!("/admin/people?done={what}"), None)),
        Err(error) => {
            let asked = if what == "invite" { Asked::once_more(&form) } else { Asked::default() };
            render(&people, &request, &operator, Some(Failed::of(error)?), None, asked)
        }
    }
}

/// Does what one form asks; a link to show, if one was made.
async fn act(
    people: &People,
    operator: &SignedIn,
    what: &str,
    form: &Form,
) -> Result<Option<String>, ApiError> {
    let (is_disabled, is_operator) = match what {
        "invite" => {
            let new = NewPerson {
                email: form.field("email"),
                name: form.field("name"),
                password: None,
                is_operator: form.field("operator") == "on",
                send: form.field("send") == "on",
            };
            return match people.accounts.add_person(new).await? {
                PersonMade::Link(link) => Ok(Some(link)),
                // Made with a password alone.
                PersonMade::Person(_) => Ok(None),
            };
        }
        "keep-out" => (Some(true), None),
        "let-in" => (Some(false), None),
        "make-operator" => (None, Some(true)),
        "unmake-operator" => (None, Some(false)),
        _ => return Err(ApiError::not_found("not_found", "There is no such form.")),
    };
    let id: AccountId = form.field("id").parse().map_err(|_| unknown())?;
    if id == operator.account {
        let message = "Another operator has to do that, or `twinmcp admin account` with an operator's key.";
        return Err(ApiError::new(poem::http::StatusCode::CONFLICT, "own_account", message));
    }
    people.accounts.manage_person(&id, is_disabled, is_operator).await?;
    Ok(None)
}

fn unknown() -> ApiError {
    ApiError::not_found("account_not_found", "There is no such account.")
}

fn render(
    people: &People,
    request: &Request,
    operator: &SignedIn,
    failed: Option<Failed>,
    link: Option<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let after = parameter(request, "after").map(|after| after.parse()).transpose().map_err(|_| unknown())?;
    let mut listed = people.accounts.people(after.as_ref(), PAGE_ITEMS_MAX + 1)?;
    let is_more = listed.len() > PAGE_ITEMS_MAX;
    listed.truncate(PAGE_ITEMS_MAX);
    let next = listed.last().filter(|_| is_more).map(|last| last.person.account.to_string());
    let done = done(request, DONE);
    with_form(people, request, failed, |frame| PeoplePage {
        here: "people",
        frame,
        done,
        link,
        people: listed.into_iter().map(|view| PersonLine::new(view, operator)).collect(),
        next,
        asked,
    })
}
