//! Clients that register themselves (RFC 7591), look after their registration (RFC 7592), and clients that people make.

use serde_json::{Map, Value, json};
use twinmcp_cluster::Behalf;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::audit::Actor;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::client::{
    self as agreed, Authentication, Client, GrantType, Owner, PER_ACCOUNT_MAX, TokenFormat,
};
use twinmcp_storage::scope::Scope;
use twinmcp_storage::teams::CLIENTS_MAX;

use super::Oauth;
use super::access_token::scope_text;
use super::client::{self, PERSONAL_SCOPES, USUAL_SCOPES};
use super::clients::{self, GRANT_TYPES};
use super::credentials;
use super::error::{ErrorCode, OauthError, Refused};
use super::made::given_in_a_team;

/// A client as it is told of: its facts, and what is shown once.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its facts.
    pub client: Client,
    /// Its secret, if it has one and it was made just now.
    pub secret: Option<String>,
    /// What opens its registration, if it registered itself just now.
    pub registration_token: Option<String>,
}

impl Oauth {
    /// Registers the client that `metadata` describes.
    ///
    /// # Errors
    /// When clients may not register themselves, there are too many, or its facts cannot be.
    #[tracing::instrument(name = "oauth.register", skip_all)]
    pub async fn register(&self, metadata: &Value) -> Result<Registered, OauthError> {
        self.0.metrics.timed("register", Box::pin(self.registered(metadata))).await
    }

    async fn registered(&self, metadata: &Value) -> Result<Registered, OauthError> {
        if !self.registers() {
            let description = "Clients do not register themselves here; ask an operator for one.";
            return Err(Refused::new(ErrorCode::AccessDenied, description).into());
        }
        let token = self.0.issuer.random()?;
        let owner = Owner::Itself { registration_token: SecretHash::of(&token), used_at: None };
        let registered = self.create(metadata, owner, PERSONAL_SCOPES).await?;
        Ok(Registered { registration_token: Some(token), ..registered })
    }

    /// Makes a client of `account` that `metadata` describes, with no other scopes than `may`.
    ///
    /// # Errors
    /// When its facts cannot be, or the account has [`PER_ACCOUNT_MAX`].
    pub async fn make_client(
        &self,
        account: &AccountId,
        metadata: &Value,
        may: &[Scope],
    ) -> Result<Registered, OauthError> {
        self.create(metadata, Owner::Account(account.clone()), may).await
    }

    /// Makes a client of `team`, with no other scopes than those of `may` that an admin of it gives; it ends with the membership of `by`.
    ///
    /// # Errors
    /// When its facts cannot be; `None` where `by` is not in the team.
    pub async fn make_team_client(
        &self,
        by: &AccountId,
        team: &AccountId,
        metadata: &Value,
        may: &[Scope],
    ) -> Result<Option<Registered>, OauthError> {
        let may = given_in_a_team(may);
        let (client, secret) = self.described(metadata, Owner::Account(team.clone()), &may)?;
        let (by, team) = (by.clone(), team.clone());
        let create = agreed::Command::CreateFor { by, team, client: client.clone() };
        match self.propose(oauth::Command::Client(create)).await? {
            Outcome::Done => Ok(Some(self.shown_once(client, secret)?)),
            Outcome::Forbidden => {
                let description = "Your role in the team does not allow this; ask one of its admins.";
                Err(Refused::new(ErrorCode::AccessDenied, description).into())
            }
            Outcome::LimitReached => {
                let description = format!("A team has {CLIENTS_MAX} clients at most; remove one first.");
                Err(invalid(description).into())
            }
            _ => Ok(None),
        }
    }

    /// The client that `metadata` describes, with its secret.
    fn described(
        &self,
        metadata: &Value,
        owner: Owner,
        may: &[Scope],
    ) -> Result<(Client, String), OauthError> {
        let secret = self.0.issuer.random()?;
        let id = format!("client_{}", &self.0.issuer.random()?[..22]);
        let mut client = read(metadata, id, owner, &secret, may)?;
        self.check(&client)?;
        if let Authentication::SecretJwt { sealed } = &mut client.authentication {
            *sealed = self.0.issuer.keep_client_secret(&secret)?;
        }
        Ok((client, secret))
    }

    /// A client that was made a moment ago, with the secret that is shown this once.
    fn shown_once(&self, client: Client, secret: String) -> Result<Registered, OauthError> {
        let client = self.kept(&client.id)?.unwrap_or(client);
        let has_secret =
            matches!(client.authentication, Authentication::Secret(_) | Authentication::SecretJwt { .. });
        Ok(Registered { secret: has_secret.then_some(secret), ..Registered::told(client) })
    }

    async fn create(&self, metadata: &Value, owner: Owner, may: &[Scope]) -> Result<Registered, OauthError> {
        let (client, secret) = self.described(metadata, owner, may)?;
        match self.propose(oauth::Command::Client(agreed::Command::Create(client.clone()))).await? {
            Outcome::Done => {}
            Outcome::LimitReached if matches!(client.owner, Owner::Account(_)) => {
                let description =
                    format!("An account has {PER_ACCOUNT_MAX} clients at most; remove one first.");
                return Err(invalid(description).into());
            }
            _ => {
                let description =
                    "There are as many clients as may be; try again tomorrow, when unused ones have gone.";
                return Err(Refused::new(ErrorCode::TemporarilyUnavailable, description).into());
            }
        }
        self.shown_once(client, secret)
    }

    fn check(&self, client: &Client) -> Result<(), Refused> {
        client::check(client)?;
        credentials::check_reachable(client, &self.0.outbound)
    }

    pub(super) fn kept(&self, id: &str) -> Result<Option<Client>, OauthError> {
        Ok(agreed::get(self.0.cluster.reader(), id)?)
    }

    /// The client that a registration token opens (RFC 7592, 2.1).
    ///
    /// # Errors
    /// [`ErrorCode::InvalidToken`] when the token does not open this client's registration.
    pub fn registration(&self, id: &str, token: &str) -> Result<Registered, OauthError> {
        let client = self.kept(id)?;
        let hash = SecretHash::of(token);
        let opens = |client: &Client| matches!(&client.owner, Owner::Itself { registration_token, .. } if *registration_token == hash);
        let client = client.filter(|client| opens(client)).ok_or_else(opens_none)?;
        Ok(Registered { registration_token: Some(token.to_owned()), ..Registered::told(client) })
    }

    /// Puts other facts in place of a registration's (RFC 7592, 2.2).
    ///
    /// # Errors
    /// As [`Self::registration`], or when its facts cannot be, or are another client's; [`OauthError::Changed`].
    pub async fn change_registration(
        &self,
        id: &str,
        token: &str,
        metadata: &Value,
    ) -> Result<Registered, OauthError> {
        let change = self.agree_on_change(|| {
            let Registered { client: before, .. } = self.registration(id, token)?;
            let client = self.described_anew(metadata, before.clone(), PERSONAL_SCOPES)?;
            Ok(Some((before, client)))
        });
        let changed = Behalf::current().shown_to_be(by_itself(id)).scope(change).await?;
        let client = changed.ok_or_else(opens_none)?;
        Ok(Registered { registration_token: Some(token.to_owned()), ..Registered::told(client) })
    }

    /// The client that `metadata` describes in place of `before`.
    pub(super) fn described_anew(
        &self,
        metadata: &Value,
        before: Client,
        may: &[Scope],
    ) -> Result<Client, Refused> {
        if metadata.get("client_id").and_then(Value::as_str) != Some(&before.id) {
            return Err(invalid("'client_id' has to be there, and that of the client (RFC 7592, 2.2)."));
        }
        if let Some(secret) = metadata.get("client_secret")
            && !secret.as_str().is_some_and(|secret| self.is_secret_of(secret, &before))
        {
            return Err(invalid("'client_secret' is not the client's; leave it out, as it stays as it is."));
        }
        let client = read(metadata, before.id, before.owner, "", may)?;
        if std::mem::discriminant(&client.authentication) != std::mem::discriminant(&before.authentication) {
            return Err(invalid("'token_endpoint_auth_method' stays as it is: make another client."));
        }
        // Keys may be changed by whoever may change the client; a secret is never sent by it.
        let authentication = match client.authentication {
            keys @ Authentication::PrivateKeyJwt(_) => keys,
            _ => before.authentication,
        };
        let (trusted, created_at) = (before.trusted, before.created_at);
        let client = Client { authentication, trusted, created_at, ..client };
        self.check(&client)?;
        Ok(client)
    }

    fn is_secret_of(&self, secret: &str, client: &Client) -> bool {
        match &client.authentication {
            Authentication::Secret(hash) => *hash == SecretHash::of(secret),
            Authentication::SecretJwt { sealed } => {
                self.0.issuer.kept_client_secret(sealed).is_some_and(|kept| kept == secret)
            }
            _ => false,
        }
    }

    /// Ends a registration (RFC 7592, 2.3).
    ///
    /// # Errors
    /// As [`Self::registration`].
    pub async fn end_registration(&self, id: &str, token: &str) -> Result<(), OauthError> {
        self.registration(id, token)?;
        let remove = self.propose(oauth::Command::Client(agreed::Command::Remove { id: id.to_owned() }));
        Behalf::current().shown_to_be(by_itself(id)).scope(remove).await?;
        Ok(())
    }
}

impl Registered {
    /// A client that is there, with nothing that is shown once.
    pub fn told(client: Client) -> Self {
        Self { client, secret: None, registration_token: None }
    }

    /// The client's facts as RFC 7591, 3.2.1 names them.
    pub fn metadata(&self) -> Value {
        let client = &self.client;
        let grants: Vec<&str> = client.grants.iter().map(|grant| clients::name(*grant)).collect();
        let mut metadata = json!({
            "client_id": client.id,
            "client_id_issued_at": client.created_at.as_secs(),
            "client_name": client.name,
            "redirect_uris": client.redirect_uris,
            "grant_types": grants,
            "response_types": if client.grants.contains(&GrantType::AuthorizationCode) { vec!["code"] } else { vec![] },
            "scope": scope_text(&client.scopes),
            "access_token_format": match client.token_format {
                TokenFormat::Jwt => "jwt",
                TokenFormat::Opaque => "opaque",
            },
        });
        if let Some(algorithm) = client.algorithm {
            metadata["id_token_signed_response_alg"] = algorithm.as_str().into();
        }
        credentials::write(client, &mut metadata);
        if !client.post_logout_redirect_uris.is_empty() {
            metadata["post_logout_redirect_uris"] = json!(client.post_logout_redirect_uris);
        }
        if let Some(uri) = &client.uri {
            metadata["client_uri"] = uri.as_str().into();
        }
        if let Some(secret) = &self.secret {
            metadata["client_secret"] = secret.as_str().into();
            // It does not expire (RFC 7591, 3.2.1).
            metadata["client_secret_expires_at"] = 0.into();
        }
        metadata
    }
}

fn opens_none() -> Refused {
    Refused::new(ErrorCode::InvalidToken, "This token opens no such registration.")
}

/// A client that has shown who it is, for the audit log.
pub(super) fn by_itself(id: &str) -> Actor {
    Actor::Client { id: id.to_owned(), account: None }
}

pub(super) fn invalid(description: impl Into<String>) -> Refused {
    Refused::new(ErrorCode::InvalidClientMetadata, description)
}

/// The client that metadata describes (RFC 7591, 2). What is not known here is left out, as the standard asks.
pub(super) fn read(
    metadata: &Value,
    id: String,
    owner: Owner,
    secret: &str,
    may: &[Scope],
) -> Result<Client, Refused> {
    let metadata = metadata.as_object().ok_or_else(|| invalid("The body must be a JSON object."))?;
    let grants = match texts(metadata, "grant_types")? {
        Some(names) => grants(&names)?,
        None => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
    };
    if let Some(types) = texts(metadata, "response_types")?
        && types.iter().any(|kind| kind != "code")
    {
        return Err(invalid("'response_types' may have 'code' only."));
    }
    let authentication = credentials::read(metadata, secret)?;
    let redirect_uris = texts(metadata, "redirect_uris")?.unwrap_or_default();
    let fallback = || format!("client {}", id.get(7..13).unwrap_or_default());
    Ok(Client {
        name: text(metadata, "client_name")?.unwrap_or_else(fallback),
        owner,
        authentication,
        redirect_uris,
        post_logout_redirect_uris: texts(metadata, "post_logout_redirect_uris")?.unwrap_or_default(),
        grants,
        scopes: scopes(text(metadata, "scope")?.as_deref(), may)?,
        token_format: match text(metadata, "access_token_format")?.as_deref() {
            None | Some("jwt") => TokenFormat::Jwt,
            Some("opaque") => TokenFormat::Opaque,
            Some(_) => return Err(invalid("'access_token_format' is jwt or opaque.")),
        },
        algorithm: match text(metadata, "id_token_signed_response_alg")? {
            Some(name) => Some(
                name.parse()
                    .map_err(|_| invalid("'id_token_signed_response_alg' is RS256, ES256 or EdDSA."))?,
            ),
            None => None,
        },
        uri: text(metadata, "client_uri")?,
        trusted: false,
        backchannel_logout: credentials::backchannel(metadata)?,
        created_at: Timestamp::default(),
        id,
    })
}

fn grants(names: &[String]) -> Result<Vec<GrantType>, Refused> {
    let mut grants = Vec::new();
    for name in names {
        let known = GRANT_TYPES.iter().copied().find(|grant| clients::name(*grant) == name);
        let grant = known.ok_or_else(|| {
            invalid(format!("'grant_types' names '{name}', and there is no such grant type here."))
        })?;
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    Ok(grants)
}

/// The scopes a client asks for; those that it may not have are left out and so told (RFC 7591, 2).
fn scopes(asked: Option<&str>, may: &[Scope]) -> Result<Vec<Scope>, Refused> {
    let mut scopes: Vec<Scope> = match asked {
        Some(asked) => asked.split(' ').filter_map(|name| name.parse().ok()).collect(),
        None => USUAL_SCOPES.to_vec(),
    };
    scopes.retain(|scope| may.contains(scope));
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(invalid(format!(
            "'scope' names none that the client may have; it may have: {}.",
            scope_text(may)
        )));
    }
    Ok(scopes)
}

fn text(metadata: &Map<String, Value>, name: &str) -> Result<Option<String>, Refused> {
    match metadata.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("'{name}' must be text."))),
    }
}

fn texts(metadata: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Refused> {
    let wrong = || invalid(format!("'{name}' must be a list of texts."));
    match metadata.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}
