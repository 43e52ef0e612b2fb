//! The list of nodes that clients take on from one node to another: signed by the cluster, believed by a client.
//!
//! Ed25519 (RFC 8032), as JWS in its compact form (RFC 7515, RFC 8037). The key is derived from the cluster's, so every
//! node signs with the same one; when the cluster's key is replaced, the key before says which one follows it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::Value;

use crate::authority::ClusterKey;

/// Signs lists of nodes.
pub struct RouteSigner {
    key: Ed25519KeyPair,
}

impl ClusterKey {
    /// The signer of this cluster; nothing if its key could not be derived.
    pub fn route_signer(&self) -> Option<RouteSigner> {
        let seed = self.derive("twinmcp route v1");
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(RouteSigner { key })
    }
}

impl RouteSigner {
    /// The public key, as `x` of a JWK has it.
    pub fn public(&self) -> String {
        BASE64.encode(self.key.public_key())
    }

    /// Says that `next` signs in the place of this one: a JWS of `{"next_kid":…}`.
    pub(crate) fn endorse(&self, next: &Self) -> String {
        self.sign(format!(r#"{{"next_kid":"{}"}}"#, next.public()).as_bytes())
    }

    /// `payload` as a JWS whose header names the key by what [`Self::public`] says.
    pub fn sign(&self, payload: &[u8]) -> String {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.public());
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
        let signature = BASE64.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// What a client believes of lists: those of the cluster that signed the first one.
#[derive(Debug, Default)]
pub struct RouteVerifier {
    /// Public key of the cluster, once a list was seen.
    key: Option<String>,
}

impl RouteVerifier {
    /// What was signed, when `jws` is signed by the key of the first list, or by one that `succession` (endorsements, the
    /// oldest first) leads to from there. Nothing otherwise, and the next list is still measured by the key before.
    pub fn verify(&mut self, jws: &str, succession: &[String]) -> Option<Vec<u8>> {
        let (signer, payload) = open(jws)?;
        if self.key.as_ref().is_some_and(|known| successor(known, succession) != signer && *known != signer) {
            return None;
        }
        self.key = Some(signer);
        Some(payload)
    }
}

/// The key that follows `key` in the end; itself when no endorsement is its.
fn successor(key: &str, succession: &[String]) -> String {
    succession.iter().fold(key.to_owned(), |key, endorsement| {
        let next = open(endorsement).filter(|(signer, _)| *signer == key).and_then(|(_, payload)| {
            let payload: Value = serde_json::from_slice(&payload).ok()?;
            payload["next_kid"].as_str().map(str::to_owned)
        });
        next.unwrap_or(key)
    })
}

/// The key that signed a JWS, and what it signed; nothing when it did not.
fn open(jws: &str) -> Option<(String, Vec<u8>)> {
    let (signed, signature) = jws.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header: Value = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
    let key = header["kid"].as_str().filter(|_| header["alg"] == "EdDSA")?;
    let public = UnparsedPublicKey::new(&ED25519, BASE64.decode(key).ok()?);
    public.verify(signed.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
    Some((key.to_owned(), BASE64.decode(payload).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> RouteSigner {
        ClusterKey::new([byte; 32]).route_signer().unwrap()
    }

    #[test]
    fn a_list_is_believed_from_the_cluster_of_the_first_and_no_byte_of_it_changes() {
        let (ours, theirs) = (signer(7), signer(8));
        let mut client = RouteVerifier::default();
        let list = ours.sign(b"{\"nodes\":[]}");
        for place in 0..list.len() {
            let mut changed = list.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == list || client.verify(&changed, &[]).is_none(), "byte {place}");
        }
        assert_eq!(client.verify(&list, &[]).as_deref(), Some(&b"{\"nodes\":[]}"[..]));
        assert_eq!(client.verify(&theirs.sign(b"{}"), &[]), None);
        for nonsense in ["", ".", "..", "a.b.c", "e30.e30.e30"] {
            assert_eq!(client.verify(nonsense, &[]), None, "{nonsense}");
        }
        assert!(client.verify(&list, &[]).is_some(), "what was refused changes nothing");
    }

    #[test]
    fn another_key_is_believed_when_the_keys_before_lead_to_it() {
        let keys = [1, 2, 3, 4].map(signer);
        let succession = [keys[0].endorse(&keys[1]), keys[1].endorse(&keys[2])];
        let list = keys[2].sign(b"{}");
        let met = |key: &RouteSigner| {
            let mut client = RouteVerifier::default();
            client.verify(&key.sign(b"{}"), &[]).unwrap();
            client
        };
        for key in &keys[..3] {
            assert!(met(key).verify(&list, &succession).is_some(), "{}", key.public());
        }
        assert!(met(&keys[0]).verify(&list, &[]).is_none());
        assert!(met(&keys[0]).verify(&list, &succession[1..]).is_none(), "a link is missing");
        assert!(met(&keys[3]).verify(&list, &succession).is_none());
        let forged = [keys[3].sign(format!(r#"{{"next_kid":"{}"}}"#, keys[2].public()).as_bytes())];
        assert!(met(&keys[0]).verify(&list, &forged).is_none());
        let mut moved = met(&keys[0]);
        moved.verify(&list, &succession).unwrap();
        assert!(
            moved.verify(&keys[0].sign(b"{}"), &[]).is_none(),
            "a key that was replaced signs nothing any more"
        );
    }
}
