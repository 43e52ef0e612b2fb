//! Packing a folder into one archive to be sent: only what an index job would read, nothing that
//! `.gitignore` leaves out.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use twinmcp_actors::ingest::source::locked::PackageSource;
use twinmcp_actors::ingest::source::{Source, SourceError, SourceLimits, root_file};
use twinmcp_storage::clock::{Entropy, SystemEntropy};

/// Files that say what a source is, read from its root beside its documents.
const ABOUT_FILES: &[&str] =
    &["Cargo.toml", "package.json", "pyproject.toml", "setup.cfg", PYTHON_METADATA, "context7.json"];
const ABOUT_BYTES_MAX: u64 = 4 * 1024 * 1024;
const LEVEL: i32 = 3;

/// Why a folder could not be packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("failed to write a temporary archive")]
    Write(#[from] io::Error),
    #[error("there is no documentation in {}", path.display())]
    Empty { path: PathBuf },
}

/// A file to be sent; removed when dropped, if it was made for that.
pub(super) struct Packed {
    pub(super) path: PathBuf,
    /// What the node is told it is called.
    pub(super) name: String,
    temporary: bool,
}

impl Drop for Packed {
    fn drop(&mut self) {
        if self.temporary {
            // It lies in the folder for temporary files; the system removes what is left there.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Core metadata of a Python distribution, under the name it has at the root of an archive of one.
const PYTHON_METADATA: &str = "PKG-INFO";

/// The archive of a folder, or the file itself.
pub(super) fn pack(path: &Path) -> Result<Packed, PackError> {
    if path.is_file() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(Packed { path: path.to_owned(), name, temporary: false });
    }
    archive(Source::open(path, SourceLimits::default())?, path, None)
}

/// The archive of a published package, which has no ignore files, or the packed package itself.
pub(super) fn pack_package(package: &PackageSource) -> Result<Packed, PackError> {
    if package.path.is_file() {
        return pack(&package.path);
    }
    let source = package.open(SourceLimits::default())?;
    archive(source, &package.path, package.listed.as_ref().map(|listed| listed.metadata.as_str()))
}

/// Packs the documents of `source` and what the folder `path` says about them; `metadata` names the file that does,
/// where the folder is shared.
fn archive(source: Source, path: &Path, metadata: Option<&str>) -> Result<Packed, PackError> {
    let (file, packed) = temporary()?;
    let mut archive = tar::Builder::new(zstd::Encoder::new(file, LEVEL)?);
    let mut documents = 0_usize;
    for document in source {
        let document = document?;
        if !ABOUT_FILES.contains(&document.path.as_str()) {
            append(&mut archive, &document.path, &document.bytes)?;
        }
        documents += 1;
    }
    if documents == 0 {
        return Err(PackError::Empty { path: path.to_owned() });
    }
    let own = ABOUT_FILES.iter().map(|name| (*name, *name)).filter(|_| metadata.is_none());
    for (name, from) in own.chain(metadata.map(|metadata| (PYTHON_METADATA, metadata))) {
        if let Some(bytes) = root_file(path, from, ABOUT_BYTES_MAX) {
            append(&mut archive, name, &bytes)?;
        }
    }
    archive.into_inner()?.finish()?.sync_all()?;
    Ok(packed)
}

fn append(archive: &mut tar::Builder<impl io::Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    archive.append_data(&mut header, path, bytes)
}

/// A new file that nobody else can read or guess.
fn temporary() -> Result<(File, Packed), PackError> {
    let mut random = [0_u8; 8];
    SystemEntropy.fill(&mut random).map_err(io::Error::other)?;
    let name = format!("twinmcp-{:016x}.tar.zst", u64::from_ne_bytes(random));
    let path = std::env::temp_dir().join(name);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((file, Packed { path, name: "docs.tar.zst".to_owned(), temporary: true }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_the_documents_and_what_says_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("guide")).unwrap();
        std::fs::write(folder.path().join("guide/start.md"), "# Start\n\nText.").unwrap();
        std::fs::write(folder.path().join("context7.json"), "{\"projectTitle\": \"Guide\"}").unwrap();
        std::fs::write(folder.path().join("photo.png"), [0_u8; 16]).unwrap();
        let packed = pack(folder.path()).unwrap();
        let file = File::open(&packed.path).unwrap();
        let mut archive = tar::Archive::new(zstd::Decoder::new(file).unwrap());
        let mut names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["context7.json", "guide/start.md"]);
        let path = packed.path.clone();
        drop(packed);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_is_sent_as_it_is_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("docs.zip");
        std::fs::write(&file, "zip").unwrap();
        assert_eq!(pack(&file).unwrap().name, "docs.zip");
        assert!(file.exists());
    }

    #[test]
    fn a_folder_without_documentation_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("photo.png"), [0_u8; 16]).unwrap();
        assert!(matches!(pack(folder.path()), Err(PackError::Empty { .. })));
    }
}
