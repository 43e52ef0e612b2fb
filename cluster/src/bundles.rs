//! Bundles between nodes: their bytes, questions that a peer answers from one, and who keeps which.
//!
//! This is the asking side, and what goes over the wire; [`crate::desk`] answers. What a question and its answer say is
//! the caller's affair: here they are bytes with a largest size.
//!
//! ```text
//! /bundles/HASH/FIRST?bytes=N   the bytes from FIRST on, N of them at most; a build that knows no N sends all
//! /questions/HASH               an answer from the bundle; 410 when it is not here, 503 when the node has too much to do
//! /kept                         which of these bundles the node has and is going to keep
//! ```

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use twinmcp_storage::record::{self, Record};

use crate::handle::Cluster;
use crate::peer::{Lane, PeerError};
use crate::status::NodeId;

/// Where a node gives bundles.
pub(crate) const BUNDLES_PATH: &str = "/bundles/";
/// Where a node answers questions about a bundle.
pub(crate) const QUESTIONS_PATH: &str = "/questions/";
/// Where a node says what it keeps.
pub(crate) const KEPT_PATH: &str = "/kept";
/// Bytes a bundle has in all, whichever were asked for.
pub(crate) const TOTAL_HEADER: &str = "x-bundle-bytes";
/// Leads the number of bytes that are asked for.
pub(crate) const BYTES_QUERY: &str = "bytes=";

/// Longest question about a bundle, in bytes.
pub(crate) const QUESTION_BYTES_MAX: usize = 16 * 1024;
/// Longest answer to one, in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bundles of one [`KeptQuestion`].
pub const KEPT_MAX: usize = 1_000;
/// Bytes of a [`KeptQuestion`]: a hash takes 32, the rest is small.
pub(crate) const KEPT_BYTES_MAX: usize = KEPT_MAX * 32 + 64;

/// A bundle on its way to a peer.
pub struct BundleBytes {
    /// Bytes it has in all.
    pub total: u64,
    /// Those that were asked for.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Asks a node which of these bundles it has and is going to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptQuestion {
    /// The log entry up to which the asker knows which bundles are named: a node that has applied less says no.
    pub applied_index: u64,
    /// Their hashes; at most [`KEPT_MAX`].
    pub bundles: Vec<[u8; 32]>,
}

impl Record for KeptQuestion {
    const NAME: &'static str = "question which bundles are kept";
    const FORMAT: u8 = 1;
}

/// One word for each bundle of a [`KeptQuestion`], in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Whether it is there and stays.
    pub is_kept: Vec<bool>,
}

impl Record for KeptAnswer {
    const NAME: &'static str = "answer which bundles are kept";
    const FORMAT: u8 = 1;
}

impl Cluster {
    /// Asks a member for these bytes of a bundle; `None` when it does not have it. More may come than was asked for: a
    /// build before ranges sends all from the first one on.
    ///
    /// # Errors
    /// [`PeerError`] when it cannot be reached.
    pub async fn bundle_from(
        &self,
        node: NodeId,
        hash: &str,
        range: Range<u64>,
    ) -> Result<Option<BundleBytes>, PeerError> {
        let bytes = range.end.saturating_sub(range.start);
        let path = format!("{BUNDLES_PATH}{hash}/{}?{BYTES_QUERY}{bytes}", range.start);
        let answer = match self.open(node, Lane::Bulk, &path).await {
            Ok(answer) => answer,
            Err(PeerError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => return Ok(None),
            Err(error) => return Err(error),
        };
        let total = answer.headers().get(TOTAL_HEADER).and_then(|total| total.to_str().ok()?.parse().ok());
        let Some(total) = total else { return Ok(None) };
        let bytes = answer.into_body().into_data_stream().map(|piece| piece.map_err(io::Error::other));
        Ok(Some(BundleBytes { total, bytes: bytes.boxed() }))
    }

    /// Asks a member a question about a bundle; `None` when it does not have it. It asks nobody else.
    ///
    /// # Errors
    /// [`PeerError`] when it cannot be reached, has too much to do, or knows no such requests.
    pub async fn answer_from(
        &self,
        node: NodeId,
        hash: &str,
        question: Vec<u8>,
    ) -> Result<Option<Bytes>, PeerError> {
        let path = format!("{QUESTIONS_PATH}{hash}");
        match self.ask_on(node, Lane::Questions, &path, question, ANSWER_BYTES_MAX).await {
            Ok(answer) => Ok(Some(answer)),
            Err(PeerError::Refused { status, .. }) if status == StatusCode::GONE => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks a member which of these bundles it has and is going to keep, in their order.
    ///
    /// # Errors
    /// A sentence, when it does not say.
    pub async fn kept_by(&self, node: NodeId, question: &KeptQuestion) -> Result<Vec<bool>, String> {
        let asked = record::encode(question).map_err(|error| error.to_string())?;
        let answer = self.ask(node, KEPT_PATH, asked).await.map_err(|error| error.to_string())?;
        let KeptAnswer { is_kept } = record::decode(&answer).map_err(|error| error.to_string())?;
        match is_kept.len() == question.bundles.len() {
            true => Ok(is_kept),
            false => Err("it answered for another number of bundles".to_owned()),
        }
    }
}
