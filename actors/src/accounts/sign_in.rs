//! Signing in, staying so, and the end of it.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::instrument;
use twinmcp_storage::accounts::{
    self, Email, Method, PasswordHash, Person, Proof, Session, SessionCommand, SignIn, Tried, Tries,
    TryCommand, UpstreamSession, Which, Who, factors, session, sessions, tries,
};
use twinmcp_storage::audit::{Action, Event, Kind};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::{AccountId, SessionId};

use super::factors::challenge::{Challenge, Shown};
use super::guard::{Allowance, Attempt};
use super::password::{Compared, Password};
use super::{Accounts, AccountsError, Token, email, network};
use crate::upstream::Visit;

/// Longest description of a program that is kept with a session, in bytes.
const CLIENT_BYTES_MAX: usize = 200;
/// A session that is in use is written down so many times in its idle time, and at least once an hour.
const SEEN_TIMES: u64 = 16;
const SEEN_MS_MAX: u64 = 3_600_000;

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Their session.
    pub session: SessionId,
    /// Who they are.
    pub account: AccountId,
    /// When they showed it: `auth_time`.
    pub signed_in_at: Timestamp,
    /// What they showed: `amr`.
    pub methods: Vec<Method>,
    /// Whether the policy asks for more than that: then they may add a second factor, and nothing else.
    pub lacks_factor: bool,
    /// Whether they run this service.
    pub is_operator: bool,
}

/// Somebody who wants to sign in.
#[derive(Debug, Clone)]
pub struct SignInRequest<'a> {
    /// What they typed.
    pub email: &'a str,
    /// What they typed.
    pub password: &'a str,
    /// Where they come from.
    pub address: IpAddr,
    /// The program they use, in its own words.
    pub client: &'a str,
    /// The secret of a session that their browser has already; it ends.
    pub replaces: Option<&'a str>,
}

/// A session that began, with its secret.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// For the browser's cookie; not kept.
    pub secret: Token,
    /// The session.
    pub session: Session,
}

/// What became of the first step of a sign-in.
#[derive(Debug, Clone)]
pub enum SignInStep {
    /// They are signed in.
    Session(Box<NewSession>),
    /// They have to show a second factor.
    Challenge(Challenge),
}

/// Somebody who has shown who they are.
pub(super) struct Arrival<'a> {
    /// Who, as they were when it was compared.
    pub(super) person: &'a Person,
    /// What they have shown.
    pub(super) methods: Vec<Method>,
    /// A stronger hash of the same password.
    pub(super) rehashed: Option<PasswordHash>,
    /// What is spent for the second factor.
    pub(super) proof: Option<Proof>,
    /// The session at another provider that it comes of.
    pub(super) upstream: Option<UpstreamSession>,
    pub(super) address: IpAddr,
    pub(super) client: &'a str,
    pub(super) replaces: Option<&'a str>,
}

/// The tries of one sign-in: of the e-mail, and of the network.
pub(super) struct Attempts([Attempt; 2]);

impl Accounts {
    /// Signs somebody in, or asks for their second factor.
    ///
    /// # Errors
    /// [`AccountsError::WrongCredentials`] whatever of it is wrong; [`AccountsError::Locked`] after too many of those, also for the
    /// right password; [`AccountsError::Hashing`] when too many sign in at once.
    #[instrument(name = "accounts.sign_in", skip_all)]
    pub async fn sign_in(&self, asked: SignInRequest<'_>) -> Result<SignInStep, AccountsError> {
        let result = self.try_sign_in(asked).await;
        self.metrics.signed_in("password", &result);
        result
    }

    async fn try_sign_in(&self, asked: SignInRequest<'_>) -> Result<SignInStep, AccountsError> {
        let email = email(asked.email)?;
        let password = Arc::new(Password::typed(asked.password)?);
        let attempts = self.admit(&email, asked.address)?;
        let person = accounts::by_email(self.cluster.reader(), &email)?;
        let person = person.filter(|person| person.disabled_at.is_none());
        let kept = person.as_ref().and_then(|person| person.password.clone());
        let compared = self.hashing.compare(Arc::clone(&password), kept).await?;
        let account = person.as_ref().map(|person| person.account.clone());
        let (Some(person), Compared::Right | Compared::RightButWeak) = (person, compared) else {
            self.failed(&attempts, account, asked.address).await?;
            return Err(AccountsError::WrongCredentials);
        };
        let rehashed = match compared {
            Compared::RightButWeak => Some(self.hashing.hash(password).await?),
            _ => None,
        };
        let shown = Shown { methods: vec![Method::Password], rehashed, upstream: None };
        let SignInRequest { address, client, replaces, .. } = asked;
        let step = self.first_step(&person, shown, Visit { address, client, replaces }).await?;
        if matches!(step, SignInStep::Session(_)) {
            self.note_missed(&person.account, attempts.succeeded());
        }
        Ok(step)
    }

    /// What comes of one factor that somebody has shown: their session, or that they have to show a second one.
    ///
    /// # Errors
    /// [`AccountsError::WrongCredentials`] for who was locked, disabled or changed since it was compared.
    pub(super) async fn first_step(
        &self,
        person: &Person,
        shown: Shown,
        visit: Visit<'_>,
    ) -> Result<SignInStep, AccountsError> {
        let needed = || factors(self.cluster.reader(), &person.account);
        let challenge = |shown, needed| self.challenge(person, shown, needed).map(SignInStep::Challenge);
        let known = needed()?;
        if known.are_needed() {
            // A factor that was added while the password was compared has made a new generation. Read after the factors, it is theirs.
            let now = accounts::person(self.cluster.reader(), &person.account)?;
            let is_as_compared = |now: &Person| shown.upstream.is_none() && now.password == person.password;
            let now = now.filter(is_as_compared);
            return self.challenge(now.as_ref().unwrap_or(person), shown, &known).map(SignInStep::Challenge);
        }
        let arrival = Arrival {
            person,
            methods: shown.methods.clone(),
            rehashed: shown.rehashed.clone(),
            proof: None,
            upstream: shown.upstream.clone(),
            address: visit.address,
            client: visit.client,
            replaces: visit.replaces,
        };
        match self.begin(arrival).await? {
            (Outcome::Done, Some(new)) => Ok(SignInStep::Session(Box::new(new))),
            // A factor that this node had not heard of.
            (Outcome::Burnt, _) => challenge(shown, &needed()?),
            _ => Err(AccountsError::WrongCredentials),
        }
    }

    /// Begins the session of somebody who has shown who they are. [`Outcome::Burnt`] when a second factor is missing or was used.
    pub(super) async fn begin(
        &self,
        arrival: Arrival<'_>,
    ) -> Result<(Outcome, Option<NewSession>), AccountsError> {
        let secret = Token::random(&*self.entropy)?;
        // Wrong passwords lock neither a passkey nor what another provider says.
        let who = match &arrival.upstream {
            Some(upstream) => Who::elsewhere(&upstream.subject),
            None if arrival.methods.contains(&Method::Password) => Who::email(&arrival.person.email),
            None => Who::factor(&arrival.person.account),
        };
        let sign_in = SignIn {
            account: arrival.person.account.clone(),
            generation: arrival.person.generation,
            id: SessionId::random(self.clock.now(), &*self.entropy)?,
            secret_hash: secret.hash(),
            methods: arrival.methods,
            idle_ms: self.config.session_idle_ms,
            life_ms: self.config.session_life_ms,
            client: cut(arrival.client),
            address: arrival.address.to_string(),
            replaces: arrival.replaces.and_then(Token::parse).map(|token| token.hash()),
            who,
            rehashed: arrival.rehashed,
            proof: arrival.proof,
            upstream: arrival.upstream,
        };
        let outcome =
            self.change(accounts::Command::Session(SessionCommand::Begin(Box::new(sign_in)))).await?;
        let session = session(self.cluster.reader(), &secret.hash())?;
        Ok((outcome, session.map(|session| NewSession { secret, session })))
    }

    /// Who is signed in with this secret. Reads this node's own state.
    pub fn signed_in(&self, secret: &str) -> Result<Option<SignedIn>, AccountsError> {
        let Some(token) = Token::parse(secret) else { return Ok(None) };
        let now = self.clock.now();
        let found = session(self.cluster.reader(), &token.hash())?.filter(|session| session.is_valid(now));
        let Some(session) = found else { return Ok(None) };
        self.note_use(&session, now);
        let person = accounts::person(self.cluster.reader(), &session.account)?;
        Ok(Some(SignedIn {
            lacks_factor: self.lacks_factor(&session.account, &session.methods)?,
            session: session.id,
            account: session.account,
            signed_in_at: session.signed_in_at,
            methods: session.methods,
            is_operator: person.is_some_and(|person| person.is_operator),
        }))
    }

    /// The sessions of an account that have not ended, the newest first.
    pub fn sessions(&self, account: &AccountId) -> Result<Vec<Session>, AccountsError> {
        let now = self.clock.now();
        let mut sessions = sessions(self.cluster.reader(), account)?;
        sessions.retain(|session| session.is_valid(now));
        sessions.reverse();
        Ok(sessions)
    }

    /// Ends sessions: here once this returns, on every other node within the replication bound.
    ///
    /// # Errors
    /// [`AccountsError::NotFound`] when there is none such.
    #[instrument(name = "accounts.end_sessions", skip_all)]
    pub async fn end_sessions(&self, account: &AccountId, which: Which) -> Result<(), AccountsError> {
        let end = SessionCommand::End { account: account.clone(), which };
        match self.change(accounts::Command::Session(end)).await? {
            Outcome::Done => Ok(()),
            _ => Err(AccountsError::NotFound),
        }
    }

    /// The person of `signed_in`, who has shown their password once more; who has none has signed in not long ago.
    ///
    /// # Errors
    /// [`AccountsError::WrongPassword`], [`AccountsError::NotFresh`] of who has none.
    pub(super) async fn confirmed(
        &self,
        signed_in: &SignedIn,
        password: &str,
        address: IpAddr,
    ) -> Result<Person, AccountsError> {
        let person = accounts::person(self.cluster.reader(), &signed_in.account)?;
        let person = person.ok_or(AccountsError::NotFound)?;
        if person.password.is_none() {
            self.fresh(signed_in)?;
            return Ok(person);
        }
        let password = Arc::new(Password::typed(password)?);
        let attempts = self.admit(&person.email, address)?;
        match self.hashing.compare(password, person.password.clone()).await? {
            Compared::Right | Compared::RightButWeak => Ok(person),
            Compared::Wrong => {
                self.failed(&attempts, Some(person.account), address).await?;
                Err(AccountsError::WrongPassword)
            }
        }
    }

    /// Lets a password be tried, if not too many were wrong.
    pub(super) fn admit(&self, email: &Email, address: IpAddr) -> Result<Attempts, AccountsError> {
        let lot = lot(self.config.lock_after);
        self.admit_from((Who::email(email), lot), Who::network(&network(address)))
    }

    /// Lets a code be tried, if not too many were wrong. Each wrong one is told: whoever shows it has shown the password.
    pub(super) fn admit_factor(
        &self,
        account: &AccountId,
        address: IpAddr,
    ) -> Result<Attempts, AccountsError> {
        self.admit_from((Who::factor(account), 1), Who::network(&network(address)))
    }

    /// Lets a passkey be tried. It cannot be guessed, so wrong passwords from the same network are not in its way; wrong ones are counted
    /// by themselves, because each is work.
    pub(super) fn admit_passkey(
        &self,
        account: &AccountId,
        address: IpAddr,
    ) -> Result<Attempts, AccountsError> {
        let network = Who::network(&format!("passkeys from {}", network(address)));
        self.admit_from((Who::factor(account), 1), network)
    }

    fn admit_from(&self, (who, lot_of_who): (Who, u32), network: Who) -> Result<Attempts, AccountsError> {
        let now = self.clock.now();
        let admit = |who: Who, agreed: Option<Tries>, lock_after: u32, lot: u32| {
            let (lock_ms, lock_ms_max) = (self.config.lock_ms, self.config.lock_ms_max);
            let allowance = Allowance { lock_after, lock_ms, lock_ms_max, lot };
            self.guard
                .admit(who, allowance, agreed, now)
                .map_err(|ms| AccountsError::Locked { retry_after_s: ms.div_ceil(1_000).max(1) })
        };
        let networks = self.config.address_lock_after;
        Ok(Attempts([
            admit(who, tries(self.cluster.reader(), &who)?, self.config.lock_after, lot_of_who)?,
            admit(network, self.tries_of_network(&network, now)?, networks, lot(networks))?,
        ]))
    }

    fn tries_of_network(&self, network: &Who, now: Timestamp) -> Result<Option<Tries>, AccountsError> {
        let agreed = tries(self.cluster.reader(), network)?;
        Ok(agreed.map(|tries| tries.forgiven(now, self.config.address_lock_after)))
    }

    /// Counts a wrong password or code, and reports the count when it is due.
    pub(super) async fn failed(
        &self,
        attempts: &Attempts,
        account: Option<AccountId>,
        address: IpAddr,
    ) -> Result<(), AccountsError> {
        let tried = [account.map_or(Tried::Nobody, Tried::Account), Tried::Network(network(address))];
        for (attempt, tried) in attempts.0.iter().zip(tried) {
            let now = self.clock.now();
            let agreed = match tried {
                Tried::Network(_) => self.tries_of_network(&attempt.who, now)?,
                Tried::Account(_) | Tried::Nobody => tries(self.cluster.reader(), &attempt.who)?,
            };
            let count = attempt.failed(agreed, now);
            if count == 0 {
                continue;
            }
            let Allowance { lock_after, lock_ms, lock_ms_max, .. } = attempt.allowance;
            let failed = TryCommand::Failed {
                who: attempt.who,
                tried: tried.clone(),
                count,
                lock_after,
                lock_ms,
                lock_ms_max,
            };
            let locked_before = agreed.and_then(|tries| tries.locked_until);
            if let Err(error) = self.change(accounts::Command::Try(failed)).await {
                attempt.unreported(count);
                return Err(error);
            }
            let locked = tries(self.cluster.reader(), &attempt.who)?.and_then(|tries| tries.locked_until);
            if locked > locked_before {
                self.metrics.locked_out(&tried);
            }
        }
        Ok(())
    }

    /// Tells in the background of wrong passwords before the right one that were too few to be counted.
    fn note_missed(&self, account: &AccountId, count: u32) {
        if count == 0 {
            return;
        }
        let missed = Event::new(Action::SignInFailed, Kind::Account, account).refused().times(count.into());
        self.audit.note_later(missed);
    }

    /// Notes in the background that a session is in use, now and then.
    fn note_use(&self, session: &Session, now: Timestamp) {
        let due_ms = (session.idle_ms / SEEN_TIMES).min(SEEN_MS_MAX);
        if now.millis_since(session.seen_at) < due_ms {
            return;
        }
        let (accounts, secret_hash) = (self.clone(), session.secret_hash);
        tokio::spawn(async move {
            // Without a leader it is noted the next time.
            let _ = accounts.change(accounts::Command::Session(SessionCommand::Seen { secret_hash })).await;
        });
    }
}

impl Attempts {
    /// Forgets what was wrong before; how many of those were told to nobody.
    pub(super) fn succeeded(&self) -> u32 {
        // What a network did wrong is not made good by one right password.
        self.0[0].succeeded()
    }
}

/// Wrong tries that are reported together, where so many lock.
fn lot(lock_after: u32) -> u32 {
    (lock_after / 5).max(1)
}

/// What a program says about itself, of a length that is kept, without what would break a line.
fn cut(client: &str) -> String {
    let printable: String = client.chars().filter(|letter| !letter.is_control()).collect();
    let end = printable.floor_char_boundary(CLIENT_BYTES_MAX);
    printable[..end].to_owned()
}
