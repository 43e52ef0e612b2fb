//! `/admin/clients`: programs that people and operators made, or that registered themselves.

use askama::Template;
use poem::{Request, Response};
use serde_json::json;
use twinmcp_actors::accounts::SignedIn;
use twinmcp_actors::oauth::Registered;
use twinmcp_storage::oauth::client::{Authentication, Client, Owner};
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

struct ClientLine {
    id: String,
    name: String,
    owner: String,
    shows: &'static str,
    has_secret: bool,
    scopes: String,
    redirect_uris: Vec<String>,
    since: String,
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
                Owner::Account(account) => account.to_string(),
                _ => "registered itself".to_owned(),
            },
            has_secret: matches!(client.authentication, Authentication::Secret(_)),
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
const DONE: &[(&str, &str)] =
    &[("remove", "The client is gone: it gets no tokens any more, and those it has end within minutes.")];

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
        Err(error) => render(&people, &request, Some(Failed::of(error)?), None),
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
        "secret" => match people.oauth.replace_secret(None, id).await? {
            Some(replaced) => return Ok(Some(replaced.into())),
            None => false,
        },
        "remove" => people.oauth.remove_client(None, id).await?,
        _ => return Err(ApiError::not_found("not_found", "There is no such form.")),
    };
    if is_done { Ok(None) } else { Err(ApiError::not_found("client_not_found", "There is no such client.")) }
}

fn render(
    people: &People,
    request: &Request,
    failed: Option<Failed>,
    made: Option<Made>,
) -> Result<Response, ApiError> {
    let clients = people.oauth.clients_of(None)?;
    let done = done(request, DONE);
    with_form(people, request, failed, |frame| ClientsPage {
        here: "clients",
        frame,
        done,
        made,
        clients: clients.into_iter().map(ClientLine::from).collect(),
        scopes: scope::join(Scope::ALL),
    })
}
