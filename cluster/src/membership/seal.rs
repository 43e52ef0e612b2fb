//! Datagrams that only nodes with the cluster's secret can make or read.
//!
//! ```text
//! 0   format, 1
//! 1   cluster: first 4 bytes of BLAKE3 of its id, to tell a wrong cluster from a wrong secret
//! 5   key: 4 bytes derived from the secret and the cluster's id
//! 9   sender: node id (8), generation (8), boot id (16, random)
//! 41  counter (8)
//! 49  sealed: sent at (8, ms since 1970), place and count of the fragment (1 + 1), its bytes
//! -16 tag
//! ```
//! Numbers are little endian. All 49 bytes in front, and the whole cluster id, are associated data.
//!
//! # No nonce returns under one key
//! All nodes share one secret, and none keeps a counter on disk, so a nonce of "random id of the boot and
//! counter" under one shared key would bet on 32 random bits: after 20,000 starts two of them are equal with 5 %,
//! and one repeated nonce of ChaCha20-Poly1305 gives away what was sealed and lets datagrams be forged.
//! Here each boot seals with a key of its own, derived by HKDF-SHA256 (RFC 5869) from the secret, the cluster's id,
//! the node's id, its generation and 128 random bits of the boot; the nonce is only the counter. Two boots have
//! the same key if they drew the same 128 bits, in the same millisecond, under the same node id. Within a
//! boot the counter goes up with each datagram, also over a rotation of the secret and back, and sealing ends
//! before it would wrap.
//!
//! # Replays
//! A datagram is taken once by each boot of a receiver while [`replay`](super::replay) knows its sender, and a sender is
//! forgotten only when all it ever sent is too old for the clock. So what was recorded is of no use
//! after [`MembershipConfig::clock_skew_max_ms`](super::MembershipConfig::clock_skew_max_ms), whoever was restarted
//! meanwhile; before, it can reach a receiver once more only if that one was restarted in between, and then
//! it tells the truth of a minute ago.
//!
//! Invariant: nothing is kept about a sender before a tag of it has verified.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use twinmcp_storage::clock::Timestamp;

use super::config::{ClusterSecret, require};
use super::error::MembershipError;
use super::replay::Senders;
use super::traffic::Dropped;

/// Bytes of the largest datagram: IPv6 carries 1,280 everywhere (RFC 8200 section 5) with 48 of headers, so
/// none is cut on its way, where many networks drop the pieces.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1_200;
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 49;
const COUNTER_AT: usize = 41;
/// Sent at, place, count.
const INNER_BYTES: usize = 10;
const TAG_BYTES: usize = 16;
const DATAGRAM_BYTES_MIN: usize = HEADER_BYTES + INNER_BYTES + TAG_BYTES;
/// Bytes of a message that one datagram carries.
pub(super) const FRAGMENT_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - DATAGRAM_BYTES_MIN;
/// Secrets that are accepted at once.
const SECRETS_MAX: usize = 2;

/// One boot of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sender {
    pub(super) node: u64,
    pub(super) generation: u64,
    /// 128 random bits.
    pub(super) boot: [u8; 16],
}

/// Which secret; says nothing about what it is.
pub(super) type KeyId = [u8; 4];

/// The accepted secrets of one cluster.
pub(super) struct KeyRing {
    cluster: Arc<str>,
    cluster_tag: [u8; 4],
    /// The first seals.
    roots: Vec<Root>,
}

struct Root {
    id: KeyId,
    prk: Prk,
}

impl KeyRing {
    /// # Errors
    /// [`MembershipError::Config`] without a secret, with three, or with the same one twice.
    pub(super) fn new(cluster: &str, secrets: &[ClusterSecret]) -> Result<Self, MembershipError> {
        require(
            (1..=SECRETS_MAX).contains(&secrets.len()),
            "`secrets` must be one, or two during a rotation",
        )?;
        let roots: Vec<Root> = secrets.iter().map(|secret| Root::new(cluster, secret)).collect();
        let is_same = roots.len() == 2 && roots[0].id == roots[1].id;
        require(!is_same, "`secrets` are the same secret twice")?;
        let hash = blake3::hash(cluster.as_bytes());
        let cluster_tag = array(hash.as_bytes(), 0);
        Ok(Self { cluster: cluster.into(), cluster_tag, roots })
    }

    fn sealing(&self) -> &Root {
        &self.roots[0]
    }

    fn root(&self, id: KeyId) -> Option<&Root> {
        self.roots.iter().find(|root| root.id == id)
    }

    fn aad<'a>(&self, header: &[u8], room: &'a mut Vec<u8>) -> Aad<&'a [u8]> {
        room.clear();
        room.extend_from_slice(header);
        room.extend_from_slice(self.cluster.as_bytes());
        Aad::from(room)
    }
}

/// Never the keys.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("cluster", &self.cluster).field("secrets", &self.roots.len()).finish()
    }
}

impl Root {
    fn new(cluster: &str, secret: &ClusterSecret) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"twinmcp gossip, format 1").extract(secret.bytes());
        let mut id = KeyId::default();
        let info: [&[u8]; 2] = [b"key id\0", cluster.as_bytes()];
        let filled = prk.expand(&info, Bytes(id.len())).and_then(|okm| okm.fill(&mut id));
        // HKDF gives up to 255 blocks (RFC 5869 section 2.3); 4 bytes are one.
        debug_assert!(filled.is_ok());
        Self { id, prk }
    }

    /// The key one boot of one node seals with. The cluster's id ends the input, so that every part but
    /// the last has a fixed length and two inputs never read alike.
    fn derive(&self, cluster: &str, sender: &Sender) -> Result<LessSafeKey, Dropped> {
        let (node, generation) = (sender.node.to_le_bytes(), sender.generation.to_le_bytes());
        let info: [&[u8]; 5] = [b"datagrams\0", &node, &generation, &sender.boot, cluster.as_bytes()];
        let okm = self.prk.expand(&info, &CHACHA20_POLY1305).map_err(|_| Dropped::Key)?;
        Ok(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Part of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    /// Its place, from 0.
    pub(super) place: u8,
    /// How many the message has.
    pub(super) count: u8,
    pub(super) bytes: &'a [u8],
}

/// Seals what this boot sends.
pub(super) struct Sealer {
    sender: Sender,
    ring: Arc<ArcSwap<KeyRing>>,
    /// The counter of the next datagram.
    counter: u64,
    key: Option<(KeyId, LessSafeKey)>,
    aad: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(sender: Sender, ring: Arc<ArcSwap<KeyRing>>) -> Self {
        Self { sender, ring, counter: 0, key: None, aad: Vec::new() }
    }

    /// Writes one sealed fragment to `datagram`. Fragments of one message are sealed one after the other, so
    /// that the counter less the place is the same for all of them.
    ///
    /// # Errors
    /// [`Dropped::Large`] when the fragment is too large; [`Dropped::Key`] when the counter has come to its end.
    pub(super) fn seal(
        &mut self,
        fragment: Fragment<'_>,
        now: Timestamp,
        datagram: &mut Vec<u8>,
    ) -> Result<(), Dropped> {
        if fragment.bytes.len() > FRAGMENT_BYTES_MAX {
            return Err(Dropped::Large);
        }
        let ring = self.ring.load();
        let root = ring.sealing();
        let key = match &mut self.key {
            Some((id, key)) if *id == root.id => key,
            other => &mut other.insert((root.id, root.derive(&ring.cluster, &self.sender)?)).1,
        };
        let counter = self.counter;
        self.counter = counter.checked_add(1).ok_or(Dropped::Key)?;

        datagram.clear();
        datagram.push(FORMAT);
        datagram.extend_from_slice(&ring.cluster_tag);
        datagram.extend_from_slice(&root.id);
        datagram.extend_from_slice(&self.sender.node.to_le_bytes());
        datagram.extend_from_slice(&self.sender.generation.to_le_bytes());
        datagram.extend_from_slice(&self.sender.boot);
        datagram.extend_from_slice(&counter.to_le_bytes());
        let aad = ring.aad(datagram, &mut self.aad);
        datagram.extend_from_slice(&now.as_millis().to_le_bytes());
        datagram.extend_from_slice(&[fragment.place, fragment.count]);
        datagram.extend_from_slice(fragment.bytes);
        let sealed = &mut datagram[HEADER_BYTES..];
        let tag = key.seal_in_place_separate_tag(nonce(counter), aad, sealed).map_err(|_| Dropped::Large)?;
        datagram.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// An authentic fragment that was not seen before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened<'a> {
    pub(super) sender: Sender,
    /// The counter of the message's first fragment: its name among those of the sender.
    pub(super) message: u64,
    pub(super) fragment: Fragment<'a>,
}

/// Opens what arrives.
pub(super) struct Opener {
    own: Sender,
    ring: Arc<ArcSwap<KeyRing>>,
    senders: Senders,
    skew_max_ms: u64,
    aad: Vec<u8>,
}

impl Opener {
    /// `own` is the boot whose datagrams are refused when they come back.
    pub(super) fn new(own: Sender, ring: Arc<ArcSwap<KeyRing>>, skew_max_ms: u64) -> Self {
        Self { own, ring, senders: Senders::default(), skew_max_ms, aad: Vec::new() }
    }

    /// Opens a datagram in its place.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) fn open<'a>(&mut self, datagram: &'a mut [u8], now: Timestamp) -> Result<Opened<'a>, Dropped> {
        match datagram.len() {
            ..DATAGRAM_BYTES_MIN => return Err(Dropped::Short),
            DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX => {}
            _ => return Err(Dropped::Long),
        }
        let (header, sealed) = datagram.split_at_mut(HEADER_BYTES);
        if header[0] != FORMAT {
            return Err(Dropped::Format);
        }
        let ring = self.ring.load();
        if array::<4>(header, 1) != ring.cluster_tag {
            return Err(Dropped::Cluster);
        }
        let key_id: KeyId = array(header, 5);
        let root = ring.root(key_id).ok_or(Dropped::Key)?;
        let (node, generation) = (number(header, 9), number(header, 17));
        let sender = Sender { node, generation, boot: array(header, 25) };
        let counter = number(header, COUNTER_AT);

        let (aad, nonce) = (ring.aad(header, &mut self.aad), nonce(counter));
        let derived;
        let key = match self.senders.key(key_id, &sender) {
            Some(key) => key,
            None => {
                derived = root.derive(&ring.cluster, &sender)?;
                &derived
            }
        };
        let opened = key.open_in_place(nonce, aad, sealed).map_err(|_| Dropped::Forged)?;

        // From here on it is the word of somebody who has the secret.
        if sender == self.own {
            return Err(Dropped::Own);
        }
        let sent = Timestamp::from_millis(number(opened, 0));
        let apart = now.millis_since(sent).max(sent.millis_since(now));
        if apart > self.skew_max_ms {
            return Err(Dropped::Clock);
        }
        let key = || root.derive(&ring.cluster, &sender);
        self.senders.accept((key_id, sender), counter, sent, now, self.skew_max_ms, key)?;
        let fragment = Fragment { place: opened[8], count: opened[9], bytes: &opened[INNER_BYTES..] };
        let message = counter.checked_sub(fragment.place.into()).ok_or(Dropped::Fragment)?;
        Ok(Opened { sender, message, fragment })
    }
}

/// 32 zero bits and the counter: the key is the boot's own, see the head of this file.
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// `N` bytes from `at` on; the caller has seen to the length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
