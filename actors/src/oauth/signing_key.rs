//! Private keys that sign tokens: made here, kept sealed, parsed once.
//!
//! `jsonwebtoken` parses an RSA key on every call, which costs twice the signature itself; so signing is done with the library
//! beneath it.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use twinmcp_storage::oauth::signing_key::Algorithm;

/// A key could not be made, or cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("a {algorithm} key could not be made or used")]
pub struct KeyError {
    /// What it was to sign with.
    pub algorithm: Algorithm,
}

/// A private key.
pub(super) enum PrivateKey {
    Rs256(Box<RsaKeyPair>),
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
}

impl PrivateKey {
    /// A new key. RSA keys have 2,048 bits and take a tenth of a second.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError { algorithm };
        Ok(match algorithm {
            Algorithm::Rs256 => {
                Self::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?))
            }
            Algorithm::Es256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                Self::Es256(Box::new(key))
            }
            Algorithm::EdDsa => Self::EdDsa(Box::new(Ed25519KeyPair::generate().map_err(failed)?)),
        })
    }

    /// The key in PKCS #8.
    pub(super) fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let failed = |_| KeyError { algorithm };
        Ok(match algorithm {
            Algorithm::Rs256 => Self::Rs256(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(failed)?)),
            Algorithm::Es256 => {
                let key =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(failed)?;
                Self::Es256(Box::new(key))
            }
            Algorithm::EdDsa => Self::EdDsa(Box::new(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(failed)?)),
        })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rs256(_) => Algorithm::Rs256,
            Self::Es256(_) => Algorithm::Es256,
            Self::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    /// The key as PKCS #8, to be sealed.
    pub(super) fn to_pkcs8(&self) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError { algorithm: self.algorithm() };
        Ok(match self {
            Self::Rs256(key) => key.as_der().map_err(failed)?.as_ref().to_vec(),
            Self::Es256(key) => key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Self::EdDsa(key) => key.to_pkcs8().map_err(failed)?.as_ref().to_vec(),
        })
    }

    /// The members of a JWK that tell the public key (RFC 7518, 6; RFC 8037, 2).
    pub(super) fn public(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rs256(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                json!({
                    "kty": "RSA",
                    "n": text(n.big_endian_without_leading_zero()),
                    "e": text(e.big_endian_without_leading_zero()),
                })
            }
            // An uncompressed point: a byte, then x, then y (SEC 1, 2.3.3).
            Self::Es256(key) => match key.public_key().as_ref().get(1..).map(|point| point.split_at(32)) {
                Some((x, y)) => json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) }),
                None => json!({ "kty": "EC", "crv": "P-256" }),
            },
            Self::EdDsa(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) })
            }
        }
    }

    /// The signature of `message`, as a JWS has it (RFC 7518, 3).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError { algorithm: self.algorithm() };
        let random = SystemRandom::new();
        Ok(match self {
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                signature
            }
            Self::Es256(key) => key.sign(&random, message).map_err(failed)?.as_ref().to_vec(),
            Self::EdDsa(key) => key.try_sign(message).map_err(failed)?.as_ref().to_vec(),
        })
    }
}
