//! One bundle on its way to this node: in ranges, from several peers at the same time, or from the bucket when no peer
//! gives it.
//!
//! A range that breaks off goes on at another peer where it stopped. What came is looked at as a whole: when it is not
//! what agreed state names, one of the peers sent something else, and each is tried alone.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use twinmcp_cluster::{BundleBytes, NodeId};
use twinmcp_storage::bundle::{BundleError, BundleHash};

use super::Fetched;
use super::bucket::Bucket;
use super::pace::Pace;
use crate::context::Context;

/// Bytes of one range: as much as may be under way on one stream between nodes.
const RANGE_BYTES: u64 = 2 * 1024 * 1024;
/// Ranges of one bundle that are sent at the same time, each by another peer.
const RANGES_AT_ONCE: usize = 3;
/// Pieces taken ahead of the disk.
const PIECES_AHEAD: usize = 4;
/// Longest pause within a range before another peer is asked.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Ranges of one bundle that may break off after some bytes and go on.
const BREAKS_MAX: usize = 16;

pub(super) struct Fetch<'a> {
    pub(super) context: &'a Context,
    pub(super) pace: &'a Pace,
    pub(super) hash: BundleHash,
    /// What agreed state says it has.
    pub(super) bytes: u64,
}

/// Who gives a range.
#[derive(Clone, Copy)]
enum Source<'a> {
    Peer(NodeId),
    Bucket(&'a Bucket),
}

/// How asking for a range ended.
enum Asked {
    /// Everything came.
    Whole,
    /// It does not have the bundle.
    Absent,
    /// It broke off there, or was not reached.
    Broken(u64),
    /// The disk takes no more.
    Full,
}

/// How one attempt ended.
enum Attempt {
    Ended(Fetched),
    /// All came, and it was something else.
    Wrong,
}

impl Fetch<'_> {
    /// Takes the bundle from `peers`, the first ones first, and from the bucket when none of them gives it.
    pub(super) async fn from(self, peers: &[NodeId], bucket: Option<&Bucket>) -> Fetched {
        let fetched = match peers {
            [] => Fetched::Nowhere,
            _ => self.by_peers(peers).await,
        };
        match bucket {
            Some(bucket) if fetched != Fetched::Here => self.by_bucket(bucket, fetched).await,
            _ => fetched,
        }
    }

    async fn by_peers(&self, peers: &[NodeId]) -> Fetched {
        let sources: Vec<_> = peers.iter().copied().map(Source::Peer).collect();
        match self.attempt(&sources).await {
            Attempt::Ended(fetched) => return fetched,
            Attempt::Wrong if peers.len() < 2 => return Fetched::Later,
            Attempt::Wrong => {}
        }
        for source in sources {
            if let Attempt::Ended(Fetched::Here) = self.attempt(&[source]).await {
                return Fetched::Here;
            }
        }
        Fetched::Later
    }

    /// `otherwise` is how it ended with peers.
    async fn by_bucket(&self, bucket: &Bucket, otherwise: Fetched) -> Fetched {
        // It may well have the bundle: to index it again can wait, though not for ever.
        let unanswered = |bucket: &Bucket| if bucket.is_given_up() { otherwise } else { Fetched::Later };
        if bucket.is_left_alone() {
            return unanswered(bucket);
        }
        match self.attempt(&[Source::Bucket(bucket); RANGES_AT_ONCE]).await {
            Attempt::Ended(Fetched::Here) => {
                bucket.gave(self.hash, self.bytes);
                Fetched::Here
            }
            Attempt::Ended(Fetched::Later) => unanswered(bucket),
            Attempt::Ended(Fetched::Nowhere) => otherwise,
            Attempt::Wrong => {
                bucket.gave_wrong(self.hash);
                otherwise
            }
        }
    }

    async fn attempt(&self, sources: &[Source<'_>]) -> Attempt {
        let (pieces, mut incoming) = mpsc::channel::<(u64, Bytes)>(PIECES_AHEAD);
        let (bundles, hash, bytes) = (Arc::clone(&self.context.bundles), self.hash, self.bytes);
        let keeping = tokio::task::spawn_blocking(move || -> Result<(), BundleError> {
            let mut receiving = bundles.receive(hash, bytes, bytes)?;
            let mut written = 0;
            while let Some((first, piece)) = incoming.blocking_recv() {
                receiving.write_at(first, &piece)?;
                written += piece.len() as u64;
            }
            match written == bytes {
                true => receiving.finish().map(drop),
                // Nobody gave the rest.
                false => Err(BundleError::Missing { hash }),
            }
        });
        let is_absent_everywhere =
            spread(ranges(self.bytes), sources, |source, range| self.ask(source, range, &pieces)).await;
        drop(pieces);
        Attempt::Ended(match keeping.await {
            Ok(Ok(())) => {
                let is_from_bucket = matches!(sources, [Source::Bucket(_), ..]);
                tracing::info!(bundle = %self.hash, bytes = self.bytes, is_from_bucket, "a bundle has come");
                Fetched::Here
            }
            Ok(Err(BundleError::Missing { .. })) if is_absent_everywhere => Fetched::Nowhere,
            Ok(Err(BundleError::Missing { .. })) | Err(_) => Fetched::Later,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, bundle = %self.hash, "a bundle was not kept");
                match error {
                    BundleError::WrongHash { .. } => return Attempt::Wrong,
                    _ => Fetched::Later,
                }
            }
        })
    }

    /// The bytes of a range; `None` when the source does not have the bundle.
    async fn open(&self, source: Source<'_>, range: Range<u64>) -> Option<Option<BundleBytes>> {
        match source {
            Source::Peer(peer) => {
                let name = self.hash.to_string();
                let asked = self.context.cluster.bundle_from(peer, &name, range);
                let answer = tokio::time::timeout(IDLE_TIMEOUT, asked).await.ok()?;
                let tell = |error| {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a peer gave no bundle");
                };
                answer.map_err(tell).ok()
            }
            // It has deadlines of its own, and tells what went wrong.
            Source::Bucket(bucket) => bucket.range(self.hash, range).await.ok(),
        }
    }

    async fn ask(&self, source: Source<'_>, range: Range<u64>, pieces: &mpsc::Sender<(u64, Bytes)>) -> Asked {
        let mut at = range.start;
        let mut bytes = match self.open(source, range.clone()).await {
            Some(Some(found)) if found.total == self.bytes => found.bytes,
            // Another one under this name: damaged there.
            Some(Some(_) | None) => return Asked::Absent,
            None => return Asked::Broken(at),
        };
        while at < range.end {
            let Ok(Some(Ok(mut piece))) = tokio::time::timeout(IDLE_TIMEOUT, bytes.next()).await else {
                return Asked::Broken(at);
            };
            // A build before ranges sends all the rest.
            piece.truncate(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            self.pace.take(piece.len()).await;
            let first = at;
            at += piece.len() as u64;
            if pieces.send((first, piece)).await.is_err() {
                return Asked::Full;
            }
        }
        Asked::Whole
    }
}

/// Hands ranges to sources until all are there or nobody is left. Whether every one says that it has nothing.
async fn spread<S: Copy, F: Future<Output = Asked>>(
    mut waiting: VecDeque<Range<u64>>,
    sources: &[S],
    ask: impl Fn(S, Range<u64>) -> F,
) -> bool {
    let mut idle: VecDeque<S> = sources.iter().copied().collect();
    let mut asked = FuturesUnordered::new();
    let (mut is_absent_everywhere, mut breaks) = (true, 0);
    loop {
        while asked.len() < RANGES_AT_ONCE
            && let Some(range) = waiting.pop_front()
        {
            let Some(source) = idle.pop_front() else {
                waiting.push_front(range);
                break;
            };
            let asking = ask(source, range.clone());
            asked.push(async move { (source, range, asking.await) });
        }
        let Some((source, range, ended)) = asked.next().await else { return is_absent_everywhere };
        match ended {
            Asked::Whole => {
                is_absent_everywhere = false;
                idle.push_front(source);
            }
            Asked::Absent => waiting.push_front(range),
            Asked::Broken(at) => {
                is_absent_everywhere = false;
                // One that gave something may give more; after the others.
                if at > range.start && breaks < BREAKS_MAX {
                    breaks += 1;
                    idle.push_back(source);
                }
                waiting.push_front(at..range.end);
            }
            Asked::Full => return false,
        }
    }
}

fn ranges(bytes: u64) -> VecDeque<Range<u64>> {
    let starts = (0..bytes).step_by(usize::try_from(RANGE_BYTES).unwrap_or(usize::MAX));
    starts.map(|start| start..(start + RANGE_BYTES).min(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What each of these peers is asked for, in order, when it ends as told.
    async fn spread_over(
        peers: &[u64],
        bytes: u64,
        ended: impl Fn(u64, &Range<u64>) -> Asked,
    ) -> (bool, Vec<(u64, Range<u64>)>) {
        let asked = RefCell::new(Vec::new());
        let peers: Vec<_> = peers.iter().map(|peer| NodeId(*peer)).collect();
        let is_absent = spread(ranges(bytes), &peers, |peer, range| {
            let ended = ended(peer.0, &range);
            asked.borrow_mut().push((peer.0, range));
            async { ended }
        });
        (is_absent.await, asked.into_inner())
    }

    #[tokio::test]
    async fn several_peers_give_a_part_each() {
        let (is_absent, asked) = spread_over(&[1, 2, 3, 4], 6 * RANGE_BYTES, |_, _| Asked::Whole).await;
        assert!(!is_absent);
        assert_eq!(asked.len(), 6, "each range is asked for once: {asked:?}");
        let first: Vec<u64> = asked.iter().take(RANGES_AT_ONCE).map(|(peer, _)| *peer).collect();
        assert_eq!(first, [1, 2, 3], "the nearest at the same time");
        assert!(
            asked.iter().all(|(peer, _)| *peer != 4),
            "one that is far is not asked while the near ones give"
        );
    }

    #[tokio::test]
    async fn what_breaks_off_goes_on_elsewhere_where_it_stopped() {
        let half = RANGE_BYTES / 2;
        let (is_absent, asked) = spread_over(&[1, 2], RANGE_BYTES, |peer, range| match peer {
            1 => Asked::Broken(range.start + half),
            _ => Asked::Whole,
        })
        .await;
        assert_eq!((is_absent, asked), (false, vec![(1, 0..RANGE_BYTES), (2, half..RANGE_BYTES)]));
        // Alone, it is asked again while it gives something, but not for ever.
        let (_, asked) = spread_over(&[1], RANGE_BYTES, |_, range| Asked::Broken(range.start + 1)).await;
        assert_eq!(asked.len(), BREAKS_MAX + 1);
    }

    #[tokio::test]
    async fn a_bundle_is_nowhere_only_when_every_peer_says_so() {
        let absent = |_: u64, _: &Range<u64>| Asked::Absent;
        assert!(spread_over(&[1, 2, 3], 1, absent).await.0);
        let one_is_away = |peer: u64, range: &Range<u64>| match peer {
            2 => Asked::Broken(range.start),
            _ => Asked::Absent,
        };
        let (is_absent, asked) = spread_over(&[1, 2, 3], 1, one_is_away).await;
        assert!(!is_absent && asked.len() == 3, "{asked:?}");
        assert!(!spread_over(&[1], 1, |_, _| Asked::Full).await.0);
    }

    #[test]
    fn ranges_cover_a_bundle_once() {
        for bytes in [1, RANGE_BYTES - 1, RANGE_BYTES, RANGE_BYTES + 1, 3 * RANGE_BYTES + 7] {
            let ranges = ranges(bytes);
            assert_eq!(ranges.len() as u64, bytes.div_ceil(RANGE_BYTES));
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, bytes));
            assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(one, next)| one.end == next.start));
        }
    }
}
