//! Sealing: what only nodes of this cluster can read, wherever it is kept meanwhile.
//!
//! A [`Sealer`] belongs to one purpose, so that what was sealed for one is nothing to another. Each message has a key of its
//! own, made from the purpose's key and 24 random bytes that go with it, so no nonce is ever used twice, however many
//! messages there are (the construction of XChaCha20, RFC draft-irtf-cfrg-xchacha, with BLAKE3 in place of HChaCha20).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use twinmcp_cluster::{Cluster, ClusterKeys};
use twinmcp_storage::clock::{Entropy, EntropyError};
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::oauth::base_key;

const SALT_BYTES: usize = 24;
/// How long a change waits for the base key of a new cluster.
const WAIT: Duration = Duration::from_secs(5);

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

/// Why nothing can be sealed or opened at this moment.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A new cluster makes its base key in the moment after its start; a node that has not the cluster's key opens none.
    #[error("the cluster's base key is not there yet")]
    NotReady,
    /// The store could not be read.
    #[error("failed to read the base key")]
    Storage(#[from] StorageError),
    /// The system has no random bytes.
    #[error("failed to seal a secret")]
    Entropy(#[from] EntropyError),
}

/// Seals with the cluster's base key, which outlives every key of the cluster. It is read and opened each time: that happens when people
/// sign in, and so a key that was replaced is never in the way.
#[derive(Clone)]
pub(crate) struct Vault {
    cluster: Cluster,
    keys: ClusterKeys,
}

impl Vault {
    pub(crate) const fn new(cluster: Cluster, keys: ClusterKeys) -> Self {
        Self { cluster, keys }
    }

    /// Waits for the base key, which a new cluster makes in the moment after its start.
    pub(crate) async fn ready(&self) -> Result<(), VaultError> {
        let mut changes = self.cluster.changes();
        let there = async {
            while matches!(self.base(), Err(VaultError::NotReady)) && changes.next().await.is_some() {}
        };
        // Whether it came in time is told by looking once more.
        let _ = tokio::time::timeout(WAIT, there).await;
        self.base().map(drop)
    }

    /// Seals and opens what `purpose` says.
    pub(crate) fn sealer(&self, purpose: &str) -> Result<Sealer, VaultError> {
        Ok(Sealer::new(&self.base()?, purpose))
    }

    /// A key for hashes of what `purpose` says.
    pub(crate) fn derive(&self, purpose: &str) -> Result<[u8; 32], VaultError> {
        Ok(blake3::derive_key(purpose, &self.base()?))
    }

    /// `content` as text that a browser carries and nobody else reads or changes.
    pub(crate) fn ticket(
        &self,
        purpose: &str,
        content: &impl Serialize,
        entropy: &dyn Entropy,
    ) -> Result<String, VaultError> {
        // JSON, because tickets of one build are read by the next.
        let content = serde_json::to_vec(content).unwrap_or_default();
        Ok(URL_SAFE_NO_PAD.encode(self.sealer(purpose)?.seal(&content, entropy)?))
    }

    /// What [`Self::ticket`] sealed for this purpose; nothing for any other text.
    pub(crate) fn read_ticket<T: DeserializeOwned>(
        &self,
        purpose: &str,
        text: &str,
    ) -> Result<Option<T>, VaultError> {
        let sealer = self.sealer(purpose)?;
        let opened = URL_SAFE_NO_PAD.decode(text).ok().and_then(|sealed| sealer.open(&sealed));
        Ok(opened.and_then(|content| serde_json::from_slice(&content).ok()))
    }

    fn base(&self) -> Result<[u8; 32], VaultError> {
        let base = base_key::get(self.cluster.reader())?.ok_or(VaultError::NotReady)?;
        self.keys.open_base(&base.sealed).map_err(|_| VaultError::NotReady)
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
