//! Pages that were fetched before, as a source: a folder of numbered files and a list that says what
//! each is called and where it can be opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::survey::Planned;
use super::{Kind, SourceError};

/// One fetched page. Lists live as long as one job, so their format is nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpooledPage {
    /// The number of its file.
    pub(crate) file: usize,
    /// What it is called: a path without folders above the site, with an extension that tells its format.
    pub(crate) path: String,
    /// Where a person can open it.
    pub(crate) url: String,
}

impl SpooledPage {
    /// The file of page number `file`.
    pub(crate) fn file(folder: &Path, file: usize) -> PathBuf {
        folder.join(format!("{file:06}"))
    }

    /// The file of the list.
    pub(crate) fn list_file(folder: &Path) -> PathBuf {
        folder.join("pages.json")
    }

    /// The list as it is written.
    pub(crate) fn list(pages: &[Self]) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(pages)?)
    }
}

/// The pages in the order of their list.
pub(super) fn survey(folder: &Path) -> Result<(Vec<SpooledPage>, Vec<Planned>), SourceError> {
    let failed = |source| SourceError::Open { path: folder.to_owned(), source };
    let list = fs::read(SpooledPage::list_file(folder)).map_err(failed)?;
    let pages: Vec<SpooledPage> = serde_json::from_slice(&list).map_err(|error| failed(error.into()))?;
    let planned = pages.iter().enumerate();
    let planned = planned.map(|(entry, page)| Planned { entry, path: page.path.clone(), kind: Kind::Page });
    let planned = planned.collect();
    Ok((pages, planned))
}
