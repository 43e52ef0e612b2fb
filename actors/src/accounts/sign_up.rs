//! Letters with a link, and what opening one does: to make an account, another password, another e-mail.
//!
//! Whoever asks for a letter is answered the same, and at once, whether anybody has the address or not: what has to be
//! looked up is looked up afterwards.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
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

/// Letters of one kind that one address is sent in [`WINDOW_MS`]; the next ones are not sent, and nobody is told.
const LETTERS_EACH_MAX: u32 = 5;
const WINDOW_MS: u64 = 3_600_000;
/// Addresses that are counted at once, each once for a kind of letter; the one counted longest ago is forgotten.
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

impl From<Purpose> for OpenLink {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::SignUp { name, email, .. } => Self::SignUp { email, name },
            Purpose::Reset { .. } => Self::Reset,
            Purpose::Email { email, .. } => Self::Email { email },
        }
    }
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

/// A kind of letter, counted by itself: strangers who ask for one kind keep none of another from whoever has the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    SignUp,
    Reset,
    Email,
    /// An operator's.
    Invitation,
    /// A team's.
    Team,
    /// What was done to an account, by the subject: whoever does much of one thing hides nothing else by it.
    Notice(&'static str),
}

/// How many letters of each kind each address was sent lately, by this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Letterbox {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    each: HashMap<(Kind, Email), (u32, Timestamp)>,
    /// Each of them once, the one counted longest ago first.
    order: VecDeque<(Kind, Email)>,
}

impl Letterbox {
    /// Counts one more letter; whether it may be sent.
    fn takes(&self, kind: Kind, email: &Email, now: Timestamp) -> bool {
        let is_over = |since: Timestamp| now.millis_since(since) >= WINDOW_MS;
        let key = (kind, email.clone());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { each, order } = &mut *counts;
        // Too many to count are no people. Whoever floods the node so gets a few letters more, and nobody goes without theirs.
        while let Some(oldest) = order.front()
            && (each.get(oldest).is_none_or(|(_, since)| is_over(*since))
                || each.len() >= COUNTED_MAX && !each.contains_key(&key))
        {
            each.remove(oldest);
            order.pop_front();
        }
        let (count, since) = match each.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                order.push_back(entry.key().clone());
                entry.insert((0, now))
            }
        };
        if is_over(*since) {
            (*count, *since) = (0, now);
        }
        *count = count.saturating_add(1);
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
        self.afterwards(Kind::SignUp, email, move |accounts, email| async move {
            if accounts::by_email(accounts.cluster.reader(), &email)?.is_some() {
                accounts.make_no_link().await?;
                return Ok(Some(letters::has_account(&accounts.config.public_url)));
            }
            let purpose = Purpose::SignUp { name, email, is_operator: false };
            // Of the links of one address that which expires first is ended by one more: a new invitation of an operator outlives these.
            let life_ms = accounts.config.invite_life_ms / 3;
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
        self.afterwards(Kind::Reset, email(address)?, move |accounts, email| async move {
            let person = accounts::by_email(accounts.cluster.reader(), &email)?;
            let Some(person) = person.filter(|person| person.disabled_at.is_none()) else {
                accounts.make_no_link().await?;
                return Ok(None);
            };
            let life_ms = accounts.config.reset_life_ms;
            let link =
                accounts.make_link(Purpose::Reset { account: person.account }, life_ms, "reset").await?;
            Ok(Some(letters::reset(&accounts.config.public_url, &link, life_ms)))
        })
    }

    /// Sends a link to a new e-mail of somebody.
    pub(super) fn send_email_link(&self, account: AccountId, to: Email) -> Result<(), AccountsError> {
        self.afterwards(Kind::Email, to, move |accounts, email| async move {
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
        self.afterwards(Kind::Team, to, move |_, _| async move { Ok(Some(letter)) })
    }

    /// Sends somebody the link that an operator was shown too.
    pub(super) fn send_invitation(&self, to: Email, letter: Letter) {
        // The operator has the link: where too many letters wait, they hand it over themselves.
        let _ = self.afterwards(Kind::Invitation, to, move |_, _| async move { Ok(Some(letter)) });
    }

    /// Tells somebody what was done to their account.
    pub(super) fn tell(&self, to: Email, letter: Letter) {
        let subject = letter.subject;
        let sent = self.afterwards(Kind::Notice(subject), to, move |_, _| async move { Ok(Some(letter)) });
        if sent.is_err() {
            // What it tells has happened.
            tracing::error!(subject, "a letter was not sent: too many are waiting");
        }
    }

    /// What a link is for, without using it.
    ///
    /// # Errors
    /// [`AccountsError::LinkRefused`].
    pub fn open_link(&self, token: &str) -> Result<OpenLink, AccountsError> {
        let token = Token::parse(token).ok_or(AccountsError::LinkRefused)?;
        Ok(self.purpose(&token)?.into())
    }

    fn purpose(&self, token: &Token) -> Result<Purpose, AccountsError> {
        let link = link(self.cluster.reader(), &token.hash())?;
        let link = link.filter(|link| self.clock.now() < link.expires_at);
        link.map(|link| link.purpose).ok_or(AccountsError::LinkRefused)
    }

    /// Uses a link up.
    ///
    /// # Errors
    /// [`AccountsError::LinkRefused`], [`AccountsError::EmailTaken`], [`AccountsError::PasswordMissing`].
    #[instrument(name = "accounts.use_link", skip_all)]
    pub async fn use_link(&self, used: LinkUse<'_>) -> Result<OpenLink, AccountsError> {
        let token = Token::parse(used.token).ok_or(AccountsError::LinkRefused)?;
        let purpose = self.purpose(&token)?;
        // As they are before: the address that they lose is told too.
        let person = match &purpose {
            Purpose::Reset { account } | Purpose::Email { account, .. } => {
                accounts::person(self.cluster.reader(), account)?
            }
            Purpose::SignUp { .. } => None,
        };
        let opened = OpenLink::from(purpose);
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
            Outcome::Done => {
                if let Some(person) = person {
                    self.tell_of_link(person.email, &opened);
                }
                Ok(opened)
            }
            Outcome::AlreadyExists => Err(AccountsError::EmailTaken),
            _ => Err(AccountsError::LinkRefused),
        }
    }

    /// Tells whoever had this address what a link has done to their account.
    fn tell_of_link(&self, before: Email, opened: &OpenLink) {
        let service = &self.config.public_url;
        match opened {
            OpenLink::Reset => self.tell(before, letters::password_reset(service)),
            OpenLink::Email { email } if *email != before => {
                self.tell(before, letters::email_changed(service, &email.masked()));
            }
            OpenLink::Email { .. } | OpenLink::SignUp { .. } => {}
        }
    }

    /// Has the cluster agree on a link for nobody, which makes none. How far the log is stands in every answer: where a link is made for
    /// some addresses alone, it would tell which those are.
    async fn make_no_link(&self) -> Result<(), AccountsError> {
        let account = AccountId::random(self.clock.now(), &*self.entropy)?;
        match self.make_link(Purpose::Reset { account }, self.config.reset_life_ms, "reset").await {
            Ok(_) | Err(AccountsError::NotFound) => Ok(()),
            Err(error) => Err(error),
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
        kind: Kind,
        email: Email,
        write: impl FnOnce(Self, Email) -> F + Send + 'static,
    ) -> Result<(), AccountsError>
    where
        F: Future<Output = Result<Option<Letter>, AccountsError>> + Send,
    {
        let places = if matches!(kind, Kind::Notice(_)) { &self.post.notices } else { &self.post.places };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| AccountsError::TooManyLetters)?;
        let takes = self.letterbox.takes(kind, &email, self.clock.now());
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
        let taken = (0..20).filter(|_| letterbox.takes(Kind::Reset, &ada, now)).count();
        assert_eq!(taken, 5);
        assert!(letterbox.takes(Kind::Reset, &"eve@example.org".parse().unwrap(), now));
        assert!(letterbox.takes(Kind::Reset, &ada, now.plus_millis(WINDOW_MS)));
    }

    #[test]
    fn what_strangers_ask_for_keeps_no_other_letter_from_its_person() {
        let (letterbox, now) = (Letterbox::default(), Timestamp::from_millis(1_000_000));
        let ada: Email = "ada@example.org".parse().unwrap();
        let kinds = [Kind::SignUp, Kind::Reset, Kind::Email, Kind::Invitation, Kind::Team];
        let notices = ["Your password was changed", "Your second factors were changed"].map(Kind::Notice);
        for kind in kinds.into_iter().chain(notices) {
            let taken = (0..20).filter(|_| letterbox.takes(kind, &ada, now)).count();
            assert_eq!(taken, 5, "{kind:?}");
        }
    }

    #[test]
    fn however_many_addresses_are_counted_the_next_one_gets_its_letters() {
        let (letterbox, now) = (Letterbox::default(), Timestamp::from_millis(1_000_000));
        let email = |number: usize| format!("{number}@example.org").parse::<Email>().unwrap();
        for number in 0..COUNTED_MAX {
            assert!(letterbox.takes(Kind::Reset, &email(number), now));
        }
        assert!(letterbox.takes(Kind::Reset, &"ada@example.org".parse().unwrap(), now));
        let counted = |letterbox: &Letterbox| {
            let counts = letterbox.counts.lock().unwrap();
            assert_eq!(counts.each.len(), counts.order.len());
            counts.each.len()
        };
        assert_eq!(counted(&letterbox), COUNTED_MAX);
        let newest = email(COUNTED_MAX - 1);
        let more = (0..20).filter(|_| letterbox.takes(Kind::Reset, &newest, now)).count();
        assert_eq!(more, 4, "the oldest was forgotten, and no other");
        assert!(letterbox.takes(Kind::Reset, &newest, now.plus_millis(WINDOW_MS)));
        assert_eq!(counted(&letterbox), 1, "what is over is not kept");
    }
}
