//! `/admin/clients`: programs that people and operators made, or that registered themselves.

use askama::Template;
use poem::{Request, Response};
use serde_json::{Value, json};
use twinmcp_actors::Owner;
use twinmcp_actors::accounts::SignedIn;
use twinmcp_actors::oauth::Registered;
use twinmcp_storage::oauth::client::{self, Authentication, Client};
use twinmcp_storage::scope::{self, Scope};

use super::super::{Failed, Form, Frame, People, done, minute, see_other, with_form};
use crate::api::ApiError;

#[derive(Template)]
#[template(path = "admin/clients.html")]
struct ClientsPage {
    here: &'static str,
    frame: Frame,
    done: Option<&'static str>,
    made: Option<Made>,
    clients: Vec<ClientLine>,
    scopes: String,
    asked: Asked,
    /// Whether what failed stands at one of the clients.
    failed_below: bool,
}

/// What the form that makes a client begins with.
struct Asked {
    name: String,
    kind: String,
    redirect_uris: String,
    scope: String,
}

impl Default for Asked {
    fn default() -> Self {
        let scope = Scope::DocsRead.as_str().to_owned();
        Self { name: String::new(), kind: String::new(), redirect_uris: String::new(), scope }
    }
}

impl Asked {
    /// What was asked, so that nobody types it again.
    fn once_more(form: &Form) -> Self {
        let field = |name| form.field(name).to_owned();
        let (name, kind) = (field("name"), field("kind"));
        Self { name, kind, redirect_uris: field("redirect_uris"), scope: field("scope") }
    }
}

/// What is shown this once.
struct Made {
    id: String,
    /// A public client has none.
    secret: Option<String>,
}

impl From<Registered> for Made {
    fn from(registered: Registered) -> Self {
        Self { id: registered.client.id, secret: registered.secret }
    }
}

/// What the form that changes a client begins with.
struct ChangeForm {
    called: String,
    redirect_uris: String,
    post_logout_redirect_uris: String,
    scope: String,
}

impl ChangeForm {
    fn of(client: &Client) -> Self {
        Self {
            called: client.name.clone(),
            redirect_uris: client.redirect_uris.join("\n"),
            post_logout_redirect_uris: client.post_logout_redirect_uris.join("\n"),
            scope: scope::join(&client.scopes),
        }
    }

    /// What was asked, so that nobody types it again.
    fn once_more(form: &Form) -> Self {
        let field = |name| form.field(name).to_owned();
        Self {
            called: field("called"),
            redirect_uris: field("redirect_uris"),
            post_logout_redirect_uris: field("post_logout_redirect_uris"),
            scope: field("scope"),
        }
    }
}

struct ClientLine {
    id: String,
    name: String,
    owner: String,
    shows: &'static str,
    has_secret: bool,
    scopes: String,
    redirect_uris: Vec<String>,
    since: String,
    /// One that registered itself is its own to change.
    form: Option<ChangeForm>,
    /// Whether that could not be done a moment ago.
    has_failed: bool,
}

impl From<Client> for ClientLine {
    fn from(client: Client) -> Self {
        let shows = match client.authentication {
            Authentication::None => "nothing: it is public",
            Authentication::Secret(_) => "a secret",
            Authentication::PrivateKeyJwt(_) => "a signature",
            Authentication::SecretJwt { .. } => "a code made with a secret",
        };
        Self {
            owner: match &client.owner {
                client::Owner::Account(account) => account.to_string(),
                _ => "registered itself".to_owned(),
            },
            form: matches!(client.owner, client::Owner::Account(_)).then(|| ChangeForm::of(&client)),
            has_failed: false,
            has_secret: matches!(
                client.authentication,
                Authentication::Secret(_) | Authentication::SecretJwt { .. }
            ),
            scopes: scope::join(&client.scopes),
            since: minute(client.created_at),
            id: client.id,
            name: client.name,
            redirect_uris: client.redirect_uris,
            shows,
        }
    }
}

/// What was done, by the name of its form.
const DONE: &[(&str, &str)] = &[
    ("change", "The client was changed."),
    ("remove", "The client is gone: it gets no tokens any more, and those it has end within minutes."),
];

pub(super) async fn show(people: People, request: Request, _: SignedIn) -> Result<Response, ApiError> {
    render(&people, &request, None, None)
}

pub(super) async fn change(
    people: People,
    mut request: Request,
    operator: SignedIn,
) -> Result<Response, ApiError> {
    let what = request.path_params::<String>().unwrap_or_default();
    let form = Form::read(&mut request).await?;
    match act(&people, &operator, &what, &form).await {
        Ok(Some(made)) => render(&people, &request, None, Some(made)),
        Ok(None) => Ok(see_other(&format!("/admin/clients?done={what}"), None)),
        Err(error) => render(&people, &request, Some((Failed::of(error)?, &what, &form)), None),
    }
}

/// Does what one form asks; what has to be shown of it.
async fn act(
    people: &People,
    operator: &SignedIn,
    what: &str,
    form: &Form,
) -> Result<Option<Made>, ApiError> {
    let id = form.field("id");
    let is_done = match what {
        "create" => {
            let grants = match form.field("kind") {
                "machine" => vec!["client_credentials"],
                _ => vec!["authorization_code", "refresh_token"],
            };
            let method = if form.field("kind") == "public" { "none" } else { "client_secret_basic" };
            let uris: Vec<&str> = form.field("redirect_uris").split_whitespace().collect();
            let metadata = json!({
                "client_name": form.field("name"),
                "grant_types": grants,
                "token_endpoint_auth_method": method,
                "redirect_uris": uris,
                "scope": form.field("scope"),
            });
            let made = people.oauth.make_client(&operator.account, &metadata, Scope::ALL).await?;
            return Ok(Some(made.into()));
        }
        "change" => {
            let changes = changes(form);
            people.oauth.change_client(&Owner::Operator, id, &changes, Scope::ALL).await?.is_some()
        }
        "secret" => match people.oauth.replace_secret(&Owner::Operator, id, Scope::ALL).await? {
            Some(replaced) => return Ok(Some(replaced.into())),
            None => false,
        },
        "remove" => people.oauth.remove_client(&Owner::Operator, id).await?,
        _ => return Err(ApiError::not_found("not_found", "There is no such form.")),
    };
    if is_done { Ok(None) } else { Err(ApiError::not_found("client_not_found", "There is no such client.")) }
}

/// What a form changes: the fields that it has.
fn changes(form: &Form) -> Value {
    let text = |(field, name): (&str, &str)| Some((name.to_owned(), form.fields(field).next()?.into()));
    let list = |name: &str| {
        let uris: Vec<&str> = form.fields(name).next()?.split_whitespace().collect();
        Some((name.to_owned(), uris.into()))
    };
    let texts = [("called", "client_name"), ("scope", "scope")].into_iter().filter_map(text);
    let lists = ["redirect_uris", "post_logout_redirect_uris"].into_iter().filter_map(list);
    Value::Object(texts.chain(lists).collect())
}

fn render(
    people: &People,
    request: &Request,
    failed: Option<(Failed, &str, &Form)>,
    made: Option<Made>,
) -> Result<Response, ApiError> {
    let clients = people.oauth.clients_of(None)?;
    let mut clients: Vec<_> = clients.into_iter().map(ClientLine::from).collect();
    let done = done(request, DONE);
    let (mut asked, mut failed_below) = (Asked::default(), false);
    match &failed {
        Some((_, "create", form)) => asked = Asked::once_more(form),
        Some((_, "change", form)) => {
            let changed = clients.iter_mut().find(|client| client.id == form.field("id"));
            if let Some(client) = changed.filter(|client| client.form.is_some()) {
                client.form = Some(ChangeForm::once_more(form));
                client.has_failed = true;
                failed_below = true;
            }
        }
        _ => {}
    }
    let failed = failed.map(|(failed, ..)| failed);
    with_form(people, request, failed, |frame| ClientsPage {
        here: "clients",
        frame,
        done,
        made,
        clients,
        scopes: scope::join(Scope::ALL),
        asked,
        failed_below,
    })
}
