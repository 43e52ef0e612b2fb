//! One version's upgrade on its thread: every snippet's vector, then the bundle once more with them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use twinmcp_storage::bundle::{
    BuiltBundle, Bundle, BundleError, BundleHash, BundleStore, Embedder, Replace, RowsBuilder, SnippetIndex,
};

use super::cache::{self, Cache, Key};
use super::pace::{Activity, pause_after};
use super::sentence;
use crate::embedding::{DocumentEmbedder, DocumentText, EmbedError};

/// What outlives the upgrade of one version: as long as there is work, the model stays in memory.
pub(super) struct Tools {
    pub(super) embedder: Arc<dyn DocumentEmbedder>,
    pub(super) cache: Cache,
}

/// One version to upgrade.
pub(super) struct Run<'a> {
    pub(super) bundles: &'a BundleStore,
    pub(super) bundle: BundleHash,
    pub(super) replace: Replace,
    pub(super) cpu_percent: u8,
    pub(super) activity: &'a Activity,
    /// Closed when nobody waits for the upgrade any more.
    pub(super) stop: &'a Receiver<()>,
    /// Told how many snippets of how many are done, and how many of them were embedded just now.
    pub(super) report: &'a dyn Fn(Done),
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) embedded: u32,
    pub(super) remembered: u32,
    pub(super) total: u32,
}

/// Why a version was not upgraded.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("stopped")]
    Stopped,
    #[error("failed to read or write an index bundle")]
    Bundle(#[from] BundleError),
    #[error("failed to remember vectors")]
    Cache(#[from] std::io::Error),
    #[error("failed to embed snippets")]
    Embed(#[from] EmbedError),
}

impl RunError {
    /// For how long no other version will fare better, if that is so.
    fn rest(&self) -> Option<Duration> {
        match self {
            Self::Embed(error) => error.rest,
            Self::Stopped | Self::Bundle(_) | Self::Cache(_) => None,
        }
    }
}

/// Why the upgrade of a version has to be tried again.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error and its causes.
    pub(super) reason: String,
    /// For how long no other version will fare better, if that is so.
    pub(super) rest: Option<Duration>,
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self { reason: sentence(&error), rest: error.rest() }
    }
}

/// Rows waiting for the batch of which some of them are part, at most.
const WAITING_MAX: usize = 1_024;

impl Run<'_> {
    /// Embeds what is not remembered, and writes the bundle.
    pub(super) fn upgrade(&self, tools: &mut Tools) -> Result<BuiltBundle, RunError> {
        let bundle = self.bundles.open(self.bundle)?;
        let embedder = Arc::clone(&tools.embedder);
        let mut rows = RowsBuilder::new(embedder.dimensions())?;
        let mut done = Done { total: bundle.meta().snippets, ..Done::default() };
        let (mut waiting, mut batch) = (Vec::new(), Vec::new());
        let (limits, mut tokens) = (embedder.batch(), 0);
        for index in (0..done.total).map(SnippetIndex) {
            if self.is_stopped() {
                return Err(RunError::Stopped);
            }
            let snippet = bundle.snippet(index)?;
            let (size, text) = (snippet.tokens as usize, snippet.text());
            let document = DocumentText { heading_path: snippet.heading_path, text };
            let key = cache::key(&document);
            if let Some(vector) = tools.cache.get(&key) {
                done.remembered += 1;
                waiting.push(Some(vector));
            } else {
                if !batch.is_empty() && tokens + size > limits.tokens_max {
                    self.flush(tools, &mut batch, &mut waiting, &mut rows, &mut done)?;
                    tokens = 0;
                }
                waiting.push(None);
                batch.push((key, document));
                tokens += size;
            }
            if batch.len() >= limits.items_max || waiting.len() >= WAITING_MAX {
                self.flush(tools, &mut batch, &mut waiting, &mut rows, &mut done)?;
                tokens = 0;
            }
        }
        self.flush(tools, &mut batch, &mut waiting, &mut rows, &mut done)?;
        self.write(&bundle, &*embedder, rows)
    }

    /// Embeds the batch and takes the rows that waited for it, in their order; then pauses.
    fn flush(
        &self,
        tools: &mut Tools,
        batch: &mut Vec<(Key, DocumentText)>,
        waiting: &mut Vec<Option<Option<Vec<f32>>>>,
        rows: &mut RowsBuilder,
        done: &mut Done,
    ) -> Result<(), RunError> {
        let (started, asked) = (Instant::now(), self.activity.count());
        let (keys, documents): (Vec<Key>, Vec<DocumentText>) = batch.drain(..).unzip();
        let vectors = if documents.is_empty() { Vec::new() } else { tools.embedder.embed(&documents)? };
        if vectors.len() != keys.len() {
            let reason = format!("{} vectors came for {} texts", vectors.len(), keys.len());
            return Err(EmbedError { reason, rest: None }.into());
        }
        let embedded = keys.len();
        let mut made = keys.into_iter().zip(vectors);
        for row in waiting.drain(..) {
            let vector = match row {
                Some(remembered) => remembered,
                None => match made.next() {
                    Some((key, vector)) => tools.cache.put(key, vector.as_deref())?,
                    None => None,
                },
            };
            rows.push(vector.as_deref())?;
        }
        done.embedded += embedded as u32;
        (self.report)(*done);
        if embedded > 0 {
            let pause = pause_after(started.elapsed(), self.activity.count() - asked, self.cpu_percent);
            match self.stop.recv_timeout(pause) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(RunError::Stopped),
            }
        }
        Ok(())
    }

    fn write(
        &self,
        bundle: &Bundle,
        embedder: &dyn DocumentEmbedder,
        rows: RowsBuilder,
    ) -> Result<BuiltBundle, RunError> {
        let dimensions = u32::try_from(embedder.dimensions()).unwrap_or(u32::MAX);
        let embedder = Embedder { id: embedder.id().to_owned(), dimensions };
        Ok(self.bundles.revise(bundle, self.replace, embedder, rows)?)
    }

    fn is_stopped(&self) -> bool {
        matches!(self.stop.try_recv(), Err(TryRecvError::Disconnected))
    }
}
