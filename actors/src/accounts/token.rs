//! Secrets of sessions and links: 256 random bits, in hexadecimal.

use std::fmt;

use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::{Entropy, EntropyError};

/// Letters of a token.
const LEN: usize = 64;

/// A secret that one browser or letter carries.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; LEN / 2];
        entropy.fill(&mut bytes)?;
        Ok(Self(blake3::Hash::from_bytes(bytes).to_hex().to_string()))
    }

    /// The token in `text`, if it can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == LEN && is_hex).then(|| Self(text.to_owned()))
    }

    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    #[test]
    fn a_token_parses_back_and_nothing_else_does() {
        let token = Token::random(&SystemEntropy).unwrap();
        assert_eq!(Token::parse(token.reveal()), Some(token.clone()));
        assert_eq!(format!("{token:?}"), "***");
        let upper = token.reveal().to_uppercase() + "A";
        for text in ["", "0", &upper[..64], &"g".repeat(64), &"0".repeat(65), &"é".repeat(32)] {
            let is_same = text == token.reveal();
            assert!(Token::parse(text).is_none() || is_same, "{text}");
        }
    }
}
