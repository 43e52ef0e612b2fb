//! What people do with their accounts, and operators with people.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::instrument;
use twinmcp_storage::accounts::{
    self, Account, Identity, Method, Person, PersonAdded, PersonCommand, Purpose, Session, session,
};
use twinmcp_storage::api_keys::{self, ApiKey};
use twinmcp_storage::audit::{Action, Event, Kind};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::ids::{AccountId, LibraryId};
use twinmcp_storage::libraries;
use twinmcp_storage::oauth::client::{self, Client};
use twinmcp_storage::oauth::consent::{self, Consent};
use twinmcp_storage::teams::{self, Role};

use super::factors::FactorsView;
use super::factors::challenge::Shown;
use super::letters;
use super::password::Password;
use super::sign_in::{SignInStep, SignedIn};
use super::{Accounts, AccountsError, SignUp, Token, check_name, email};
use crate::upstream::Visit;

/// Libraries read at once when an account's are looked for.
const LIBRARIES_READ: usize = 500;
/// Libraries of one account that are named.
const LIBRARIES_NAMED_MAX: usize = 1_000;

/// A person with their account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonView {
    /// What people call them.
    pub name: String,
    /// When the account was made.
    pub created_at: twinmcp_storage::clock::Timestamp,
    /// The person.
    pub person: Person,
}

/// Everything that is kept of somebody.
#[derive(Debug, Clone)]
pub struct AccountExport {
    /// Who.
    pub view: PersonView,
    /// Where they are signed in.
    pub sessions: Vec<Session>,
    /// Their keys, without secrets.
    pub keys: Vec<ApiKey>,
    /// Their libraries.
    pub libraries: Vec<LibraryId>,
    /// The teams they are in, and as what.
    pub teams: Vec<(AccountId, Role)>,
    /// Who they are at other providers.
    pub identities: Vec<Identity>,
    /// Their second factors, without secrets.
    pub factors: FactorsView,
    /// What they have allowed programs.
    pub consents: Vec<Consent>,
    /// Clients that they have made, without secrets.
    pub clients: Vec<Client>,
}

/// Somebody whom an operator lets in.
#[derive(Debug, Clone, Copy)]
pub struct NewPerson<'a> {
    /// Where mail reaches them.
    pub email: &'a str,
    /// What people call them; they choose when empty.
    pub name: &'a str,
    /// Their password; without one they are given a link to choose it.
    pub password: Option<&'a str>,
    /// Whether they run this service.
    pub is_operator: bool,
    /// Whether the link is sent to them too.
    pub send: bool,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum PersonMade {
    /// They can sign in.
    Person(Box<PersonView>),
    /// They can with this link, which is shown once.
    Link(String),
}

impl Accounts {
    /// The person of an account.
    pub fn person(&self, account: &AccountId) -> Result<Option<PersonView>, AccountsError> {
        let Some(person) = accounts::person(self.cluster.reader(), account)? else { return Ok(None) };
        Ok(self.get(account)?.map(|account| view(account, person)))
    }

    /// Up to `limit` people after the account `after`.
    pub fn people(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<PersonView>, AccountsError> {
        let people = accounts::people(self.cluster.reader(), after, limit)?;
        let views = people.into_iter().map(|person| {
            let account = self.get(&person.account)?;
            Ok(account.map(|account| view(account, person)))
        });
        views.filter_map(Result::transpose).collect()
    }

    /// Lets somebody in, as an operator.
    ///
    /// # Errors
    /// [`AccountsError::EmailTaken`]; [`AccountsError::SignUpClosed`] for a link where accounts are made with a password alone.
    #[instrument(name = "accounts.add_person", skip_all)]
    pub async fn add_person(&self, new: NewPerson<'_>) -> Result<PersonMade, AccountsError> {
        let email = email(new.email)?;
        if !new.name.is_empty() {
            check_name(new.name)?;
        }
        if accounts::by_email(self.cluster.reader(), &email)?.is_some() {
            return Err(AccountsError::EmailTaken);
        }
        let Some(password) = new.password else {
            if self.config.sign_up == SignUp::Closed {
                return Err(AccountsError::SignUpClosed);
            }
            let name = new.name.trim().to_owned();
            let purpose = Purpose::SignUp { name, email: email.clone(), is_operator: new.is_operator };
            let life_ms = self.config.invite_life_ms;
            let link = self.make_link(purpose, life_ms, "verify").await?;
            if new.send {
                self.send_invitation(email, letters::invite(&self.config.public_url, &link, life_ms));
            }
            return Ok(PersonMade::Link(link));
        };
        let password = self.hashing.hash(Arc::new(Password::chosen(password)?)).await?;
        let account = AccountId::random(self.clock.now(), &*self.entropy)?;
        let local = email.as_str().split('@').next().unwrap_or_default();
        let name = if new.name.trim().is_empty() { local } else { new.name.trim() };
        let added = PersonAdded {
            account: account.clone(),
            name: name.to_owned(),
            email: email.clone(),
            password: Some(password),
            is_operator: new.is_operator,
            is_verified: false,
        };
        match self.change(accounts::Command::Person(PersonCommand::Add(added))).await? {
            Outcome::Done => {
                let view = self.person(&account)?.ok_or(AccountsError::NotFound)?;
                Ok(PersonMade::Person(Box::new(view)))
            }
            _ => Err(AccountsError::EmailTaken),
        }
    }

    /// Lets somebody in or not any more, and makes them an operator or takes that away.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`].
    #[instrument(name = "accounts.manage_person", skip_all)]
    pub async fn manage_person(
        &self,
        account: &AccountId,
        is_disabled: Option<bool>,
        is_operator: Option<bool>,
    ) -> Result<PersonView, AccountsError> {
        let manage = PersonCommand::Manage { account: account.clone(), is_disabled, is_operator };
        match self.change(accounts::Command::Person(manage)).await? {
            Outcome::Done => self.person(account)?.ok_or(AccountsError::NotFound),
            _ => Err(AccountsError::NotFound),
        }
    }

    /// Changes what people call somebody.
    #[instrument(name = "accounts.rename", skip_all)]
    pub async fn rename(&self, account: &AccountId, name: &str) -> Result<(), AccountsError> {
        check_name(name)?;
        let rename = PersonCommand::Rename { account: account.clone(), name: name.trim().to_owned() };
        match self.change(accounts::Command::Person(rename)).await? {
            Outcome::Done => Ok(()),
            _ => Err(AccountsError::NotFound),
        }
    }

    /// Sets another password, which ends every session and every link. In place of the session of `visit.replaces` another begins, so that
    /// a copy of the old secret is worth nothing; where there is a second factor, once that is shown.
    ///
    /// # Errors
    /// [`AccountsError::WrongPassword`] when `current` is wrong, [`AccountsError::NotFresh`] of who has none and signed in too long ago,
    /// [`AccountsError::Changed`].
    #[instrument(name = "accounts.change_password", skip_all)]
    pub async fn change_password(
        &self,
        signed_in: &SignedIn,
        current: &str,
        new: &str,
        visit: Visit<'_>,
    ) -> Result<SignInStep, AccountsError> {
        let new = Arc::new(Password::chosen(new)?);
        let person = self.confirmed(signed_in, current, visit.address).await?;
        let password = self.hashing.hash(new).await?;
        let own = visit.replaces.and_then(Token::parse);
        let own = own.map(|token| session(self.cluster.reader(), &token.hash())).transpose()?.flatten();
        let upstream = own.filter(|own| own.id == signed_in.session).and_then(|own| own.upstream);
        // Every session ends, this one too: a copy of its secret would live on with it, also if nothing more is agreed on after this.
        let set = PersonCommand::SetPassword {
            account: person.account.clone(),
            generation: person.generation,
            password: password.clone(),
            keep: None,
        };
        self.decided(set).await?;
        self.tell(person.email.clone(), letters::password_changed(&self.config.public_url));
        let method = if upstream.is_some() { Method::Upstream } else { Method::Password };
        let shown = Shown { methods: vec![method], rehashed: None, upstream };
        let generation = person.generation.wrapping_add(1);
        let person = Person { generation, password: Some(password), ..person };
        let step = self.first_step(&person, shown, visit).await;
        step.map_err(|error| match error {
            AccountsError::WrongCredentials => AccountsError::Changed,
            error => error,
        })
    }

    /// Sends a link to another e-mail, which is used once the link is opened.
    ///
    /// # Errors
    /// [`AccountsError::WrongPassword`], [`AccountsError::NotFresh`] of who has none and signed in too long ago.
    #[instrument(name = "accounts.change_email", skip_all)]
    pub async fn change_email(
        &self,
        signed_in: &SignedIn,
        password: &str,
        to: &str,
        address: IpAddr,
    ) -> Result<(), AccountsError> {
        let to = email(to)?;
        let person = self.confirmed(signed_in, password, address).await?;
        self.send_email_link(person.account, to)
    }

    /// Everything that is kept of somebody, secrets aside.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`], [`AccountsError::Replicate`]: it is handed out once the audit log says so.
    #[instrument(name = "accounts.export", skip_all)]
    pub async fn export(&self, account: &AccountId) -> Result<AccountExport, AccountsError> {
        let export = AccountExport {
            view: self.person(account)?.ok_or(AccountsError::NotFound)?,
            sessions: self.sessions(account)?,
            keys: api_keys::list(self.cluster.reader(), account)?,
            libraries: self.libraries_of(account)?,
            teams: teams::of(self.cluster.reader(), account)?,
            identities: self.identities(account)?,
            factors: self.factors(account)?,
            consents: consent::list(self.cluster.reader(), account)?,
            clients: client::of(self.cluster.reader(), account)?,
        };
        self.audit.note(Event::new(Action::AccountExported, Kind::Account, account)).await?;
        Ok(export)
    }

    /// Removes an account with its keys, sessions, links and memberships. A library that it claimed meanwhile goes with it.
    ///
    /// # Errors
    /// [`AccountsError::WrongPassword`], [`AccountsError::NotFresh`] of who has none and signed in too long ago,
    /// [`AccountsError::OwnsLibraries`], [`AccountsError::LastOwner`], [`AccountsError::Changed`].
    #[instrument(name = "accounts.delete", skip_all)]
    pub async fn delete(
        &self,
        signed_in: &SignedIn,
        password: &str,
        address: IpAddr,
    ) -> Result<(), AccountsError> {
        let person = self.confirmed(signed_in, password, address).await?;
        let owned = self.libraries_of(&person.account)?;
        if !owned.is_empty() {
            return Err(AccountsError::OwnsLibraries { count: owned.len() });
        }
        let Person { account, generation, email, .. } = person;
        self.decided(PersonCommand::Remove { account: account.clone(), generation }).await?;
        self.tell(email, letters::account_deleted(&self.config.public_url));
        if let Err(error) = self.remove_claimed(&account).await {
            // The account is gone all the same.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, account_id = %account, "libraries of a deleted account may be left for an operator to remove");
        }
        Ok(())
    }

    /// Removes what an account claimed while it was being deleted. Whoever is gone claims nothing more.
    pub(super) async fn remove_claimed(&self, account: &AccountId) -> Result<(), AccountsError> {
        for id in self.libraries_of(account)? {
            let remove = libraries::Command::Remove { id, account: Some(account.clone()) };
            self.cluster.propose(Command::Libraries(remove)).await?;
        }
        Ok(())
    }

    async fn decided(&self, command: PersonCommand) -> Result<(), AccountsError> {
        match self.change(accounts::Command::Person(command)).await? {
            Outcome::Done => Ok(()),
            Outcome::NotFound => Err(AccountsError::NotFound),
            Outcome::LimitReached => Err(AccountsError::LastOwner),
            _ => Err(AccountsError::Changed),
        }
    }

    /// The libraries of an account, up to [`LIBRARIES_NAMED_MAX`].
    fn libraries_of(&self, account: &AccountId) -> Result<Vec<LibraryId>, AccountsError> {
        let (mut owned, mut after): (Vec<LibraryId>, Option<LibraryId>) = (Vec::new(), None);
        loop {
            let read = libraries::list(self.cluster.reader(), after.as_ref(), LIBRARIES_READ)?;
            let is_last = read.len() < LIBRARIES_READ;
            after = read.last().map(|library| library.id.clone());
            owned.extend(
                read.into_iter().filter(|library| library.owner == *account).map(|library| library.id),
            );
            if is_last || owned.len() >= LIBRARIES_NAMED_MAX {
                owned.truncate(LIBRARIES_NAMED_MAX);
                return Ok(owned);
            }
        }
    }
}

fn view(account: Account, person: Person) -> PersonView {
    PersonView { name: account.name, created_at: account.created_at, person }
}
