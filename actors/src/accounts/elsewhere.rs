//! Identities at other providers: which of them open an account, and sessions that begin with one.

use std::net::IpAddr;

use tracing::instrument;
use twinmcp_storage::accounts::{
    self, Email, Identity, Method, Person, PersonAdded, Subject, UpstreamCommand, UpstreamSession,
};
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;

use super::factors::challenge::Shown;
use super::letters;
use super::sign_in::{SignInStep, SignedIn};
use super::{Accounts, AccountsError, SignUp};
use crate::upstream::{UpstreamError, Visit};

impl Accounts {
    /// Who somebody elsewhere is here, if they are anybody.
    pub(crate) fn identity(&self, subject: &Subject) -> Result<Option<Identity>, AccountsError> {
        Ok(accounts::identity(self.cluster.reader(), subject)?)
    }

    /// The identities that open an account.
    pub(crate) fn identities(&self, account: &AccountId) -> Result<Vec<Identity>, AccountsError> {
        Ok(accounts::identities(self.cluster.reader(), account)?)
    }

    /// Whether somebody has an account with this address.
    pub(crate) fn has_account(&self, email: &Email) -> Result<bool, AccountsError> {
        Ok(accounts::by_email(self.cluster.reader(), email)?.is_some())
    }

    /// Whether this is the address of somebody's account.
    pub(crate) fn has_address(&self, account: &AccountId, email: &Email) -> Result<bool, AccountsError> {
        let person = accounts::person(self.cluster.reader(), account)?.ok_or(AccountsError::NotFound)?;
        Ok(person.email == *email)
    }

    /// Whether everybody may make an account.
    pub(crate) fn is_open(&self) -> bool {
        self.config.sign_up == SignUp::Open
    }

    /// Has somebody who is signed in show their password once more; who has none has signed in not long ago.
    pub(crate) async fn confirm(
        &self,
        signed_in: &SignedIn,
        password: &str,
        address: IpAddr,
    ) -> Result<(), AccountsError> {
        self.confirmed(signed_in, password, address).await.map(|_| ())
    }

    /// Makes the account of somebody whom a provider knows, with an address that it vouches for.
    ///
    /// # Errors
    /// [`AccountsError::EmailTaken`] when somebody has the address, or the identity opens an account.
    #[instrument(name = "accounts.join_from", skip_all)]
    pub(crate) async fn join_from(
        &self,
        subject: &Subject,
        name: &str,
        email: Email,
    ) -> Result<(), AccountsError> {
        let added = PersonAdded {
            account: AccountId::random(self.clock.now(), &*self.entropy)?,
            name: name.to_owned(),
            email,
            password: None,
            is_operator: false,
            is_verified: true,
        };
        let join = UpstreamCommand::Join { subject: subject.clone(), name: name.to_owned(), added };
        match self.change(accounts::Command::Upstream(join)).await? {
            Outcome::Done => Ok(()),
            _ => Err(AccountsError::EmailTaken),
        }
    }

    /// Begins a session for whoever a provider says it is, or asks for their second factor.
    ///
    /// # Errors
    /// [`AccountsError::WrongCredentials`] when the identity opens no account, or one that is disabled.
    #[instrument(name = "accounts.sign_in_from", skip_all)]
    pub(crate) async fn sign_in_from(
        &self,
        upstream: UpstreamSession,
        visit: Visit<'_>,
    ) -> Result<SignInStep, AccountsError> {
        let result = self.try_sign_in_from(upstream, visit).await;
        self.metrics.signed_in("upstream", &result);
        result
    }

    async fn try_sign_in_from(
        &self,
        upstream: UpstreamSession,
        visit: Visit<'_>,
    ) -> Result<SignInStep, AccountsError> {
        let identity = self.identity(&upstream.subject)?.ok_or(AccountsError::WrongCredentials)?;
        let person = accounts::person(self.cluster.reader(), &identity.account)?;
        let person = person.ok_or(AccountsError::WrongCredentials)?;
        // Another provider is one factor, whatever it asked for itself.
        let shown = Shown { methods: vec![Method::Upstream], rehashed: None, upstream: Some(upstream) };
        self.first_step(&person, shown, visit).await
    }

    /// Lets an identity open an account, whose person has said yes.
    #[instrument(name = "accounts.link_identity", skip_all)]
    pub(crate) async fn link_identity(
        &self,
        account: &AccountId,
        subject: &Subject,
        name: &str,
    ) -> Result<(), UpstreamError> {
        let person = accounts::person(self.cluster.reader(), account).map_err(AccountsError::from)?;
        let Person { generation, email, .. } = person.ok_or(AccountsError::NotFound)?;
        let (subject, name, account) = (subject.clone(), name.to_owned(), account.clone());
        let link =
            UpstreamCommand::Link { subject: subject.clone(), name, account: account.clone(), generation };
        match self.change(accounts::Command::Upstream(link)).await? {
            Outcome::Done => {
                self.tell(email, letters::identities_changed(&self.config.public_url));
                Ok(())
            }
            // It was connected before: what was wanted.
            Outcome::AlreadyExists
                if self.identity(&subject)?.is_some_and(|known| known.account == account) =>
            {
                Ok(())
            }
            Outcome::AlreadyExists => Err(UpstreamError::Taken),
            Outcome::LimitReached => Err(UpstreamError::TooMany),
            Outcome::Stale => Err(AccountsError::Changed.into()),
            _ => Err(AccountsError::NotFound.into()),
        }
    }

    /// Takes an identity from an account.
    #[instrument(name = "accounts.unlink_identity", skip_all)]
    pub(crate) async fn unlink_identity(&self, account: &AccountId, id: &str) -> Result<(), UpstreamError> {
        let unlink = UpstreamCommand::Unlink { account: account.clone(), id: id.to_owned() };
        match self.change(accounts::Command::Upstream(unlink)).await? {
            Outcome::Done => {
                let person = accounts::person(self.cluster.reader(), account).map_err(AccountsError::from)?;
                if let Some(person) = person {
                    self.tell(person.email, letters::identities_changed(&self.config.public_url));
                }
                Ok(())
            }
            Outcome::Stale => Err(UpstreamError::LastWay),
            _ => Err(AccountsError::NotFound.into()),
        }
    }

    /// Ends the sessions that came of one at a provider, or of all of somebody's there. `false` when this token was taken before.
    #[instrument(name = "accounts.log_out_from", skip_all)]
    pub(crate) async fn log_out_from(
        &self,
        issuer: &str,
        token: String,
        subject: Option<String>,
        session: Option<String>,
    ) -> Result<bool, AccountsError> {
        let log_out = UpstreamCommand::LogOut { issuer: issuer.to_owned(), token, subject, session };
        Ok(self.change(accounts::Command::Upstream(log_out)).await? == Outcome::Done)
    }
}
