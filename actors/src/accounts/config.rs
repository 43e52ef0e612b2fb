//! What an operator decides about people.

use std::path::PathBuf;

use super::factors::MfaConfig;

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignUp {
    /// Everybody whose mail arrives.
    Open,
    /// Whoever an operator has sent a link.
    #[default]
    Invite,
    /// Nobody; operators make accounts with a password.
    Closed,
}

/// How a letter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SmtpTls {
    /// TLS from the first byte (RFC 8314, 3.3), port 465.
    #[default]
    Implicit,
    /// TLS after `STARTTLS`, without which nothing is sent, port 587.
    StartTls,
    /// None: for a relay on this machine.
    None,
}

/// Where mail is handed in.
#[derive(Debug, Clone, Default)]
pub struct MailConfig {
    /// Host of the relay; empty to write letters to files.
    pub host: String,
    /// Its port; 0 for the usual one.
    pub port: u16,
    /// How it is spoken to.
    pub tls: SmtpTls,
    /// Name to sign in with; empty for none.
    pub user: String,
    /// The password to it.
    pub password: SmtpPassword,
    /// Sender of every letter, e.g. `TwinMCP <no-reply@example.org>`.
    pub from: String,
    /// Where letters are written when there is no relay.
    pub outbox: PathBuf,
}

/// The password to a relay.
#[derive(Clone, Default)]
pub struct SmtpPassword(String);

impl SmtpPassword {
    /// This one.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SmtpPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How codes are sent to phones.
#[derive(Debug, Clone)]
pub struct SmsConfig {
    /// Where the carrier takes messages.
    pub url: String,
    /// What shows it who sends.
    pub secret: CarrierSecret,
    /// What a message says; `{code}`, `{service}` and `{host}` stand for theirs.
    pub text: String,
    /// Messages for one account, and to one number, within an hour; to a number, those that add it and those that sign in by themselves.
    pub texts_max: u32,
    /// Messages that are asked for from one network within an hour.
    pub network_texts_max: u32,
}

/// Longest secret of a carrier, in bytes.
const CARRIER_SECRET_BYTES_MAX: usize = 4 * 1024;

/// The secret that a carrier knows this service by.
#[derive(Clone)]
pub struct CarrierSecret(String);

impl CarrierSecret {
    /// The secret in `text`: printable characters without blanks, blanks around them aside; `None` when it is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_secret = (1..=CARRIER_SECRET_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_secret.then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for CarrierSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// How people sign up and in.
#[derive(Debug, Clone)]
pub struct AccountsConfig {
    /// Who may make an account.
    pub sign_up: SignUp,
    /// What links in letters begin with, without a slash at the end; never taken from a request.
    pub public_url: String,
    /// Time without use after which a session ends, in milliseconds.
    pub session_idle_ms: u64,
    /// Time after which a session ends in any case, in milliseconds.
    pub session_life_ms: u64,
    /// Wrong passwords for one e-mail before it is locked.
    pub lock_after: u32,
    /// Wrong passwords from one network before it is locked.
    pub address_lock_after: u32,
    /// The first lock, in milliseconds; each further wrong password doubles it.
    pub lock_ms: u64,
    /// The longest lock, in milliseconds.
    pub lock_ms_max: u64,
    /// Life of a link to another password, in milliseconds.
    pub reset_life_ms: u64,
    /// Life of a link that confirms an e-mail, or invites, in milliseconds.
    pub invite_life_ms: u64,
    /// Passwords hashed at once; 0 for half of the cores.
    pub hash_threads: usize,
    /// Passwords that may wait for it; one more is told to come again.
    pub hashes_waiting_max: usize,
    /// How letters leave.
    pub mail: MailConfig,
    /// How second factors are dealt with.
    pub mfa: MfaConfig,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        let (minute, hour, day) = (60_000, 3_600_000, 24 * 3_600_000);
        Self {
            sign_up: SignUp::default(),
            public_url: "http://127.0.0.1:3000".to_owned(),
            session_idle_ms: 7 * day,
            session_life_ms: 30 * day,
            lock_after: 10,
            address_lock_after: 50,
            lock_ms: minute,
            lock_ms_max: hour,
            reset_life_ms: hour,
            invite_life_ms: 3 * day,
            hash_threads: 0,
            hashes_waiting_max: 64,
            mail: MailConfig::default(),
            mfa: MfaConfig::default(),
        }
    }
}
