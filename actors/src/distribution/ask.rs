//! A question about a bundle that is not here, asked of the peers that may have it.
//!
//! The nearest comes first. When it has no answer, or is slow, the next one is asked as well, and the first answer
//! counts. A peer answers from its own disk or not at all: no question goes round in circles.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use twinmcp_cluster::NodeId;
use twinmcp_storage::bundle::BundleHash;

use super::Distribution;

/// After this long without an answer the next peer is asked too.
const NEXT_AFTER: Duration = Duration::from_millis(300);

/// How asking peers ended.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    /// The first answer.
    Answered(T),
    /// Every peer was asked, and none has the bundle.
    Nowhere,
    /// A peer that may have it did not answer.
    Unanswered,
}

/// How asking one peer ended.
enum AskedOne<T> {
    Answered(T),
    Absent,
    Failed,
}

impl Distribution {
    /// Asks peers until one answers in a way that `read` understands. Ends when all were asked; the caller sets a deadline.
    pub(crate) async fn ask<T>(
        &self,
        hash: BundleHash,
        question: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Asked<T> {
        let mut peers = self.near_first(hash).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut is_absent_everywhere = true;
        loop {
            let next = peers.next();
            let is_last = next.is_none();
            asked.extend(next.map(|peer| self.ask_one(peer, hash, question, &read)));
            let answer = match is_last {
                true => asked.next().await,
                false => match tokio::time::timeout(NEXT_AFTER, asked.next()).await {
                    Ok(answer) => answer,
                    Err(_) => continue,
                },
            };
            match answer {
                Some(AskedOne::Answered(answer)) => return Asked::Answered(answer),
                Some(AskedOne::Absent) => {}
                Some(AskedOne::Failed) => is_absent_everywhere = false,
                None if is_absent_everywhere => return Asked::Nowhere,
                None => return Asked::Unanswered,
            }
        }
    }

    async fn ask_one<T>(
        &self,
        peer: NodeId,
        hash: BundleHash,
        question: &[u8],
        read: &impl Fn(&[u8]) -> Option<T>,
    ) -> AskedOne<T> {
        match self.context.cluster.answer_from(peer, &hash.to_string(), question.to_vec()).await {
            Ok(Some(answer)) => read(&answer).map_or(AskedOne::Failed, AskedOne::Answered),
            Ok(None) => AskedOne::Absent,
            Err(error) => {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a peer did not answer a question");
                AskedOne::Failed
            }
        }
    }
}
