//! Signing in at another provider: any that speaks OpenID Connect, found by its own metadata, and GitHub.
//!
//! [`Upstream`] is the only way in. Somebody leaves for the provider ([`Upstream::leave`]) and comes back with a code
//! ([`Upstream::arrive`]); in between nothing is kept here: what has to be remembered travels sealed in a cookie, so any node takes
//! whoever comes back, and a link that somebody else made leads nowhere (RFC 9700, 4.7).
//!
//! Invariants: whatever a provider says passes the guard of all requests made for others, unredirected; nobody is believed
//! whose token is not signed by the configured provider for this service and this very sign-in; an account is never opened, and an identity never linked, because
//! mail addresses are alike: whoever has the account says yes, having shown that they have it.

mod claims;
mod exchange;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod github;
mod logout;
mod metadata;
mod openid;
#[cfg(test)]
mod tests;
mod trip;

use std::net::IpAddr;
use std::sync::Arc;

use twinmcp_cluster::ClusterKeys;
use twinmcp_storage::accounts::{Email, Identity, Subject, UpstreamSession};
use twinmcp_storage::clock::{Clock, Entropy, EntropyError};
use twinmcp_storage::ids::AccountId;

pub use self::claims::ClaimError;
pub use self::exchange::ExchangeError;
pub use self::github::GITHUB;
pub use self::logout::LogoutError;
pub use self::trip::{Leaving, TRIP_SECONDS};

use self::metadata::Documents;
use self::trip::{Arrived, Trip};
use crate::accounts::{Accounts, AccountsError, SignInStep, SignedIn};
use crate::context::Context;
use crate::jose::KeySets;
use crate::oauth::{OauthError, Params};
use crate::outbound::Outbound;
use crate::seal::Vault;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OpenID Connect, with discovery.
    OpenId,
    /// GitHub's own: OAuth 2.0, and who somebody is by its API.
    GitHub,
}

/// A provider that people sign in with.
#[derive(Debug, Clone)]
pub struct Provider {
    /// What it is called in addresses.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it speaks.
    pub kind: Kind,
    /// Its issuer, letter by letter, or where GitHub is, without a slash at the end.
    pub url: String,
    /// Who this service is there.
    pub client_id: String,
    /// What shows it; empty for a client without one.
    pub client_secret: ProviderSecret,
    /// What is asked for; the usual when empty.
    pub scopes: Vec<String>,
    /// Whether whoever signs in there for the first time gets an account, also where people do not sign up by themselves.
    pub sign_up: bool,
}

/// The secret of this service at a provider.
#[derive(Clone, Default)]
pub struct ProviderSecret(String);

impl ProviderSecret {
    /// This one.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ProviderSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Why somebody was not signed in, or an identity not linked.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No such provider is configured.
    #[error("nobody signs in with '{0}' here")]
    UnknownProvider(String),
    /// What came back was begun in another browser, at another provider, or too long ago.
    #[error("this sign-in was begun in another browser, or too long ago; begin it again")]
    Strange,
    /// The provider said that it did not go through.
    #[error("the provider did not sign you in: {0}")]
    Denied(String),
    /// The answer says that it is another provider's (RFC 9207, 2.4).
    #[error("the answer came from another provider than you were sent to; it was not used")]
    MixedUp,
    /// The provider could not be asked.
    #[error("the provider could not be asked; try again in a moment")]
    Exchange(#[from] ExchangeError),
    /// What the provider says is not believed.
    #[error("what the provider says is not believed: {0}")]
    Claims(#[from] ClaimError),
    /// There is no account, and none is made without a mail address that the provider vouches for.
    #[error(
        "the provider does not say that your e-mail address is yours; confirm it there, or sign in here and connect it in your settings"
    )]
    NotVerified,
    /// There is no account, and people do not make any by themselves.
    #[error("nobody here is connected with this identity, and accounts are made by invitation only")]
    NoAccount,
    /// It opens another account.
    #[error("this identity is connected with another account")]
    Taken,
    /// It was offered to whoever has the account with this address, and somebody else is signed in.
    #[error(
        "you are signed in to an account with another address than {0}; to connect the two, sign in to the account that has this one"
    )]
    OtherAddress(Email),
    /// There are as many as may be.
    #[error("an account is connected with ten identities at most; take one away first")]
    TooMany,
    /// It is the last way into the account.
    #[error("nothing else opens the account: choose a password first, at /reset")]
    LastWay,
    /// The account refused it.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// What came back cannot be read.
    #[error(transparent)]
    Oauth(#[from] OauthError),
    /// No secret could be made.
    #[error("failed to make a secret")]
    Entropy(#[from] EntropyError),
}

/// Where somebody comes from.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The address.
    pub address: IpAddr,
    /// The program they use, in its own words.
    pub client: &'a str,
    /// The secret of a session that their browser has already; it ends.
    pub replaces: Option<&'a str>,
}

/// What became of somebody who came back.
#[derive(Debug)]
pub enum Arrival {
    /// They have shown who they are, and are sent on.
    SignedIn {
        /// Their session, or the second factor that they have to show.
        step: SignInStep,
        /// Where they wanted to go.
        return_to: String,
    },
    /// The identity opens their account from now on.
    Linked,
    /// Somebody has an account with the same, confirmed, address: if it is they, they sign in to it and say that the two belong together.
    HasAccount {
        /// For the browser's cookie: the identity, until they have.
        cookie: String,
        /// The address.
        email: Email,
    },
}

/// An identity that waits for its person to say yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What people call the provider.
    pub provider: String,
    /// What the provider calls them.
    pub name: String,
    /// Where they wanted to go.
    pub return_to: String,
}

/// The way to sign-ins at other providers.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    providers: Vec<Provider>,
    /// What callbacks begin with.
    public_url: String,
    outbound: Outbound,
    documents: Documents,
    key_sets: KeySets,
    accounts: Accounts,
    vault: Vault,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Upstream {
    pub(crate) fn new(
        context: &Context,
        providers: Vec<Provider>,
        accounts: &Accounts,
        keys: ClusterKeys,
    ) -> Self {
        let (outbound, clock) = (&context.outbound, &context.clock);
        Self(Arc::new(Inner {
            providers,
            public_url: accounts.config().public_url.clone(),
            documents: Documents::new(outbound.clone(), Arc::clone(clock)),
            key_sets: KeySets::new(outbound.clone(), Arc::clone(clock)),
            outbound: outbound.clone(),
            accounts: accounts.clone(),
            vault: Vault::new(context.cluster.clone(), keys),
            clock: Arc::clone(clock),
            entropy: Arc::clone(&context.entropy),
        }))
    }

    /// The providers, as they are configured.
    pub fn providers(&self) -> &[Provider] {
        &self.0.providers
    }

    fn provider(&self, name: &str) -> Result<&Provider, UpstreamError> {
        let found = self.0.providers.iter().find(|provider| provider.name == name);
        found.ok_or_else(|| UpstreamError::UnknownProvider(name.chars().take(40).collect()))
    }

    /// Sends somebody to a provider to sign in; `anew` though they are signed in there.
    ///
    /// # Errors
    /// When there is no such provider, or it cannot be asked where its sign-in is.
    pub async fn leave(&self, provider: &str, return_to: &str, anew: bool) -> Result<Leaving, UpstreamError> {
        self.set_out(self.provider(provider)?, return_to, None, anew).await
    }

    /// Sends somebody who is signed in to a provider, to connect what they are there with their account.
    ///
    /// # Errors
    /// As [`Self::leave`], and when they have not shown just now who they are: with their password, or, without one, by a session that
    /// began not long ago ([`AccountsError::NotFresh`]).
    pub async fn leave_to_link(
        &self,
        provider: &str,
        signed_in: &SignedIn,
        password: &str,
        address: IpAddr,
    ) -> Result<Leaving, UpstreamError> {
        let provider = self.provider(provider)?;
        self.0.accounts.confirm(signed_in, password, address).await?;
        self.set_out(provider, "/settings", Some(signed_in.session.to_string()), false).await
    }

    /// Takes somebody who comes back from a provider with this query and this cookie.
    ///
    /// # Errors
    /// Why nobody was signed in.
    #[tracing::instrument(name = "upstream.arrive", skip_all, fields(provider))]
    pub async fn arrive(
        &self,
        provider: &str,
        query: &str,
        cookie: Option<&str>,
        signed_in: Option<&SignedIn>,
        visit: Visit<'_>,
    ) -> Result<Arrival, UpstreamError> {
        let provider = self.provider(provider)?;
        let params = Params::parse(query).map_err(OauthError::from)?;
        let trip = self.trip_back(provider, &params, cookie)?;
        let arrived = self.identify(provider, &params, &trip).await?;
        if let Some(session) = &trip.links {
            let signed_in = signed_in.filter(|signed_in| signed_in.session.as_str() == session);
            let signed_in = signed_in.ok_or(UpstreamError::Strange)?;
            self.0.accounts.link_identity(&signed_in.account, &arrived.subject, &arrived.name).await?;
            return Ok(Arrival::Linked);
        }
        let known = self.0.accounts.identity(&arrived.subject)?;
        if known.is_none() && !self.make_account(provider, &arrived).await? {
            let email = arrived.email.clone().ok_or(UpstreamError::NotVerified)?;
            let arrived = Arrived { return_to: trip.return_to, ..arrived };
            return Ok(Arrival::HasAccount { cookie: self.seal(&Trip::Arrived(arrived))?, email });
        }
        let upstream = UpstreamSession { subject: arrived.subject, session: arrived.session };
        let step = self.0.accounts.sign_in_from(upstream, visit).await?;
        Ok(Arrival::SignedIn { step, return_to: trip.return_to })
    }

    /// Makes an account for somebody who signs in for the first time; `false` when somebody has one with their address.
    async fn make_account(&self, provider: &Provider, arrived: &Arrived) -> Result<bool, UpstreamError> {
        let accounts = &self.0.accounts;
        // Whether somebody has an address is told to whoever has shown that it is theirs, and to nobody else.
        let Some(email) = arrived.email.as_ref() else { return Err(UpstreamError::NotVerified) };
        if accounts.has_account(email)? {
            return Ok(false);
        }
        if !provider.sign_up && !accounts.is_open() {
            return Err(UpstreamError::NoAccount);
        }
        match accounts.join_from(&arrived.subject, &arrived.name, email.clone()).await {
            Ok(()) => Ok(true),
            // Somebody was faster: with the address, or with this very identity in another window.
            Err(AccountsError::EmailTaken) => Ok(accounts.identity(&arrived.subject)?.is_some()),
            Err(error) => Err(error.into()),
        }
    }

    /// The identity that waits in a browser's cookie for whoever is signed in there to say yes.
    ///
    /// # Errors
    /// When none waits, or it waits for somebody else ([`UpstreamError::OtherAddress`]).
    pub fn waiting(&self, cookie: Option<&str>, signed_in: &SignedIn) -> Result<Waiting, UpstreamError> {
        let arrived = self.offered(cookie, signed_in)?;
        let provider = self.0.providers.iter().find(|provider| provider.name == arrived.provider);
        let provider = provider.ok_or(UpstreamError::Strange)?.title.clone();
        Ok(Waiting { provider, name: arrived.name, return_to: arrived.return_to })
    }

    /// The identity that waits in a cookie, if it was offered to whoever is signed in: they have the address that the provider vouches for.
    fn offered(&self, cookie: Option<&str>, signed_in: &SignedIn) -> Result<Arrived, UpstreamError> {
        let arrived = self.arrived(cookie)?.ok_or(UpstreamError::Strange)?;
        let email = arrived.email.as_ref().ok_or(UpstreamError::NotVerified)?;
        if !self.0.accounts.has_address(&signed_in.account, email)? {
            return Err(UpstreamError::OtherAddress(email.clone()));
        }
        Ok(arrived)
    }

    /// Lets the identity that waits in a browser's cookie open the account of whoever is signed in there, who has said yes.
    ///
    /// # Errors
    /// When none waits, or it waits for somebody else ([`UpstreamError::OtherAddress`]), it is connected, or they signed in too long ago
    /// ([`AccountsError::NotFresh`]). Where they wanted to go otherwise.
    pub async fn link(&self, cookie: Option<&str>, signed_in: &SignedIn) -> Result<String, UpstreamError> {
        let arrived = self.offered(cookie, signed_in)?;
        self.0.accounts.fresh(signed_in)?;
        self.0.accounts.link_identity(&signed_in.account, &arrived.subject, &arrived.name).await?;
        Ok(arrived.return_to)
    }

    /// The identities that open an account, with what people call their providers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn identities(&self, account: &AccountId) -> Result<Vec<(String, Identity)>, UpstreamError> {
        let identities = self.0.accounts.identities(account)?;
        let named = identities.into_iter().map(|identity| {
            let issuer = &identity.subject.issuer;
            let known = self.0.providers.iter().find(|provider| provider.issuer() == issuer);
            (known.map_or_else(|| issuer.clone(), |known| known.title.clone()), identity)
        });
        Ok(named.collect())
    }

    /// Takes an identity from an account.
    ///
    /// # Errors
    /// [`UpstreamError::LastWay`] when nothing else opens it.
    pub async fn unlink(&self, account: &AccountId, id: &str) -> Result<(), UpstreamError> {
        self.0.accounts.unlink_identity(account, id).await
    }
}

impl Provider {
    /// Whose identities it gives.
    fn issuer(&self) -> &str {
        &self.url
    }

    fn subject(&self, subject: String) -> Subject {
        Subject { issuer: self.issuer().to_owned(), subject }
    }
}
