//! Clients: programs that ask people for access, or act for themselves (RFC 6749, 2).
//!
//! Key layout: `c/<id>` -> [`Client`]; `i/<account>/<id>` -> nothing, of a client that the account owns; `n` -> how many registered
//! themselves. A client whose id is the URL of its metadata is not kept: its document is fetched.
//!
//! Invariant: a client of an account is in that account's list as long as it is kept, and goes with the account.

use serde::{Deserialize, Serialize};

use super::expiry;
use super::signing_key::Algorithm;
use crate::api_keys::SecretHash;
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::record::Record;
use crate::scope::Scope;
use crate::teams;
use crate::transaction::{self, Transaction};

/// Longest id of a client, in bytes; one may be a URL.
pub const ID_BYTES_MAX: usize = 512;
/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// Redirect URIs of one client.
pub const REDIRECT_URIS_MAX: usize = 20;
/// Longest URI of a client, in bytes.
pub const URI_BYTES_MAX: usize = 1_024;
/// Longest set of a client's public keys, in bytes.
pub const JWKS_BYTES_MAX: usize = 16 * 1024;
/// Clients that registered themselves, at once.
pub const REGISTERED_MAX: u64 = 100_000;
/// Clients one account may have.
pub const PER_ACCOUNT_MAX: usize = 100;
/// Clients of everybody, read for a list.
pub const LISTED_MAX: usize = 1_000;
/// How long one that registered itself is kept unused, in milliseconds: a day.
const UNUSED_MS_MAX: u64 = 24 * 3600 * 1000;
/// How long one that registered itself is kept after its last use, in milliseconds: 180 days.
const RESTING_MS_MAX: u64 = 180 * 24 * 3600 * 1000;

/// A way to get tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GrantType {
    /// A person allows it in a browser (RFC 6749, 4.1).
    AuthorizationCode,
    /// The client goes on without the person (RFC 6749, 6).
    RefreshToken,
    /// The client acts for itself (RFC 6749, 4.4).
    ClientCredentials,
    /// A person allows it on another device (RFC 8628).
    DeviceCode,
}

/// How a client shows that it is who it says (OpenID Connect Core, 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// It cannot: a public client.
    None,
    /// A secret, in a header or in the body.
    Secret(SecretHash),
    /// A signature by one of its keys (RFC 7523, 2.2).
    PrivateKeyJwt(Keys),
    /// A code made with a secret that both sides know (RFC 7523, 2.2; OpenID Connect Core, 9).
    SecretJwt {
        /// The secret, sealed.
        sealed: Vec<u8>,
    },
}

/// Where a client's public keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    /// Here: a JWK set (RFC 7517, 5), at most [`JWKS_BYTES_MAX`].
    Set(String),
    /// At this address, which the client keeps up to date: `jwks_uri`.
    Uri(String),
}

/// How a client is told that a session has ended (OpenID Back-Channel Logout, 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackchannelLogout {
    /// Where: `backchannel_logout_uri`.
    pub uri: String,
    /// Whether it needs to know which session it was.
    pub session_required: bool,
}

/// What kind of access token a client gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenFormat {
    /// A JWT that anybody can verify (RFC 9068).
    #[default]
    Jwt,
    /// One that only this service can read.
    Opaque,
}

/// Who is responsible for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Whoever made it; what it does for itself, it does in this account's name.
    Account(AccountId),
    /// It registered itself (RFC 7591).
    Itself {
        /// Opens its registration (RFC 7592, 3).
        registration_token: SecretHash,
        /// When somebody last allowed it something.
        used_at: Option<Timestamp>,
    },
    /// Whoever publishes the document that its id is the URL of. Never kept.
    Publisher,
    /// This build, which knows it by heart. Never kept.
    Program,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its public name in the protocol.
    pub id: String,
    /// What people are told it is called.
    pub name: String,
    /// Who is responsible for it.
    pub owner: Owner,
    /// How it shows that it is who it says.
    pub authentication: Authentication,
    /// Where people are sent back to; compared as they stand, but for the port on loopback (RFC 8252, 7.3).
    pub redirect_uris: Vec<String>,
    /// Where people may be sent after they signed out.
    pub post_logout_redirect_uris: Vec<String>,
    /// How it may get tokens.
    pub grants: Vec<GrantType>,
    /// What it may be given at most.
    pub scopes: Vec<Scope>,
    /// What kind of access token it gets.
    pub token_format: TokenFormat,
    /// What its tokens are signed with; the service's default when absent.
    pub algorithm: Option<Algorithm>,
    /// Its home page, shown to people.
    pub uri: Option<String>,
    /// People are not asked whether they allow it: it is the operators' own.
    pub trusted: bool,
    /// How it is told that a session has ended, if it wants to know.
    pub backchannel_logout: Option<BackchannelLogout>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Record for Client {
    const NAME: &'static str = "client";
    const FORMAT: u8 = 1;
}

impl Client {
    /// Whether it can show who it is.
    pub fn is_confidential(&self) -> bool {
        self.authentication != Authentication::None
    }

    /// From when on nobody needs its record any more.
    fn expires_at(&self) -> Option<Timestamp> {
        match self.owner {
            Owner::Itself { used_at: None, .. } => Some(self.created_at.plus_millis(UNUSED_MS_MAX)),
            Owner::Itself { used_at: Some(used_at), .. } => Some(used_at.plus_millis(RESTING_MS_MAX)),
            Owner::Account(_) | Owner::Publisher | Owner::Program => None,
        }
    }
}

/// A change to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a client; its time is that of the log. [`Outcome::AlreadyExists`] when the id is taken, [`Outcome::LimitReached`] with
    /// [`REGISTERED_MAX`] clients that registered themselves, or [`PER_ACCOUNT_MAX`] of its account.
    Create(Client),
    /// Puts other facts in place of a client's; owner and time stay. [`Outcome::NotFound`] without the client, [`Outcome::Stale`] when
    /// its facts are not those of `before` any more: what was changed meanwhile would come back.
    Change {
        /// What the change was made of.
        before: Box<Client>,
        /// What it is from now on.
        client: Box<Client>,
    },
    /// Removes a client. Its tokens live until they expire; nothing is refreshed. [`Outcome::NotFound`] without it.
    Remove {
        /// Which.
        id: String,
    },
    /// Makes a client of a team, whose account is its owner. [`Outcome::NotFound`] for a team that `by` is not in,
    /// [`Outcome::Forbidden`] for who is no admin of it, [`Outcome::LimitReached`] with [`teams::CLIENTS_MAX`] clients.
    CreateFor {
        /// Who makes it; the client ends with their membership.
        by: AccountId,
        /// The team.
        team: AccountId,
        /// The client.
        client: Client,
    },
}

pub(super) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Create(client) => {
            if get(transaction, &client.id)?.is_some() {
                return Ok(Outcome::AlreadyExists);
            }
            let client = Client { created_at: at, ..client.clone() };
            if let Some(expires_at) = client.expires_at() {
                let registered = registered(transaction)?;
                if registered >= REGISTERED_MAX {
                    return Ok(Outcome::LimitReached);
                }
                set_registered(transaction, registered + 1);
                transaction.note(noted(Action::ClientRegistered, &client));
                expiry::note(transaction, at, expires_at, &key(&client.id))?;
            }
            if let Owner::Account(account) = &client.owner {
                let others = transaction.scan(Keyspace::Oauth, &owned(account), None, PER_ACCOUNT_MAX)?;
                if others.len() >= PER_ACCOUNT_MAX {
                    return Ok(Outcome::LimitReached);
                }
                transaction.put_bytes(Keyspace::Oauth, owned_key(account, &client.id), Vec::new());
                transaction.note(noted(Action::ClientMade, &client));
            }
            transaction.put(Keyspace::Oauth, key(&client.id), &client)?;
        }
        Command::Change { before, client } => {
            let Some(kept) = get(transaction, &client.id)? else { return Ok(Outcome::NotFound) };
            // When it was last used is part of its owner, and is no reason to refuse.
            let as_kept = |client: &Client| Client {
                owner: kept.owner.clone(),
                created_at: kept.created_at,
                ..client.clone()
            };
            if as_kept(before) != kept {
                return Ok(Outcome::Stale);
            }
            let client = as_kept(client);
            let action = match client.authentication == kept.authentication {
                true => Action::ClientChanged,
                false => Action::ClientCredentialsReplaced,
            };
            transaction.note(noted(action, &client));
            transaction.put(Keyspace::Oauth, key(&client.id), &client)?;
        }
        Command::Remove { id } => {
            let Some(client) = get(transaction, id)? else { return Ok(Outcome::NotFound) };
            remove(transaction, &client)?;
            if let Owner::Account(owner) = &client.owner {
                teams::client_removed(transaction, owner, &client)?;
            }
            transaction.note(noted(Action::ClientRemoved, &client));
        }
        Command::CreateFor { by, team, client } => {
            if let Some(refused) = teams::may_make_client(transaction, team, by)? {
                return Ok(refused);
            }
            let client = Client { owner: Owner::Account(team.clone()), ..client.clone() };
            let id = client.id.clone();
            match apply(transaction, at, &Command::Create(client))? {
                Outcome::Done => teams::client_made(transaction, team, by, &id)?,
                refused => return Ok(refused),
            }
        }
    }
    Ok(Outcome::Done)
}

fn noted(action: Action, client: &Client) -> Event {
    let event = Event::new(action, Kind::Client, &client.id).with("name", &client.name);
    match &client.owner {
        Owner::Account(account) => event.of(account),
        _ => event,
    }
}

/// Removes a client of a team whose maker has left, or that is deleted; the team is its own to write.
pub(crate) fn forget(transaction: &mut Transaction<'_>, id: &str) -> Result<(), StorageError> {
    match get(transaction, id)? {
        Some(client) => {
            transaction.note(noted(Action::ClientRemoved, &client));
            remove(transaction, &client)
        }
        None => Ok(()),
    }
}

/// Removes the clients of an account, which is removed.
pub(crate) fn forget_all(transaction: &mut Transaction<'_>, account: &AccountId) -> Result<(), StorageError> {
    for client in of(transaction, account)? {
        transaction.note(noted(Action::ClientRemoved, &client));
        remove(transaction, &client)?;
    }
    Ok(())
}

fn remove(transaction: &mut Transaction<'_>, client: &Client) -> Result<(), StorageError> {
    if client.expires_at().is_some() {
        let registered = registered(transaction)?;
        set_registered(transaction, registered.saturating_sub(1));
    }
    if let Owner::Account(account) = &client.owner {
        transaction.remove(Keyspace::Oauth, owned_key(account, &client.id));
    }
    transaction.remove(Keyspace::Oauth, key(&client.id));
    Ok(())
}

/// Notes that somebody allowed the client something, at most once a day.
pub(super) fn used(transaction: &mut Transaction<'_>, at: Timestamp, id: &str) -> Result<(), StorageError> {
    let Some(mut client) = get(transaction, id)? else { return Ok(()) };
    if let Owner::Itself { used_at, .. } = &mut client.owner
        && used_at.is_none_or(|used_at| at.millis_since(used_at) > UNUSED_MS_MAX)
    {
        *used_at = Some(at);
        transaction.put(Keyspace::Oauth, key(id), &client)?;
    }
    Ok(())
}

pub(super) fn expire(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    key: &[u8],
) -> Result<Option<Timestamp>, StorageError> {
    let Some(client) = transaction::get::<Client>(transaction, Keyspace::Oauth, key)? else {
        return Ok(None);
    };
    match client.expires_at() {
        Some(expires_at) if expires_at <= now => {
            remove(transaction, &client)?;
            Ok(None)
        }
        later => Ok(later),
    }
}

const REGISTERED: &[u8] = b"n";

fn registered(reader: &(impl Reader + ?Sized)) -> Result<u64, StorageError> {
    let count = reader.get(Keyspace::Oauth, REGISTERED)?;
    Ok(count.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

fn set_registered(transaction: &mut Transaction<'_>, count: u64) {
    transaction.put_bytes(Keyspace::Oauth, REGISTERED.to_vec(), count.to_be_bytes().to_vec());
}

fn key(id: &str) -> Vec<u8> {
    format!("c/{id}").into_bytes()
}

const OWNED: &str = "i/";

fn owned(account: &AccountId) -> Vec<u8> {
    format!("{OWNED}{account}/").into_bytes()
}

fn owned_key(account: &AccountId, id: &str) -> Vec<u8> {
    format!("{OWNED}{account}/{id}").into_bytes()
}

/// The client with this id.
pub fn get(reader: &(impl Reader + ?Sized), id: &str) -> Result<Option<Client>, StorageError> {
    if id.len() > ID_BYTES_MAX {
        return Ok(None);
    }
    transaction::get(reader, Keyspace::Oauth, &key(id))
}

/// The clients of an account, by id: at most [`PER_ACCOUNT_MAX`].
pub fn of(reader: &(impl Reader + ?Sized), account: &AccountId) -> Result<Vec<Client>, StorageError> {
    listed(reader, &owned(account), PER_ACCOUNT_MAX)
}

/// Up to [`LISTED_MAX`] clients: first those of accounts, so that no flood of registrations hides them, then such as registered
/// themselves, by id.
pub fn list(reader: &(impl Reader + ?Sized)) -> Result<Vec<Client>, StorageError> {
    let mut clients = listed(reader, OWNED.as_bytes(), LISTED_MAX)?;
    let kept = transaction::scan::<Client>(reader, Keyspace::Oauth, b"c/", None, LISTED_MAX)?;
    clients.extend(kept.into_iter().filter(|client| !matches!(client.owner, Owner::Account(_))));
    clients.truncate(LISTED_MAX);
    Ok(clients)
}

/// The clients that a part of the lists of accounts names.
fn listed(reader: &(impl Reader + ?Sized), prefix: &[u8], limit: usize) -> Result<Vec<Client>, StorageError> {
    let mut clients = Vec::new();
    for (key, _) in reader.scan(Keyspace::Oauth, prefix, None, limit)? {
        // The name of an account has no slash.
        let id = std::str::from_utf8(&key).ok().and_then(|key| key.splitn(3, '/').nth(2));
        clients.extend(id.map(|id| get(reader, id)).transpose()?.flatten());
    }
    Ok(clients)
}
