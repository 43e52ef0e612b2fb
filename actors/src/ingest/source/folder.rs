//! A folder as a source: what `git status` would see, without following links.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use ignore::WalkBuilder;

use super::{
    Skip, SkipReport, SourceError, SourceLimits,
    classify::classify_folder,
    survey::{Planned, Survey},
};

/// Lists the documents below `root`, sorted by path. `root` has no links in it.
pub(super) fn survey(
    root: &Path,
    ignore_files: bool,
    limits: &SourceLimits,
) -> Result<(Vec<Planned>, SkipReport), SourceError> {
    let mut walk = WalkBuilder::new(root);
    // Only what lies in the folder decides: not the ignore files above it, not those of this account.
    walk.standard_filters(false).follow_links(false).require_git(false).hidden(false).parents(false);
    walk.ignore(ignore_files).git_ignore(ignore_files).git_exclude(ignore_files);
    walk.max_depth(Some(limits.depth_max + 2));
    let base = root.to_path_buf();
    walk.filter_entry(move |entry| {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        !is_folder || relative(&base, entry.path()).is_none_or(|path| classify_folder(&path).is_none())
    });

    let mut survey = Survey::new(limits);
    let mut files = Vec::new();
    for entry in walk.build() {
        survey.count()?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(_) => {
                survey.skip(b"", Skip::Unreadable);
                continue;
            }
        };
        let Some(path) = relative(root, entry.path()) else {
            survey.skip(entry.path().as_os_str().as_encoded_bytes(), Skip::UnsafePath);
            continue;
        };
        let Some(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if entry.depth() > limits.depth_max + 1 {
                survey.skip(path.as_bytes(), Skip::TooDeep);
            }
        } else if kind.is_symlink() {
            survey.skip(path.as_bytes(), Skip::Link);
        } else if !kind.is_file() {
            survey.skip(path.as_bytes(), Skip::Special);
        } else {
            match entry.metadata() {
                Ok(metadata) => files.push((path, metadata.len())),
                Err(_) => survey.skip(path.as_bytes(), Skip::Unreadable),
            }
        }
    }
    files.sort();
    for (entry, (path, bytes)) in files.iter().enumerate() {
        survey.add_file(entry, path.as_bytes(), *bytes);
    }
    Ok(survey.plan(false))
}

/// The documents among `files`, sorted by path. A list may name anything: what leads out of `root` is left out.
pub(super) fn listed(
    root: &Path,
    files: &[String],
    limits: &SourceLimits,
) -> Result<(Vec<Planned>, SkipReport), SourceError> {
    let mut files: Vec<&String> = files.iter().collect();
    files.sort();
    files.dedup();
    let mut survey = Survey::new(limits);
    for path in files {
        let entry = survey.count()?;
        let file = root.join(path);
        let inside = fs::canonicalize(&file).is_ok_and(|real| real.starts_with(root));
        match fs::symlink_metadata(&file) {
            Ok(metadata) if metadata.is_file() && inside => {
                survey.add_file(entry, path.as_bytes(), metadata.len());
            }
            Ok(metadata) if metadata.is_symlink() => survey.skip(path.as_bytes(), Skip::Link),
            Ok(_) => survey.skip(path.as_bytes(), Skip::UnsafePath),
            Err(_) => survey.skip(path.as_bytes(), Skip::Unreadable),
        }
    }
    Ok(survey.plan(false))
}

/// Reads one file that was a regular file of at most `bytes_max` bytes when the folder was listed.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Skip> {
    // Listed long ago, perhaps: a link put there since must not lead out of the folder.
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) if metadata.is_symlink() => return Err(Skip::Link),
        Ok(_) => return Err(Skip::Special),
        Err(_) => return Err(Skip::Unreadable),
    }
    let file = File::open(path).map_err(|_| Skip::Unreadable)?;
    read_bounded(file, bytes_max).map_err(|_| Skip::Unreadable)?.ok_or(Skip::TooLarge)
}

/// Reads to the end; `None` when there are more than `bytes_max` bytes.
pub(super) fn read_bounded(reader: impl Read, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}

/// The path below `root` with `/` between its parts; `None` when it is not UTF-8.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> =
        path.strip_prefix(root).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}
