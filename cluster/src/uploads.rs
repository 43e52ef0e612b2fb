//! Archives that were sent for indexing, between nodes: a job's node lets another one have a copy, so that the job can go on there.
//!
//! This is the asking side, and what goes over the wire; [`crate::desk`] answers. The copy is pulled: who is asked to keep one
//! asks back for its bytes, in its own time, and says at the next question whether it has it.
//!
//! ```text
//! /uploads/ACCOUNT/HASH   the bytes of an archive; 404 when it is not here
//! /keep-upload            a node is to have an archive, or only to say whether it does
//! ```

use std::io;

use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use twinmcp_storage::record::{self, Record};

use crate::bundles::{BundleBytes, TOTAL_HEADER};
use crate::handle::Cluster;
use crate::peer::{Lane, PeerError};
use crate::status::NodeId;

/// Where a node gives archives.
pub(crate) const UPLOADS_PATH: &str = "/uploads/";
/// Where a node is asked to keep one.
pub(crate) const KEEP_UPLOAD_PATH: &str = "/keep-upload";
/// Longest [`KeepUpload`] in bytes: a hash, an account and a number.
pub(crate) const KEEP_UPLOAD_BYTES_MAX: usize = 1_024;

/// Asks a node about an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepUpload {
    /// Whose it is.
    pub account: String,
    /// BLAKE3 of its bytes, in hex.
    pub hash: String,
    /// Bytes it has.
    pub bytes: u64,
    /// Whether the node is to get it from the asker if it does not have it.
    pub is_wanted: bool,
}

impl Record for KeepUpload {
    const NAME: &'static str = "question about an upload";
    const FORMAT: u8 = 1;
}

/// The answer to a [`KeepUpload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadKept {
    /// Whether all of it is there.
    pub is_here: bool,
    /// Whether it is on its way there.
    pub is_coming: bool,
}

impl Record for UploadKept {
    const NAME: &'static str = "answer about an upload";
    const FORMAT: u8 = 1;
}

impl Cluster {
    /// Asks a member for an archive; `None` when it does not have it.
    ///
    /// # Errors
    /// [`PeerError`] when it cannot be reached.
    pub async fn upload_from(
        &self,
        node: NodeId,
        account: &str,
        hash: &str,
    ) -> Result<Option<BundleBytes>, PeerError> {
        let answer = match self.open(node, Lane::Bulk, &format!("{UPLOADS_PATH}{account}/{hash}")).await {
            Ok(answer) => answer,
            Err(PeerError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => return Ok(None),
            Err(error) => return Err(error),
        };
        let total = answer.headers().get(TOTAL_HEADER).and_then(|total| total.to_str().ok()?.parse().ok());
        let Some(total) = total else { return Ok(None) };
        let bytes = answer.into_body().into_data_stream().map(|piece| piece.map_err(io::Error::other));
        Ok(Some(BundleBytes { total, bytes: bytes.boxed() }))
    }

    /// Asks a member about an archive, and to get it from here where that is wanted.
    ///
    /// # Errors
    /// A sentence, when it does not say; a build that knows no such question among them.
    pub async fn keep_upload(&self, node: NodeId, question: &KeepUpload) -> Result<UploadKept, String> {
        let asked = record::encode(question).map_err(|error| error.to_string())?;
        let answer = self.ask(node, KEEP_UPLOAD_PATH, asked).await.map_err(|error| error.to_string())?;
        record::decode(&answer).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the build before sent is understood, and what this one sends by it.
    #[test]
    fn questions_and_answers_have_a_golden_form() {
        let (account, hash) = ("ac".to_owned(), "0f".to_owned());
        let question = KeepUpload { account, hash, bytes: 300, is_wanted: true };
        let bytes = record::encode(&question).unwrap();
        assert_eq!(bytes, [1, 2, b'a', b'c', 2, b'0', b'f', 0xac, 2, 1]);
        assert_eq!(record::decode::<KeepUpload>(&bytes).unwrap(), question);
        let answer = UploadKept { is_here: false, is_coming: true };
        let bytes = record::encode(&answer).unwrap();
        assert_eq!(bytes, [1, 0, 1]);
        assert_eq!(record::decode::<UploadKept>(&bytes).unwrap(), answer);
    }
}
