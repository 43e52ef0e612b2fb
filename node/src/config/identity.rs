//! People and programs: accounts, second factors, tokens, letters and text messages.

use std::path::PathBuf;

use super::ProviderConfig;
use super::source::Source;

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUpMode {
    /// Everybody whose mail arrives.
    Open,
    /// Whoever an operator gives a link.
    Invite,
    /// Nobody; operators make accounts with a password.
    Closed,
}

section! {
    /// People who sign in.
    AccountsConfig = "accounts" {
        /// Who may make an account: `open` (everybody whose mail arrives), `invite` (whoever an operator gives a link) or `closed`
        /// (nobody; operators make accounts with a password).
        sign_up: SignUpMode = SignUpMode::Invite,
        /// Time without use after which a session ends, in seconds.
        session_idle_seconds: u64 = 7 * 24 * 3600,
        /// Time after which a session ends in any case, in seconds.
        session_life_seconds: u64 = 30 * 24 * 3600,
        /// Wrong passwords for one e-mail address before it is locked, over all nodes.
        lock_after: u32 = 10,
        /// Wrong passwords from one IPv4 address or IPv6 /64 before it is locked, over all nodes.
        address_lock_after: u32 = 50,
        /// The first lock, in seconds; each further wrong password doubles it.
        lock_seconds: u64 = 60,
        /// The longest lock, in seconds.
        lock_seconds_max: u64 = 3600,
        /// Life of a link to another password, in seconds.
        reset_life_seconds: u64 = 3600,
        /// Life of a link that invites, or confirms an e-mail address, in seconds; of one that somebody asked for themselves to sign up, a
        /// third of it.
        invite_life_seconds: u64 = 3 * 24 * 3600,
        /// Passwords hashed at once; 0 for half of the cores.
        hash_threads: usize = 0,
        /// Passwords that wait for it beyond those; one more is told 429 with `Retry-After`.
        hashes_waiting_max: usize = 64,
    }
}

/// Who has to have a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MfaRequired {
    /// Nobody; people may have one.
    Nobody,
    /// Who runs this service.
    Operators,
    /// Every person.
    Everybody,
}

section! {
    /// Second factors of people who sign in.
    MfaConfig = "mfa" {
        /// Who has to have one: `nobody` (people may), `operators` or `everybody`. Who has none is led to add one after the password, and can do
        /// nothing else before.
        required: MfaRequired = MfaRequired::Nobody,
        /// What the service is called in an authenticator app.
        issuer: String = "TwinMCP".to_owned(),
        /// How long after a sign-in factors may be added and removed, and identities of other providers connected, in seconds; later the
        /// person signs in once more.
        fresh_seconds: u64 = 600,
    }
}

/// What tokens are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningAlgorithm(pub twinmcp_storage::oauth::signing_key::Algorithm);

impl<'de> serde::Deserialize<'de> for SigningAlgorithm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

section! {
    /// The authorization server.
    OauthConfig = "oauth" {
        /// What tokens are signed with, the usual one first: `RS256`, `ES256`, `EdDSA`. The others are for clients that ask for them.
        signing_algorithms: Vec<SigningAlgorithm> = vec![SigningAlgorithm(twinmcp_storage::oauth::signing_key::Algorithm::Rs256)],
        /// Life of an access token, in seconds; an hour at most.
        access_token_seconds: u64 = 600,
        /// Life of an authorization code, in seconds.
        code_seconds: u64 = 60,
        /// Life of a refresh token that is not used, in seconds.
        refresh_idle_seconds: u64 = 30 * 24 * 3600,
        /// Life of all refresh tokens of one sign-in together, in seconds.
        refresh_life_seconds: u64 = 180 * 24 * 3600,
        /// How long a client with credentials may send a used refresh token again because the answer was lost, in seconds; 0 for never.
        refresh_retry_seconds: u64 = 10,
        /// Whether clients may register themselves (RFC 7591).
        registration: bool = true,
        /// How long a key signs before the next one does, in seconds.
        key_seconds: u64 = 90 * 24 * 3600,
        /// How long a key is published before it signs, in seconds.
        key_publish_seconds: u64 = 24 * 3600,
    }
}

section! {
    /// Signing in at other providers.
    UpstreamConfig = "upstream" {
        /// Each as a `[[upstream.providers]]`, the same on all nodes of a cluster.
        providers: Vec<ProviderConfig> = Vec::new(),
    }
}

section! {
    /// Codes by text message, as a second factor.
    SmsConfig = "sms" {
        /// Where a carrier takes messages, by https, or by http on this machine; empty sends none.
        url: String = String::new(),
        /// File with the secret that the carrier knows this service by; empty where a variable has it.
        secret_file: PathBuf = PathBuf::new(),
        /// Variable with that secret; empty where a file has it.
        secret_variable: String = String::new(),
        /// What a message says, with `{code}` in it; `{service}` and `{host}` stand for theirs.
        text: String = "{code} is your code for {service}. Give it to nobody.\n\n@{host} #{code}".to_owned(),
        /// Messages an hour for one account, and to one number.
        per_hour: u32 = 5,
        /// Messages an hour that are asked for from one network.
        network_per_hour: u32 = 20,
    }
}

/// How the mail relay is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// TLS after `STARTTLS`, or nothing is sent.
    Starttls,
    /// None, for a relay on this machine.
    None,
}

section! {
    /// Letters to people.
    MailConfig = "mail" {
        /// Host of the relay that letters are handed to by SMTP; empty to write them to `outbox/` in the data directory.
        host: String = String::new(),
        /// Its port; 0 for the usual one (465, with `starttls` 587, with `none` 25).
        port: u16 = 0,
        /// How it is spoken to: `implicit` (TLS from the first byte), `starttls` (TLS or nothing) or `none` (for a relay on this machine).
        tls: MailTls = MailTls::Implicit,
        /// Name to sign in with at the relay; empty for none.
        user: String = String::new(),
        /// File with the password to it; empty for none.
        password_file: PathBuf = PathBuf::new(),
        /// Sender of every letter, e.g. `TwinMCP <no-reply@example.com>`.
        from: String = String::new(),
    }
}
