//! Pages kept from earlier visits, so that a refresh asks only whether they changed (RFC 9110 13).
//!
//! One file a URL, named by the hash of the URL: a line of JSON, the body, compressed, and a checksum of
//! both. A file that cannot be read, or is not what was written, is no file; the largest harm is one more download.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use twinmcp_storage::clock::Clock;
use url::Url;

use crate::checksum::checksum;

/// The first line's `format`; other ones are no pages of ours.
const FORMAT: u32 = 2;
/// Bytes of BLAKE3 at the end: what a disk has changed may still unpack, to another text.
const CHECK_BYTES: usize = 16;
/// Longest first line.
const HEAD_BYTES_MAX: usize = 16 << 10;
const COMPRESSION: i32 = 3;
const PARTIAL: &str = "partial";

/// A page as it was when its server was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) head: KeptHead,
    pub(super) body: Vec<u8>,
}

/// What is known of a kept page besides its body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptHead {
    format: u32,
    /// The whole URL: names of files are hashes.
    url: String,
    pub(super) etag: String,
    pub(super) last_modified: String,
    pub(super) content_type: String,
    pub(super) robots: String,
}

impl Kept {
    pub(super) fn new(
        url: &Url,
        validators: [String; 2],
        content_type: String,
        robots: String,
        body: Vec<u8>,
    ) -> Self {
        let [etag, last_modified] = validators;
        let head =
            KeptHead { format: FORMAT, url: url.to_string(), etag, last_modified, content_type, robots };
        Self { head, body }
    }

    /// Whether a server can be asked if it changed.
    pub(super) fn has_validator(&self) -> bool {
        !(self.head.etag.is_empty() && self.head.last_modified.is_empty())
    }
}

/// The kept pages of this node.
#[derive(Clone)]
pub(in crate::ingest::fetch) struct PageCache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    bytes_max: u64,
    page_bytes_max: u64,
    clock: Arc<dyn Clock>,
}

impl PageCache {
    /// Pages in `folder`, together of at most `bytes_max` bytes after each sweep.
    pub(in crate::ingest::fetch) fn new(
        folder: PathBuf,
        bytes_max: u64,
        page_bytes_max: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner { folder, bytes_max, page_bytes_max, clock }))
    }

    /// The page kept for `url`.
    pub(super) async fn get(&self, url: &Url) -> Option<Kept> {
        let (inner, url) = (Arc::clone(&self.0), url.to_string());
        tokio::task::spawn_blocking(move || inner.read(&url)).await.ok()?
    }

    /// Keeps a page. That it could not be kept costs a download later and is no error now.
    pub(super) async fn put(&self, page: Kept) {
        let inner = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || inner.write(&page)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(error = &error as &dyn std::error::Error, "a page was not kept");
        }
    }

    /// Notes that the page kept for `url` is still what its server has.
    pub(super) async fn confirm(&self, url: &Url) {
        let (inner, url) = (Arc::clone(&self.0), url.to_string());
        // One that cannot be marked is swept a little early.
        let _ = tokio::task::spawn_blocking(move || inner.touch(&inner.file(&url))).await;
    }

    /// Deletes the pages that were confirmed longest ago until the rest is within the limit.
    pub(in crate::ingest) fn sweep(&self) {
        let mut pages: Vec<(Duration, u64, PathBuf)> = Vec::new();
        for folder in entries(&self.0.folder) {
            for path in entries(&folder) {
                let Ok(metadata) = path.metadata() else { continue };
                let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                pages.push((modified.unwrap_or_default(), metadata.len(), path));
            }
        }
        let mut bytes: u64 = pages.iter().map(|(_, bytes, _)| bytes).sum();
        pages.sort();
        for (_, length, path) in pages {
            let partial = path.extension().is_some_and(|extension| extension == PARTIAL);
            if bytes <= self.0.bytes_max && !partial {
                continue;
            }
            // One that cannot be deleted now is tried again at the next sweep.
            if fs::remove_file(&path).is_ok() {
                bytes = bytes.saturating_sub(length);
            }
        }
    }
}

impl Inner {
    fn file(&self, url: &str) -> PathBuf {
        let hash = blake3::hash(url.as_bytes()).to_hex();
        self.folder.join(&hash[..2]).join(&hash[2..])
    }

    fn read(&self, url: &str) -> Option<Kept> {
        let bytes = fs::read(self.file(url)).ok()?;
        let (bytes, sum) = bytes.split_last_chunk()?;
        if checksum::<CHECK_BYTES>(bytes) != *sum {
            return None;
        }
        let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n')?;
        let head: KeptHead = serde_json::from_slice(bytes.get(..end)?).ok()?;
        if head.format != FORMAT || head.url != url {
            return None;
        }
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes.get(end + 1..)?).ok()?;
        let mut body = Vec::new();
        decoder.take(self.page_bytes_max).read_to_end(&mut body).ok()?;
        Some(Kept { head, body })
    }

    fn write(&self, page: &Kept) -> io::Result<()> {
        let path = self.file(&page.head.url);
        let mut bytes = serde_json::to_vec(&page.head)?;
        if bytes.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("the page's head is too long to be kept"));
        }
        bytes.push(b'\n');
        bytes.extend(zstd::bulk::compress(&page.body, COMPRESSION)?);
        bytes.extend(checksum::<CHECK_BYTES>(&bytes));
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        let partial = path.with_extension(PARTIAL);
        fs::write(&partial, bytes)?;
        self.touch(&partial)?;
        fs::rename(partial, path)
    }

    /// The time of a file tells when its page was confirmed.
    fn touch(&self, path: &Path) -> io::Result<()> {
        let now = UNIX_EPOCH + Duration::from_millis(self.clock.now().as_millis());
        File::options().write(true).open(path)?.set_modified(now)
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::{ManualClock, SystemClock};

    use super::*;

    fn url(number: usize) -> Url {
        format!("https://a.example/{number}").parse().unwrap()
    }

    fn page(number: usize, bytes: usize) -> Kept {
        // Does not compress.
        let body = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
        let mut noise = vec![0; bytes];
        let mut body = body;
        body.fill(&mut noise);
        let validators = ["\"tag\"".to_owned(), String::new()];
        Kept::new(&url(number), validators, "text/html".into(), "noindex".into(), noise)
    }

    #[tokio::test]
    async fn what_is_kept_comes_back_and_damage_is_no_page() {
        let data = tempfile::tempdir().unwrap();
        let cache = PageCache::new(data.path().to_owned(), 1 << 20, 1 << 20, Arc::new(SystemClock));
        assert_eq!(cache.get(&url(1)).await, None);
        cache.put(page(1, 1_000)).await;
        assert_eq!(cache.get(&url(1)).await, Some(page(1, 1_000)));
        assert!(page(1, 1).has_validator() && !Kept::default().has_validator());
        let file = cache.0.file(url(1).as_str());
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&file, flipped).unwrap();
            assert_eq!(cache.get(&url(1)).await, None, "a bit of byte {at}");
        }
        fs::write(&file, &whole[..whole.len() - 10]).unwrap();
        assert_eq!(cache.get(&url(1)).await, None);
        fs::write(&file, &whole).unwrap();
        assert_eq!(cache.get(&url(1)).await, Some(page(1, 1_000)));
        fs::write(&file, "{}").unwrap();
        assert_eq!(cache.get(&url(1)).await, None);
    }

    #[tokio::test]
    async fn a_sweep_keeps_what_was_confirmed_last() {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let cache = PageCache::new(data.path().to_owned(), 25_000, 1 << 20, clock.clone());
        for number in 0..4 {
            cache.put(page(number, 10_000)).await;
            clock.advance_millis(1_000);
        }
        cache.confirm(&url(0)).await;
        fs::write(data.path().join("00.partial"), "half").unwrap();
        cache.sweep();
        let mut kept = Vec::new();
        for number in 0..4 {
            kept.push(cache.get(&url(number)).await.is_some());
        }
        assert_eq!(kept, [true, false, false, true]);
    }
}
