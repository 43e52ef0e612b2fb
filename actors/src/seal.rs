//! Sealing: what only nodes of this cluster can read, wherever it is kept meanwhile.
//!
//! A [`Sealer`] belongs to one purpose, so that what was sealed for one is nothing to another. Each message has a key of its
//! own, made from the purpose's key and 24 random bytes that go with it, so no nonce is ever used twice, however many
//! messages there are (the construction of XChaCha20, RFC draft-irtf-cfrg-xchacha, with BLAKE3 in place of HChaCha20).

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use twinmcp_storage::clock::{Entropy, EntropyError};

const SALT_BYTES: usize = 24;

/// Seals and opens messages of one purpose.
#[derive(Clone)]
pub(crate) struct Sealer {
    key: [u8; 32],
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Sealer {
    /// For what `purpose` says: a sentence that nothing else in the program uses.
    pub(crate) fn new(key: &[u8; 32], purpose: &str) -> Self {
        Self { key: blake3::derive_key(purpose, key) }
    }

    /// `message`, sealed.
    pub(crate) fn seal(&self, message: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, EntropyError> {
        let mut sealed = vec![0; SALT_BYTES];
        entropy.fill(&mut sealed)?;
        let mut body = message.to_vec();
        let tag = self.cipher(&sealed).map(|cipher| {
            cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)
        });
        // Only a message of more than 256 GiB cannot be sealed.
        let Some(Ok(tag)) = tag else { return Ok(Vec::new()) };
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// The message in `sealed`; nothing when it was not sealed by this cluster for this purpose, or was changed.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, body) = sealed.split_at_checked(SALT_BYTES)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let length = self.cipher(salt)?.open_in_place(nonce, Aad::empty(), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    fn cipher(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let key = blake3::keyed_hash(&self.key, salt);
        UnboundKey::new(&CHACHA20_POLY1305, key.as_bytes()).ok().map(LessSafeKey::new)
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    #[test]
    fn only_the_same_cluster_opens_it_for_the_same_purpose_and_unchanged() {
        let (key, other) = ([1; 32], [2; 32]);
        let sealer = Sealer::new(&key, "a test");
        let sealed = sealer.seal(b"message", &SystemEntropy).unwrap();
        assert_eq!(sealer.open(&sealed).unwrap(), b"message");
        assert_ne!(sealer.seal(b"message", &SystemEntropy).unwrap(), sealed);
        assert!(Sealer::new(&other, "a test").open(&sealed).is_none());
        assert!(Sealer::new(&key, "another test").open(&sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(&changed).is_none(), "byte {at}");
            assert!(sealer.open(&sealed[..at]).is_none(), "{at} bytes");
        }
    }
}
