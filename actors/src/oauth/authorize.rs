//! The authorization request (RFC 6749, 4.1.1; RFC 9700, 2.1): what a client asks for, checked by plain functions.
//!
//! What is wrong is told to the person when client or redirect URI are in doubt, and to the client otherwise; nobody is ever
//! sent to an address that the client did not register.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth::client::{Client, GrantType};
use twinmcp_storage::scope::Scope;

use super::access_token::scope_text;
use super::assurance::Assurance;
use super::error::{ErrorCode, Refused};
use super::params::Params;
use super::redirect::{self, Target};
use super::resource::Resources;

/// Longest `state` that is carried, in bytes.
const STATE_BYTES_MAX: usize = 4 * 1024;
/// Longest `nonce`, in bytes.
const NONCE_BYTES_MAX: usize = 512;

/// Who sits in front of the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Whose account it is.
    pub account: AccountId,
    /// Which session.
    pub session: String,
    /// When the person signed in.
    pub signed_in_at: Timestamp,
    /// How (RFC 8176).
    pub methods: Vec<String>,
    /// Whether the person may give what belongs to operators.
    pub is_admin: bool,
}

/// A request that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) scopes: Vec<Scope>,
    pub(super) resources: Vec<String>,
    pub(super) challenge: [u8; 32],
    pub(super) dpop_jkt: Option<[u8; 32]>,
    pub(super) nonce: Option<String>,
    pub(super) pushed: Option<SecretHash>,
}

/// What a request says about how the person is to be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// Not at all.
    pub(super) silent: bool,
    /// By signing in again.
    pub(super) sign_in: bool,
    /// Whether they allow it, though they did before.
    pub(super) consent: bool,
    /// They signed in no longer ago than so many seconds.
    pub(super) max_age_s: Option<u64>,
    /// They signed in after this moment.
    pub(super) signed_in_after: Option<Timestamp>,
    /// They have shown at least so much.
    pub(super) assurance: Option<Assurance>,
}

/// Where a refusal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// To the person, on a page.
    Page(Refused),
    /// To the client.
    Client { redirect_uri: String, state: Option<String>, refused: Refused },
}

impl From<Refused> for Wrong {
    fn from(refused: Refused) -> Self {
        Self::Page(refused)
    }
}

/// Checks a request of `client`.
pub(super) fn check(
    params: &Params,
    client: &Client,
    resources: &Resources,
) -> Result<(Asked, Manner), Wrong> {
    if !client.grants.contains(&GrantType::AuthorizationCode) {
        let description = "This client does not sign people in: it is not registered for authorization_code.";
        return Err(Refused::new(ErrorCode::UnauthorizedClient, description).into());
    }
    let redirect_uri = redirect::choose(&client.redirect_uris, params.get("redirect_uri"))?;
    let state = params.get("state").map(str::to_owned);
    let to_client =
        |refused| Wrong::Client { redirect_uri: redirect_uri.clone(), state: state.clone(), refused };
    let checked = read(params, client, resources).map_err(to_client)?;
    let (scopes, resources, challenge, dpop_jkt, nonce, manner) = checked;
    let client = client.id.clone();
    let asked =
        Asked { client, redirect_uri, state, scopes, resources, challenge, dpop_jkt, nonce, pushed: None };
    Ok((asked, manner))
}

type Read = (Vec<Scope>, Vec<String>, [u8; 32], Option<[u8; 32]>, Option<String>, Manner);

fn read(params: &Params, client: &Client, resources: &Resources) -> Result<Read, Refused> {
    if params.get("state").is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(Refused::request(format!("'state' has at most {STATE_BYTES_MAX} bytes.")));
    }
    if params.need("response_type")? != "code" {
        let description = "Only response_type=code is answered; implicit and hybrid flows are not.";
        return Err(Refused::new(ErrorCode::UnsupportedResponseType, description));
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Refused::request("Codes are sent in the query only: leave response_mode out."));
    }
    if params.get("request").is_some() || params.get("registration").is_some() {
        return Err(Refused::request("Request objects are not read; push the request ahead (RFC 9126)."));
    }
    let challenge = challenge(params)?;
    let nonce = params.get("nonce").map(str::to_owned);
    if nonce.as_ref().is_some_and(|nonce| nonce.len() > NONCE_BYTES_MAX) {
        return Err(Refused::request(format!("'nonce' has at most {NONCE_BYTES_MAX} bytes.")));
    }
    let dpop_jkt = params.get("dpop_jkt").map(digest).transpose();
    let dpop_jkt =
        dpop_jkt.map_err(|()| Refused::request("'dpop_jkt' is no thumbprint of a key (RFC 9449, 10)."))?;
    let scopes = scopes(params.get("scope"), client)?;
    let resources = resources.asked(params.resources())?;
    Ok((scopes, resources, challenge, dpop_jkt, nonce, manner(params)?))
}

/// The challenge, which every client has to send, of the one method that proves something (RFC 9700, 2.1.1).
fn challenge(params: &Params) -> Result<[u8; 32], Refused> {
    let challenge = params.get("code_challenge").ok_or_else(|| {
        Refused::request("'code_challenge' is missing: PKCE with S256 is needed (RFC 7636).")
    })?;
    if params.get("code_challenge_method") != Some("S256") {
        return Err(Refused::request("'code_challenge_method' must be S256 (RFC 7636, 7.2)."));
    }
    digest(challenge)
        .map_err(|()| Refused::request("'code_challenge' is no base64url SHA-256 of 43 letters."))
}

/// The 32 bytes that 43 letters of base64url stand for.
fn digest(text: &str) -> Result<[u8; 32], ()> {
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(())
}

/// The scopes asked for, each of which the client may have; those of the documentation when it names none.
pub(super) fn scopes(asked: Option<&str>, client: &Client) -> Result<Vec<Scope>, Refused> {
    let mut scopes = Vec::new();
    for name in asked.unwrap_or(Scope::DocsRead.as_str()).split(' ').filter(|name| !name.is_empty()) {
        let scope: Scope = name.parse().map_err(|_| {
            Refused::new(ErrorCode::InvalidScope, format!("There is no scope '{name}' here."))
        })?;
        if !client.scopes.contains(&scope) {
            let may = scope_text(&client.scopes);
            let description = format!("This client may not have the scope '{name}'; it may have: {may}.");
            return Err(Refused::new(ErrorCode::InvalidScope, description));
        }
        scopes.push(scope);
    }
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidScope, "'scope' names none."));
    }
    Ok(scopes)
}

fn manner(params: &Params) -> Result<Manner, Refused> {
    let mut manner = Manner::default();
    let prompts: Vec<&str> =
        params.get("prompt").unwrap_or_default().split(' ').filter(|p| !p.is_empty()).collect();
    for prompt in &prompts {
        match *prompt {
            "none" => manner.silent = true,
            "login" | "select_account" => manner.sign_in = true,
            "consent" => manner.consent = true,
            _ => return Err(Refused::request("'prompt' is none, login, consent or select_account.")),
        }
    }
    if manner.silent && prompts.len() > 1 {
        return Err(Refused::request("'prompt=none' stands alone."));
    }
    if let Some(max_age) = params.get("max_age") {
        let seconds = max_age.parse().map_err(|_| Refused::request("'max_age' is a number of seconds."))?;
        manner.max_age_s = Some(seconds);
        // No sign-in is that fresh: it asks for one (OpenID Connect Core, 3.1.2.1).
        manner.sign_in |= seconds == 0;
    }
    manner.assurance = params.get("acr_values").and_then(Assurance::asked);
    Ok(manner)
}

/// Refuses what `person` may not give away: what is for operators, unless they are one.
///
/// # Errors
/// [`ErrorCode::InvalidScope`].
pub(super) fn may_give(person: &Person, scopes: &[Scope]) -> Result<(), Refused> {
    match scopes.iter().find(|scope| scope.is_for_operators() && !person.is_admin) {
        None => Ok(()),
        Some(scope) => {
            let description = format!("The person may not give the scope '{scope}': it is for operators.");
            Err(Refused::new(ErrorCode::InvalidScope, description))
        }
    }
}

/// What is to be done first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The person signs in.
    SignIn,
    /// The person adds a second factor: they have none, or would have shown it.
    AddFactor,
    /// The person is asked.
    Ask,
    /// Nothing: a code is sent.
    Grant,
}

/// What is to be done for a request that can be granted.
///
/// A remembered consent counts for a client that shows who it is, or that only the owner of a web server can be: anybody can
/// say that it is a public client on a loopback address (RFC 8252, 8.6).
pub(super) fn next(
    (asked, manner): (&Asked, &Manner),
    client: &Client,
    person: Option<&Person>,
    remembered: &[Scope],
    now: Timestamp,
) -> Result<Step, Refused> {
    let fresh = |person: &&Person| {
        let age_s = now.millis_since(person.signed_in_at) / 1000;
        manner.max_age_s.is_none_or(|max_age_s| max_age_s == 0 || age_s <= max_age_s)
            && manner.signed_in_after.map_or(!manner.sign_in, |after| after <= person.signed_in_at)
    };
    let Some(person) = person.filter(fresh) else {
        if manner.silent {
            return Err(Refused::new(
                ErrorCode::LoginRequired,
                "Nobody is signed in, and nobody may be asked.",
            ));
        }
        return Ok(Step::SignIn);
    };
    if manner.assurance.is_some_and(|asked| Assurance::of(&person.methods) < asked) {
        if manner.silent {
            let description = "The person has no second factor, and may not be asked to add one.";
            return Err(Refused::new(ErrorCode::UnmetAuthenticationRequirements, description));
        }
        return Ok(Step::AddFactor);
    }
    may_give(person, &asked.scopes)?;
    let is_known = client.is_confidential() || redirect::check(&asked.redirect_uri) == Ok(Target::Web);
    let is_remembered = is_known && asked.scopes.iter().all(|scope| remembered.contains(scope));
    if !manner.consent && (client.trusted || is_remembered) {
        return Ok(Step::Grant);
    }
    if manner.silent {
        return Err(Refused::new(ErrorCode::ConsentRequired, "The person has to be asked, and may not be."));
    }
    Ok(Step::Ask)
}
