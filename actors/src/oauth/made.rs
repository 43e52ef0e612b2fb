//! What becomes of a client that is kept here: whoever answers for it changes it, gives it another secret, or removes it.
//!
//! A client of a team is its admins' to change. What opens it, a secret or keys, its maker alone replaces: whoever did would know it, and
//! the client ends with the membership of its maker and of nobody else.
//!
//! Invariant: whoever has changed a client, or got its secret, could have made it as it is then.

use std::time::Duration;

use serde_json::Value;
use twinmcp_storage::accounts;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::client::{self as agreed, Authentication, Client, Owner};
use twinmcp_storage::scope::Scope;
use twinmcp_storage::teams::{self, Role};

use super::Oauth;
use super::client::PERSONAL_SCOPES;
use super::error::{ErrorCode, OauthError, Refused};
use super::register::{Registered, invalid};
use crate::accounts::Owner as Manager;

/// How long it may take to learn what the other nodes have changed.
const NEWEST_WITHIN: Duration = Duration::from_secs(5);
/// How often a change is tried while others change the same client in the same moments: each time somebody else's was done.
const TRIES_MAX: usize = 3;
/// What a client need not have, and empty text takes away.
const MAY_BE_EMPTY: &[&str] = &["client_uri", "backchannel_logout_uri", "id_token_signed_response_alg"];
/// Where its keys are, in one of two places.
const KEYS: [&str; 2] = ["jwks", "jwks_uri"];

impl Oauth {
    /// The clients of an account, or everybody's: those that people made first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn clients_of(&self, account: Option<&AccountId>) -> Result<Vec<Client>, OauthError> {
        let reader = self.0.cluster.reader();
        Ok(match account {
            Some(account) => agreed::of(reader, account)?,
            None => agreed::list(reader)?,
        })
    }

    /// Changes a client that `who` answers for: what `changes` names is from now on what it says, by the rules that
    /// [`make_client`](Self::make_client) has; all else stays. `may` is what `who` may give. Nothing when there is no such client.
    ///
    /// # Errors
    /// When its facts cannot be; [`ErrorCode::AccessDenied`] when it could do then what `who` may not give, or when its keys are another
    /// member's to replace; [`OauthError::Changed`]; when the others cannot be told.
    #[tracing::instrument(name = "oauth.change_client", skip_all)]
    pub async fn change_client(
        &self,
        who: &Manager,
        id: &str,
        changes: &Value,
        may: &[Scope],
    ) -> Result<Option<Registered>, OauthError> {
        let changed = self.agree_on_change(|| {
            let Some(before) = self.kept_of(who, id)? else { return Ok(None) };
            // What it has stays, also what `who` could not add.
            let may_have = match is_given(changes, "scope") {
                true => self.may_have(&before.owner, may)?,
                false => Scope::ALL.to_vec(),
            };
            let client = self.described_anew(&merged(&before, changes)?, before.clone(), &may_have)?;
            if client.authentication != before.authentication {
                self.must_be_made_by(who, &before)?;
            }
            self.must_be_given(&client, may)?;
            Ok(Some((before, client)))
        });
        Ok(changed.await?.map(Registered::told))
    }

    /// Gives a client that `who` answers for another secret; the one before is refused from now on. Nothing when there is no such client.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidClientMetadata`] for a client that has no secret; [`ErrorCode::AccessDenied`] as for
    /// [`change_client`](Self::change_client); [`OauthError::Changed`]; when the others cannot be told.
    pub async fn replace_secret(
        &self,
        who: &Manager,
        id: &str,
        may: &[Scope],
    ) -> Result<Option<Registered>, OauthError> {
        let secret = self.0.issuer.random()?;
        let changed = self.agree_on_change(|| {
            let Some(before) = self.kept_of(who, id)? else { return Ok(None) };
            let authentication = match &before.authentication {
                Authentication::Secret(_) => Authentication::Secret(SecretHash::of(&secret)),
                Authentication::SecretJwt { .. } => {
                    Authentication::SecretJwt { sealed: self.0.issuer.keep_client_secret(&secret)? }
                }
                Authentication::PrivateKeyJwt(_) | Authentication::None => {
                    let description =
                        "This client has no secret: change its keys, or make another client in its place.";
                    return Err(invalid(description).into());
                }
            };
            self.must_be_made_by(who, &before)?;
            self.must_be_given(&before, may)?;
            Ok(Some((before.clone(), Client { authentication, ..before })))
        });
        let changed = changed.await?;
        Ok(changed.map(|client| Registered { secret: Some(secret), ..Registered::told(client) }))
    }

    /// Removes a client that `who` answers for. Tells whether there was one.
    ///
    /// # Errors
    /// When the others cannot be told.
    pub async fn remove_client(&self, who: &Manager, id: &str) -> Result<bool, OauthError> {
        if self.kept_of(who, id)?.is_none() {
            return Ok(false);
        }
        let command = agreed::Command::Remove { id: id.to_owned() };
        Ok(self.propose(oauth::Command::Client(command)).await? == Outcome::Done)
    }

    /// Puts other facts in place of a client's. `change` reads it, and tells what it is and what it is to be; where somebody else has
    /// changed it meanwhile, `change` is asked again of what it is then, so that both hold. Nothing when there is no such client.
    ///
    /// # Errors
    /// What `change` answers; [`OauthError::Changed`] after [`TRIES_MAX`] times; when the others cannot be told.
    pub(super) async fn agree_on_change(
        &self,
        change: impl Fn() -> Result<Option<(Client, Client)>, OauthError>,
    ) -> Result<Option<Client>, OauthError> {
        for _ in 0..TRIES_MAX {
            // Also who may change it is what other nodes have changed perhaps.
            self.0.cluster.linearize(NEWEST_WITHIN).await?;
            let Some((before, client)) = change()? else { return Ok(None) };
            let command =
                agreed::Command::Change { before: Box::new(before), client: Box::new(client.clone()) };
            match self.propose(oauth::Command::Client(command)).await? {
                Outcome::Done => return Ok(Some(client)),
                Outcome::Stale => {}
                _ => return Ok(None),
            }
        }
        Err(OauthError::Changed)
    }

    /// A client that `who` answers for: their own, that of a team whose admin they are, or anybody's.
    fn kept_of(&self, who: &Manager, id: &str) -> Result<Option<Client>, OauthError> {
        let Some(client) = self.kept(id)? else { return Ok(None) };
        let is_theirs = match &client.owner {
            Owner::Account(account) => who.manages(self.0.cluster.reader(), account)?,
            Owner::Itself { .. } | Owner::Publisher | Owner::Program => *who == Manager::Operator,
        };
        Ok(is_theirs.then_some(client))
    }

    /// What of `may` a client of this owner may have.
    fn may_have(&self, owner: &Owner, may: &[Scope]) -> Result<Vec<Scope>, OauthError> {
        Ok(match owner {
            Owner::Account(account) => match teams::get(self.0.cluster.reader(), account)? {
                Some(_) => given_in_a_team(may),
                None => may.to_vec(),
            },
            Owner::Itself { .. } | Owner::Publisher | Owner::Program => {
                may.iter().copied().filter(|scope| PERSONAL_SCOPES.contains(scope)).collect()
            }
        })
    }

    /// Refuses whoever may not give what the client may do, as far as that counts.
    fn must_be_given(&self, client: &Client, may: &[Scope]) -> Result<(), OauthError> {
        let mut scopes = client.scopes.clone();
        if let Owner::Account(account) = &client.owner {
            accounts::keep_what_counts(self.0.cluster.reader(), account, &mut scopes)?;
        }
        let Some(scope) = scopes.iter().find(|scope| !may.contains(scope)) else { return Ok(()) };
        let description = format!(
            "The client may have the scope '{scope}', which you lack: use what has it, or take it from the client's 'scope'."
        );
        Err(Refused::new(ErrorCode::AccessDenied, description).into())
    }

    /// Refuses to let a member of a team see what opens a client that another one made.
    fn must_be_made_by(&self, who: &Manager, client: &Client) -> Result<(), OauthError> {
        let (Manager::Account(by), Owner::Account(owner)) = (who, &client.owner) else { return Ok(()) };
        let team = teams::get(self.0.cluster.reader(), owner)?;
        if team.is_none_or(|team| team.maker_of_client(&client.id) == Some(by)) {
            return Ok(());
        }
        let description = "Only whoever made this client of the team replaces what opens it, as it ends when they leave. Make another \
                           client in its place, or ask them or an operator.";
        Err(Refused::new(ErrorCode::AccessDenied, description).into())
    }
}

/// The scopes of `may` that an admin of a team gives ([`Role::gives`]), and whatever people allow it.
pub(super) fn given_in_a_team(may: &[Scope]) -> Vec<Scope> {
    may.iter().copied().filter(|scope| !scope.is_permission() || Role::Admin.gives(*scope)).collect()
}

fn is_given(changes: &Value, name: &str) -> bool {
    changes.get(name).is_some_and(|value| !value.is_null())
}

/// The metadata of a client with `changes`; many programs write `null` for what they leave out.
fn merged(before: &Client, changes: &Value) -> Result<Value, Refused> {
    let given = changes.as_object().ok_or_else(|| invalid("The body must be a JSON object."))?;
    let mut merged = Registered::told(before.clone()).metadata();
    let Some(members) = merged.as_object_mut() else { return Ok(merged) };
    if KEYS.iter().any(|name| is_given(changes, name)) {
        KEYS.iter().for_each(|name| drop(members.remove(*name)));
    }
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        if MAY_BE_EMPTY.contains(&name.as_str()) && value == "" {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    Ok(merged)
}
