//! The cluster's own certificate authority, and the key that seals what is secret in agreed state.
//!
//! Every node holds the [`ClusterKey`], so every node can open the authority's private key in its own state and make
//! its own short-lived certificate: none is kept on disk, and none has to be asked for.
//!
//! Invariant: the authority's key and the cluster's key are never logged, and leave a node only in the answer to
//! somebody who joined with a token, inside TLS.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use ring::{aead, hkdf};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use twinmcp_storage::clock::{Entropy, EntropyError, Timestamp};
use twinmcp_storage::members::Authority;
use twinmcp_storage::rotation::KeyName;

use crate::status::{ClusterId, NodeId};

/// Bytes of a [`ClusterKey`].
pub const CLUSTER_KEY_BYTES: usize = 32;
/// What is added to the name of each node in certificates.
const DOMAIN: &str = "twinmcp.internal";
/// Sets secrets of webhooks apart from others made from the same key.
const WEBHOOKS_CONTEXT: &str = "twinmcp 2026-11 webhook secrets";
/// Seals the authority's private key.
const AUTHORITY_LABEL: &str = "twinmcp cluster authority v1";

/// The secret that every node of a cluster has, and nobody else. Keys for each purpose are derived from it.
#[derive(Clone)]
pub struct ClusterKey([u8; CLUSTER_KEY_BYTES]);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(***)")
    }
}

/// Why something secret could not be sealed, opened or signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It was sealed with another key, or it is damaged.
    #[error(
        "what was sealed with the cluster's key cannot be opened: this node has another cluster's `keys/master.key`; if the \
         key was replaced while the node was away, make a token with `twinmcp cluster token` on another node, and run \
         `twinmcp cluster join TOKEN-FILE --config FILE` here"
    )]
    Sealed,
    /// No random bytes.
    #[error("no random bytes")]
    Entropy(#[from] EntropyError),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] rcgen::Error),
}

impl ClusterKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; CLUSTER_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a node that joins, and for the file that keeps them.
    pub fn bytes(&self) -> &[u8; CLUSTER_KEY_BYTES] {
        &self.0
    }

    /// What the key is called in agreed state; says nothing about it.
    pub fn name(&self) -> KeyName {
        let derived = self.derive("twinmcp cluster key name v1");
        derived.first_chunk().copied().unwrap_or_default()
    }

    /// What secrets of webhooks are made from while the key is in force.
    pub(crate) fn webhook_key(&self) -> [u8; 32] {
        blake3::derive_key(WEBHOOKS_CONTEXT, &self.0)
    }

    /// A key for one purpose (HKDF-SHA256, RFC 5869).
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut derived = [0; 32];
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"twinmcp").extract(&self.0);
        let info = [label.as_bytes()];
        // Only longer outputs than 255 hashes are refused.
        if let Ok(expanded) = extracted.expand(&info, hkdf::HKDF_SHA256) {
            let _ = expanded.fill(&mut derived);
        }
        derived
    }

    fn cipher(&self, label: &str) -> Result<aead::LessSafeKey, AuthorityError> {
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, &self.derive(label));
        Ok(aead::LessSafeKey::new(key.map_err(|_| AuthorityError::Sealed)?))
    }

    /// Nonce and ciphertext (ChaCha20-Poly1305, RFC 8439).
    pub(crate) fn seal(
        &self,
        label: &str,
        secret: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, AuthorityError> {
        let mut nonce = [0; aead::NONCE_LEN];
        entropy.fill(&mut nonce)?;
        let mut sealed = secret.to_vec();
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        let cipher = self.cipher(label)?;
        cipher
            .seal_in_place_append_tag(unique, aead::Aad::from(label), &mut sealed)
            .map_err(|_| AuthorityError::Sealed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(crate) fn open(&self, label: &str, sealed: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let (nonce, sealed) = sealed.split_first_chunk().ok_or(AuthorityError::Sealed)?;
        let mut secret = sealed.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let cipher = self.cipher(label)?;
        let opened = cipher.open_in_place(nonce, aead::Aad::from(label), &mut secret);
        let length = opened.map_err(|_| AuthorityError::Sealed)?.len();
        secret.truncate(length);
        Ok(secret)
    }
}

/// What a node shows its peers, and whom it believes.
pub struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Authorities that it believes; the one that signed its own first.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) cluster: ClusterId,
    /// Until when peers believe it.
    pub until: Timestamp,
}

/// The authority, opened.
pub struct CertificateAuthority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl CertificateAuthority {
    /// A new one.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`].
    pub fn make() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = params().self_signed(&key)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// The one that is in agreed state.
    ///
    /// # Errors
    /// [`AuthorityError::Sealed`] with another cluster's key.
    pub fn open(record: &Authority, key: &ClusterKey) -> Result<Self, AuthorityError> {
        let opened = key.open(AUTHORITY_LABEL, &record.sealed_key)?;
        let key = KeyPair::try_from(opened)?;
        Ok(Self { certificate: CertificateDer::from(record.certificate.clone()), key })
    }

    /// Its certificate and its sealed key, as agreed state keeps them.
    ///
    /// # Errors
    /// [`AuthorityError::Entropy`].
    pub fn seal(
        &self,
        key: &ClusterKey,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, Vec<u8>), AuthorityError> {
        let sealed = key.seal(AUTHORITY_LABEL, &self.key.serialize_der(), entropy)?;
        Ok((self.certificate.to_vec(), sealed))
    }

    /// A certificate for `node`, good from a minute before `now` for `life_ms`.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`].
    pub fn issue(
        &self,
        cluster: ClusterId,
        node: NodeId,
        now: Timestamp,
        life_ms: u64,
    ) -> Result<Credentials, AuthorityError> {
        let until = now.plus_millis(life_ms);
        let mut wanted = CertificateParams::new(vec![node_name(cluster, node)])?;
        wanted.distinguished_name = DistinguishedName::new();
        wanted.not_before = date(now.as_secs().saturating_sub(60));
        wanted.not_after = date(until.as_secs());
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let issuer_params = params();
        let certificate = wanted.signed_by(&key, &Issuer::from_params(&issuer_params, &self.key))?;
        Ok(Credentials {
            // With the authority's own, so that who joins can compare it with the token's pin.
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            roots: vec![self.certificate.clone()],
            cluster,
            until,
        })
    }
}

/// BLAKE3 of an authority's certificate: who joins knows it from its token.
pub(crate) fn pin(certificate: &[u8]) -> [u8; 32] {
    *blake3::hash(certificate).as_bytes()
}

/// The name of a node in its certificate.
pub(crate) fn node_name(cluster: ClusterId, node: NodeId) -> String {
    format!("node-{node}.{cluster}.{DOMAIN}")
}

/// The node that a name in a certificate is for.
pub(crate) fn named_node(cluster: ClusterId, name: &str) -> Option<NodeId> {
    let rest = name.strip_prefix("node-")?.strip_suffix(DOMAIN)?.strip_suffix('.')?;
    let (node, found) = rest.split_once('.')?;
    (found == cluster.to_string()).then(|| node.parse().ok().map(NodeId)).flatten()
}

/// The same each time, so that a certificate can be signed without reading the authority's own.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "TwinMCP cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn date(seconds: u64) -> time::OffsetDateTime {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    fn record(authority: &CertificateAuthority, key: &ClusterKey) -> Authority {
        let (certificate, sealed_key) = authority.seal(key, &SystemEntropy).unwrap();
        Authority { certificate, sealed_key, made_at: Timestamp::default() }
    }

    #[test]
    fn an_authority_is_opened_with_its_cluster_key_and_no_other() {
        let (key, authority) = (ClusterKey::new([7; 32]), CertificateAuthority::make().unwrap());
        let mut kept = record(&authority, &key);
        assert_eq!(CertificateAuthority::open(&kept, &key).unwrap().certificate, authority.certificate);
        let refused = CertificateAuthority::open(&kept, &ClusterKey::new([8; 32]));
        assert!(refused.err().unwrap().to_string().contains("keys/master.key"));
        *kept.sealed_key.last_mut().unwrap() ^= 1;
        assert!(CertificateAuthority::open(&kept, &key).is_err(), "a flipped bit");
        kept.sealed_key.truncate(3);
        assert!(CertificateAuthority::open(&kept, &key).is_err(), "too short");
    }

    #[test]
    fn secrets_are_not_shown_and_purposes_have_keys_of_their_own() {
        let key = ClusterKey::new([7; 32]);
        assert_eq!(format!("{key:?}"), "ClusterKey(***)");
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_ne!(key.derive("a"), ClusterKey::new([8; 32]).derive("a"));
    }

    #[test]
    fn a_name_is_for_one_node_of_one_cluster() {
        let (cluster, other) = (ClusterId([1; 16]), ClusterId([2; 16]));
        let name = node_name(cluster, NodeId(7));
        assert_eq!(named_node(cluster, &name), Some(NodeId(7)));
        assert_eq!(named_node(other, &name), None);
        assert_eq!(named_node(cluster, "node-7.example.org"), None);
    }
}
