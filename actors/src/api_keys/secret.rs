//! What an API key's secret looks like: `tmcp_`, 256 random bits, and a checksum that tells a typo
//! from a wrong key without asking the store.

use std::fmt;

use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::{Entropy, EntropyError};

const PREFIX: &str = "tmcp_";
const RANDOM_LEN: usize = 43;
const CHECKSUM_LEN: usize = 5;
const LEN: usize = PREFIX.len() + RANDOM_LEN + CHECKSUM_LEN;
/// Characters shown of a secret so that people can tell keys apart.
const HINT_LEN: usize = 4;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret that its owner is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new secret of more than 255 bits: 43 characters out of 62.
    pub(super) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut text = String::with_capacity(LEN);
        text.push_str(PREFIX);
        let mut pool = [0_u8; 64];
        while text.len() < PREFIX.len() + RANDOM_LEN {
            entropy.fill(&mut pool)?;
            // Bytes of 248 and above would make the first characters likelier than the last.
            let even = pool.iter().filter(|byte| **byte < 248).map(|byte| usize::from(*byte) % 62);
            let missing = PREFIX.len() + RANDOM_LEN - text.len();
            text.extend(even.take(missing).map(|at| char::from(ALPHABET[at])));
        }
        text.push_str(&checksum(&text));
        Ok(Self(text))
    }

    /// The secret in `text`, if it is well formed and its checksum is right.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == LEN
            && text.starts_with(PREFIX)
            && text.as_bytes()[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric);
        if !well_formed {
            return None;
        }
        let (body, tail) = text.split_at(LEN - CHECKSUM_LEN);
        (checksum(body) == tail).then(|| Self(text.to_owned()))
    }

    /// The secret itself, to be shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    pub(super) fn hint(&self) -> String {
        self.0[LEN - HINT_LEN..].to_owned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Letters that tell a typo in a secret from a wrong one, without asking the store.
pub(crate) fn checksum(body: &str) -> String {
    let hash = blake3::hash(body.as_bytes());
    hash.as_bytes()
        .iter()
        .take(CHECKSUM_LEN)
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % 62]))
        .collect()
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    #[test]
    fn a_secret_parses_back_and_a_typo_does_not() {
        let secret = Secret::random(&SystemEntropy).unwrap();
        assert_eq!(Secret::parse(secret.reveal()), Some(secret.clone()));
        for at in PREFIX.len()..LEN {
            let mut typo = secret.reveal().to_owned().into_bytes();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            let typo = String::from_utf8(typo).unwrap();
            // Five characters of checksum let one typo in 900 million through to the store, which refuses it.
            assert_eq!(Secret::parse(&typo), None, "at {at}");
        }
    }

    #[test]
    fn what_is_no_secret_does_not_parse() {
        for text in ["", "tmcp_", "tmcp_short", &"é".repeat(LEN / 2), &format!("tmcp_{}", "!".repeat(48))] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::random(&SystemEntropy).unwrap();
        assert_eq!(format!("{secret:?}"), "***");
    }
}
