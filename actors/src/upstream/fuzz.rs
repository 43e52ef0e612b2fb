//! What a provider of sign-ins answers, for the fuzz targets: see [`crate::fuzzing`].
//!
//! A signature keeps a fuzzer out, so tokens are also signed here, with a key of this process.

use std::sync::LazyLock;

use oauth2::{
    AuthUrl, AuthorizationCode, Client, ClientId, CsrfToken, HttpRequest, HttpResponse, PkceCodeVerifier,
    TokenResponse, TokenUrl,
};
use serde_json::Value;
use twinmcp_storage::clock::Timestamp;

use super::claims::{self, Claims, Expected, Person, UserInfo};
use super::exchange::{ExchangeError, Protocol, Tokens};
use super::metadata::Metadata;
use super::{Kind, Provider, ProviderSecret, github, logout, trip};
use crate::jose::{self, ALGORITHMS, KeySet};
use crate::oauth::fuzz::signed_lines;
use crate::outbound::StatusCode;

const NOW: Timestamp = Timestamp::from_millis(1_795_437_970_000);
const ISSUER: &str = "https://id.example";
const CLIENT: &str = "we";
const NONCE: &str = "n";
const ACCESS_TOKEN: &str = "token";
const SUBJECT: &str = "ada";

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| Provider {
    name: "id".to_owned(),
    title: "Id".to_owned(),
    kind: Kind::OpenId,
    url: ISSUER.to_owned(),
    client_id: CLIENT.to_owned(),
    client_secret: ProviderSecret::default(),
    scopes: Vec::new(),
    sign_up: false,
});

/// A token for each algorithm, which no key but this process's has signed.
static STRANGE: LazyLock<Vec<String>> = LazyLock::new(|| {
    ALGORITHMS.iter().map(|(name, _)| signed_lines(&format!("{{\"alg\":\"{name}\"}}\n{{}}")).0).collect()
});

/// Bytes as each answer that a provider gives.
pub(crate) fn answer(data: &[u8]) {
    metadata(data);
    for status in [StatusCode::OK, StatusCode::BAD_REQUEST] {
        tokens(status, data);
    }
    let Ok(told) = serde_json::from_slice::<Value>(data) else { return };
    keys(&told);
    person(told);
}

fn metadata(data: &[u8]) {
    let Ok(metadata) = Metadata::read(data, ISSUER) else { return };
    let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    let is_safe = |url: &&String| url.starts_with("https://");
    assert!(endpoints.iter().chain(&metadata.userinfo_endpoint.as_ref()).all(is_safe), "{metadata:?}");
    let [authorize, token, _] = endpoints.map(String::as_str);
    if let Some(protocol) = protocol(authorize, token) {
        let (url, _) = protocol.authorize_url(|| CsrfToken::new("state".to_owned())).url();
        assert!(url.scheme() == "https" && url.query_pairs().any(|(name, _)| name == "client_id"), "{url}");
    }
}

fn protocol(authorize: &str, token: &str) -> Option<Protocol> {
    let authorize = AuthUrl::new(authorize.to_owned()).ok()?;
    let token = TokenUrl::new(token.to_owned()).ok()?;
    Some(Client::new(ClientId::new(CLIENT.to_owned())).set_auth_uri(authorize).set_token_uri(token))
}

/// What the endpoint for tokens answers to a code.
fn tokens(status: StatusCode, data: &[u8]) {
    let protocol = protocol("https://id.example/authorize", "https://id.example/token");
    let asked = protocol.expect("these are addresses");
    let asked = asked
        .exchange_code(AuthorizationCode::new("code".to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new("v".repeat(43)));
    let answered: Result<Tokens, _> = asked.request(&|_: HttpRequest| {
        let mut answer = HttpResponse::new(data.to_vec());
        *answer.status_mut() = status;
        Ok::<_, ExchangeError>(answer)
    });
    if let Ok(tokens) = answered {
        assert_eq!(status, StatusCode::OK);
        let _ = tokens.access_token();
        let text = tokens.extra_fields().id_token.as_deref();
        assert!(text.is_none_or(|text| !is_believed(text)), "nobody has this process's key");
    }
}

/// A set of keys: nothing that this process has signed is signed with one of them.
fn keys(told: &Value) {
    let Ok(set) = KeySet::parse(told) else { return };
    for ((_, algorithm), text) in ALGORITHMS.iter().zip(&*STRANGE) {
        let read = jose::read(text, ALGORITHMS).expect("its head is one");
        assert_eq!(read.algorithm, *algorithm);
        if let Some(key) = set.find(None, *algorithm) {
            assert!(read.verified::<Value>(key).is_err(), "{told}");
        }
    }
}

/// What an endpoint tells of somebody: by OpenID Connect, and by GitHub's API.
fn person(told: Value) {
    if let Ok(info) = serde_json::from_value::<UserInfo>(told.clone()) {
        let mut person = Person { subject: SUBJECT.to_owned(), name: None, email: None, session: None };
        if person.complete(info).is_ok() {
            named(&person);
            assert!(person.email.is_none() || is_verified(&told), "{told}");
        }
    }
    if let Some(person) = github::fuzz_person(told) {
        named(&person);
    }
}

/// Whoever signs in can be called something that fits.
fn named(person: &Person) {
    assert!(claims::is_subject(&person.subject), "{person:?}");
    let name = person.name.as_deref().map(trip::cut);
    assert!(name.is_none_or(|name| name.len() <= 100 && !name.contains(char::is_control)), "{person:?}");
}

fn is_verified(told: &Value) -> bool {
    let verified = &told["email_verified"];
    *verified == Value::Bool(true) || *verified == "true"
}

/// Whether a token is taken from the provider, for a sign-in or for the end of one.
fn is_believed(text: &str) -> bool {
    let (_, keys) = signed_lines("");
    id_token(text, &keys).is_some() || logout_token(text, &keys)
}

/// Text as a token; and as head and claims, a line each, of one that is signed by the provider's key.
pub(crate) fn token(text: &str) {
    assert!(!is_believed(text), "nobody has this process's key");
    let (signed, keys) = signed_lines(text);
    let person = id_token(&signed, &keys);
    let is_logout = logout_token(&signed, &keys);
    assert!(person.is_none() || !is_logout, "it would be a token for two things");
    let Some(person) = person else { return };
    named(&person);
    let (_, claims) = text.split_once('\n').unwrap_or_default();
    let claims: Value = serde_json::from_str(claims).expect("it was read as JSON");
    assert!(claims["iss"] == ISSUER && claims["nonce"] == NONCE, "{claims}");
    assert!(person.email.is_none() || is_verified(&claims), "{claims}");
}

fn id_token(text: &str, keys: &KeySet) -> Option<Person> {
    let read = jose::read(text, ALGORITHMS).ok()?;
    let claims: Claims = read.verified(keys.find(read.kid.as_deref(), read.algorithm)?).ok()?;
    let expected = Expected {
        issuer: ISSUER,
        client: CLIENT,
        nonce: NONCE,
        access_token: ACCESS_TOKEN,
        algorithm: read.algorithm,
        now: NOW,
    };
    claims.check(&expected).is_ok().then(|| claims.person())
}

fn logout_token(text: &str, keys: &KeySet) -> bool {
    let Ok(read) = jose::read(text, ALGORITHMS) else { return false };
    let key = keys.find(read.kid.as_deref(), read.algorithm);
    key.is_some_and(|key| logout::fuzz_check(&read, key, &PROVIDER, NOW))
}
