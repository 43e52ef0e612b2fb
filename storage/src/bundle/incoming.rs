//! A bundle being received: pieces in any order, looked at as a whole before anybody sees it.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::BundleError;
use super::hash::BundleHash;
use super::metrics::Metrics;
use super::open::Bundle;
use super::partial::{PartialFile, hash_file};
use super::store::StoredBundle;

/// A bundle being received. Dropping it removes what came.
pub struct Incoming {
    hash: BundleHash,
    bytes_max: u64,
    /// Where [`Self::write`] goes on.
    end: u64,
    partial: PartialFile,
}

impl Incoming {
    /// An empty file below `dir` for the bundle named `hash`, which has `bytes`.
    pub(super) fn create(dir: &Path, hash: BundleHash, bytes: u64) -> Result<Self, BundleError> {
        Ok(Self { hash, bytes_max: bytes, end: 0, partial: PartialFile::create(dir)? })
    }

    /// Appends what came; pieces of 64 KiB and more keep the number of writes low.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.write_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Puts what came at its place in the bundle. What is never put there is zero, and found by its hash.
    ///
    /// # Errors
    /// [`BundleError::Limit`] when it ends behind what was announced; [`BundleError::Io`] when the disk refuses.
    pub fn write_at(&mut self, first: u64, bytes: &[u8]) -> Result<(), BundleError> {
        let found = first.saturating_add(bytes.len() as u64);
        if found > self.bytes_max {
            return Err(BundleError::Limit { what: "bundle of bytes", limit: self.bytes_max, found });
        }
        let written = self.partial.file()?.write_all_at(bytes, first);
        written.map_err(BundleError::io("write", self.partial.path()))
    }

    /// Checks the name, opens the bundle once to see that it is sound and that this version reads it,
    /// makes it durable, and puts it into the folder.
    ///
    /// # Errors
    /// [`BundleError::WrongHash`] when something else came; otherwise as [`Bundle::open`].
    pub fn finish(self) -> Result<StoredBundle, BundleError> {
        let (found, bytes) = hash_file(self.partial.file()?, self.partial.path())?;
        if found != self.hash {
            let error = BundleError::WrongHash { expected: self.hash, found };
            Metrics::get().failed("receive", &error);
            return Err(error);
        }
        Bundle::open(self.partial.path())?;
        self.partial.publish(self.hash)?;
        Ok(StoredBundle { hash: self.hash, bytes })
    }
}
