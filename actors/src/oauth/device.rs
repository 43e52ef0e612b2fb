//! Signing in a program that has no browser: it shows a code, a person types it elsewhere and decides (RFC 8628).

use quick_cache::sync::Cache;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::{AccountId, GrantId};
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::client::{Client, GrantType};
use twinmcp_storage::oauth::device::{self as agreed, Device, NAME_BYTES_MAX, State};
use twinmcp_storage::oauth::grant::{self, Allowed};
use twinmcp_storage::scope::Scope;

use super::authorize::{self, Person};
use super::clients;
use super::error::{ErrorCode, OauthError, Refused};
use super::token::Key;
use super::{Oauth, Params, Tokens};

/// How long a person has, in milliseconds.
const TTL_MS: u64 = 10 * 60 * 1000;
/// Between two questions of a device, in seconds, and how much longer after one that came too early (RFC 8628, 3.5).
const INTERVAL_S: u64 = 5;
/// Letters of a user code: consonants, so that it spells nothing, and none that looks like another (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const USER_CODE_LEN: usize = 8;
/// Wrong user codes of one account within [`TTL_MS`]: with 20^8 codes there is nothing to be guessed.
const GUESSES_MAX: u32 = 10;
/// User codes tried before giving up; they are random.
const TRIES_MAX: usize = 8;
/// Devices and accounts of which a node remembers when they asked.
const REMEMBERED_MAX: usize = 10_000;

/// What a device is told to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCodes {
    /// What the device asks with.
    pub device_code: String,
    /// What the person types.
    pub user_code: String,
    /// Life of both, in seconds.
    pub expires_in_s: u64,
    /// Between two questions, in seconds.
    pub interval_s: u64,
}

/// A request that waits for its person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceQuestion {
    /// What the client is called, in its own words.
    pub client_name: String,
    /// Its name in the protocol.
    pub client_id: String,
    /// What it says the device is called.
    pub device_name: Option<String>,
    /// What it wants to do.
    pub scopes: Vec<Scope>,
    /// The code, as it is shown on the device.
    pub user_code: String,
}

/// What this node remembers of who asked when.
pub(super) struct Pace {
    polls: Cache<[u8; 32], (Timestamp, u64)>,
    guesses: Cache<AccountId, (Timestamp, u32)>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { polls: Cache::new(REMEMBERED_MAX), guesses: Cache::new(REMEMBERED_MAX) }
    }

    /// Notes that a device asks; an error when it is too early.
    fn poll(&self, hash: &SecretHash, now: Timestamp) -> Result<(), Refused> {
        let before = self.polls.get(hash.as_bytes());
        let (last, interval_s) = before.unwrap_or((Timestamp::default(), INTERVAL_S));
        // A little early is the network's doing.
        let is_early = now.millis_since(last) + 500 < interval_s * 1000;
        let interval_s = if is_early { interval_s + INTERVAL_S } else { interval_s };
        self.polls.insert(*hash.as_bytes(), (now, interval_s));
        if is_early {
            return Err(Refused::new(ErrorCode::SlowDown, format!("Ask every {interval_s} seconds.")));
        }
        Ok(())
    }

    /// Refuses an account that has typed too many wrong codes.
    fn may_guess(&self, account: &AccountId, now: Timestamp) -> Result<(), Refused> {
        match self.guesses.get(account) {
            Some((since, count)) if count >= GUESSES_MAX && now.millis_since(since) < TTL_MS => {
                let description = "Too many wrong codes were typed. Try again in ten minutes.";
                Err(Refused::new(ErrorCode::SlowDown, description))
            }
            _ => Ok(()),
        }
    }

    fn guessed_wrong(&self, account: &AccountId, now: Timestamp) {
        let before = self.guesses.get(account).filter(|(since, _)| now.millis_since(*since) < TTL_MS);
        let (since, count) = before.unwrap_or((now, 0));
        self.guesses.insert(account.clone(), (since, count + 1));
    }
}

impl Oauth {
    /// Starts a request of a device: takes its form.
    ///
    /// # Errors
    /// What is wrong with it, or why the node cannot do it.
    #[tracing::instrument(name = "oauth.device", skip_all)]
    pub async fn start_device(
        &self,
        form: &str,
        authorization: Option<&str>,
    ) -> Result<DeviceCodes, OauthError> {
        self.0.metrics.timed("device_authorization", Box::pin(self.begin_device(form, authorization))).await
    }

    async fn begin_device(&self, form: &str, authorization: Option<&str>) -> Result<DeviceCodes, OauthError> {
        let params = Params::parse(form)?;
        let client = self.authenticated(&params, authorization).await?;
        clients::may(&client, GrantType::DeviceCode)?;
        let name = params.get("hostname").or_else(|| params.get("device_name"));
        let name = name.map(|name| name.chars().filter(|letter| !letter.is_control()).collect::<String>());
        let (scopes, resources) =
            (authorize::scopes(params.get("scope"), &client)?, self.0.resources.asked(params.resources())?);
        let device_code = self.0.issuer.random()?;
        for _ in 0..TRIES_MAX {
            let user_code = self.user_code()?;
            let command = agreed::Command::Start {
                hash: SecretHash::of(&device_code),
                client: client.id.clone(),
                name: name.clone().filter(|name| name.len() <= NAME_BYTES_MAX),
                scopes: scopes.clone(),
                resources: resources.clone(),
                user_code: user_code.clone(),
                ttl_ms: TTL_MS,
            };
            if self.propose(oauth::Command::Device(command)).await? == Outcome::Done {
                let user_code = shown(&user_code);
                return Ok(DeviceCodes {
                    device_code,
                    user_code,
                    expires_in_s: TTL_MS / 1000,
                    interval_s: INTERVAL_S,
                });
            }
        }
        Err(OauthError::Busy)
    }

    fn user_code(&self) -> Result<String, OauthError> {
        let mut code = String::with_capacity(USER_CODE_LEN);
        let mut pool = [0; 32];
        while code.len() < USER_CODE_LEN {
            self.0.entropy.fill(&mut pool)?;
            // Bytes of 240 and above would make the first letters likelier than the last.
            let even = pool.iter().filter(|byte| **byte < 240).map(|byte| usize::from(*byte) % LETTERS.len());
            let missing = USER_CODE_LEN - code.len();
            code.extend(even.take(missing).map(|at| char::from(LETTERS[at])));
        }
        Ok(code)
    }

    /// The request with the code that a person typed.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidGrant`] when no request waits under it; [`ErrorCode::SlowDown`] after too many of those;
    /// [`ErrorCode::InvalidScope`] when it asks for what is for operators, and `person` is none.
    pub async fn device_question(&self, typed: &str, person: &Person) -> Result<DeviceQuestion, OauthError> {
        let device = self.waiting(typed, person)?;
        authorize::may_give(person, &device.scopes)?;
        let client = self.client(&device.client).await?.ok_or_else(Refused::client)?;
        Ok(DeviceQuestion {
            client_name: client.name.clone(),
            client_id: client.id.clone(),
            device_name: device.name,
            scopes: device.scopes,
            user_code: shown(&device.user_code),
        })
    }

    /// Takes a person's decision.
    ///
    /// # Errors
    /// As [`Self::device_question`].
    pub async fn decide_device(&self, typed: &str, person: &Person, allow: bool) -> Result<(), OauthError> {
        let device = self.waiting(typed, person)?;
        if allow {
            authorize::may_give(person, &device.scopes)?;
        }
        let allowed = allow.then(|| Allowed {
            account: person.account.clone(),
            session: Some(person.session.clone()),
            scopes: device.scopes.clone(),
            resources: device.resources.clone(),
            nonce: None,
            signed_in_at: person.signed_in_at,
            methods: person.methods.clone(),
        });
        let command = agreed::Command::Decide { user_code: device.user_code, allowed };
        match self.propose(oauth::Command::Device(command)).await? {
            Outcome::Done => Ok(()),
            _ => Err(no_such_code().into()),
        }
    }

    fn waiting(&self, typed: &str, person: &Person) -> Result<Device, OauthError> {
        let now = self.now();
        self.0.pace.may_guess(&person.account, now)?;
        let user_code: String = typed
            .chars()
            .filter(char::is_ascii_alphabetic)
            .map(|letter| letter.to_ascii_uppercase())
            .collect();
        let found = match user_code.len() {
            USER_CODE_LEN => agreed::find(self.0.cluster.reader(), &user_code)?,
            _ => None,
        };
        let found = found.filter(|device| device.state == State::Pending && now < device.expires_at);
        found.ok_or_else(|| {
            self.0.pace.guessed_wrong(&person.account, now);
            no_such_code().into()
        })
    }

    /// What a device is told that asks whether it was allowed.
    pub(super) async fn poll_device(
        &self,
        params: &Params,
        client: &Client,
        key: Key,
    ) -> Result<Tokens, OauthError> {
        let code = params.need("device_code")?;
        let hash = SecretHash::of(code);
        let unknown = || Refused::grant("The device code is unknown, was used or is another client's.");
        let found = agreed::get(self.0.cluster.reader(), &hash)?.filter(|device| device.client == client.id);
        let device = found.ok_or_else(unknown)?;
        if device.expires_at <= self.now() {
            return Err(Refused::new(ErrorCode::ExpiredToken, "Nobody decided in time. Start again.").into());
        }
        match device.state {
            State::Pending => {
                self.0.pace.poll(&hash, self.now())?;
                let description = "The person has not decided yet.";
                return Err(Refused::new(ErrorCode::AuthorizationPending, description).into());
            }
            State::Denied => {
                return Err(Refused::new(ErrorCode::AccessDenied, "The person did not allow it.").into());
            }
            State::Redeemed(_) => return Err(unknown().into()),
            // What cannot be given is refused before the code is used up.
            State::Allowed(allowed) => drop(self.given(params, &allowed, client)?),
        }
        // Before the code is used up for tokens that could not be signed.
        let _place = self.0.issuer.place()?;
        let id = GrantId::random(self.now(), &*self.0.entropy)?;
        let refresh = match client.grants.contains(&GrantType::RefreshToken) {
            true => Some(self.0.issuer.refresh(&id)?),
            false => None,
        };
        let command = agreed::Command::Redeem {
            hash,
            client: client.id.clone(),
            dpop_jkt: key,
            grant: id.clone(),
            refresh: refresh.as_deref().map(SecretHash::of),
            limits: self.0.config.limits(),
        };
        if self.propose(oauth::Command::Device(command)).await? != Outcome::Done {
            return Err(unknown().into());
        }
        let grant = grant::get(self.0.cluster.reader(), &id)?.ok_or_else(unknown)?;
        // Once more, of what this node has learnt by now.
        let given = self.given(params, &grant.allowed, client)?;
        self.tokens(client, (&grant, key), given, refresh).await
    }
}

fn no_such_code() -> Refused {
    Refused::grant("No program waits under this code. Check it, or start again: codes live for ten minutes.")
}

/// A user code as people read it: `BCDF-GHJK`.
fn shown(user_code: &str) -> String {
    let (one, two) = user_code.split_at_checked(USER_CODE_LEN / 2).unwrap_or((user_code, ""));
    format!("{one}-{two}")
}
