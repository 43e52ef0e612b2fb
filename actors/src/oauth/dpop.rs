//! Tokens bound to a key: proof that whoever sends one has the key (RFC 9449).
//!
//! A proof carries a nonce of this node, good for minutes and made from nothing but the time and a key that the node forgets when
//! it stops; together with a memory of the newest proofs, no proof is taken twice, here or elsewhere: another node's nonces are
//! strange to this one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use twinmcp_storage::clock::{Entropy, EntropyError, Timestamp};

/// Longest proof, in bytes.
const PROOF_BYTES_MAX: usize = 4 * 1024;
/// How long a nonce is good, in milliseconds, and how far a proof's own time may be off.
const NONCE_MS: u64 = 5 * 60 * 1000;
/// Proofs that a node remembers.
const REMEMBERED_MAX: usize = 100_000;
/// Longest `jti`, in bytes.
const JTI_BYTES_MAX: usize = 256;
/// Members of a JWK that only its owner may know (RFC 7518, 6).
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What is wrong with a proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofError {
    /// It is no proof, or of something else.
    Invalid(&'static str),
    /// It carries no nonce of this node, or an old one.
    Nonce,
}

/// What a proof is for.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's URL, without query.
    pub url: &'a str,
    /// The access token that comes with it.
    pub access_token: Option<&'a str>,
}

/// Checks proofs.
pub(super) struct Proofs {
    nonce_key: [u8; 32],
    seen: Cache<[u8; 32], ()>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    typ: String,
    jwk: Map<String, Value>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    #[serde(default)]
    ath: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
}

impl Proofs {
    pub(super) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut nonce_key = [0; 32];
        entropy.fill(&mut nonce_key)?;
        Ok(Self { nonce_key, seen: Cache::new(REMEMBERED_MAX) })
    }

    /// A nonce for the next proof (RFC 9449, 8).
    pub(super) fn nonce(&self, now: Timestamp) -> String {
        let time = now.as_millis().to_be_bytes();
        let mac = blake3::keyed_hash(&self.nonce_key, &time);
        URL_SAFE_NO_PAD.encode([&time[..], &mac.as_bytes()[..16]].concat())
    }

    fn is_fresh(&self, nonce: &str, now: Timestamp) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((time, _)) = bytes.split_first_chunk::<8>() else { return false };
        let made = Timestamp::from_millis(u64::from_be_bytes(*time));
        made <= now && now.millis_since(made) < NONCE_MS && self.nonce(made) == nonce
    }

    /// Checks a proof, which is worth nothing from then on, and returns the thumbprint of its key (RFC 7638).
    pub(super) fn check(
        &self,
        proof: &str,
        proven: Proven<'_>,
        now: Timestamp,
    ) -> Result<[u8; 32], ProofError> {
        let invalid = |why| ProofError::Invalid(why);
        if proof.len() > PROOF_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let head = proof.split('.').next().and_then(|head| URL_SAFE_NO_PAD.decode(head).ok());
        let head: Head = head
            .and_then(|head| serde_json::from_slice(&head).ok())
            .ok_or(invalid("it is no JWT with 'typ', 'alg' and 'jwk' in its head"))?;
        if head.typ != "dpop+jwt" {
            return Err(invalid("its 'typ' is not dpop+jwt"));
        }
        if PRIVATE_MEMBERS.iter().any(|member| head.jwk.contains_key(*member)) {
            return Err(invalid("its 'jwk' holds a private key, which is burnt now"));
        }
        let algorithm = match head.alg.as_str() {
            "ES256" => jsonwebtoken::Algorithm::ES256,
            "EdDSA" => jsonwebtoken::Algorithm::EdDSA,
            "RS256" => jsonwebtoken::Algorithm::RS256,
            "PS256" => jsonwebtoken::Algorithm::PS256,
            _ => return Err(invalid("its 'alg' is none of ES256, EdDSA, RS256, PS256")),
        };
        let thumbprint = thumbprint(&head.jwk).ok_or(invalid("its 'jwk' is no public key"))?;
        let jwk: Jwk =
            serde_json::from_value(head.jwk.into()).map_err(|_| invalid("its 'jwk' is no public key"))?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| invalid("its 'jwk' is no public key"))?;
        let mut validation = Validation::new(algorithm);
        // Its times are its own: see below.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(proof, &key, &validation);
        let claims = decoded.map_err(|_| invalid("its signature or its claims are wrong"))?.claims;
        if claims.htm != proven.method {
            return Err(invalid("its 'htm' is another method"));
        }
        if claims.htu.split(['?', '#']).next() != Some(proven.url) {
            return Err(invalid("its 'htu' is another address"));
        }
        let hash = proven.access_token.map(|token| URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
        if claims.ath != hash && proven.access_token.is_some() {
            return Err(invalid("its 'ath' is of another access token"));
        }
        let at = Timestamp::from_millis(claims.iat.saturating_mul(1000));
        if now.millis_since(at) > NONCE_MS || at.millis_since(now) > NONCE_MS {
            return Err(invalid("its 'iat' is not of these minutes"));
        }
        if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES_MAX {
            return Err(invalid("its 'jti' is missing or too long"));
        }
        if !claims.nonce.is_some_and(|nonce| self.is_fresh(&nonce, now)) {
            return Err(ProofError::Nonce);
        }
        let mut name = thumbprint.to_vec();
        name.extend_from_slice(claims.jti.as_bytes());
        let name = *blake3::hash(&name).as_bytes();
        // Whoever puts it in is the first; a nonce lives no longer than the memory of these.
        let mut is_first = false;
        let _ = self.seen.get_or_insert_with(&name, || {
            is_first = true;
            Ok::<(), std::convert::Infallible>(())
        });
        if is_first { Ok(thumbprint) } else { Err(invalid("it was used before")) }
    }
}

/// SHA-256 over the members that make a key what it is, in order (RFC 7638, 3.2; RFC 8037, 2).
fn thumbprint(jwk: &Map<String, Value>) -> Option<[u8; 32]> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let members = match text("kty")? {
        "EC" => json!({ "crv": text("crv")?, "kty": "EC", "x": text("x")?, "y": text("y")? }),
        "OKP" => json!({ "crv": text("crv")?, "kty": "OKP", "x": text("x")? }),
        "RSA" => json!({ "e": text("e")?, "kty": "RSA", "n": text("n")? }),
        _ => return None,
    };
    digest(&SHA256, members.to_string().as_bytes()).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;
    use twinmcp_storage::oauth::signing_key::Algorithm;

    use super::super::signing_key::PrivateKey;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_437_970_000);
    const URL: &str = "https://node.example/api/oauth/token";

    struct Client {
        key: PrivateKey,
    }

    impl Client {
        fn new() -> Self {
            Self { key: PrivateKey::generate(Algorithm::Es256).unwrap() }
        }

        fn proof(&self, head: &Value, claims: &Value) -> String {
            let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
            let message = format!("{}.{}", part(head), part(claims));
            let signature = self.key.sign(message.as_bytes()).unwrap();
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn head(&self) -> Value {
            json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.public() })
        }
    }

    fn claims(nonce: &str) -> Value {
        json!({ "jti": "j", "htm": "POST", "htu": URL, "iat": NOW.as_secs(), "nonce": nonce })
    }

    fn proven(access_token: Option<&str>) -> Proven<'_> {
        Proven { method: "POST", url: URL, access_token }
    }

    #[test]
    fn a_thumbprint_is_that_of_the_standard() {
        // RFC 7638, 3.1.
        let jwk = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        });
        let thumbprint = thumbprint(jwk.as_object().unwrap()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(thumbprint), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn case_062_and_063_a_proof_is_good_once_on_the_node_whose_nonce_it_carries() {
        let (one, other) = (Proofs::new(&SystemEntropy).unwrap(), Proofs::new(&SystemEntropy).unwrap());
        let client = Client::new();
        let proof = client.proof(&client.head(), &claims(&one.nonce(NOW)));
        assert_eq!(other.check(&proof, proven(None), NOW), Err(ProofError::Nonce));
        assert!(one.check(&proof, proven(None), NOW).is_ok());
        assert_eq!(one.check(&proof, proven(None), NOW), Err(ProofError::Invalid("it was used before")));
        let late = NOW.plus_millis(NONCE_MS);
        let fresh_iat =
            json!({ "iat": late.as_secs(), "jti": "k", "htm": "POST", "htu": URL, "nonce": one.nonce(NOW) });
        assert_eq!(
            one.check(&client.proof(&client.head(), &fresh_iat), proven(None), late),
            Err(ProofError::Nonce)
        );
    }

    #[test]
    fn case_061_a_proof_of_something_else_is_refused() {
        let proofs = Proofs::new(&SystemEntropy).unwrap();
        let client = Client::new();
        let nonce = proofs.nonce(NOW);
        let token = "token";
        let ath = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
        let good = |jti: &str| {
            let mut claims = claims(&nonce);
            claims["jti"] = jti.into();
            claims["ath"] = ath.as_str().into();
            claims
        };
        let check = |head: &Value, claims: &Value| {
            proofs.check(&client.proof(head, claims), proven(Some(token)), NOW)
        };
        assert!(check(&client.head(), &good("1")).is_ok());
        for (name, value) in [
            ("htm", json!("GET")),
            ("htu", json!("https://other.example/api/oauth/token")),
            ("htu", json!("https://node.example/mcp")),
            ("ath", json!("x")),
            ("ath", Value::Null),
            ("iat", json!(NOW.as_secs() - 301)),
            ("iat", json!(NOW.as_secs() + 301)),
            ("iat", json!("1")),
            ("jti", json!("")),
            ("jti", json!("x".repeat(300))),
            ("jti", Value::Null),
            ("nonce", Value::Null),
            ("nonce", json!("x")),
        ] {
            let mut claims = good("2");
            claims[name] = value.clone();
            assert!(check(&client.head(), &claims).is_err(), "{name}: {value}");
        }
        let mut query = good("3");
        query["htu"] = format!("{URL}?a=b#c").into();
        assert!(check(&client.head(), &query).is_ok(), "query and fragment do not count");
        let mut private = client.head();
        private["jwk"]["d"] = "x".into();
        assert!(
            matches!(check(&private, &good("4")), Err(ProofError::Invalid(why)) if why.contains("private"))
        );
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("typ", json!("JWT")),
            ("jwk", json!({ "kty": "oct", "x": "AA" })),
            ("jwk", Client::new().key.public()),
            ("jwk", Value::Null),
        ] {
            let mut head = client.head();
            head[name] = value.clone();
            assert!(check(&head, &good("5")).is_err(), "{name}: {value}");
        }
        for junk in ["", "a.b.c", "..", &"x".repeat(5_000)] {
            assert!(proofs.check(junk, proven(None), NOW).is_err());
        }
    }
}
