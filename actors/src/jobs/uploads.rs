//! Archives sent to this node, or kept for another one, by hash until a job has used them.
//!
//! An upload belongs to the account that sent it: it lies in that account's folder, so that nobody
//! can name another's.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use twinmcp_storage::clock::{Clock, Entropy, EntropyError, Timestamp};
use twinmcp_storage::ids::AccountId;

/// How long an upload waits for a job before it is deleted.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many of the largest uploads an account may have waiting.
const WAITING_MAX: u64 = 4;
const PARTIAL: &str = ".partial";

/// Why an archive was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// More bytes than this node takes.
    #[error(
        "the upload is larger than {bytes_max} bytes; split the documentation, or raise `ingest.upload_bytes_max`"
    )]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The account has enough that waits.
    #[error(
        "uploads of {waiting} bytes wait already, for jobs that are not done or for any, and an account may have {waiting_max}; wait for \
         these jobs, or start some"
    )]
    Waiting {
        /// What waits, in bytes.
        waiting: u64,
        /// The limit.
        waiting_max: u64,
    },
    /// No bytes at all.
    #[error("the upload is empty")]
    Empty,
    /// The disk said no.
    #[error("failed to write the upload")]
    Write(#[from] std::io::Error),
    /// No name could be made.
    #[error("failed to make a name for the upload")]
    Entropy(#[from] EntropyError),
}

/// An archive that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// BLAKE3 of its bytes, in hex: what a job names.
    pub hash: String,
    /// How large it is.
    pub bytes: u64,
}

/// The way to uploads.
#[derive(Clone)]
pub struct Uploads {
    folder: PathBuf,
    bytes_max: u64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Uploads {
    pub(crate) fn new(
        folder: PathBuf,
        bytes_max: u64,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { folder, bytes_max, clock, entropy }
    }

    /// Whether the account has filled no more than its share of the disk, with what waits of it for jobs and what is being sent. Asked
    /// before an archive is taken, and once more before it is kept, as several may be sent at once.
    ///
    /// # Errors
    /// [`UploadError::Waiting`].
    pub async fn check_room(&self, account: &AccountId) -> Result<(), UploadError> {
        let folder = self.folder.join(account.as_str());
        let sizes = move || {
            entries(&folder).iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum()
        };
        let waiting: u64 = off_thread(move || Ok(sizes())).await?;
        let waiting_max = self.bytes_max.saturating_mul(WAITING_MAX);
        if waiting <= waiting_max { Ok(()) } else { Err(UploadError::Waiting { waiting, waiting_max }) }
    }

    /// Takes an archive in pieces. A writer that is dropped unfinished leaves nothing behind.
    pub async fn begin(&self, account: &AccountId) -> Result<UploadWriter, UploadError> {
        let mut name = [0_u8; 8];
        self.entropy.fill(&mut name)?;
        let folder = self.folder.join(account.as_str());
        let partial = folder.join(format!("{:016x}{PARTIAL}", u64::from_be_bytes(name)));
        let (made_in, opened) = (folder.clone(), partial.clone());
        let file = off_thread(move || {
            std::fs::create_dir_all(&made_in)?;
            std::fs::File::create_new(&opened)
        })
        .await?;
        let hasher = blake3::Hasher::new();
        Ok(UploadWriter {
            file: Some(file),
            partial: Partial(partial),
            folder,
            hasher,
            bytes: 0,
            bytes_max: self.bytes_max,
        })
    }

    /// Where the account's upload with this hash lies, if it does.
    pub(crate) fn path(&self, account: &AccountId, hash: &str) -> Option<PathBuf> {
        let path = self.folder.join(account.as_str()).join(hash);
        (Self::is_hash(hash) && path.is_file()).then_some(path)
    }

    /// How large the account's upload with this hash is, if it is here.
    pub(super) fn bytes(&self, account: &AccountId, hash: &str) -> Option<u64> {
        self.path(account, hash)?.metadata().ok().map(|file| file.len())
    }

    /// Whether an archive of so many bytes is not too large for this node.
    pub(super) fn takes(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max
    }

    /// Whether it is a hash as uploads are named by: anything else could be a way out of the folder.
    pub(super) fn is_hash(text: &str) -> bool {
        text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Deletes an upload that no job needs any more.
    pub(crate) fn remove(&self, account: &AccountId, hash: &str) {
        if let Some(path) = self.path(account, hash)
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "an upload could not be deleted");
        }
    }

    /// Deletes what was left half sent, and uploads that `is_needed` does not want and that are older
    /// than a day.
    pub(crate) fn sweep(&self, is_needed: impl Fn(&str) -> bool) {
        let now = self.clock.now();
        for account in entries(&self.folder) {
            for path in entries(&account) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let age = Duration::from_millis(now.millis_since(modified(&path)));
                if age > KEPT && !is_needed(&name) {
                    // One that cannot be deleted now is tried again at the next sweep.
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn modified(path: &Path) -> Timestamp {
    let modified = path.metadata().and_then(|metadata| metadata.modified()).ok();
    let since_epoch = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Timestamp::from_millis(since_epoch.map_or(0, |age| age.as_millis().try_into().unwrap_or(u64::MAX)))
}

/// A file that is deleted unless it became something else.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // Not there any more once it was renamed.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes one archive in pieces.
pub struct UploadWriter {
    file: Option<std::fs::File>,
    partial: Partial,
    folder: PathBuf,
    hasher: blake3::Hasher,
    bytes: u64,
    bytes_max: u64,
}

impl UploadWriter {
    /// Adds a piece.
    pub async fn write(&mut self, chunk: bytes::Bytes) -> Result<(), UploadError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(UploadError::TooLarge { bytes_max: self.bytes_max });
        }
        self.hasher.update(&chunk);
        let Some(mut file) = self.file.take() else {
            return Err(std::io::Error::other("an earlier piece could not be written").into());
        };
        self.file = Some(off_thread(move || file.write_all(&chunk).map(|()| file)).await?);
        Ok(())
    }

    /// Keeps the archive if it has the hash that was asked for; `None` when it is another one.
    pub(super) async fn finish_as(self, expected: &str) -> Result<Option<Upload>, UploadError> {
        match self.hasher.finalize().to_hex().as_str() == expected {
            true => self.finish().await.map(Some),
            false => Ok(None),
        }
    }

    /// Keeps the archive under its hash.
    pub async fn finish(mut self) -> Result<Upload, UploadError> {
        if self.bytes == 0 {
            return Err(UploadError::Empty);
        }
        let hash = self.hasher.finalize().to_hex().to_string();
        let (from, to) = (self.partial.0.clone(), self.folder.join(&hash));
        let file = self.file.take();
        off_thread(move || {
            if let Some(file) = file {
                file.sync_all()?;
            }
            keep(&from, &to, |folder| std::fs::File::open(folder)?.sync_all())
        })
        .await?;
        Ok(Upload { hash, bytes: self.bytes })
    }
}

/// Gives a whole archive its name, such that a power cut does not take it away again: whoever sent it is about to be told
/// that it is here.
fn keep(from: &Path, to: &Path, sync: impl Fn(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    // Also the folders that may have been made for it: the account's, and that of all uploads.
    let mut folders = to.ancestors().skip(1).take(3).filter(|folder| !folder.as_os_str().is_empty());
    // Whoever is told that nothing was kept sends it again.
    folders.try_for_each(sync).inspect_err(|_| drop(std::fs::remove_file(to)))
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::{ManualClock, SystemClock, SystemEntropy};

    use super::*;

    fn account() -> AccountId {
        AccountId::random(SystemClock.now(), &SystemEntropy).unwrap()
    }

    fn uploads(folder: &Path, clock: Arc<dyn Clock>) -> Uploads {
        Uploads::new(folder.to_owned(), 10, clock, Arc::new(SystemEntropy))
    }

    async fn sent(uploads: &Uploads, account: &AccountId, text: &'static str) -> Result<Upload, UploadError> {
        let mut writer = uploads.begin(account).await?;
        for piece in text.as_bytes().chunks(4) {
            writer.write(bytes::Bytes::from_static(piece)).await?;
        }
        writer.finish().await
    }

    #[tokio::test]
    async fn an_upload_is_found_by_its_hash_and_only_by_its_account() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), Arc::new(SystemClock));
        let (mine, other) = (account(), account());
        let upload = sent(&uploads, &mine, "0123456789").await.unwrap();
        assert_eq!(upload.hash, blake3::hash(b"0123456789").to_hex().to_string());
        assert_eq!(std::fs::read(uploads.path(&mine, &upload.hash).unwrap()).unwrap(), b"0123456789");
        assert_eq!(uploads.path(&other, &upload.hash), None);
        assert_eq!(uploads.path(&mine, &format!("../{}/{}", mine, upload.hash)), None);
        assert_eq!(uploads.bytes(&mine, &upload.hash), Some(10));
        assert!(uploads.takes(10) && !uploads.takes(11));
    }

    #[tokio::test]
    async fn an_account_fills_its_own_share_of_the_disk_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), Arc::new(SystemClock));
        let (mine, other) = (account(), account());
        let texts = ["0123456789", "1123456789", "2123456789", "3123456789"];
        for text in texts {
            uploads.check_room(&mine).await.unwrap();
            sent(&uploads, &mine, text).await.unwrap();
        }
        uploads.check_room(&mine).await.unwrap();
        let mut fifth = uploads.begin(&mine).await.unwrap();
        fifth.write(bytes::Bytes::from_static(b"4")).await.unwrap();
        let refused = uploads.check_room(&mine).await.unwrap_err().to_string();
        assert!(refused.contains("41 bytes wait already"), "{refused}");
        uploads.check_room(&other).await.unwrap();
        uploads.remove(&mine, blake3::hash(texts[0].as_bytes()).to_hex().as_str());
        uploads.check_room(&mine).await.unwrap();
    }

    #[test]
    fn an_upload_is_told_as_kept_once_the_folders_that_name_it_are_on_the_disk() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("uploads/account");
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("some.partial"), folder.join("hash"));
        std::fs::write(&from, "text").unwrap();
        let synced = std::cell::RefCell::new(Vec::new());
        let sync = |folder: &Path| {
            assert!(to.is_file() && !from.exists(), "before it has its name there is nothing to keep");
            synced.borrow_mut().push(folder.to_owned());
            Ok(())
        };
        keep(&from, &to, sync).unwrap();
        let uploads = home.path().join("uploads");
        assert_eq!(synced.into_inner(), [folder.clone(), uploads, home.path().to_owned()]);
        std::fs::write(&from, "text").unwrap();
        let failed = keep(&from, &to, |_| Err(std::io::Error::other("no disk"))).unwrap_err();
        assert!(failed.to_string() == "no disk" && !to.exists());
    }

    #[tokio::test]
    async fn what_is_not_what_was_asked_for_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), Arc::new(SystemClock));
        let mine = account();
        let asked = blake3::hash(b"another").to_hex().to_string();
        let mut writer = uploads.begin(&mine).await.unwrap();
        writer.write(bytes::Bytes::from_static(b"something")).await.unwrap();
        assert_eq!(writer.finish_as(&asked).await.unwrap(), None);
        assert_eq!(entries(&folder.path().join(mine.as_str())), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn an_upload_over_the_limit_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = uploads(folder.path(), Arc::new(SystemClock));
        let mine = account();
        assert!(matches!(sent(&uploads, &mine, "0123456789a").await, Err(UploadError::TooLarge { .. })));
        assert!(matches!(sent(&uploads, &mine, "").await, Err(UploadError::Empty)));
        assert_eq!(entries(&folder.path().join(mine.as_str())), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_sweep_deletes_old_uploads_that_no_job_needs() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let uploads = uploads(folder.path(), Arc::clone(&clock) as Arc<dyn Clock>);
        let mine = account();
        let needed = sent(&uploads, &mine, "needed").await.unwrap();
        let not_needed = sent(&uploads, &mine, "not").await.unwrap();
        uploads.sweep(|_| false);
        assert!(uploads.path(&mine, &not_needed.hash).is_some(), "younger than a day");
        clock.advance_millis(25 * 3600 * 1000);
        uploads.sweep(|hash| hash == needed.hash);
        assert!(uploads.path(&mine, &needed.hash).is_some());
        assert!(uploads.path(&mine, &not_needed.hash).is_none());
    }
}
