//! The authorization server over a node without its outside: what is given out, and what forged tokens are worth.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use twinmcp_storage::clock::{SystemEntropy, Timestamp};
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::oauth::signing_key::Algorithm;
use twinmcp_storage::scope::Scope;

use super::keys::{Keys, Purpose, Sealers};
use super::signing_key::PrivateKey;
use super::*;
use crate::accounts::SignedIn;
use crate::tests::World;

mod authority;
mod changes;
mod proofs;
mod scopes;
mod time;

const ISSUER: &str = "https://node.example";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of [`VERIFIER`] (RFC 7636, appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A node with a client and a person.
struct Server {
    world: World,
    oauth: Oauth,
    client: String,
    person: Person,
}

impl Server {
    async fn start(client: Value) -> Self {
        let world = World::new().await;
        let oauth = world.actors.oauth.clone();
        oauth.0.issuer.ready(Algorithm::Rs256).await.unwrap();
        let client = oauth.register(&client).await.unwrap().client.id;
        let person = person(&world).await;
        Self { world, oauth, client, person }
    }

    async fn public() -> Self {
        Self::start(json!({
            "client_name": "Editor",
            "redirect_uris": ["http://127.0.0.1/cb"],
            "token_endpoint_auth_method": "none",
        }))
        .await
    }

    fn query(&self) -> String {
        format!(
            "response_type=code&client_id={}&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcb&state=s%26t\
             &scope=docs%3Aread+openid&code_challenge={CHALLENGE}&code_challenge_method=S256&nonce=n\
             &resource={ISSUER}/mcp",
            self.client
        )
    }

    /// The address that the person is sent back to after they allowed it.
    async fn allow(&self) -> String {
        match self.oauth.authorize(&self.query(), Some(&self.person)).await.unwrap() {
            Authorization::Ask(question) => {
                self.oauth.answer(&question.ticket, &self.person, true).await.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn code(&self) -> String {
        parameter(&self.allow().await, "code").unwrap()
    }

    async fn token(&self, form: &str) -> Result<Tokens, OauthError> {
        token(&self.oauth, form).await
    }

    async fn redeem(&self, code: &str) -> Result<Tokens, OauthError> {
        let form = format!(
            "grant_type=authorization_code&client_id={}&code={code}&code_verifier={VERIFIER}\
             &redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcb",
            self.client
        );
        self.token(&form).await
    }

    async fn refresh(&self, token: &str) -> Result<Tokens, OauthError> {
        let form = format!("grant_type=refresh_token&client_id={}&refresh_token={token}", self.client);
        self.token(&form).await
    }

    fn is_good(&self, token: &str) -> bool {
        self.oauth.verify(token).unwrap().is_some()
    }

    /// `token` with another head, signed with the node's own key.
    fn with_head_signed(&self, token: &str, head: &str) -> String {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let keys = self.oauth.0.issuer.keys();
        keys.signer(Algorithm::Rs256, self.oauth.now()).unwrap().sign_under(head, &claims)
    }

    /// A token signed with the node's own key.
    fn sign(&self, claims: &Value) -> String {
        let keys = self.oauth.0.issuer.keys();
        let signer = keys.signer(Algorithm::Rs256, self.oauth.now()).unwrap();
        signer.sign(Purpose::Access, claims.to_string().as_bytes()).unwrap()
    }
}

/// Somebody who is signed in.
async fn person(world: &World) -> Person {
    let SignedIn { account, session, signed_in_at, .. } = world.person().await;
    Person {
        account,
        session: session.to_string(),
        signed_in_at,
        methods: vec!["pwd".to_owned()],
        is_admin: false,
    }
}

async fn token(oauth: &Oauth, form: &str) -> Result<Tokens, OauthError> {
    oauth.token(TokenRequest { form, authorization: None, proof: None, path: "/api/oauth/token" }).await
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn code_of<T: std::fmt::Debug>(result: Result<T, OauthError>) -> &'static str {
    match result.unwrap_err() {
        OauthError::Refused(refused) => refused.code.as_str(),
        other => panic!("{other:?}"),
    }
}

/// Part `at` of a token, as JSON.
fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// `token` with another head, and the same signature.
fn with_head(token: &str, head: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head))
}

#[tokio::test]
async fn a_person_allows_a_client_and_it_gets_tokens_once() {
    let server = Server::public().await;
    assert!(matches!(
        server.oauth.authorize(&server.query(), None).await.unwrap(),
        Authorization::SignIn { query } if query.contains("state=s%26t")
    ));
    let back = server.allow().await;
    assert!(back.starts_with("http://127.0.0.1:4711/cb?code="), "{back}");
    assert_eq!(parameter(&back, "state").unwrap(), "s&t");
    assert_eq!(parameter(&back, "iss").unwrap(), ISSUER);

    let code = parameter(&back, "code").unwrap();
    let tokens = server.redeem(&code).await.unwrap();
    assert_eq!((tokens.token_type, tokens.expires_in_s), ("Bearer", 600));
    let (head, claims) = (part(&tokens.access_token, 0), part(&tokens.access_token, 1));
    assert_eq!((&head["typ"], &head["alg"]), (&json!("at+jwt"), &json!("RS256")));
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], format!("{ISSUER}/mcp"));
    assert_eq!(claims["sub"], server.person.account.as_str());
    assert_eq!((&claims["scope"], &claims["client_id"]), (&json!("docs:read openid"), &json!(server.client)));
    let id_token = tokens.id_token.unwrap();
    let claims = part(&id_token, 1);
    assert_eq!((&claims["nonce"], &claims["aud"]), (&json!("n"), &json!(server.client)));
    assert!(!server.is_good(&id_token), "an ID token is no access token");

    let known = server.oauth.verify(&tokens.access_token).unwrap().unwrap();
    assert_eq!(known.account(), &server.person.account);
    assert!(server.oauth.resources().is_for(&known.resources, "/mcp"));
    assert!(!server.oauth.resources().is_for(&known.resources, "/api/keys"));

    assert_eq!(code_of(server.redeem(&code).await), "invalid_grant");
    assert!(!server.is_good(&tokens.access_token), "who has the code may have the tokens");
    assert_eq!(code_of(server.refresh(&tokens.refresh_token.unwrap()).await), "invalid_grant");
}

#[tokio::test]
async fn a_family_of_refresh_tokens_ends_when_an_old_one_comes_back() {
    let server = Server::public().await;
    let first = server.redeem(&server.code().await).await.unwrap();
    let old = first.refresh_token.unwrap();
    let second = server.refresh(&old).await.unwrap();
    let new = second.refresh_token.unwrap();
    assert_ne!(old, new);
    assert_eq!(second.scopes, [Scope::DocsRead, Scope::OpenId]);
    assert!(server.is_good(&second.access_token));
    assert_eq!(code_of(server.refresh(&old).await), "invalid_grant", "a public client gets no second answer");
    assert!(!server.is_good(&second.access_token));
    assert_eq!(code_of(server.refresh(&new).await), "invalid_grant");
    for forged in ["tmcp_rt_x", "x", &new[..new.len() - 1], &format!("{new}x")] {
        assert_eq!(code_of(server.refresh(forged).await), "invalid_grant", "{forged}");
    }
}

#[tokio::test]
async fn a_client_with_a_secret_that_lost_the_answer_gets_the_same_token_again() {
    let world = World::new().await;
    let oauth = world.actors.oauth.clone();
    let registered = oauth
        .register(&json!({ "client_name": "Web", "redirect_uris": ["https://app.example/cb"] }))
        .await
        .unwrap();
    let (client, secret) = (registered.client.id, registered.secret.unwrap());
    let person = person(&world).await;
    let query = format!(
        "response_type=code&client_id={client}&code_challenge={CHALLENGE}&code_challenge_method=S256&scope=docs:read"
    );
    let Authorization::Ask(question) = oauth.authorize(&query, Some(&person)).await.unwrap() else {
        panic!("nobody was asked")
    };
    let back = oauth.answer(&question.ticket, &person, true).await.unwrap();
    let shown = format!("client_id={client}&client_secret={secret}");
    let form = format!(
        "{shown}&grant_type=authorization_code&code={}&code_verifier={VERIFIER}",
        parameter(&back, "code").unwrap()
    );
    let first = token(&oauth, &form).await.unwrap();
    let form = format!("{shown}&grant_type=refresh_token&refresh_token={}", first.refresh_token.unwrap());
    let second = token(&oauth, &form).await.unwrap();
    let again = token(&oauth, &form).await.unwrap();
    assert_eq!(second.refresh_token, again.refresh_token);
    // Somebody else with the token, and without the secret, ends nothing and gets nothing.
    let stolen = form.replace(&secret, "wrong");
    assert_eq!(code_of(token(&oauth, &stolen).await), "invalid_client");
    let form = format!("{shown}&grant_type=refresh_token&refresh_token={}", again.refresh_token.unwrap());
    assert!(token(&oauth, &form).await.is_ok());
}

#[tokio::test]
async fn an_answer_counts_only_in_the_session_that_was_asked() {
    let server = Server::public().await;
    let Authorization::Ask(question) =
        server.oauth.authorize(&server.query(), Some(&server.person)).await.unwrap()
    else {
        panic!("nobody was asked")
    };
    let other = Person { session: "other".to_owned(), ..server.person.clone() };
    assert_eq!(code_of(server.oauth.answer(&question.ticket, &other, true).await), "access_denied");
    assert_eq!(code_of(server.oauth.answer("x", &server.person, true).await), "access_denied");
    let mut changed = question.ticket.clone().into_bytes();
    changed[40] = if changed[40] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    assert_eq!(code_of(server.oauth.answer(&changed, &server.person, true).await), "access_denied");
    let back = server.oauth.answer(&question.ticket, &server.person, false).await.unwrap();
    assert_eq!(parameter(&back, "error").unwrap(), "access_denied");
    assert_eq!(parameter(&back, "iss").unwrap(), ISSUER);
}

#[tokio::test]
async fn case_040_and_041_and_047_and_048_what_is_signed_with_the_right_key_but_says_nonsense_is_refused() {
    let server = Server::public().await;
    let now = server.oauth.now().as_secs();
    let claims = json!({
        "iss": ISSUER, "sub": server.person.account.as_str(), "aud": ISSUER, "client_id": "c", "exp": now + 60, "iat": now,
        "jti": "j", "scope": "docs:read",
    });
    assert!(server.is_good(&server.sign(&claims)));
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        server.sign(&changed)
    };
    for (name, value) in [
        ("exp", json!(now - 61)),
        ("exp", json!("9999999999")),
        ("exp", json!(now as f64 + 60.5)),
        ("exp", json!(-1)),
        ("exp", json!(1e99)),
        ("exp", Value::Null),
        ("iat", json!("1")),
        ("iat", json!(-1)),
        ("iss", json!("https://other.example")),
        ("iss", json!("https://node.example/")),
        ("sub", json!("acct_x")),
        ("sub", Value::Null),
        ("aud", Value::Null),
        ("scope", json!(["admin"])),
        ("unknown", json!(1)),
        ("cnf", json!({ "jkt": "x" })),
        ("grant", json!("x")),
    ] {
        assert!(!server.is_good(&with(name, value.clone())), "{name}: {value}");
    }
    for missing in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(!server.is_good(&server.sign(&claims)), "without {missing}");
    }
    let twice = claims.to_string().replacen('{', &format!("{{\"exp\":{},", now + 9_999), 1);
    let keys = server.oauth.0.issuer.keys();
    let signer = keys.signer(Algorithm::Rs256, server.oauth.now()).unwrap();
    assert!(!server.is_good(&signer.sign(Purpose::Access, twice.as_bytes()).unwrap()), "exp twice");
    assert!(!server.is_good(&signer.sign(Purpose::Id, claims.to_string().as_bytes()).unwrap()), "typ JWT");
}

#[tokio::test]
async fn case_042_to_047_and_049_and_050_a_forged_head_or_signature_is_refused() {
    let server = Server::public().await;
    let token = server.redeem(&server.code().await).await.unwrap().access_token;
    assert!(server.is_good(&token));
    let head = part(&token, 0);
    let kid = head["kid"].as_str().unwrap();
    let claims = token.split('.').nth(1).unwrap();

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let head = json!({ "alg": alg, "typ": "at+jwt", "kid": kid }).to_string();
        let unsigned = format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(&head));
        assert!(!server.is_good(&unsigned) && !server.is_good(&with_head(&token, &head)), "{alg}");
    }
    // The public key as a secret (RFC 8725, 3.1).
    let set = server.oauth.jwks().unwrap();
    let jwks: Value = serde_json::from_str(&set).unwrap();
    let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid }).to_string());
    let message = format!("{head}.{claims}");
    let modulus = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["n"].as_str().unwrap()).unwrap();
    for secret in [set.as_bytes(), jwks["keys"][0].to_string().as_bytes(), &modulus] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
        assert!(!server.is_good(&format!("{message}.{signature}")));
    }
    // Another key under the name of ours, of each algorithm, and the same with the key in the head.
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let own = PrivateKey::generate(algorithm).unwrap();
        for extra in [
            json!({}),
            json!({ "jwk": own.public() }),
            json!({ "jku": "http://127.0.0.1:1/jwks" }),
            json!({ "x5u": "x" }),
        ] {
            let mut head = json!({ "alg": algorithm.as_str(), "typ": "at+jwt", "kid": kid });
            head.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(head.to_string()));
            let signature = URL_SAFE_NO_PAD.encode(own.sign(message.as_bytes()).unwrap());
            assert!(!server.is_good(&format!("{message}.{signature}")), "{head}");
        }
    }
    for kid in ["../../etc/passwd", "' OR 1=1 --", "", &"k".repeat(64 * 1024)] {
        assert!(!server.is_good(&with_head(
            &token,
            &json!({ "alg": "RS256", "typ": "at+jwt", "kid": kid }).to_string()
        )));
    }
    for head in [
        format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"{kid}","crit":["x"],"x":1}}"#),
        format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"{kid}","b64":false}}"#),
        format!(r#"{{"alg":"RS256","alg":"none","typ":"at+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#),
        r#"{"alg":"RS256","typ":"at+jwt"}"#.to_owned(),
    ] {
        // Signed with the right key: it is the head that is refused.
        assert!(!server.is_good(&server.with_head_signed(&token, &head)), "{head}");
    }
    let usual = json!({ "alg": "RS256", "typ": "at+jwt", "kid": kid }).to_string();
    assert!(server.is_good(&server.with_head_signed(&token, &usual)));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut padded = signature.to_owned();
    padded.push('=');
    for forged in ["", "AAAA", &padded, &signature[1..]] {
        assert!(!server.is_good(&format!("{message}.{forged}")), "{forged}");
    }
    for junk in ["", ".", "..", "a.b.c", "tmcp_at_x", &"x".repeat(1 << 20), &format!("{token}.x")] {
        assert!(!server.is_good(junk));
    }
}

/// A signature of two numbers of 32 bytes each as it is written elsewhere (RFC 3279, 2.2.3): right, but not how a token has it.
fn der(signature: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(31);
        let sign = if bytes[first] < 0x80 { &[][..] } else { &[0] };
        let number = [sign, &bytes[first..]].concat();
        [&[2, u8::try_from(number.len()).unwrap()], &number[..]].concat()
    };
    let both = [number(&signature[..32]), number(&signature[32..])].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], &both[..]].concat()
}

#[test]
fn case_049_every_algorithm_verifies_what_it_signed_and_no_other_form_of_it() {
    let now = Timestamp::from_millis(1_000_000);
    let sealers = || Sealers::new(&[3; 32]);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let private = PrivateKey::generate(algorithm).unwrap();
        let key = agreed::SigningKey {
            kid: "k".to_owned(),
            algorithm,
            public: private.public().to_string(),
            sealed: sealers().signing.seal(&private.to_pkcs8().unwrap(), &SystemEntropy).unwrap(),
            signs_from: now,
            verifies_until: now.plus_millis(1_000_000),
            revoked_at: None,
        };
        let keys = Keys::open(std::slice::from_ref(&key), Some(sealers()), now);
        let shown: Value = serde_json::from_str(&keys.jwks().unwrap()).unwrap();
        for secret in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(shown["keys"][0].get(secret).is_none(), "{secret}");
        }
        assert_eq!(
            (&shown["keys"][0]["use"], &shown["keys"][0]["alg"]),
            (&json!("sig"), &json!(algorithm.as_str()))
        );
        let token = AccessToken {
            id: "j".to_owned(),
            subject: Subject::Client(AccountId::random(now, &SystemEntropy).unwrap()),
            client: "c".to_owned(),
            grant: None,
            scopes: vec![Scope::DocsRead],
            resources: vec![ISSUER.to_owned()],
            issued_at: now,
            expires_at: now.plus_millis(60_000),
            signed_in: None,
            dpop_jkt: Some([7; 32]),
        };
        let text = keys.signer(algorithm, now).unwrap().sign(Purpose::Access, &token.claims(ISSUER)).unwrap();
        assert_eq!(AccessToken::verify(&text, &keys, ISSUER, now).unwrap(), token);
        let until = now.plus_millis(60_000 + LEEWAY_MS);
        assert!(AccessToken::verify(&text, &keys, ISSUER, until).is_none(), "it has expired");
        let (message, signature) = text.rsplit_once('.').unwrap();
        let zeros = URL_SAFE_NO_PAD.encode(vec![0; URL_SAFE_NO_PAD.decode(signature).unwrap().len()]);
        assert!(AccessToken::verify(&format!("{message}.{zeros}"), &keys, ISSUER, now).is_none());
        if algorithm == Algorithm::Es256 {
            let der = URL_SAFE_NO_PAD.encode(der(&URL_SAFE_NO_PAD.decode(signature).unwrap()));
            assert!(AccessToken::verify(&format!("{message}.{der}"), &keys, ISSUER, now).is_none());
        }
        let revoked = agreed::SigningKey { revoked_at: Some(now), ..key };
        let none = Keys::open(&[revoked], Some(sealers()), now);
        assert!(AccessToken::verify(&text, &none, ISSUER, now).is_none());
        assert_eq!(none.jwks(), None, "an empty set is none");
    }
}

#[tokio::test]
async fn a_revoked_key_is_believed_no_more_and_another_signs() {
    let server = Server::public().await;
    let token = server.redeem(&server.code().await).await.unwrap().access_token;
    let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
    assert!(server.is_good(&token));
    assert!(server.oauth.revoke_key(&kid).await.unwrap());
    assert!(!server.oauth.revoke_key(&kid).await.unwrap());
    tokio::time::timeout(Duration::from_secs(60), async {
        while server.is_good(&token) || server.oauth.jwks().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("another key is there");
    let token = server.redeem(&server.code().await).await.unwrap().access_token;
    assert_ne!(part(&token, 0)["kid"], kid);
    assert!(server.is_good(&token));
    drop(server.world);
}

#[tokio::test]
async fn an_opaque_token_is_worth_the_same_and_read_by_nobody_else() {
    let server = Server::start(json!({
        "client_name": "Opaque",
        "redirect_uris": ["http://127.0.0.1/cb"],
        "token_endpoint_auth_method": "none",
        "access_token_format": "opaque",
    }))
    .await;
    let tokens = server.redeem(&server.code().await).await.unwrap();
    assert!(tokens.access_token.starts_with("tmcp_at_"));
    let known = server.oauth.verify(&tokens.access_token).unwrap().unwrap();
    assert_eq!(known.account(), &server.person.account);
    let form = format!("client_id={}&token={}", server.client, tokens.access_token);
    server.oauth.revoke(&form, None).await.unwrap();
    assert!(!server.is_good(&tokens.access_token));
}
