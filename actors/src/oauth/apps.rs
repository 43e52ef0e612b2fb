//! What a person has allowed, and taking it back.

use std::collections::HashMap;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth::client as agreed;
use twinmcp_storage::oauth::{self, consent, grant};
use twinmcp_storage::scope::Scope;

use super::Oauth;
use super::error::OauthError;
use super::metrics::Taken;

/// A client that somebody has allowed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name in the protocol.
    pub client: String,
    /// What it is called, if it is kept here.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When that was allowed, the last time.
    pub allowed_at: Timestamp,
    /// Grants of it that are in force.
    pub grants: u32,
}

impl Oauth {
    /// The clients that an account has allowed something.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn apps(&self, account: &AccountId) -> Result<Vec<App>, OauthError> {
        let reader = self.0.cluster.reader();
        let mut grants: HashMap<String, u32> = HashMap::new();
        for grant in grant::list(reader, account)? {
            *grants.entry(grant.client).or_default() += 1;
        }
        let consents = consent::list(reader, account)?;
        let app = |consent: consent::Consent| {
            let name = agreed::get(reader, &consent.client)?.map(|client| client.name);
            Ok(App {
                grants: grants.get(&consent.client).copied().unwrap_or(0),
                client: consent.client,
                name,
                scopes: consent.scopes,
                allowed_at: consent.given_at,
            })
        };
        consents.into_iter().map(app).collect()
    }

    /// Takes back what an account has allowed a client. Tells whether there was something.
    ///
    /// # Errors
    /// When the others cannot be told.
    pub async fn withdraw(&self, account: &AccountId, client: &str) -> Result<bool, OauthError> {
        let command = consent::Command::Withdraw { account: account.clone(), client: client.to_owned() };
        let is_withdrawn = self.propose(oauth::Command::Consent(command)).await? == Outcome::Done;
        if is_withdrawn {
            self.0.metrics.revoked(Taken::Person);
        }
        Ok(is_withdrawn)
    }
}
