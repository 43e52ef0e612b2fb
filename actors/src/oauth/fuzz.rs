//! What strangers send the authorization server, for the fuzz targets: see [`crate::fuzzing`].
//!
//! A signature keeps a fuzzer out, so what lies behind one is signed here with a key of this process.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use twinmcp_storage::clock::{SystemEntropy, Timestamp};
use twinmcp_storage::oauth::client::{Authentication, Client, GrantType, NAME_BYTES_MAX, Owner, TokenFormat};
use twinmcp_storage::oauth::signing_key::{Algorithm, SigningKey};
use twinmcp_storage::scope::Scope;

use super::access_token::AccessToken;
use super::assertion;
use super::authorize::{self, Wrong};
use super::client::{self, PERSONAL_SCOPES, Shown};
use super::document;
use super::dpop::{Proofs, Proven};
use super::keys::{Keys, Purpose, Sealers};
use super::redirect;
use super::register;
use super::signing_key::PrivateKey;
use super::token_text::{self, Kind};
use super::{Params, Resources};
use crate::jose::KeySet;

const ISSUER: &str = "https://node.example";
const NOW: Timestamp = Timestamp::from_millis(1_795_437_970_000);
const REGISTERED: [&str; 3] = ["https://app.example/cb", "http://127.0.0.1/cb", "com.example.app:/cb"];

/// A key that signs, as it is agreed on.
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let private = PrivateKey::generate(Algorithm::Es256).expect("a key is made");
    let sealers = Sealers::new(&[3; 32]);
    let key = SigningKey {
        kid: "k".to_owned(),
        algorithm: Algorithm::Es256,
        public: private.public().to_string(),
        sealed: sealers
            .signing
            .seal(&private.to_pkcs8().expect("a key is written"), &SystemEntropy)
            .expect("sealed"),
        signs_from: NOW,
        verifies_until: NOW.plus_millis(1_000_000),
        revoked_at: None,
    };
    Keys::open(&[key], Some(sealers), NOW)
});

/// A token as it comes; and as the claims of one that the node's own key has signed.
pub(crate) fn access_token(text: &str) {
    assert!(AccessToken::verify(text, &KEYS, ISSUER, NOW).is_none(), "nobody has this process's key");
    let _ = (token_text::read(Kind::Access, text), token_text::read(Kind::Refresh, text));
    let signer = KEYS.signer(Algorithm::Es256, NOW).expect("there is a key");
    let signed = signer.sign(Purpose::Access, text.as_bytes()).expect("it is signed");
    if let Some(token) = AccessToken::verify(&signed, &KEYS, ISSUER, NOW) {
        assert!(!token.has_expired(NOW));
        // What was read says the same when it is written again, but for scopes that this build does not know.
        let again = signer.sign(Purpose::Access, &token.claims(ISSUER)).expect("it is signed");
        let again = AccessToken::verify(&again, &KEYS, ISSUER, NOW).expect("it was good before");
        assert_eq!((again.sub(), &again.id, &again.scopes), (token.sub(), &token.id, &token.scopes));
    }
}

struct Prover {
    proofs: Proofs,
    key: PrivateKey,
}

static PROVER: LazyLock<Prover> = LazyLock::new(|| Prover {
    proofs: Proofs::new(&SystemEntropy).expect("the machine has random bytes"),
    key: PrivateKey::generate(Algorithm::Es256).expect("a key is made"),
});

/// A proof as it comes; and as head and claims, a line each, of one that is signed by its own key. `@jwk` stands for that key, `@nonce` for
/// a nonce that is good.
pub(crate) fn dpop_proof(text: &str) {
    let Prover { proofs, key } = &*PROVER;
    let proven = Proven { method: "POST", url: "https://node.example/mcp", access_token: None };
    assert!(proofs.check(text, proven, NOW).is_err(), "nobody knows a nonce");
    let (head, claims) = text.split_once('\n').unwrap_or((text, ""));
    let head = head.replace("\"@jwk\"", &key.public().to_string());
    let claims = claims.replace("@nonce", &proofs.nonce(NOW));
    let proof = signed(key, &head, &claims);
    if proofs.check(&proof, proven, NOW).is_ok() {
        let claims: Value = serde_json::from_str(&claims).expect("it was read as JSON");
        assert_eq!(claims["htm"], "POST", "{claims}");
        assert!(proofs.check(&proof, proven, NOW).is_err(), "a proof is good once");
    }
}

fn signed(key: &PrivateKey, head: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(message.as_bytes()).expect("it is signed");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A head and claims, a line each, as somebody signs them, and the set that their key is in.
pub(crate) fn signed_lines(text: &str) -> (String, KeySet) {
    let key = &PROVER.key;
    let keys = KeySet::parse(&json!({ "keys": [key.public()] })).expect("the key is public");
    let (head, claims) = text.split_once('\n').unwrap_or((text, ""));
    (signed(key, head, claims), keys)
}

/// What a client shows itself by, as it comes; and as head and claims, a line each, of one that is signed by the client's key.
pub(crate) fn client_assertion(text: &str) {
    let (signed, keys) = signed_lines(text);
    let is_taken = |text: &str| assertion::fuzz_check(text, &keys, "client_x", ISSUER, NOW);
    assert!(!is_taken(text), "nobody has this process's key");
    if is_taken(&signed) {
        let (_, claims) = text.split_once('\n').unwrap_or_default();
        let claims: Value = serde_json::from_str(claims).expect("it was read as JSON");
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client_x"), &json!("client_x")), "{claims}");
    }
}

/// A client's metadata: of one that registers itself, and of a document.
pub(crate) fn client_metadata(data: &[u8]) {
    document::fuzz_read("https://app.example/client.json", data);
    let Ok(metadata) = serde_json::from_slice::<Value>(data) else { return };
    if let Some(id) = metadata["client_id"].as_str() {
        document::fuzz_read(id, data);
    }
    let owner = Owner::Publisher;
    let read = register::read(&metadata, "client_x".to_owned(), owner, "secret", PERSONAL_SCOPES);
    let Ok(client) = read else { return };
    if client::check(&client).is_ok() {
        assert!(client.name.len() <= NAME_BYTES_MAX);
        assert!(client.redirect_uris.iter().all(|uri| redirect::check(uri).is_ok()), "{client:?}");
        assert!(client.scopes.iter().all(|scope| PERSONAL_SCOPES.contains(scope)), "{client:?}");
        assert!(!client.trusted);
    }
}

/// A redirect URI that a client registers, and one that is asked for, a line each.
pub(crate) fn redirect_uri(text: &str) {
    let (registered, asked) = text.split_once('\n').unwrap_or((text, text));
    let Ok(target) = redirect::check(registered) else { return };
    let Ok(chosen) = redirect::choose(&[registered.to_owned()], Some(asked)) else { return };
    assert!(chosen == registered || target == redirect::Target::Loopback, "{registered} {asked}");
    assert_eq!(redirect::check(&chosen).ok(), Some(target), "{registered} {asked}");
    let sent = redirect::with(&chosen, &[("code", "c&d"), ("state", asked)]);
    let parse = |text: &str| url::Url::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (before, after) = (parse(&chosen), parse(&sent));
    assert_eq!((before.scheme(), before.host(), before.path()), (after.scheme(), after.host(), after.path()));
    assert!(after.query_pairs().any(|(name, value)| name == "code" && value == "c&d"), "{sent}");
}

/// A header `Authorization` and a form of the token endpoint, a line each.
pub(crate) fn token_form(text: &str) {
    let (header, form) = text.split_once('\n').unwrap_or(("", text));
    let Ok(params) = Params::parse(form) else { return };
    let shown = Shown::of(&params, Some(header).filter(|header| !header.is_empty()));
    if let Ok(shown) = shown {
        assert!(!shown.fits(None), "nobody is a client that is not there");
        let public = shown_client(Authentication::None);
        assert!(matches!(shown, Shown::Name(_)) || !shown.fits(Some(&public)), "a secret that nobody has");
    }
}

/// The query of an authorization request.
pub(crate) fn authorize_query(text: &str) {
    let Ok(params) = Params::parse(text) else { return };
    let client = shown_client(Authentication::None);
    let resources = Resources::new(ISSUER);
    let own = |uri: &str| redirect::choose(&client.redirect_uris, Some(uri)).is_ok();
    match authorize::check(&params, &client, &resources) {
        Ok((asked, _)) => {
            assert!(own(&asked.redirect_uri), "{asked:?}");
            assert!(
                !asked.scopes.is_empty() && asked.scopes.iter().all(|scope| client.scopes.contains(scope))
            );
            assert!(asked.resources.iter().all(|resource| resource.starts_with(ISSUER)), "{asked:?}");
        }
        Err(Wrong::Client { redirect_uri, .. }) => assert!(own(&redirect_uri), "{redirect_uri}"),
        Err(Wrong::Page(_)) => {}
    }
}

fn shown_client(authentication: Authentication) -> Client {
    Client {
        id: "client_x".to_owned(),
        name: "App".to_owned(),
        owner: Owner::Publisher,
        authentication,
        redirect_uris: REGISTERED.map(str::to_owned).into(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        scopes: vec![Scope::DocsRead, Scope::OpenId, Scope::OfflineAccess],
        token_format: TokenFormat::Jwt,
        algorithm: None,
        uri: None,
        trusted: false,
        backchannel_logout: None,
        created_at: NOW,
    }
}
