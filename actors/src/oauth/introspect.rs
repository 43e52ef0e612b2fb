//! What a token is worth, told to those who may know (RFC 7662), and making it worth nothing (RFC 7009).

use std::sync::Arc;

use twinmcp_cluster::Behalf;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::client::Client;
use twinmcp_storage::oauth::grant::{self, Grant};
use twinmcp_storage::scope::Scope;

use super::access_token::AccessToken;
use super::error::{OauthError, Refused};
use super::metrics::Taken;
use super::register::by_itself;
use super::{Oauth, Params};

/// What is told of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introspection {
    /// Nothing: it is unknown, expired, revoked, opens nothing for want of a second factor, or is none of the asking client's business.
    Inactive,
    /// An access token.
    Access(Arc<AccessToken>),
    /// A refresh token.
    Refresh(Box<Grant>),
}

impl Oauth {
    /// Tells a client that shows who it is about a token of its own, or, if it has the scope `admin`, about any.
    ///
    /// # Errors
    /// When the client is not known, or may not ask.
    pub async fn introspect(
        &self,
        form: &str,
        authorization: Option<&str>,
    ) -> Result<Introspection, OauthError> {
        self.0.metrics.timed("introspect", self.told(form, authorization)).await
    }

    async fn told(&self, form: &str, authorization: Option<&str>) -> Result<Introspection, OauthError> {
        let params = Params::parse(form)?;
        let client = self.authenticated(&params, authorization).await?;
        if !client.is_confidential() {
            return Err(Refused::client().into());
        }
        let token = params.need("token")?;
        let told = self.look_up(token)?;
        let is_its_business = match &told {
            Introspection::Inactive => false,
            Introspection::Access(token) => token.client == client.id,
            Introspection::Refresh(grant) => grant.client == client.id,
        };
        let may_know = is_its_business || client.scopes.contains(&Scope::Admin);
        Ok(if may_know { told } else { Introspection::Inactive })
    }

    fn look_up(&self, token: &str) -> Result<Introspection, OauthError> {
        if let Some(refresh) = self.0.issuer.read_refresh(token) {
            let now = self.now();
            let grant = grant::get(self.0.cluster.reader(), &refresh.grant)?;
            let is_good = |grant: &Grant| {
                let refresh = grant.refresh.as_ref();
                grant.revoked_at.is_none()
                    && refresh.is_some_and(|refresh| {
                        refresh.current == SecretHash::of(token)
                            && now < refresh.idle_until.min(refresh.absolute_until)
                    })
            };
            return Ok(match grant.filter(is_good) {
                Some(grant) if !self.lacks_factor(&grant.allowed.account, &grant.allowed.methods)? => {
                    Introspection::Refresh(Box::new(grant))
                }
                _ => Introspection::Inactive,
            });
        }
        Ok(match self.verify(token)? {
            Some(access) if !self.is_weak(&access)? => Introspection::Access(access),
            _ => Introspection::Inactive,
        })
    }

    /// Makes a token of the asking client worth nothing, and with a refresh token all that came of the same grant. A token that is
    /// not known, or another client's, is no error and no change.
    ///
    /// # Errors
    /// When the client is not known, or the others cannot be told.
    #[tracing::instrument(name = "oauth.revoke", skip_all)]
    pub async fn revoke(&self, form: &str, authorization: Option<&str>) -> Result<(), OauthError> {
        self.0.metrics.timed("revoke", Box::pin(self.take_back(form, authorization))).await
    }

    async fn take_back(&self, form: &str, authorization: Option<&str>) -> Result<(), OauthError> {
        let params = Params::parse(form)?;
        let client: Arc<Client> = self.authenticated(&params, authorization).await?;
        let token = params.need("token")?;
        let command = if let Some(refresh) = self.0.issuer.read_refresh(token) {
            // Also an old one: whoever has it wants the family to end.
            let grant = grant::get(self.0.cluster.reader(), &refresh.grant)?;
            grant
                .filter(|grant| grant.client == client.id)
                .map(|grant| grant::Command::Revoke { id: grant.id })
        } else {
            let access = self.verify(token)?.filter(|access| access.client == client.id);
            access.map(|access| grant::Command::RevokeToken { id: access.id.clone() })
        };
        if let Some(command) = command {
            let behalf = Behalf::current().shown_to_be(by_itself(&client.id));
            if behalf.scope(self.propose(oauth::Command::Grant(command))).await? == Outcome::Done {
                self.0.metrics.revoked(Taken::Client);
            }
        }
        Ok(())
    }
}
