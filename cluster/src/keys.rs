//! The cluster's keys that this node has: the one that seals, and during a rotation another that opens as well.
//!
//! Clones of [`ClusterKeys`] share them; who derives something from the key in force asks anew each time, or watches.
//! Members give each other a key by its name, over the port whose certificates both have checked.
//!
//! Invariant: a key is in its file before anybody is told that this node has it, and leaves the file only after the state on
//! disk needs it no more.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard, watch};
use twinmcp_storage::clock::{Entropy, Timestamp};
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::record::{self, Record};
use twinmcp_storage::refresh;
use twinmcp_storage::rotation::{self, KeyName};

use crate::authority::{AuthorityError, CLUSTER_KEY_BYTES, ClusterKey};

/// Where a member is given a key.
pub(crate) const KEY_PATH: &str = "/key";
/// Bytes of the question for a key.
pub(crate) const KEY_QUESTION_BYTES_MAX: usize = 64;
/// Seals what secrets of webhooks were made from.
pub(crate) const WEBHOOKS_LABEL: &str = "twinmcp webhook key v1";

/// Seals what secrets of the authorization server are made from.
pub(crate) const BASE_LABEL: &str = "twinmcp base key v1";

/// Keeps the keys over restarts.
pub trait KeyFiles: Send + Sync + 'static {
    /// Keeps these and no others; the first seals. A crash in between leaves all of them, and perhaps more. Blocks.
    ///
    /// # Errors
    /// What the disk answers; those before are kept then.
    fn keep(&self, keys: &[ClusterKey]) -> io::Result<()>;
}

/// Keeps nothing.
struct Unkept;

impl KeyFiles for Unkept {
    fn keep(&self, _keys: &[ClusterKey]) -> io::Result<()> {
        Ok(())
    }
}

/// The keys; see the head of this file.
#[derive(Clone)]
pub struct ClusterKeys(Arc<Inner>);

struct Inner {
    /// The first seals; never empty.
    keys: watch::Sender<Arc<[ClusterKey]>>,
    files: Arc<dyn KeyFiles>,
    /// Held by whoever changes them.
    changing: Mutex<()>,
}

impl fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKeys(***)")
    }
}

/// Why there is no key for a webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookKeyError {
    /// The cluster's key was replaced, and this node has yet to get the new one.
    #[error("this node does not have the cluster's key yet")]
    Away,
    /// What is kept cannot be opened.
    #[error(transparent)]
    Sealed(#[from] AuthorityError),
    /// The state could not be read.
    #[error("failed to read the agreed state")]
    Storage(#[from] StorageError),
}

impl ClusterKeys {
    /// The keys that `files` has; `first` seals unless `state` says that another does.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn open(
        first: ClusterKey,
        others: Vec<ClusterKey>,
        state: &dyn Reader,
        files: Arc<dyn KeyFiles>,
    ) -> Result<Self, StorageError> {
        let names = rotation::key_names(state)?;
        let mut keys = vec![first];
        keys.extend(others);
        if let Some(place) = names.and_then(|names| keys.iter().position(|key| key.name() == names.in_force))
        {
            keys.swap(0, place);
        }
        Ok(Self::with(keys, files))
    }

    /// One key that is kept nowhere.
    pub fn unkept(key: ClusterKey) -> Self {
        Self::with(vec![key], Arc::new(Unkept))
    }

    fn with(keys: Vec<ClusterKey>, files: Arc<dyn KeyFiles>) -> Self {
        let keys = watch::Sender::new(keys.into());
        Self(Arc::new(Inner { keys, files, changing: Mutex::default() }))
    }

    /// The one that seals.
    pub fn sealing(&self) -> ClusterKey {
        self.all()[0].clone()
    }

    /// All of them, the one that seals first.
    pub fn all(&self) -> Arc<[ClusterKey]> {
        Arc::clone(&self.0.keys.borrow())
    }

    /// The same, for whoever waits for them to change.
    pub fn watch(&self) -> watch::Receiver<Arc<[ClusterKey]>> {
        self.0.keys.subscribe()
    }

    pub(crate) fn named(&self, name: KeyName) -> Option<ClusterKey> {
        self.all().iter().find(|key| key.name() == name).cloned()
    }

    /// What was sealed with one of the keys.
    pub(crate) fn open_sealed(&self, label: &str, sealed: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        let keys = self.all();
        let mut opened = keys.iter().map(|key| key.open(label, sealed));
        opened.find(Result::is_ok).unwrap_or(Err(AuthorityError::Sealed))
    }

    /// Lets nobody else change them.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().await
    }

    /// Has these from now on, the first seals. Whoever calls [holds](Self::hold) them.
    pub(crate) async fn set(&self, keys: Vec<ClusterKey>) -> io::Result<()> {
        let names = |keys: &[ClusterKey]| keys.iter().map(ClusterKey::name).collect::<Vec<_>>();
        if names(&keys) == names(&self.all()) {
            return Ok(());
        }
        let (files, kept) = (Arc::clone(&self.0.files), keys.clone());
        tokio::task::spawn_blocking(move || files.keep(&kept)).await.map_err(io::Error::other)??;
        self.0.keys.send_replace(keys.into());
        Ok(())
    }

    /// What the secret of a webhook is made from that was made at `made_at`: the key in force then, as `view` has it.
    ///
    /// # Errors
    /// [`WebhookKeyError`].
    pub fn webhook_key(&self, view: &dyn Reader, made_at: Timestamp) -> Result<[u8; 32], WebhookKeyError> {
        let before = refresh::webhook_keys(view)?;
        if let Some(before) = before.iter().find(|before| made_at <= before.until) {
            let opened = self.open_sealed(WEBHOOKS_LABEL, &before.sealed)?;
            return opened.try_into().map_err(|_| AuthorityError::Sealed.into());
        }
        match rotation::key_names(view)? {
            Some(names) => {
                self.named(names.in_force).map(|key| key.webhook_key()).ok_or(WebhookKeyError::Away)
            }
            None => Ok(self.sealing().webhook_key()),
        }
    }

    /// Seals what secrets of the authorization server are made from, with the key that it names.
    ///
    /// # Errors
    /// Without random bytes.
    pub fn seal_base(
        &self,
        base: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> Result<(KeyName, Vec<u8>), AuthorityError> {
        let key = self.sealing();
        Ok((key.name(), key.seal(BASE_LABEL, base, entropy)?))
    }

    /// What [`Self::seal_base`] sealed, by any of the keys.
    ///
    /// # Errors
    /// When it was sealed with another key, or is damaged.
    pub fn open_base(&self, sealed: &[u8]) -> Result<[u8; 32], AuthorityError> {
        self.open_sealed(BASE_LABEL, sealed)?.try_into().map_err(|_| AuthorityError::Sealed)
    }

    /// The answer to a member that asks for a key; nothing when it is not here.
    pub(crate) fn give(&self, question: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let KeyQuestion { name } = record::decode(question)?;
        self.named(name).map(|key| record::encode(&KeyAnswer { key: *key.bytes() })).transpose()
    }
}

/// Asks for a key.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyQuestion {
    pub(crate) name: KeyName,
}

impl Record for KeyQuestion {
    const NAME: &'static str = "question for a key";
    const FORMAT: u8 = 1;
}

/// The key.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyAnswer {
    key: [u8; CLUSTER_KEY_BYTES],
}

impl Record for KeyAnswer {
    const NAME: &'static str = "key of the cluster";
    const FORMAT: u8 = 1;
}

impl KeyAnswer {
    /// The key that was asked for; nothing if it is another.
    pub(crate) fn read(answer: &[u8], name: KeyName) -> Option<ClusterKey> {
        let key = ClusterKey::new(record::decode::<Self>(answer).ok()?.key);
        (key.name() == name).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use twinmcp_storage::clock::SystemEntropy;
    use twinmcp_storage::engine::{Batch, Durability, Engine, Keyspace, MemoryEngine};
    use twinmcp_storage::rotation::KeyNames;

    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::new([byte; CLUSTER_KEY_BYTES])
    }

    #[derive(Default)]
    struct Kept(Mutex<Vec<KeyName>>);

    impl KeyFiles for Kept {
        fn keep(&self, keys: &[ClusterKey]) -> io::Result<()> {
            *self.0.lock().unwrap() = keys.iter().map(ClusterKey::name).collect();
            Ok(())
        }
    }

    fn put(engine: &MemoryEngine, space: Keyspace, at: &[u8], record: &impl Record) {
        let mut batch = Batch::new();
        batch.put(space, at.to_vec(), record::encode(record).unwrap());
        engine.commit(batch, Durability::Buffered).unwrap();
    }

    #[tokio::test]
    async fn the_key_that_agreed_state_names_seals_and_every_change_is_kept_first() {
        let state = MemoryEngine::new(Keyspace::STATE);
        put(&state, Keyspace::Members, b"kn", &KeyNames { in_force: key(2).name(), other: None });
        let kept = Arc::new(Kept::default());
        let keys = ClusterKeys::open(key(1), vec![key(2)], &state, kept.clone()).unwrap();
        assert_eq!(keys.sealing().name(), key(2).name());
        let sealed = key(1).seal("label", b"secret", &SystemEntropy).unwrap();
        assert_eq!(keys.open_sealed("label", &sealed).unwrap(), b"secret", "both open");
        keys.set(vec![key(3), key(2)]).await.unwrap();
        assert_eq!(*kept.0.lock().unwrap(), [key(3).name(), key(2).name()]);
        assert!(keys.open_sealed("label", &sealed).is_err(), "that key is gone");
        assert_eq!(format!("{keys:?}"), "ClusterKeys(***)");
    }

    #[test]
    fn a_key_is_given_by_its_name_and_no_other_is_taken_for_it() {
        let keys = ClusterKeys::unkept(key(1));
        let ask = |name| record::encode(&KeyQuestion { name }).unwrap();
        let answer = keys.give(&ask(key(1).name())).unwrap().unwrap();
        assert_eq!(KeyAnswer::read(&answer, key(1).name()).unwrap().bytes(), key(1).bytes());
        assert!(KeyAnswer::read(&answer, key(2).name()).is_none());
        assert_eq!(keys.give(&ask(key(2).name())).unwrap(), None);
        assert!(keys.give(b"\x01").is_err());
    }

    #[test]
    fn questions_for_keys_are_written_as_they_always_were() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let question = record::encode(&KeyQuestion { name: [7; 8] }).unwrap();
        assert_eq!(hex(question), format!("01{}", "07".repeat(8)));
        let keys = ClusterKeys::unkept(key(9));
        // The name is derived: it must stay the same as well.
        let asked = record::encode(&KeyQuestion { name: key(9).name() }).unwrap();
        assert_eq!(hex(asked.clone()), "01f90502d85ee9aff3");
        assert_eq!(hex(keys.give(&asked).unwrap().unwrap()), format!("01{}", "09".repeat(32)));
    }

    #[test]
    fn a_webhook_is_of_the_key_that_was_in_force_when_it_was_made() {
        let state = MemoryEngine::new(Keyspace::STATE);
        let at = Timestamp::from_millis;
        let made = |keys: &ClusterKeys, millis| keys.webhook_key(&state, at(millis));
        let keys = ClusterKeys::unkept(key(1));
        assert_eq!(made(&keys, 5).unwrap(), key(1).webhook_key());
        for (place, (byte, until)) in [(1, 10), (2, 20)].into_iter().enumerate() {
            let sealed = key(3).seal(WEBHOOKS_LABEL, &key(byte).webhook_key(), &SystemEntropy).unwrap();
            let before = refresh::WebhookKey { until: at(until), sealed };
            put(&state, Keyspace::Refresh, &[b'k', b'/', u8::try_from(place).unwrap()], &before);
        }
        put(&state, Keyspace::Members, b"kn", &KeyNames { in_force: key(3).name(), other: None });
        let late = ClusterKeys::unkept(key(2));
        assert!(matches!(made(&late, 21), Err(WebhookKeyError::Away)), "never of a key that is not in force");
        let keys = ClusterKeys::unkept(key(3));
        for (millis, of) in [(5, 1), (10, 1), (11, 2), (20, 2), (21, 3)] {
            assert_eq!(made(&keys, millis).unwrap(), key(of).webhook_key(), "{millis}");
        }
    }
}
