//! Where fetched things lie until their job has read them: a folder of its own in the data directory,
//! deleted with the value that stands for it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::ingest::source::SpooledPage;

/// A folder that is deleted when it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Makes the folder anew.
    pub(super) fn create(folder: PathBuf) -> io::Result<Self> {
        let spool = Self { folder };
        match fs::remove_dir_all(&spool.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => fs::create_dir_all(&spool.folder)?,
        }
        Ok(spool)
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a spool could not be deleted");
        }
    }
}

/// Fills a spool with pages.
pub(super) struct PageSpool {
    spool: Spool,
    pages: Vec<SpooledPage>,
    bytes: u64,
}

impl PageSpool {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, pages: Vec::new(), bytes: 0 }
    }

    /// Adds a page that can be opened at `url`, and should be called `path` if no other is.
    pub(super) async fn add(&mut self, path: String, url: String, bytes: Vec<u8>) -> io::Result<()> {
        let file = self.pages.len();
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        tokio::fs::write(SpooledPage::file(&self.spool.folder, file), bytes).await?;
        self.pages.push(SpooledPage { file, path, url });
        Ok(())
    }

    /// Pages added so far.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Bytes of all pages added so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the list of pages. Their order is that of their URLs, whichever came first, so that the
    /// same pages give the same bundle.
    pub(super) async fn finish(mut self) -> io::Result<Spool> {
        self.pages.sort_by(|one, other| one.url.cmp(&other.url));
        let mut taken: HashMap<String, usize> = HashMap::new();
        for page in &mut self.pages {
            let times = taken.entry(page.path.to_ascii_lowercase()).or_default();
            *times += 1;
            if *times > 1 {
                let (stem, extension) = page.path.rsplit_once('.').unwrap_or((&page.path, ""));
                page.path = format!("{stem}~{times}.{extension}");
            }
        }
        let list = SpooledPage::list(&self.pages)?;
        tokio::fs::write(SpooledPage::list_file(&self.spool.folder), list).await?;
        Ok(self.spool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::source::{Source, SourceLimits};

    #[tokio::test]
    async fn pages_come_back_sorted_with_their_urls_and_the_folder_goes() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("spool/job");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("left-over"), "of a crash").unwrap();
        let mut pages = PageSpool::new(Spool::create(folder.clone()).unwrap());
        for (path, url, text) in [
            ("b.html", "https://a.example/b", "B"),
            ("a.html", "https://a.example/a/", "A"),
            ("a.html", "https://a.example/a.html", "other A"),
        ] {
            pages.add(path.into(), url.into(), text.into()).await.unwrap();
        }
        assert_eq!((pages.pages(), pages.bytes()), (3, 9));
        let spool = pages.finish().await.unwrap();
        let source = Source::open_pages(spool.folder(), SourceLimits::default()).unwrap();
        assert_eq!(source.files_total(), 3);
        let read: Vec<_> =
            source.map(|file| file.map(|file| (file.path, file.url.unwrap(), file.bytes)).unwrap()).collect();
        let page = |path: &str, url: &str, text: &str| (path.to_owned(), url.to_owned(), text.into());
        assert_eq!(
            read,
            [
                page("a.html", "https://a.example/a.html", "other A"),
                page("a~2.html", "https://a.example/a/", "A"),
                page("b.html", "https://a.example/b", "B"),
            ]
        );
        drop(spool);
        assert!(!folder.exists());
    }
}
