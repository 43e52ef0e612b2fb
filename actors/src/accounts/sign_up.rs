//! Letters with a link, and what opening one does: to make an account, another password, another e-mail.
//!
//! Whoever asks for a letter is answered the same, and at once, whether anybody has the address or not: what has to be
//! looked up is looked up afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::instrument;
use twinmcp_cluster::Behalf;
use twinmcp_storage::accounts::{self, Email, LinkCommand, Purpose, link};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;

use super::letters::{self, Letter};
use super::password::Password;
use super::{Accounts, AccountsError, SignUp, Token, check_name, email};

/// Letters one address is sent in [`WINDOW_MS`]; the next ones are not sent, and nobody is told.
const LETTERS_EACH_MAX: u32 = 5;
const WINDOW_MS: u64 = 3_600_000;
/// Addresses that are counted at once.
const COUNTED_MAX: usize = 20_000;

/// What a link that is open is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenLink {
    /// To make an account.
    SignUp {
        /// For whom.
        email: Email,
        /// What people will call them; to be chosen when empty.
        name: String,
    },
    /// To choose another password.
    Reset,
    /// To use another e-mail.
    Email {
        /// Which.
        email: Email,
    },
}

/// What somebody does with a link.
#[derive(Debug, Clone, Copy)]
pub struct LinkUse<'a> {
    /// Its secret.
    pub token: &'a str,
    /// The new password, where one is chosen.
    pub password: Option<&'a str>,
    /// What people will call them, where the link does not say.
    pub name: Option<&'a str>,
}

/// How many letters each address was sent lately, by this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Letterbox {
    counts: Arc<Mutex<HashMap<Email, (u32, Timestamp)>>>,
}

impl Letterbox {
    /// Counts one more letter; whether it may be sent.
    fn takes(&self, email: &Email, now: Timestamp) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED_MAX {
            counts.retain(|_, (_, since)| now.millis_since(*since) < WINDOW_MS);
            // So many in an hour are no people: nobody is sent more until that is over.
            if counts.len() >= COUNTED_MAX && !counts.contains_key(email) {
                return false;
            }
        }
        let (count, since) = counts.entry(email.clone()).or_insert((0, now));
        if now.millis_since(*since) >= WINDOW_MS {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= LETTERS_EACH_MAX
    }
}

impl Accounts {
    /// Sends somebody a link to make an account; where they have one, a letter that says so.
    ///
    /// # Errors
    /// [`AccountsError::SignUpClosed`] where not everybody may, [`AccountsError::TooManyLetters`]; never because of who it is.
    #[instrument(name = "accounts.sign_up", skip_all)]
    pub async fn sign_up(&self, address: &str, name: &str) -> Result<(), AccountsError> {
        if self.config.sign_up != SignUp::Open {
            return Err(AccountsError::SignUpClosed);
        }
        let email = email(address)?;
        if !name.is_empty() {
            check_name(name)?;
        }
        let name = name.trim().to_owned();
        self.afterwards(email, move |accounts, email| async move {
            if accounts::by_email(accounts.cluster.reader(), &email)?.is_some() {
                return Ok(Some(letters::has_account(&accounts.config.public_url)));
            }
            let purpose = Purpose::SignUp { name, email, is_operator: false };
            let life_ms = accounts.config.invite_life_ms;
            let link = accounts.make_link(purpose, life_ms, "verify").await?;
            Ok(Some(letters::sign_up(&accounts.config.public_url, &link, life_ms)))
        })
    }

    /// Sends somebody a link to another password, if they have an account.
    ///
    /// # Errors
    /// [`AccountsError::TooManyLetters`]; never because of who it is.
    #[instrument(name = "accounts.request_reset", skip_all)]
    pub async fn request_reset(&self, address: &str) -> Result<(), AccountsError> {
        self.afterwards(email(address)?, move |accounts, email| async move {
            let person = accounts::by_email(accounts.cluster.reader(), &email)?;
            let Some(person) = person.filter(|person| person.disabled_at.is_none()) else { return Ok(None) };
            let life_ms = accounts.config.reset_life_ms;
            let link =
                accounts.make_link(Purpose::Reset { account: person.account }, life_ms, "reset").await?;
            Ok(Some(letters::reset(&accounts.config.public_url, &link, life_ms)))
        })
    }

    /// Sends a link to a new e-mail of somebody.
    pub(super) fn send_email_link(&self, account: AccountId, to: Email) -> Result<(), AccountsError> {
        self.afterwards(to, move |accounts, email| async move {
            let life_ms = accounts.config.invite_life_ms;
            let purpose = Purpose::Email { account, email };
            let link = accounts.make_link(purpose, life_ms, "verify").await?;
            Ok(Some(letters::email(&accounts.config.public_url, &link, life_ms)))
        })
    }

    /// Sends somebody a link to a team that they are asked to join.
    pub(crate) fn send_team_invitation(
        &self,
        to: Email,
        team: &str,
        role: &str,
        token: &Token,
    ) -> Result<(), AccountsError> {
        let service = &self.config.public_url;
        let link = format!("{service}/join?token={}", token.reveal());
        let letter = letters::team(service, &link, team, role, self.config.invite_life_ms);
        self.afterwards(to, move |_, _| async move { Ok(Some(letter)) })
    }

    /// Sends a letter without a link.
    pub(super) fn tell(&self, to: Email, letter: Letter) {
        // What it tells has happened; that too many letters wait is logged by nobody's fault.
        let _ = self.afterwards(to, move |_, _| async move { Ok(Some(letter)) });
    }

    /// What a link is for, without using it.
    ///
    /// # Errors
    /// [`AccountsError::LinkRefused`].
    pub fn open_link(&self, token: &str) -> Result<OpenLink, AccountsError> {
        let token = Token::parse(token).ok_or(AccountsError::LinkRefused)?;
        let link = link(self.cluster.reader(), &token.hash())?;
        let link =
            link.filter(|link| self.clock.now() < link.expires_at).ok_or(AccountsError::LinkRefused)?;
        Ok(match link.purpose {
            Purpose::SignUp { name, email, .. } => OpenLink::SignUp { email, name },
            Purpose::Reset { .. } => OpenLink::Reset,
            Purpose::Email { email, .. } => OpenLink::Email { email },
        })
    }

    /// Uses a link up.
    ///
    /// # Errors
    /// [`AccountsError::LinkRefused`], [`AccountsError::EmailTaken`], [`AccountsError::PasswordMissing`].
    #[instrument(name = "accounts.use_link", skip_all)]
    pub async fn use_link(&self, used: LinkUse<'_>) -> Result<OpenLink, AccountsError> {
        let opened = self.open_link(used.token)?;
        let token = Token::parse(used.token).ok_or(AccountsError::LinkRefused)?;
        let name = match &opened {
            OpenLink::SignUp { name, email } if name.is_empty() => {
                let name = used.name.map(str::trim).filter(|name| !name.is_empty());
                let local = || email.as_str().split('@').next().unwrap_or_default();
                let name = name.unwrap_or_else(local).to_owned();
                check_name(&name)?;
                name
            }
            _ => String::new(),
        };
        let password = match (&opened, used.password) {
            (OpenLink::Email { .. }, _) => None,
            (_, Some(password)) => Some(self.hashing.hash(Arc::new(Password::chosen(password)?)).await?),
            (_, None) => return Err(AccountsError::PasswordMissing),
        };
        let account = AccountId::random(self.clock.now(), &*self.entropy)?;
        let used = LinkCommand::Use { secret_hash: token.hash(), account, name, password };
        match self.change(accounts::Command::Link(used)).await? {
            Outcome::Done => Ok(opened),
            Outcome::AlreadyExists => Err(AccountsError::EmailTaken),
            _ => Err(AccountsError::LinkRefused),
        }
    }

    /// A new link's address, under the path `page`.
    pub(super) async fn make_link(
        &self,
        purpose: Purpose,
        life_ms: u64,
        page: &str,
    ) -> Result<String, AccountsError> {
        let token = Token::random(&*self.entropy)?;
        let make = LinkCommand::Make { secret_hash: token.hash(), purpose, life_ms };
        match self.change(accounts::Command::Link(make)).await? {
            Outcome::Done => Ok(format!("{}/{page}?token={}", self.config.public_url, token.reveal())),
            _ => Err(AccountsError::NotFound),
        }
    }

    /// Makes and sends a letter once the caller has been answered.
    fn afterwards<F>(
        &self,
        email: Email,
        write: impl FnOnce(Self, Email) -> F + Send + 'static,
    ) -> Result<(), AccountsError>
    where
        F: Future<Output = Result<Option<Letter>, AccountsError>> + Send,
    {
        let places = Arc::clone(&self.post.places);
        let place = places.try_acquire_owned().map_err(|_| AccountsError::TooManyLetters)?;
        let takes = self.letterbox.takes(&email, self.clock.now());
        let accounts = self.clone();
        tokio::spawn(Behalf::current().scope(async move {
            let _place = place;
            if !takes {
                return;
            }
            match write(accounts.clone(), email.clone()).await {
                Ok(Some(letter)) => accounts.post.send(&email, letter).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(error = %error, "a letter was not written"),
            }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod letterbox_tests {
    use super::*;

    #[test]
    fn nobody_is_flooded_with_letters() {
        let (letterbox, now) = (Letterbox::default(), Timestamp::from_millis(1_000_000));
        let ada: Email = "ada@example.org".parse().unwrap();
        let taken = (0..20).filter(|_| letterbox.takes(&ada, now)).count();
        assert_eq!(taken, 5);
        assert!(letterbox.takes(&"eve@example.org".parse().unwrap(), now));
        assert!(letterbox.takes(&ada, now.plus_millis(WINDOW_MS)));
    }
}
