//! People as operators see them: let in, listed, kept out.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::Accounts;
use twinmcp_actors::accounts::{NewPerson, PersonMade};
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::auth::{PersonRecord, Taken};
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::parse_id;
use crate::http::Caller;

/// People in one answer.
const PAGE_ITEMS_MAX: usize = 100;

/// Somebody to be let in.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct NewPersonBody {
    /// Where mail reaches them.
    #[oai(validator(max_length = 1024))]
    email: String,
    /// What people call them, at most 200 bytes; they choose when absent.
    #[oai(default, validator(max_length = 200))]
    name: String,
    /// Their password, 8 characters to 1,024 bytes; without one a link is made with which they choose it.
    #[oai(validator(max_length = 1024))]
    password: Option<String>,
    /// Whether they run this service.
    #[oai(default)]
    operator: bool,
    /// Whether the link is sent to them too.
    #[oai(default)]
    send: bool,
}

impl Example for NewPersonBody {
    fn example() -> Self {
        Self {
            email: "ada@example.org".to_owned(),
            name: "Ada".to_owned(),
            password: None,
            operator: false,
            send: true,
        }
    }
}

/// Somebody who was let in: an account, or a link to one.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct NewPersonRecord {
    /// The account, if a password was given.
    #[oai(skip_serializing_if_is_none)]
    account: Option<PersonRecord>,
    /// The link, which works once and is shown this once.
    #[oai(skip_serializing_if_is_none)]
    link: Option<String>,
}

impl Example for NewPersonRecord {
    fn example() -> Self {
        Self { account: None, link: Some("https://docs.example.org/verify?token=…".to_owned()) }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Made {
    /// They were let in.
    #[oai(status = 201)]
    Person(
        Json<NewPersonRecord>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// People, the oldest accounts first.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct PersonList {
    /// At most 100.
    people: Vec<PersonRecord>,
    /// What to send as `after` for the next ones, if there are more.
    #[oai(skip_serializing_if_is_none)]
    next: Option<String>,
}

impl Example for PersonList {
    fn example() -> Self {
        Self { people: vec![PersonRecord::example()], next: None }
    }
}

/// What an operator changes.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ManageBody {
    /// Whether they are not let in, which ends their sessions; as it was when absent.
    disabled: Option<bool>,
    /// Whether they run this service; as it was when absent.
    operator: Option<bool>,
}

impl Example for ManageBody {
    fn example() -> Self {
        Self { disabled: Some(true), operator: None }
    }
}

/// `/api/accounts`.
pub(crate) struct AccountsApi {
    pub(crate) accounts: Accounts,
}

#[OpenApi(prefix_path = "/api/accounts", tag = "Tag::People")]
impl AccountsApi {
    /// Lets somebody in.
    ///
    /// With a password they can sign in at once; without one the answer holds a link with which they choose it. Needs `admin`.
    #[oai(path = "/", method = "post", operation_id = "create_account")]
    async fn create(&self, caller: Caller, asked: JsonBody<NewPersonBody>) -> Result<Made, ApiError> {
        caller.may(Scope::Admin)?;
        let new = NewPerson {
            email: &asked.email,
            name: &asked.name,
            password: asked.password.as_deref(),
            is_operator: asked.operator,
            send: asked.send,
        };
        let record = match self.accounts.add_person(new).await? {
            PersonMade::Person(view) => {
                NewPersonRecord { account: Some(PersonRecord::from(&*view)), link: None }
            }
            PersonMade::Link(link) => NewPersonRecord { account: None, link: Some(link) },
        };
        Ok(Made::Person(Json(record), "no-store".to_owned()))
    }

    /// Lists people.
    ///
    /// The oldest accounts first. Needs `admin`.
    #[oai(path = "/", method = "get", operation_id = "list_accounts")]
    async fn list(
        &self,
        caller: Caller,
        /// The account after which to go on.
        #[oai(example = "id_example")]
        after: Query<Option<String>>,
    ) -> Result<Json<PersonList>, ApiError> {
        caller.may(Scope::Admin)?;
        let after = after.0.as_deref().map(parse_id).transpose()?;
        let mut people = self.accounts.people(after.as_ref(), PAGE_ITEMS_MAX + 1)?;
        let is_more = people.len() > PAGE_ITEMS_MAX;
        people.truncate(PAGE_ITEMS_MAX);
        let next = people.last().filter(|_| is_more).map(|last| last.person.account.to_string());
        Ok(Json(PersonList { people: people.iter().map(PersonRecord::from).collect(), next }))
    }

    /// Keeps somebody out, or lets them in again; makes them an operator or takes that away.
    ///
    /// Keeping out ends their sessions, here at once, on every other node within the replication bound. Needs `admin`.
    #[oai(path = "/:id", method = "patch", operation_id = "manage_account")]
    async fn manage(
        &self,
        caller: Caller,
        /// The account's id.
        #[oai(example = "path_example")]
        id: Path<String>,
        asked: JsonBody<ManageBody>,
    ) -> Result<Json<PersonRecord>, ApiError> {
        caller.may(Scope::Admin)?;
        let id = parse_id(&id)?;
        let view = self.accounts.manage_person(&id, asked.disabled, asked.operator).await?;
        Ok(Json(PersonRecord::from(&view)))
    }

    /// Takes somebody's second factors away.
    ///
    /// For whoever has lost them, once you know that it is them: their password alone signs them in then, and every session ends. Needs
    /// `admin`.
    #[oai(path = "/:id/mfa", method = "delete", operation_id = "reset_factors")]
    async fn reset_factors(
        &self,
        caller: Caller,
        /// The account's id.
        #[oai(example = "path_example")]
        id: Path<String>,
    ) -> Result<Taken, ApiError> {
        caller.may(Scope::Admin)?;
        let id = parse_id(&id)?;
        self.accounts.reset_factors(&id).await?;
        Ok(Taken::Done)
    }
}

fn id_example() -> Option<String> {
    Some(path_example())
}

fn path_example() -> String {
    "acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned()
}
