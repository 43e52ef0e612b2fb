//! What people send about themselves, and what they are told.

use poem_openapi::Object;
use poem_openapi::types::Example;
use twinmcp_actors::accounts::{AccountExport, PersonView};
use twinmcp_storage::accounts::{Method, Session};
use twinmcp_storage::oauth::client::Client;
use twinmcp_storage::oauth::consent::Consent;
use twinmcp_storage::scope::Scope;

use super::mfa_shapes::FactorsRecord;

/// An e-mail address and a password.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct SignInBody {
    /// The e-mail address of the account.
    #[oai(validator(max_length = 1024))]
    pub(super) email: String,
    /// The password, at most 1,024 bytes.
    #[oai(validator(max_length = 1024))]
    pub(super) password: String,
}

impl Example for SignInBody {
    fn example() -> Self {
        Self { email: "ada@example.org".to_owned(), password: "correct horse battery".to_owned() }
    }
}

/// Somebody who wants an account.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct SignUpBody {
    /// Where the letter with the link is sent.
    #[oai(validator(max_length = 1024))]
    pub(super) email: String,
    /// What people call you, at most 200 bytes; chosen with the password when absent.
    #[oai(default, validator(max_length = 200))]
    pub(super) name: String,
}

impl Example for SignUpBody {
    fn example() -> Self {
        Self { email: "ada@example.org".to_owned(), name: "Ada".to_owned() }
    }
}

/// An e-mail address.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct EmailBody {
    /// Where the letter with the link is sent.
    #[oai(validator(max_length = 1024))]
    pub(super) email: String,
}

impl Example for EmailBody {
    fn example() -> Self {
        Self { email: "ada@example.org".to_owned() }
    }
}

/// The secret of a letter's link, and what is chosen with it.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct LinkBody {
    /// What stands behind `token=` in the link.
    #[oai(validator(max_length = 200))]
    pub(super) token: String,
    /// The new password, 8 characters to 1,024 bytes; not for a link that only confirms an e-mail address.
    #[oai(validator(max_length = 1024))]
    pub(super) password: Option<String>,
    /// What people call you, for a new account whose link names nobody.
    #[oai(validator(max_length = 200))]
    pub(super) name: Option<String>,
}

impl Example for LinkBody {
    fn example() -> Self {
        Self { token: "4b".repeat(32), password: Some("correct horse battery".to_owned()), name: None }
    }
}

/// The password once more, and another in its place.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ChangePasswordBody {
    /// The password as it is; empty for who has none.
    #[oai(validator(max_length = 1024))]
    pub(super) current: String,
    /// The one that takes its place: 8 characters to 1,024 bytes.
    #[oai(validator(max_length = 1024))]
    pub(super) new: String,
}

impl Example for ChangePasswordBody {
    fn example() -> Self {
        Self { current: "correct horse battery".to_owned(), new: "an even better one".to_owned() }
    }
}

/// The password once more, and another e-mail address.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ChangeEmailBody {
    /// The password; empty for who has none.
    #[oai(validator(max_length = 1024))]
    pub(super) password: String,
    /// The new address, which is sent a link.
    #[oai(validator(max_length = 1024))]
    pub(super) email: String,
}

impl Example for ChangeEmailBody {
    fn example() -> Self {
        Self { password: "correct horse battery".to_owned(), email: "ada@example.com".to_owned() }
    }
}

/// Another name.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ChangeNameBody {
    /// What people call you, 1 to 200 bytes.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub(super) name: String,
}

impl Example for ChangeNameBody {
    fn example() -> Self {
        Self { name: "Ada Lovelace".to_owned() }
    }
}

/// The password once more.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ConfirmBody {
    /// The password; empty for who has none.
    #[oai(validator(max_length = 1024))]
    pub(super) password: String,
}

impl Example for ConfirmBody {
    fn example() -> Self {
        Self { password: "correct horse battery".to_owned() }
    }
}

/// A person with their account.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct PersonRecord {
    /// The account's id.
    id: String,
    /// What people call them.
    name: String,
    /// Where mail reaches them.
    email: String,
    /// Whether they have shown that the address is theirs.
    email_verified: bool,
    /// Whether they run this service.
    operator: bool,
    /// Whether they are not let in.
    disabled: bool,
    /// When the account was made, RFC 3339.
    created_at: String,
    /// When the password was set, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    password_set_at: Option<String>,
}

impl From<&PersonView> for PersonRecord {
    fn from(view: &PersonView) -> Self {
        let PersonView { name, created_at, person } = view;
        Self {
            id: person.account.to_string(),
            name: name.clone(),
            email: person.email.to_string(),
            email_verified: person.verified_at.is_some(),
            operator: person.is_operator,
            disabled: person.disabled_at.is_some(),
            created_at: created_at.to_string(),
            password_set_at: person.password_set_at.map(|at| at.to_string()),
        }
    }
}

impl Example for PersonRecord {
    fn example() -> Self {
        Self {
            id: "acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            name: "Ada".to_owned(),
            email: "ada@example.org".to_owned(),
            email_verified: true,
            operator: false,
            disabled: false,
            created_at: "2026-11-23T12:46:10.123Z".to_owned(),
            password_set_at: Some("2026-11-23T12:46:10.123Z".to_owned()),
        }
    }
}

/// One sign-in that has not ended.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SessionRecord {
    /// Its id.
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// The program, in its own words.
    client: String,
    /// The address it came from.
    address: String,
    /// What was shown to sign in (RFC 8176): `pwd`, `otp`, `hwk`, `sms`; `fed` for what another provider says; and `mfa` for two
    /// factors.
    methods: Vec<String>,
    /// When it began, RFC 3339.
    signed_in_at: String,
    /// When it was last seen in use, RFC 3339; noted now and then.
    seen_at: String,
    /// When it ends in any case, RFC 3339.
    expires_at: String,
}

impl SessionRecord {
    pub(super) fn new(session: &Session, current: bool) -> Self {
        Self {
            id: session.id.to_string(),
            current,
            client: session.client.clone(),
            address: session.address.clone(),
            methods: Method::amr_of(&session.methods),
            signed_in_at: session.signed_in_at.to_string(),
            seen_at: session.seen_at.to_string(),
            expires_at: session.expires_at.to_string(),
        }
    }
}

impl Example for SessionRecord {
    fn example() -> Self {
        Self {
            id: "ses_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            current: true,
            client: "Mozilla/5.0".to_owned(),
            address: "192.0.2.7".to_owned(),
            methods: vec!["pwd".to_owned()],
            signed_in_at: "2026-11-23T12:46:10.123Z".to_owned(),
            seen_at: "2026-11-23T12:46:10.123Z".to_owned(),
            expires_at: "2026-12-23T12:46:10.123Z".to_owned(),
        }
    }
}

/// Sessions, the newest first.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SessionList {
    /// Those that have not ended, at most 20.
    pub(super) sessions: Vec<SessionRecord>,
}

impl Example for SessionList {
    fn example() -> Self {
        Self { sessions: vec![SessionRecord::example()] }
    }
}

/// Who is signed in, and by which session.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SignedInRecord {
    /// Who.
    pub(super) account: PersonRecord,
    /// The session.
    pub(super) session: SessionRecord,
}

impl Example for SignedInRecord {
    fn example() -> Self {
        Self { account: PersonRecord::example(), session: SessionRecord::example() }
    }
}

/// A key as an export tells of it.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ExportedKey {
    /// Its id.
    id: String,
    /// What its owner calls it.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// When it was made, RFC 3339.
    created_at: String,
    /// Since when it is refused because somebody revoked it, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    revoked_at: Option<String>,
}

impl Example for ExportedKey {
    fn example() -> Self {
        Self {
            id: "key_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            name: "editor".to_owned(),
            scopes: vec!["docs:read".to_owned()],
            created_at: "2026-11-23T12:46:10.123Z".to_owned(),
            revoked_at: None,
        }
    }
}

/// Who somebody is at another provider.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ExportedIdentity {
    /// The provider.
    issuer: String,
    /// Who they are there.
    subject: String,
    /// What the provider calls them.
    name: String,
    /// Since when it opens the account, RFC 3339.
    linked_at: String,
}

impl Example for ExportedIdentity {
    fn example() -> Self {
        Self {
            issuer: "https://id.example".to_owned(),
            subject: "248289761001".to_owned(),
            name: "ada".to_owned(),
            linked_at: "2026-11-23T12:46:10.123Z".to_owned(),
        }
    }
}

/// Everything that is kept of an account, secrets aside.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ExportRecord {
    /// Whose.
    account: PersonRecord,
    /// Where they are signed in.
    sessions: Vec<SessionRecord>,
    /// Their keys.
    keys: Vec<ExportedKey>,
    /// Ids of their libraries, at most 1,000.
    libraries: Vec<String>,
    /// Who they are at other providers.
    identities: Vec<ExportedIdentity>,
    /// The teams they are in.
    teams: Vec<ExportedTeam>,
    /// Their second factors.
    factors: FactorsRecord,
    /// Programs that they have allowed something, at most 1,000.
    programs: Vec<ExportedProgram>,
    /// Clients that they have made.
    clients: Vec<ExportedClient>,
}

/// What somebody has allowed a program.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ExportedProgram {
    /// The program.
    client_id: String,
    /// What it may do.
    scopes: Vec<String>,
    /// When they allowed it, the last time, RFC 3339.
    given_at: String,
}

impl Example for ExportedProgram {
    fn example() -> Self {
        Self {
            client_id: "client_4bWdN1YpS0qfQmXzT7aJ2w".to_owned(),
            scopes: vec!["docs:read".to_owned()],
            given_at: "2026-11-23T12:46:10.123Z".to_owned(),
        }
    }
}

/// A client that somebody has made.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ExportedClient {
    /// Its id.
    client_id: String,
    /// What it is called.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// When it was made, RFC 3339.
    created_at: String,
}

impl Example for ExportedClient {
    fn example() -> Self {
        Self {
            client_id: "client_4bWdN1YpS0qfQmXzT7aJ2w".to_owned(),
            name: "Nightly index".to_owned(),
            scopes: vec!["jobs:write".to_owned()],
            created_at: "2026-11-23T12:46:10.123Z".to_owned(),
        }
    }
}

/// A team that somebody is in.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct ExportedTeam {
    /// The team's account.
    id: String,
    /// What they are in it.
    role: String,
}

impl Example for ExportedTeam {
    fn example() -> Self {
        Self { id: "acct_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(), role: "developer".to_owned() }
    }
}

impl From<&AccountExport> for ExportRecord {
    fn from(export: &AccountExport) -> Self {
        let key = |key: &twinmcp_storage::api_keys::ApiKey| ExportedKey {
            id: key.id.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        };
        let identity = |identity: &twinmcp_storage::accounts::Identity| ExportedIdentity {
            issuer: identity.subject.issuer.clone(),
            subject: identity.subject.subject.clone(),
            name: identity.name.clone(),
            linked_at: identity.linked_at.to_string(),
        };
        let names = |scopes: &[Scope]| scopes.iter().map(ToString::to_string).collect();
        let program = |consent: &Consent| ExportedProgram {
            client_id: consent.client.clone(),
            scopes: names(&consent.scopes),
            given_at: consent.given_at.to_string(),
        };
        let client = |client: &Client| ExportedClient {
            client_id: client.id.clone(),
            name: client.name.clone(),
            scopes: names(&client.scopes),
            created_at: client.created_at.to_string(),
        };
        Self {
            account: PersonRecord::from(&export.view),
            sessions: export.sessions.iter().map(|session| SessionRecord::new(session, false)).collect(),
            keys: export.keys.iter().map(key).collect(),
            libraries: export.libraries.iter().map(ToString::to_string).collect(),
            identities: export.identities.iter().map(identity).collect(),
            teams: export
                .teams
                .iter()
                .map(|(id, role)| ExportedTeam { id: id.to_string(), role: role.as_str().to_owned() })
                .collect(),
            factors: FactorsRecord::from(&export.factors),
            programs: export.consents.iter().map(program).collect(),
            clients: export.clients.iter().map(client).collect(),
        }
    }
}

impl Example for ExportRecord {
    fn example() -> Self {
        Self {
            account: PersonRecord::example(),
            sessions: vec![SessionRecord::example()],
            keys: vec![ExportedKey::example()],
            libraries: vec!["/acme/widget".to_owned()],
            identities: vec![ExportedIdentity::example()],
            teams: vec![ExportedTeam::example()],
            factors: FactorsRecord::example(),
            programs: vec![ExportedProgram::example()],
            clients: vec![ExportedClient::example()],
        }
    }
}
