//! Sources: where documents come from, read one at a time.
//!
//! [`locate()`] tells what a person means by a source; [`Source::open`] reads a folder, an archive or
//! one document; [`locked`] finds the exact packages that a project's lockfile names on this machine. A source is surveyed when it is opened (paths and sizes, no contents), so the number of
//! documents is known and a damaged archive fails before anything is ingested. Then it is an
//! iterator that holds one document at a time.
//!
//! Invariant: a source touches no network and writes nothing; it never follows a link. The same bytes
//! give the same documents in the same order. What lies elsewhere was fetched before, by
//! [`super::fetch`], and is read from where that left it.

mod archive;
pub mod cargo_home;
pub mod cargo_lock;
pub mod cargo_manifest;
mod classify;
mod error;
mod folder;
mod limits;
mod locate;
pub mod locked;
pub mod npm_lock;
pub mod npm_manifest;
pub mod package;
mod pages;
pub mod python_lock;
pub mod python_metadata;
mod report;
mod root;
pub mod site_packages;
mod survey;

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

pub use classify::{Kind, classify};
pub use error::SourceError;
pub use limits::{ARCHIVE_BYTES_MAX, SourceLimits};
pub use locate::{Location, locate};
pub(crate) use pages::SpooledPage;
pub use report::{Skip, SkipReport};
pub use root::root_file;

use archive::{ArchiveFile, Packing, Tar, Zip};
use classify::classify_alone;
use survey::{Planned, Survey};

/// One document as its source holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the source's root, with `/` between parts; unique within the source.
    pub path: String,
    /// What it is read for.
    pub kind: Kind,
    /// The whole content.
    pub bytes: Vec<u8>,
    /// Where a person can open it, when the source knows.
    pub url: Option<String>,
}

/// An opened source: an iterator over its documents.
///
/// Folders and zip archives give them sorted by path, tar archives in the order of the archive.
/// An error ends it.
pub struct Source {
    reader: Reader,
    planned: VecDeque<Planned>,
    planned_total: usize,
    limits: SourceLimits,
    report: SkipReport,
}

enum Reader {
    Folder(PathBuf),
    Tar(Tar),
    Zip(Zip),
    /// A single document, by its own path.
    Document(PathBuf),
    /// Fetched pages, in the order of their list.
    Pages(PathBuf, Vec<SpooledPage>),
}

impl Source {
    /// Opens a folder, an archive or one document, and looks through it once.
    ///
    /// In folders, `.gitignore` is honoured and hidden files are left out. An archive is told by its
    /// first bytes, not by its name; a folder that wraps all its files is left out of their paths.
    pub fn open(path: &Path, limits: SourceLimits) -> Result<Self, SourceError> {
        Self::open_with(path, None, true, limits)
    }

    /// Opens a file that was sent as `name` and lies under another: a document is told by its name.
    pub fn open_named(path: &Path, name: &str, limits: SourceLimits) -> Result<Self, SourceError> {
        Self::open_with(path, Some(name), true, limits)
    }

    /// Opens a published package, in which ignore files say nothing: what was published counts.
    pub fn open_package(path: &Path, limits: SourceLimits) -> Result<Self, SourceError> {
        Self::open_with(path, None, false, limits)
    }

    /// Opens the files of one package among others in a folder, by their paths below it.
    pub fn open_listed(root: &Path, files: &[String], limits: SourceLimits) -> Result<Self, SourceError> {
        let root =
            fs::canonicalize(root).map_err(|source| SourceError::Open { path: root.to_owned(), source })?;
        let (planned, report) = folder::listed(&root, files, &limits)?;
        Ok(Self {
            reader: Reader::Folder(root),
            planned_total: planned.len(),
            planned: planned.into(),
            limits,
            report,
        })
    }

    /// Opens pages that were fetched into `folder`. They were chosen already: their names say what they
    /// are, not whether they are wanted.
    pub(crate) fn open_pages(folder: &Path, limits: SourceLimits) -> Result<Self, SourceError> {
        let (pages, planned) = pages::survey(folder)?;
        let reader = Reader::Pages(folder.to_owned(), pages);
        let planned_total = planned.len();
        Ok(Self { reader, planned_total, planned: planned.into(), limits, report: SkipReport::default() })
    }

    fn open_with(
        path: &Path,
        name: Option<&str>,
        ignore_files: bool,
        limits: SourceLimits,
    ) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Open { path: path.to_owned(), source };
        // The root itself may be a link (`/usr/share/doc/x -> x-1.2`); below it none is followed.
        let root = fs::canonicalize(path).map_err(failed)?;
        let metadata = fs::metadata(&root).map_err(failed)?;
        let (reader, planned, report) = if metadata.is_dir() {
            let (planned, report) = folder::survey(&root, ignore_files, &limits)?;
            (Reader::Folder(root), planned, report)
        } else if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "neither a folder nor a regular file");
            return Err(failed(source));
        } else {
            // By the path that was given: it is what errors show, and what callers know to hide.
            match archive::detect(path)? {
                Some(packing) => Self::open_archive(path, packing, &limits)?,
                None => {
                    let own = root.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                    let name = name.unwrap_or(&own);
                    let (planned, report) = Self::open_document(path, name, metadata.len(), &limits)?;
                    (Reader::Document(root), planned, report)
                }
            }
        };
        Ok(Self { reader, planned_total: planned.len(), planned: planned.into(), limits, report })
    }

    fn open_archive(
        path: &Path,
        packing: Packing,
        limits: &SourceLimits,
    ) -> Result<(Reader, Vec<Planned>, SkipReport), SourceError> {
        let archive = ArchiveFile::open(path, limits)?;
        Ok(match packing {
            Packing::Zip => {
                let (zip, planned, report) = Zip::open(archive, limits)?;
                (Reader::Zip(zip), planned, report)
            }
            Packing::Tar(compression) => {
                let (tar, planned, report) = Tar::open(archive, compression, limits)?;
                (Reader::Tar(tar), planned, report)
            }
        })
    }

    fn open_document(
        path: &Path,
        name: &str,
        bytes: u64,
        limits: &SourceLimits,
    ) -> Result<(Vec<Planned>, SkipReport), SourceError> {
        // Whatever folders the sender's name has, a document stands alone.
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        if classify_alone(name) != Ok(Kind::Page) {
            return Err(SourceError::Unsupported {
                path: path.to_owned(),
                found: "neither an archive nor a document",
            });
        }
        let mut survey = Survey::new(limits);
        let entry = survey.count()?;
        survey.add_file(entry, name.as_bytes(), bytes);
        Ok(survey.plan_by(false, classify_alone))
    }

    /// Documents that the survey found: as many as the iterator gives, unless some cannot be read.
    pub fn files_total(&self) -> usize {
        self.planned_total
    }

    /// What was left out so far; complete once the iterator has ended.
    pub fn report(&self) -> &SkipReport {
        &self.report
    }

    fn url(&self, entry: usize) -> Option<String> {
        match &self.reader {
            Reader::Pages(_, pages) => pages.get(entry).map(|page| page.url.clone()),
            Reader::Folder(_) | Reader::Tar(_) | Reader::Zip(_) | Reader::Document(_) => None,
        }
    }

    fn read(&mut self, planned: &Planned) -> Result<Result<Vec<u8>, Skip>, SourceError> {
        match &mut self.reader {
            Reader::Folder(root) => Ok(folder::read(&root.join(&planned.path), self.limits.file_bytes_max)),
            Reader::Document(path) => Ok(folder::read(path, self.limits.file_bytes_max)),
            Reader::Pages(folder, pages) => {
                let number = pages.get(planned.entry).map_or(planned.entry, |page| page.file);
                Ok(folder::read(&SpooledPage::file(folder, number), self.limits.file_bytes_max))
            }
            Reader::Tar(tar) => tar.read(planned, &self.limits).map(Ok),
            Reader::Zip(zip) => zip.read(planned, &self.limits),
        }
    }
}

impl Iterator for Source {
    type Item = Result<SourceFile, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let planned = self.planned.pop_front()?;
            match self.read(&planned) {
                Ok(Ok(bytes)) => {
                    let Planned { path, kind, entry } = planned;
                    return Some(Ok(SourceFile { path, kind, bytes, url: self.url(entry) }));
                }
                Ok(Err(skip)) => self.report.add(&planned.path, skip),
                Err(error) => {
                    self.planned.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
