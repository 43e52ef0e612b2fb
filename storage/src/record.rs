//! How a record lies in the engine: one format byte, then postcard.
//!
//! A record that changes shape gets a new format number and keeps reading the one before; the golden
//! files under `storage/fixtures/` hold what each format looked like.

use serde::{Serialize, de::DeserializeOwned};

use crate::engine::StorageError;

/// Something kept under a key.
pub trait Record: Serialize + DeserializeOwned {
    /// The record's name in errors, e.g. `library`.
    const NAME: &'static str;
    /// The format this build writes.
    const FORMAT: u8;

    /// Reads a body written in an earlier format, if this build knows it.
    fn migrate(_format: u8, _body: &[u8]) -> Option<Self> {
        None
    }

    /// The bytes of it, with the format in front. A record that an earlier format can hold whole may go on being written in that, so
    /// that the build before reads it.
    fn to_bytes(&self) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(self, vec![Self::FORMAT])
    }
}

/// The bytes of a record.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, StorageError> {
    record.to_bytes().map_err(|source| StorageError::Encode { record: R::NAME, source })
}

/// The record in `bytes`.
///
/// # Errors
/// [`StorageError::NewerFormat`] for a format this build does not know, [`StorageError::Decode`] for
/// bytes that are no such record.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, StorageError> {
    match bytes.split_first() {
        Some((&format, body)) if format == R::FORMAT => {
            postcard::from_bytes(body).map_err(|source| StorageError::Decode { record: R::NAME, source })
        }
        Some((&format, body)) => {
            R::migrate(format, body).ok_or(StorageError::NewerFormat { record: R::NAME, format })
        }
        None => Err(StorageError::NewerFormat { record: R::NAME, format: 0 }),
    }
}
