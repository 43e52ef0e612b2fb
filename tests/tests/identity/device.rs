//! A device with a passkey (WebAuthn, Level 3, 6), written by hand: what it signs is what a test says.

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::app::{base64url, from_base64url};

/// Somebody is there.
const PRESENT: u8 = 1;
/// The device has made sure who it is.
const VERIFIED: u8 = 1 << 2;
/// A new key follows.
const ATTESTED: u8 = 1 << 6;

/// A device with one key, and what it says of itself.
#[derive(Debug)]
pub(super) struct Device {
    key: EcdsaKeyPair,
    pub(super) id: Vec<u8>,
    /// Which account its key is for, as the service calls it.
    user: String,
    pub(super) origin: String,
    pub(super) service: String,
    pub(super) counter: u32,
    pub(super) verifies: bool,
}

impl Device {
    /// A device at a page of `origin`, whose host is `service`.
    pub(super) fn new(origin: &str, service: &str) -> Self {
        let random = SystemRandom::new();
        let kept = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let kept = kept.expect("the system has random bytes");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, kept.as_ref(), &random);
        let key = key.expect("it was just made");
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref()[..16].to_vec();
        let (origin, service) = (origin.to_owned(), service.to_owned());
        Self { key, id, user: String::new(), origin, service, counter: 0, verifies: true }
    }

    /// `navigator.credentials.create`.
    pub(super) fn create(&mut self, options: &Value) -> Value {
        options["user"]["id"].as_str().expect("options name an account").clone_into(&mut self.user);
        let client = self.client("webauthn.create", options);
        let point = self.key.public_key().as_ref();
        // COSE_Key: EC2, ES256, P-256 (RFC 9053, 7.1.1).
        let mut cose = vec![0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
        cose.extend(&point[1..33]);
        cose.extend([0x22, 0x58, 32]);
        cose.extend(&point[33..65]);
        let mut attested = vec![0; 16];
        attested.extend(u16::try_from(self.id.len()).expect("an id is short").to_be_bytes());
        attested.extend(&self.id);
        attested.extend(cose);
        let data = self.data(ATTESTED, &attested);
        // {"fmt": "none", "attStmt": {}, "authData": …} as CBOR.
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt\x64none\x67attStmt\xa0\x68authData\x58");
        object.push(u8::try_from(data.len()).expect("it is short"));
        object.extend(data);
        let response =
            json!({ "clientDataJSON": base64url(&client), "attestationObject": base64url(&object) });
        self.credential(&response)
    }

    /// `navigator.credentials.get`.
    pub(super) fn get(&mut self, options: &Value) -> Value {
        self.counter += 1;
        let client = self.client("webauthn.get", options);
        let data = self.data(0, &[]);
        let signed = [data.as_slice(), digest(&SHA256, &client).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).expect("a key signs");
        let response = json!({
            "clientDataJSON": base64url(&client), "authenticatorData": base64url(&data),
            "signature": base64url(signature.as_ref()), "userHandle": self.user,
        });
        self.credential(&response)
    }

    fn credential(&self, response: &Value) -> Value {
        let id = base64url(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response })
    }

    fn client(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = options["challenge"].as_str().expect("options have a challenge");
        assert!(from_base64url(challenge).len() >= 16, "a challenge cannot be guessed");
        let data =
            json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    fn data(&self, flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut data = digest(&SHA256, self.service.as_bytes()).as_ref().to_vec();
        data.push(PRESENT | flags | if self.verifies { VERIFIED } else { 0 });
        data.extend(self.counter.to_be_bytes());
        data.extend(rest);
        data
    }
}
