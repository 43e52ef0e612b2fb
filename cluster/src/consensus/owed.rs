//! Which answers a stream of entries still owes, so that one that stops early is known for lost.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{Stream, StreamExt, once, unfold};
use openraft::errors::RPCError;
use openraft::raft::StreamAppendResult;

use super::network::broken;
use super::types::Types;

/// What comes back for one request of a stream of entries.
pub(super) type AppendAnswer = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Debts of one stream: an answer to each request that was read, and its end once there are no more requests.
///
/// `openraft` takes answers that end without an error for "go on", and after a request that only told of a commit it goes
/// on with the last entries that it was to send. Where these were purged since, as the peer waits for a snapshot, it
/// would read nothing and send nothing more, for as long as it leads.
pub(super) struct Owed(Arc<AtomicU64>);

impl Owed {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1)))
    }

    /// Counts requests as they are read.
    pub(super) fn count<T, S>(&self, requests: S) -> impl Stream<Item = T> + Send + use<T, S>
    where
        T: Send,
        S: Stream<Item = T> + Send,
    {
        let (owed, ended) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let counted = requests.inspect(move |_| {
            owed.fetch_add(1, Ordering::Relaxed);
        });
        let end = once(async move {
            ended.fetch_sub(1, Ordering::Relaxed);
            None
        });
        counted.chain(end.filter_map(ready))
    }

    /// Has answers that stop early end with an error.
    pub(super) fn settle(
        self,
        answers: impl Stream<Item = AppendAnswer> + Send,
    ) -> impl Stream<Item = AppendAnswer> + Send {
        let owed = self.0;
        unfold((Box::pin(answers.fuse()), false), move |(mut answers, is_refused)| {
            let owed = Arc::clone(&owed);
            async move {
                let answer = match answers.next().await {
                    Some(answer) => {
                        owed.fetch_sub(1, Ordering::Relaxed);
                        answer
                    }
                    // Nothing more is owed after what ends a stream on its own.
                    None if is_refused || owed.load(Ordering::Relaxed) == 0 => return None,
                    None => Err(broken(&io::ErrorKind::UnexpectedEof.into())),
                };
                let is_refused = is_refused || !matches!(answer, Ok(Ok(_)));
                Some((answer, (answers, is_refused)))
            }
        })
    }
}
