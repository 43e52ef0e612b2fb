//! Records of varying length: one section with where each starts, one with the records themselves.
//!
//! Not compressed, so that reading one record touches one or two pages of the map and nothing else.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tantivy::directory::OwnedBytes;

use super::error::BundleError;
use super::layout::Section;
use super::map::Sections;

const OFFSET_BYTES: usize = 8;

/// The offsets of records while they are written.
pub(super) struct Offsets {
    bytes: Vec<u8>,
    end: u64,
}

impl Offsets {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; OFFSET_BYTES], end: 0 }
    }

    /// Notes that a record of `length` bytes was written.
    pub(super) fn push(&mut self, length: usize) {
        self.end += length as u64;
        self.bytes.extend_from_slice(&self.end.to_le_bytes());
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Records in the map.
pub(super) struct Records {
    path: Arc<Path>,
    what: &'static str,
    section: Section,
    offsets: OwnedBytes,
    bytes: OwnedBytes,
}

impl Records {
    /// The records of `section`, of which there must be exactly `count`.
    pub(super) fn open(
        sections: &Sections,
        path: &Arc<Path>,
        what: &'static str,
        [offsets_section, section]: [Section; 2],
        count: u32,
    ) -> Result<Self, BundleError> {
        let missing = |section| move || BundleError::damaged(path, section);
        let offsets = sections.get(offsets_section).ok_or_else(missing(offsets_section))?;
        let bytes = sections.get(section).ok_or_else(missing(section))?;
        if offsets.len() != (count as usize + 1) * OFFSET_BYTES {
            return Err(BundleError::damaged(path, offsets_section));
        }
        Ok(Self { path: path.clone(), what, section, offsets, bytes })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, index: u32) -> Result<T, BundleError> {
        postcard::from_bytes(self.record(index)?).map_err(|_| BundleError::damaged(&self.path, self.section))
    }

    /// The first fields of a record, borrowed from the map; what follows is not read.
    pub(super) fn start<'a, T: Deserialize<'a>>(&'a self, index: u32) -> Result<T, BundleError> {
        let decoded = postcard::take_from_bytes(self.record(index)?);
        decoded.map(|(start, _)| start).map_err(|_| BundleError::damaged(&self.path, self.section))
    }

    fn record(&self, index: u32) -> Result<&[u8], BundleError> {
        let count = (self.offsets.len() / OFFSET_BYTES - 1) as u32;
        if index >= count {
            return Err(BundleError::NoSuchRecord { what: self.what, index, count });
        }
        self.offset(index as usize)
            .zip(self.offset(index as usize + 1))
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or_else(|| BundleError::damaged(&self.path, self.section))
    }

    fn offset(&self, place: usize) -> Option<usize> {
        let bytes = self.offsets.get(place * OFFSET_BYTES..(place + 1) * OFFSET_BYTES)?;
        usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    }
}
