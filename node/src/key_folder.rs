//! The folder `keys` of a data directory: the cluster's keys, and what the cluster gave this node when it let it in.
//!
//! ```text
//! master.key    the key that seals, 32 bytes; `master.also` all that are accepted during a rotation, one after the other
//! master.sums   checksums of `master.key` and of the key before it; older builds neither write nor read it
//! admission     of a node that joined; `renewal` of one that was let back in, until its state has caught up
//! ```
//! Invariant: nobody but the node's account reads them, and each is there whole or not at all.

use std::fs;
use std::io;
use std::path::PathBuf;

use twinmcp_cluster::{Admission, CLUSTER_KEY_BYTES, ClusterKey, KeyFiles, Renewal};
use twinmcp_storage::clock::Entropy;
use twinmcp_storage::record::{self, Record};

use crate::data_dir::{DataDirError, private_dir, write_durably};

const MASTER_KEY_FILE: &str = "master.key";
const ALSO_FILE: &str = "master.also";
const SUMS_FILE: &str = "master.sums";
/// What the checksums are for, so that they are those of nothing else.
const SUMS_CONTEXT: &str = "TwinMCP 2026 checksum of keys/master.key";
const ADMISSION_FILE: &str = "admission";
const RENEWAL_FILE: &str = "renewal";
/// Keys in the file of those that are accepted: more is no rotation of ours.
const ALSO_MAX: usize = 4;

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct KeyFolder {
    path: PathBuf,
}

impl KeyFolder {
    /// Makes the folder if it is not there.
    pub(crate) fn open(path: PathBuf) -> Result<Self, DataDirError> {
        match private_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(DataDirError::Unusable { path, source }),
        }
    }

    /// The cluster's key, made when there is none, and others that are accepted.
    pub(crate) fn keys(&self, entropy: &dyn Entropy) -> Result<(ClusterKey, Vec<ClusterKey>), DataDirError> {
        let first = match self.read(MASTER_KEY_FILE)? {
            Some(bytes) => {
                let key = self.key(MASTER_KEY_FILE, bytes)?;
                self.check(&key)?;
                key
            }
            None if self.path.join(SUMS_FILE).exists() => {
                let (path, checksums) = (self.path.join(MASTER_KEY_FILE), self.path.join(SUMS_FILE));
                return Err(DataDirError::NoMasterKey { path, checksums });
            }
            None => {
                let mut bytes = [0; CLUSTER_KEY_BYTES];
                let path = self.path.join(MASTER_KEY_FILE);
                let failed = |source| DataDirError::Unusable { path, source };
                entropy.fill(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
                self.keep_first(&bytes)?;
                ClusterKey::new(bytes)
            }
        };
        let also = self.read(ALSO_FILE)?.unwrap_or_default();
        if !also.len().is_multiple_of(CLUSTER_KEY_BYTES) || also.len() > ALSO_MAX * CLUSTER_KEY_BYTES {
            return Err(DataDirError::MasterKey { path: self.path.join(ALSO_FILE), bytes: also.len() });
        }
        let mut others = Vec::new();
        for bytes in also.chunks_exact(CLUSTER_KEY_BYTES) {
            others.push(self.key(ALSO_FILE, bytes.to_vec())?);
        }
        others.retain(|key| key.bytes() != first.bytes());
        Ok((first, others))
    }

    /// Keeps the key of the cluster that has let this node in; of a node that has run before only where there is none.
    pub(crate) fn keep_master_key(
        &self,
        key: &[u8; CLUSTER_KEY_BYTES],
        has_run: bool,
    ) -> Result<(), DataDirError> {
        match self.read(MASTER_KEY_FILE)? {
            Some(kept) if has_run || kept == key => Ok(()),
            _ => self.keep_first(key),
        }
    }

    /// What the cluster gave this node when it was let in; nothing for the one that founded it.
    pub(crate) fn admission(&self) -> Result<Option<Admission>, DataDirError> {
        self.record(ADMISSION_FILE)
    }

    /// Keeps what the cluster gave this node, so that a start that is interrupted goes on as the same node.
    pub(crate) fn keep_admission(&self, admission: &Admission) -> Result<(), DataDirError> {
        self.write(ADMISSION_FILE, &record::encode(admission)?)
    }

    /// What the cluster gave this node when it was let back in, and its state may not know yet.
    pub(crate) fn renewal(&self) -> Result<Option<Renewal>, DataDirError> {
        self.record(RENEWAL_FILE)
    }

    /// Keeps what the cluster gave this node when it was let back in.
    pub(crate) fn keep_renewal(&self, renewal: &Renewal) -> Result<(), DataDirError> {
        self.write(RENEWAL_FILE, &record::encode(renewal)?)?;
        let failed = |source| DataDirError::Unusable { path: self.path.clone(), source };
        self.keep(&renewal.keys()).map_err(failed)
    }

    /// The state knows what the cluster gave this node when it was let back in.
    pub(crate) fn forget_renewal(&self) -> Result<(), DataDirError> {
        self.remove(RENEWAL_FILE)
            .map_err(|source| DataDirError::Unusable { path: self.path.join(RENEWAL_FILE), source })
    }

    fn keep_first(&self, key: &[u8; CLUSTER_KEY_BYTES]) -> Result<(), DataDirError> {
        let failed = |source| DataDirError::Unusable { path: self.path.join(MASTER_KEY_FILE), source };
        self.write_first(key).map_err(failed)
    }

    /// Writes the key and its checksum, in an order in which a start between the two finds a key that it knows, or none.
    fn write_first(&self, key: &[u8; CLUSTER_KEY_BYTES]) -> io::Result<()> {
        let (path, sums_path) = (self.path.join(MASTER_KEY_FILE), self.path.join(SUMS_FILE));
        let before = fs::read(&path).ok();
        let is_first = before.is_none() && !sums_path.exists();
        let sums: Vec<u8> = [Some(key.to_vec()), before].iter().flatten().flat_map(|key| sum(key)).collect();
        if !is_first {
            write_durably(&sums_path, &sums)?;
        }
        write_durably(&path, key)?;
        if is_first {
            write_durably(&sums_path, &sums)?;
        }
        Ok(())
    }

    /// Refuses a key that the disk has changed. One that has no checksum yet gets one.
    fn check(&self, key: &ClusterKey) -> Result<(), DataDirError> {
        let sum = sum(key.bytes());
        let Some(sums) = self.read(SUMS_FILE)? else { return self.write(SUMS_FILE, &sum) };
        if sums.chunks_exact(sum.len()).any(|known| known == sum) {
            return Ok(());
        }
        let (path, checksums) = (self.path.join(MASTER_KEY_FILE), self.path.join(SUMS_FILE));
        Err(DataDirError::OtherMasterKey { path, checksums })
    }

    fn key(&self, file: &str, bytes: Vec<u8>) -> Result<ClusterKey, DataDirError> {
        match <[u8; CLUSTER_KEY_BYTES]>::try_from(bytes) {
            Ok(bytes) => Ok(ClusterKey::new(bytes)),
            Err(bytes) => Err(DataDirError::MasterKey { path: self.path.join(file), bytes: bytes.len() }),
        }
    }

    fn record<R: Record>(&self, file: &str) -> Result<Option<R>, DataDirError> {
        let decoded = self.read(file)?.map(|bytes| record::decode(&bytes)).transpose();
        decoded.map_err(|source| DataDirError::Admission { path: self.path.join(file), source })
    }

    fn read(&self, file: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        let path = self.path.join(file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Unusable { path, source }),
        }
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), DataDirError> {
        let path = self.path.join(file);
        write_durably(&path, bytes).map_err(|source| DataDirError::Unusable { path, source })
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::File::open(&self.path)?.sync_all(),
        }
    }
}

fn sum(key: &[u8]) -> [u8; blake3::OUT_LEN] {
    blake3::derive_key(SUMS_CONTEXT, key)
}

impl KeyFiles for KeyFolder {
    fn keep(&self, keys: &[ClusterKey]) -> io::Result<()> {
        let Some((first, others)) = keys.split_first() else { return Ok(()) };
        if !others.is_empty() {
            // All of them, so that none is missed by a crash between the two files.
            let all: Vec<u8> = keys.iter().flat_map(|key| *key.bytes()).collect();
            write_durably(&self.path.join(ALSO_FILE), &all)?;
        }
        self.write_first(first.bytes())?;
        if others.is_empty() {
            self.remove(ALSO_FILE)?;
        }
        // It holds a key as well, and is of no use to a node that has run.
        match self.admission() {
            Ok(Some(admission)) if keys.iter().all(|key| key.bytes() != admission.key()) => {
                self.remove(ADMISSION_FILE)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::new([byte; CLUSTER_KEY_BYTES])
    }

    fn kept(folder: &KeyFolder) -> Vec<[u8; CLUSTER_KEY_BYTES]> {
        let (first, others) = folder.keys(&SystemEntropy).unwrap();
        [first].iter().chain(&others).map(|key| *key.bytes()).collect()
    }

    #[test]
    fn a_key_is_made_once_and_a_rotation_leaves_the_new_one() {
        let home = tempfile::tempdir().unwrap();
        let folder = KeyFolder::open(home.path().join("keys")).unwrap();
        let made = kept(&folder);
        assert_eq!(kept(&folder), made);
        let old = ClusterKey::new(made[0]);
        folder.keep(&[old.clone(), key(2)]).unwrap();
        assert_eq!(kept(&folder), [*old.bytes(), [2; 32]]);
        folder.keep(&[key(2), old.clone()]).unwrap();
        assert_eq!(kept(&folder), [[2; 32], *old.bytes()]);
        folder.keep(&[key(2)]).unwrap();
        assert_eq!(kept(&folder), [[2; 32]]);
        assert!(!home.path().join("keys/master.also").exists());
    }

    #[test]
    fn a_node_that_has_run_keeps_its_key_and_a_new_one_takes_the_clusters() {
        let home = tempfile::tempdir().unwrap();
        let folder = KeyFolder::open(home.path().join("keys")).unwrap();
        kept(&folder);
        folder.keep_master_key(&[5; 32], false).unwrap();
        assert_eq!(kept(&folder), [[5; 32]]);
        folder.keep_master_key(&[6; 32], true).unwrap();
        assert_eq!(kept(&folder), [[5; 32]], "the admission is of before a rotation");
    }

    #[test]
    fn a_key_that_has_changed_or_is_gone_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let folder = KeyFolder::open(home.path().join("keys")).unwrap();
        let made = kept(&folder);
        let told = || folder.keys(&SystemEntropy).unwrap_err().to_string();
        let (path, sums) = (home.path().join("keys/master.key"), home.path().join("keys/master.sums"));
        let mut flipped = made[0];
        flipped[7] ^= 4;
        fs::write(&path, flipped).unwrap();
        assert!(told().contains("keys/master.key` does not fit its checksum"), "{}", told());
        fs::remove_file(&path).unwrap();
        assert!(told().contains("keys/master.key` is gone"), "{}", told());
        assert!(!path.exists(), "none is made in its place");
        fs::write(&path, made[0]).unwrap();
        assert_eq!(kept(&folder), made);
        // The ways out: what the operator or an older build has put there is taken without a checksum.
        fs::write(&path, [9; 32]).unwrap();
        fs::remove_file(&sums).unwrap();
        assert_eq!(kept(&folder), [[9; 32]]);
        assert!(sums.exists(), "from now on it is checked");
    }

    #[test]
    fn a_rotation_that_a_crash_cuts_between_its_files_leaves_a_key_that_is_known() {
        let home = tempfile::tempdir().unwrap();
        let folder = KeyFolder::open(home.path().join("keys")).unwrap();
        let path = home.path().join("keys/master.key");
        let made = kept(&folder);
        folder.keep(&[key(2), ClusterKey::new(made[0])]).unwrap();
        // The checksums are written, the key is not.
        fs::write(&path, made[0]).unwrap();
        assert_eq!(kept(&folder)[0], made[0]);
        folder.keep(&[key(2)]).unwrap();
        assert_eq!(kept(&folder), [[2; 32]]);
    }

    #[test]
    fn cut_keys_are_told_by_their_file() {
        let home = tempfile::tempdir().unwrap();
        let folder = KeyFolder::open(home.path().join("keys")).unwrap();
        kept(&folder);
        let told = || folder.keys(&SystemEntropy).unwrap_err().to_string();
        fs::write(home.path().join("keys/master.also"), [7; 33]).unwrap();
        assert!(told().contains("keys/master.also") && told().contains("this has 33"), "{}", told());
        fs::write(home.path().join("keys/master.key"), [7; 31]).unwrap();
        assert!(told().contains("keys/master.key") && told().contains("this has 31"), "{}", told());
    }
}
