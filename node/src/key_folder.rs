//! The folder `keys` of a data directory: the cluster's keys, and what the cluster gave this node when it let it in.
//!
//! ```text
//! master.key    the key that seals, 32 bytes; `master.also` all that are accepted during a rotation, one after the other
//! master.sums   checksums of the others (`sums.rs`); of a file without one it is made when the file is read
//! admission     of a node that joined; `renewal` of one that was let back in, until its state has caught up
//! ```
//! Invariant: nobody but the node's account reads them, and each is there whole or not at all. None is used that
//! does not fit its checksum.

mod sums;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use twinmcp_cluster::{Admission, CLUSTER_KEY_BYTES, ClusterKey, KeyFiles, Renewal};
use twinmcp_storage::clock::Entropy;
use twinmcp_storage::record::{self, Record};

use self::sums::Sums;
use crate::data_dir::{DataDirError, private_dir, write_durably};

const MASTER_KEY_FILE: &str = "master.key";
const ALSO_FILE: &str = "master.also";
const SUMS_FILE: &str = "master.sums";
const ADMISSION_FILE: &str = "admission";
const RENEWAL_FILE: &str = "renewal";
/// Keys in the file of those that are accepted: more is no rotation of ours.
const ALSO_MAX: usize = 4;

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct KeyFolder {
    path: PathBuf,
    /// Held while a file is changed or checked: the checksums are those of all files.
    changing: Arc<Mutex<()>>,
}

impl KeyFolder {
    /// Makes the folder if it is not there.
    pub(crate) fn open(path: PathBuf) -> Result<Self, DataDirError> {
        match private_dir(&path) {
            Ok(()) => Ok(Self { path, changing: Arc::default() }),
            Err(source) => Err(DataDirError::Unusable { path, source }),
        }
    }

    /// The cluster's key, made when there is none, and others that are accepted.
    pub(crate) fn keys(&self, entropy: &dyn Entropy) -> Result<(ClusterKey, Vec<ClusterKey>), DataDirError> {
        let first = match self.read(MASTER_KEY_FILE, |bytes| self.key(bytes))? {
            Some(key) => key,
            None if self.path.join(SUMS_FILE).exists() => {
                let (path, checksums) = (self.path.join(MASTER_KEY_FILE), self.path.join(SUMS_FILE));
                return Err(DataDirError::NoMasterKey { path, checksums });
            }
            None => {
                let mut bytes = [0; CLUSTER_KEY_BYTES];
                let path = self.path.join(MASTER_KEY_FILE);
                let failed = |source| DataDirError::Unusable { path, source };
                entropy.fill(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
                self.keep_file(MASTER_KEY_FILE, &bytes)?;
                ClusterKey::new(bytes)
            }
        };
        let mut others = self.read(ALSO_FILE, |bytes| self.all_keys(bytes))?.unwrap_or_default();
        others.retain(|key| key.bytes() != first.bytes());
        Ok((first, others))
    }

    /// Keeps the key of the cluster that has let this node in; of a node that has run before only where there is none.
    pub(crate) fn keep_master_key(
        &self,
        key: &[u8; CLUSTER_KEY_BYTES],
        has_run: bool,
    ) -> Result<(), DataDirError> {
        match self.bytes(MASTER_KEY_FILE)? {
            Some(kept) if has_run || kept == key => Ok(()),
            _ => self.keep_file(MASTER_KEY_FILE, key),
        }
    }

    /// What the cluster gave this node when it was let in; nothing for the one that founded it.
    pub(crate) fn admission(&self) -> Result<Option<Admission>, DataDirError> {
        self.record(ADMISSION_FILE)
    }

    /// Keeps what the cluster gave this node, so that a start that is interrupted goes on as the same node.
    pub(crate) fn keep_admission(&self, admission: &Admission) -> Result<(), DataDirError> {
        self.keep_file(ADMISSION_FILE, &record::encode(admission)?)
    }

    /// What the cluster gave this node when it was let back in, and its state may not know yet.
    pub(crate) fn renewal(&self) -> Result<Option<Renewal>, DataDirError> {
        self.record(RENEWAL_FILE)
    }

    /// Keeps what the cluster gave this node when it was let back in.
    pub(crate) fn keep_renewal(&self, renewal: &Renewal) -> Result<(), DataDirError> {
        self.keep_file(RENEWAL_FILE, &record::encode(renewal)?)?;
        let failed = |source| DataDirError::Unusable { path: self.path.clone(), source };
        self.keep(&renewal.keys()).map_err(failed)
    }

    /// The state knows what the cluster gave this node when it was let back in.
    pub(crate) fn forget_renewal(&self) -> Result<(), DataDirError> {
        self.remove(RENEWAL_FILE)
            .map_err(|source| DataDirError::Unusable { path: self.path.join(RENEWAL_FILE), source })
    }

    /// Writes a file and its checksum, in an order in which a start between the two finds a file that it knows, or
    /// one without a checksum.
    fn write(&self, file: &'static str, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, sums_path) = (self.path.join(file), self.path.join(SUMS_FILE));
        let before = fs::read(&path).ok();
        let mut sums = match fs::read(&sums_path) {
            Ok(sums) => Sums::parse(&sums),
            // Checksums without a key mean that there was one.
            Err(error) if error.kind() == io::ErrorKind::NotFound && before.is_none() => {
                let mut sums = Sums::default();
                sums.set(file, bytes, None);
                write_durably(&path, bytes)?;
                return write_durably(&sums_path, &sums.to_bytes());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Sums::default(),
            Err(error) => return Err(error),
        };
        sums.set(file, bytes, before.as_deref());
        write_durably(&sums_path, &sums.to_bytes())?;
        write_durably(&path, bytes)
    }

    fn remove(&self, file: &'static str) -> io::Result<()> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(self.path.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::File::open(&self.path)?.sync_all()?,
        }
        let sums_path = self.path.join(SUMS_FILE);
        let mut sums = match fs::read(&sums_path) {
            Ok(sums) => Sums::parse(&sums),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if sums.forget(file) { write_durably(&sums_path, &sums.to_bytes()) } else { Ok(()) }
    }

    /// What was written to the file. One without a checksum, because an older build wrote it or the operator says that
    /// it is right, gets one, if it can be parsed.
    fn read<T>(
        &self,
        file: &'static str,
        parse: impl FnOnce(&[u8]) -> Result<T, DataDirError>,
    ) -> Result<Option<T>, DataDirError> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = self.bytes(file)? else { return Ok(None) };
        let checksums = self.path.join(SUMS_FILE);
        let mut sums = Sums::parse(&self.bytes(SUMS_FILE)?.unwrap_or_default());
        let fits = sums.fits(file, &bytes);
        if fits == Some(false) {
            let path = self.path.join(file);
            return Err(DataDirError::NotAsWritten { path, checksums, way_out: way_out(file) });
        }
        let parsed = parse(&bytes)?;
        if fits.is_none() {
            sums.set(file, &bytes, None);
            write_durably(&checksums, &sums.to_bytes())
                .map_err(|source| DataDirError::Unusable { path: checksums, source })?;
        }
        Ok(Some(parsed))
    }

    fn keep_file(&self, file: &'static str, bytes: &[u8]) -> Result<(), DataDirError> {
        self.write(file, bytes)
            .map_err(|source| DataDirError::Unusable { path: self.path.join(file), source })
    }

    fn key(&self, bytes: &[u8]) -> Result<ClusterKey, DataDirError> {
        let key = <[u8; CLUSTER_KEY_BYTES]>::try_from(bytes);
        key.map(ClusterKey::new).map_err(|_| self.no_key(MASTER_KEY_FILE, bytes.len()))
    }

    /// Those in the file of all that are accepted.
    fn all_keys(&self, bytes: &[u8]) -> Result<Vec<ClusterKey>, DataDirError> {
        let (keys, rest) = bytes.as_chunks::<CLUSTER_KEY_BYTES>();
        if !rest.is_empty() || keys.len() > ALSO_MAX {
            return Err(self.no_key(ALSO_FILE, bytes.len()));
        }
        Ok(keys.iter().copied().map(ClusterKey::new).collect())
    }

    fn no_key(&self, file: &'static str, bytes: usize) -> DataDirError {
        DataDirError::MasterKey { path: self.path.join(file), bytes, way_out: way_out(file) }
    }

    fn record<R: Record>(&self, file: &'static str) -> Result<Option<R>, DataDirError> {
        self.read(file, |bytes| {
            let (path, way_out) = (self.path.join(file), way_out(file));
            record::decode(bytes).map_err(|source| DataDirError::Given { path, source, way_out })
        })
    }

    /// The file as it is.
    fn bytes(&self, file: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        let path = self.path.join(file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Unusable { path, source }),
        }
    }
}

/// What to do about a file that is damaged.
fn way_out(file: &str) -> &'static str {
    match file {
        ALSO_FILE => {
            "put it back from a backup, or, if other nodes of the cluster run, remove it: they have both keys, and \
             `twinmcp cluster rotate-key` goes on with the rotation"
        }
        ADMISSION_FILE => "put it back from a backup, or remove the data directory and join as a new node",
        RENEWAL_FILE => {
            "put it back from a backup, or make another token with `twinmcp cluster token` on another node and run \
             `twinmcp cluster join` here again"
        }
        _ => {
            "put it back from a backup, or copy it from another node of the cluster; without either, remove it and \
             `master.sums` beside it, and make the webhooks again"
        }
    }
}

impl KeyFiles for KeyFolder {
    fn keep(&self, keys: &[ClusterKey]) -> io::Result<()> {
        let Some((first, others)) = keys.split_first() else { return Ok(()) };
        if !others.is_empty() {
            // All of them, so that none is missed by a crash between the two files.
            let all: Vec<u8> = keys.iter().flat_map(|key| *key.bytes()).collect();
            self.write(ALSO_FILE, &all)?;
        }
        self.write(MASTER_KEY_FILE, first.bytes())?;
        if others.is_empty() {
            self.remove(ALSO_FILE)?;
        }
        // It holds a key as well, and is of no use to a node that has run.
        match self.admission() {
            Ok(Some(admission)) if keys.iter().all(|key| key.bytes() != admission.key()) => {
                self.remove(ADMISSION_FILE)
            }
            Err(DataDirError::NotAsWritten { .. } | DataDirError::Given { .. }) => {
                self.remove(ADMISSION_FILE)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
    fn a_key_that_is_gone_or_was_replaced_is_not_taken_until_the_operator_says_so() {
        let home = tempfile::tempdir().unwrap();
        let folder = KeyFolder::open(home.path().join("keys")).unwrap();
        let made = kept(&folder);
        let told = || folder.keys(&SystemEntropy).unwrap_err().to_string();
        let (path, sums) = (home.path().join("keys/master.key"), home.path().join("keys/master.sums"));
        fs::remove_file(&path).unwrap();
        assert!(told().contains("keys/master.key` is gone"), "{}", told());
        assert!(!path.exists(), "none is made in its place");
        fs::write(&path, made[0]).unwrap();
        assert_eq!(kept(&folder), made);
        // The operator has copied it there, or a build that knows no checksums has rotated.
        fs::write(&path, [9; 32]).unwrap();
        let way_out = format!("if `{}` is the right one, remove `{}`", path.display(), sums.display());
        assert!(told().contains(&way_out), "{}", told());
        fs::remove_file(&sums).unwrap();
        assert_eq!(kept(&folder), [[9; 32]]);
        fs::write(&path, [8; 32]).unwrap();
        assert!(told().contains("does not fit its checksum"), "from now on it is checked: {}", told());
        fs::write(&path, [9; 32]).unwrap();
        folder.keep(&[key(2)]).unwrap();
        assert_eq!(kept(&folder), [[2; 32]]);
        // Who has neither the key nor a copy of it removes both files, and begins with another.
        fs::remove_file(&path).unwrap();
        fs::remove_file(&sums).unwrap();
        assert!(![[2; 32], [9; 32]].contains(&kept(&folder)[0]));
    }

    /// What a cluster gave, as the build before wrote it.
    fn given() -> (Admission, Renewal) {
        let admission = [&[1][..], &[3; 16], &[4], &[7; 32], &[1, 8, 1, 9]].concat();
        let renewal = [&[1, 2][..], &[7; 32], &[6; 32], &[1, 8, 2, 8, 8, 5, 0]].concat();
        (record::decode(&admission).unwrap(), record::decode(&renewal).unwrap())
    }

    /// A folder with every file: of a member that was let back in during a rotation.
    fn full(home: &Path) -> KeyFolder {
        let folder = KeyFolder::open(home.join("keys")).unwrap();
        folder.keep_admission(&given().0).unwrap();
        folder.keep_renewal(&given().1).unwrap();
        assert_eq!(fs::read_dir(home.join("keys")).unwrap().count(), 5);
        folder
    }

    type Read = (Vec<[u8; CLUSTER_KEY_BYTES]>, Option<Admission>, Option<Renewal>);

    fn read(folder: &KeyFolder) -> Result<Read, DataDirError> {
        let (admission, renewal) = (folder.admission()?, folder.renewal()?);
        let (first, others) = folder.keys(&SystemEntropy)?;
        Ok(([first].iter().chain(&others).map(|key| *key.bytes()).collect(), admission, renewal))
    }

    fn whole() -> Read {
        (vec![[7; 32], [6; 32]], Some(given().0), Some(given().1))
    }

    #[test]
    fn a_file_that_the_disk_has_changed_or_cut_is_refused_by_its_name_and_with_a_way_out() {
        let home = tempfile::tempdir().unwrap();
        let folder = full(home.path());
        assert_eq!(read(&folder).unwrap(), whole());
        for (file, way_out) in [
            (MASTER_KEY_FILE, "from another node"),
            (ALSO_FILE, "they have both keys"),
            (ADMISSION_FILE, "join as a new node"),
            (RENEWAL_FILE, "`twinmcp cluster join` here again"),
        ] {
            let path = home.path().join("keys").join(file);
            let written = fs::read(&path).unwrap();
            let flipped = (0..written.len()).map(|at| {
                let mut flipped = written.clone();
                flipped[at] ^= 1 << (at % 8);
                flipped
            });
            let cut = (0..written.len()).map(|at| written[..at].to_vec());
            for damaged in flipped.chain(cut) {
                fs::write(&path, &damaged).unwrap();
                let told = read(&folder).map(|_| ()).unwrap_err().to_string();
                let named = told.starts_with(&format!("`{}` does not fit its checksum", path.display()));
                assert!(
                    named && told.contains("from a backup") && told.contains(way_out),
                    "{damaged:?}: {told}"
                );
            }
            fs::write(&path, &written).unwrap();
            assert_eq!(read(&folder).unwrap(), whole(), "{file} is back");
        }
    }

    #[test]
    fn checksums_that_the_disk_has_changed_or_cut_cost_a_refusal_or_nothing() {
        let home = tempfile::tempdir().unwrap();
        let folder = full(home.path());
        let path = home.path().join("keys/master.sums");
        let written = fs::read(&path).unwrap();
        let (mut taken, mut told) = (0, 0);
        for at in 0..written.len() {
            let mut flipped = written.clone();
            flipped[at] ^= 1;
            for damaged in [flipped, written[..at].to_vec()] {
                fs::write(&path, damaged).unwrap();
                match read(&folder) {
                    Ok(found) => {
                        assert_eq!(found, whole(), "{at}");
                        taken += 1;
                    }
                    Err(refused) => {
                        let way_out = format!("remove `{}`", path.display());
                        assert!(refused.to_string().contains(&way_out), "{at}: {refused}");
                        told += 1;
                    }
                }
            }
        }
        assert!(taken > 0 && told > 0, "{taken} {told}");
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&folder).unwrap(), whole());
        assert_eq!(fs::read(&path).unwrap().len(), written.len(), "they are made again");
    }

    #[test]
    fn files_without_a_checksum_are_taken_and_have_one_from_then_on() {
        let home = tempfile::tempdir().unwrap();
        let folder = full(home.path());
        let sums = home.path().join("keys/master.sums");
        let all = fs::read(&sums).unwrap();
        // Of a build that knew none, and of one that knew only the key's.
        for older in [None, Some(&all[..CLUSTER_KEY_BYTES])] {
            match older {
                Some(of_the_key) => fs::write(&sums, of_the_key).unwrap(),
                None => fs::remove_file(&sums).unwrap(),
            }
            assert_eq!(read(&folder).unwrap(), whole());
            for file in [ALSO_FILE, ADMISSION_FILE, RENEWAL_FILE] {
                let path = home.path().join("keys").join(file);
                let written = fs::read(&path).unwrap();
                let mut flipped = written.clone();
                flipped[20] ^= 1;
                fs::write(&path, flipped).unwrap();
                let told = read(&folder).map(|_| ()).unwrap_err().to_string();
                assert!(told.contains(&format!("keys/{file}` does not fit")), "{told}");
                fs::write(&path, written).unwrap();
            }
        }
    }

    #[test]
    fn another_renewal_takes_the_place_of_a_damaged_one_and_what_is_dropped_leaves_no_checksum() {
        let home = tempfile::tempdir().unwrap();
        let folder = full(home.path());
        let (path, also) = (home.path().join("keys/renewal"), home.path().join("keys/master.also"));
        fs::write(&path, "damaged").unwrap();
        assert!(folder.renewal().is_err());
        folder.keep_renewal(&given().1).unwrap();
        assert_eq!(read(&folder).unwrap(), whole());
        folder.forget_renewal().unwrap();
        folder.keep(&[key(7)]).unwrap();
        assert!(!path.exists() && !also.exists());
        // An older build rotates, and knows nothing of their checksums.
        fs::write(&also, [[7; 32], [5; 32]].concat()).unwrap();
        assert_eq!(kept(&folder), [[7; 32], [5; 32]]);
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
        let told = || {
            // Of a build that knew none: by them it would be told first.
            let _ = fs::remove_file(home.path().join("keys/master.sums"));
            folder.keys(&SystemEntropy).unwrap_err().to_string()
        };
        fs::write(home.path().join("keys/master.key"), [7; 32]).unwrap();
        fs::write(home.path().join("keys/master.also"), [7; 33]).unwrap();
        assert!(told().contains("keys/master.also") && told().contains("this has 33"), "{}", told());
        fs::write(home.path().join("keys/master.key"), [7; 31]).unwrap();
        assert!(told().contains("keys/master.key") && told().contains("this has 31"), "{}", told());
        // What was refused has no checksum, which would refuse what is put back.
        assert!(folder.keys(&SystemEntropy).is_err());
        fs::write(home.path().join("keys/master.key"), [7; 32]).unwrap();
        assert!(folder.keys(&SystemEntropy).is_err());
        fs::write(home.path().join("keys/master.also"), [[7; 32], [8; 32]].concat()).unwrap();
        assert_eq!(kept(&folder), [[7; 32], [8; 32]]);
    }
}
