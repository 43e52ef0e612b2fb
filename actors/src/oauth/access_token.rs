//! Access tokens: what one says, as a JWT that anybody can verify (RFC 9068) and sealed, for this service alone.
//!
//! A JWT that comes in is read more strictly than the standard asks: its head has the three members that we write and no others,
//! so what `crit`, `jku`, `jwk` or `b64` might mean never arises (RFC 8725, 3.1 and 3.10).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::{AccountId, GrantId};
use twinmcp_storage::oauth::grant::LEEWAY_MS;
use twinmcp_storage::oauth::signing_key::Algorithm;
use twinmcp_storage::scope::Scope;

use super::assurance::Assurance;
use super::keys::{ACCESS_TYPE, Keys};

/// Longest JWT that is looked at, in bytes.
const JWT_BYTES_MAX: usize = 8 * 1024;
/// Longest head of one, in letters.
const HEAD_LEN_MAX: usize = 512;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Its name, `jti`.
    pub id: String,
    /// Who acts: a person through a client, or a client for itself.
    pub subject: Subject,
    /// Which client.
    pub client: String,
    /// The grant it came of; none when a client acts for itself.
    pub grant: Option<GrantId>,
    /// What may be done with it.
    pub scopes: Vec<Scope>,
    /// Where (RFC 8707).
    pub resources: Vec<String>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// When and how the person signed in.
    pub signed_in: Option<SignIn>,
    /// Thumbprint of the key whose proof must come with it (RFC 9449, 6).
    pub dpop_jkt: Option<[u8; 32]>,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A person.
    Person(AccountId),
    /// The client itself, in the name of the account that made it.
    Client(AccountId),
}

/// When and how a person signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// When.
    pub at: Timestamp,
    /// How (RFC 8176).
    pub methods: Vec<String>,
    /// In which session.
    pub session: Option<String>,
}

impl AccessToken {
    /// In whose name something is done with it.
    pub fn account(&self) -> &AccountId {
        match &self.subject {
            Subject::Person(account) | Subject::Client(account) => account,
        }
    }

    /// `sub` (RFC 9068, 2.2).
    pub fn sub(&self) -> &str {
        match &self.subject {
            Subject::Person(account) => account.as_str(),
            Subject::Client(_) => &self.client,
        }
    }

    /// The thumbprint of the key that it is bound to, as clients read it (RFC 9449, 6.1).
    pub fn thumbprint(&self) -> Option<String> {
        self.dpop_jkt.map(|jkt| URL_SAFE_NO_PAD.encode(jkt))
    }

    /// Whether it has expired, by a clock that may be another than its issuer's.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.plus_millis(LEEWAY_MS) <= now
    }

    /// The claims of the JWT (RFC 9068, 2.2), as JSON.
    pub(super) fn claims(&self, issuer: &str) -> Vec<u8> {
        let account = match &self.subject {
            Subject::Person(_) => None,
            Subject::Client(account) => Some(account.to_string()),
        };
        let claims = Claims {
            iss: issuer.to_owned(),
            sub: self.sub().to_owned(),
            aud: Audience::of(&self.resources),
            client_id: self.client.clone(),
            exp: self.expires_at.as_secs(),
            iat: self.issued_at.as_secs(),
            jti: self.id.clone(),
            scope: scope_text(&self.scopes),
            auth_time: self.signed_in.as_ref().map(|signed_in| signed_in.at.as_secs()),
            acr: self
                .signed_in
                .as_ref()
                .map(|signed_in| Assurance::of(&signed_in.methods).as_str().to_owned()),
            amr: self.signed_in.as_ref().map(|signed_in| signed_in.methods.clone()),
            sid: self.signed_in.as_ref().and_then(|signed_in| signed_in.session.clone()),
            grant: self.grant.as_ref().map(ToString::to_string),
            account,
            cnf: self.thumbprint().map(|jkt| Confirmation { jkt }),
        };
        // Nothing in it can fail to become JSON.
        serde_json::to_vec(&claims).unwrap_or_default()
    }

    /// What a JWT says, when a key of ours signed it and it has not expired. Whether it was revoked, and is good here, is another matter.
    pub(super) fn verify(jwt: &str, keys: &Keys, issuer: &str, now: Timestamp) -> Option<Self> {
        if jwt.len() > JWT_BYTES_MAX {
            return None;
        }
        let head = jwt.split('.').next().filter(|head| head.len() <= HEAD_LEN_MAX)?;
        let head: Head = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
        if head.typ != ACCESS_TYPE {
            return None;
        }
        let verifier = keys.verifier(&head.kid, now)?;
        if head.alg != verifier.algorithm.as_str() {
            return None;
        }
        let mut validation = Validation::new(library_name(verifier.algorithm));
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are compared below, by the node's own clock; whom it is for, by whoever it is shown to.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(jwt, &verifier.key, &validation).ok()?.claims;
        let token = claims.read()?;
        (!token.has_expired(now)).then_some(token)
    }
}

/// The head of an access token: these members, each once, and no others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    client_id: String,
    exp: u64,
    iat: u64,
    jti: String,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
    /// Told to others; here `amr` tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amr: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// Of a client that acts for itself: in whose name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

/// One audience, or several (RFC 7519, 4.1.3).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn of(resources: &[String]) -> Self {
        match resources {
            [one] => Self::One(one.clone()),
            several => Self::Several(several.to_vec()),
        }
    }
}

/// The key a token is bound to (RFC 9449, 6.1).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    jkt: String,
}

impl Claims {
    fn read(self) -> Option<AccessToken> {
        let subject = match self.account {
            Some(account) => Subject::Client(account.parse().ok()?),
            None => Subject::Person(self.sub.parse().ok()?),
        };
        let dpop_jkt = match self.cnf {
            Some(cnf) => Some(URL_SAFE_NO_PAD.decode(cnf.jkt).ok()?.try_into().ok()?),
            None => None,
        };
        let signed_in = self.auth_time.map(|at| SignIn {
            at: seconds(at),
            methods: self.amr.unwrap_or_default(),
            session: self.sid,
        });
        Some(AccessToken {
            id: self.jti,
            subject,
            client: self.client_id,
            grant: self.grant.map(|grant| grant.parse()).transpose().ok()?,
            scopes: self.scope.split(' ').filter_map(|scope| scope.parse().ok()).collect(),
            resources: match self.aud {
                Audience::One(one) => vec![one],
                Audience::Several(several) => several,
            },
            issued_at: seconds(self.iat),
            expires_at: seconds(self.exp),
            signed_in,
            dpop_jkt,
        })
    }
}

const fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// The algorithm as the library that verifies calls it.
pub(super) fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

/// Scopes as a token and an answer name them (RFC 6749, 3.3).
pub fn scope_text(scopes: &[Scope]) -> String {
    let names: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(" ")
}
