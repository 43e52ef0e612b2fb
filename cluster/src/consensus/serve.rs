//! What this node answers its peers in the group's name.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderError, TransferLeaderRequest, VoteRequest,
};
use tokio::sync::mpsc;
use twinmcp_storage::record::{self, Record};

use super::entry::{self, EntryError};
use super::freshness::Freshness;
use super::health::Health;
use super::members::{Leading, read_index_here};
use super::messages::{
    Append, Appended, AskVote, GiveVote, MemberChange, Proposal, Proposed, ReadIndex, SnapshotHead,
    SnapshotTaken, Transfer, Transferred,
};
use super::network::{APPEND, MEMBERS, PROPOSE, READ_INDEX, SNAPSHOT, TRANSFER, VOTE};
use super::queue::Queue;
use super::records::PositionRecord;
use super::snapshot::SnapshotStore;
use super::types::{LogId, Raft, Types};
use crate::config::ENTRY_BYTES_LIMIT;
use crate::error::ClusterError;
use crate::peer::{Answer, Asked, PeerService, bytes_body, frame, frames, refusal, stream_body};
use crate::status::GroupId;

/// Bytes of a request that is taken whole: a command and what stands around it.
const WHOLE_BYTES_MAX: usize = ENTRY_BYTES_LIMIT + 1024;
/// Pieces of a snapshot taken ahead of the disk.
const PIECES_AHEAD: usize = 2;

/// Answers for one group; what is not the group's goes to `others`.
pub(super) struct Service {
    pub(super) group: GroupId,
    pub(super) raft: Raft,
    pub(super) leading: Arc<Leading>,
    pub(super) freshness: Arc<Freshness>,
    pub(super) queue: Arc<Queue>,
    pub(super) snapshots: SnapshotStore,
    pub(super) health: Health,
    pub(super) others: Option<Arc<dyn PeerService>>,
}

/// Why a peer gets no answer.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("a message cannot be read: {0}")]
    Unreadable(String),
    #[error("this node takes no part any more: {0}")]
    Stopped(String),
}

impl PeerService for Service {
    fn answer(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Answer> {
        let prefix = format!("/{}/", self.group);
        let what = asked.request.uri().path().strip_prefix(&prefix).map(str::to_owned);
        match what {
            // Who has yet to join has no say in the group.
            Some(_) if asked.from.is_none() => {
                Box::pin(async { refusal(StatusCode::FORBIDDEN, "only members are answered") })
            }
            Some(what) => Box::pin(self.answer_member(what, asked)),
            None => match &self.others {
                Some(others) => Arc::clone(others).answer(asked),
                None => Box::pin(async { refusal(StatusCode::NOT_FOUND, "nothing is answered there") }),
            },
        }
    }
}

impl Service {
    async fn answer_member(self: Arc<Self>, what: String, asked: Asked) -> Answer {
        let body = asked.request.into_body();
        let answered = match what.as_str() {
            APPEND => Ok(self.append(body)),
            VOTE => self.vote(body).await,
            SNAPSHOT => self.snapshot(body).await,
            TRANSFER => self.transfer(body).await,
            PROPOSE => self.propose(body).await,
            READ_INDEX => self.read_index().await,
            MEMBERS => self.change_members(body).await,
            _ => return refusal(StatusCode::NOT_FOUND, "nothing is answered there"),
        };
        answered.unwrap_or_else(|error| {
            let status = match error {
                ServeError::Unreadable(_) => StatusCode::BAD_REQUEST,
                ServeError::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            refusal(status, error.to_string())
        })
    }

    /// Entries go to `openraft` as they come; answers go back in the same order. An entry that cannot be read ends the
    /// stream, and the leader sees how far it came.
    fn append(&self, body: Incoming) -> Answer {
        let group = self.group;
        let requests = frames(body).map(move |frame| decode_append(group, &frame?));
        let readable = requests.take_while(|request| {
            if let Err(error) = request {
                tracing::debug!(error = error as &dyn std::error::Error, "a stream of entries ended");
            }
            std::future::ready(request.is_ok())
        });
        let requests = readable.filter_map(|request| std::future::ready(request.ok()));
        let freshness = Arc::clone(&self.freshness);
        let answers = self.raft.stream_append(requests.boxed()).map(move |answer| {
            let answer = match answer {
                Ok(Ok(last)) => {
                    freshness.followed();
                    Appended::Stored(last.map(PositionRecord::from))
                }
                Ok(Err(StreamAppendError::Conflict(position))) => Appended::Conflict(position.into()),
                Ok(Err(StreamAppendError::HigherVote(vote))) => Appended::HigherVote(vote.into()),
                Err(_) => Appended::Stopped,
            };
            frame(&record::encode(&answer).map_err(io::Error::other)?)
        });
        Answer::new(stream_body(answers))
    }

    async fn vote(&self, body: Incoming) -> Result<Answer, ServeError> {
        let asked: AskVote = read(body).await?;
        let request = VoteRequest {
            vote: asked.vote.into(),
            last_log_id: asked.last.map(LogId::from),
            leadership_transfer: asked.is_transfer,
        };
        let given = match asked.is_pre_vote {
            true => self.raft.pre_vote(request).await,
            false => self.raft.vote(request).await,
        };
        let given = given.map_err(stopped)?;
        write(&GiveVote {
            vote: given.vote.into(),
            is_granted: given.vote_granted,
            last: given.last_log_id.map(PositionRecord::from),
        })
    }

    /// Pieces go to disk as they come, and are put in the state's place when their hash is right.
    async fn snapshot(&self, body: Incoming) -> Result<Answer, ServeError> {
        let mut frames = Box::pin(frames(body));
        let head = frames.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        let head: SnapshotHead = record::decode(&head.map_err(unreadable)?).map_err(unreadable)?;
        let vote = head.vote.into();
        let (pieces, incoming) = mpsc::channel(PIECES_AHEAD);
        let store = self.snapshots.clone();
        let keeping = self.snapshots.work().consume(incoming, move |next| store.receive(&head, next));
        let receiving = async move {
            while let Some(piece) = frames.next().await {
                // The store stops early when it has one as late, or cannot write.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
        };
        let (kept, ()) = tokio::join!(keeping, receiving);
        if self.health.failure().is_some() {
            // `openraft` does not know yet that there is no disk any more; it may ask for this answer.
            let raft = self.raft.clone();
            tokio::spawn(async move { raft.shutdown().await });
        }
        let kept = kept.map_err(stopped)?.map_err(unreadable)?;
        let taken = self.raft.install_full_snapshot(vote, kept).await.map_err(stopped)?;
        let taken = SnapshotTaken { vote: taken.vote.into() };
        let taken = frame(&record::encode(&taken).map_err(unreadable)?).map_err(unreadable)?;
        Ok(Answer::new(bytes_body(taken)))
    }

    async fn transfer(&self, body: Incoming) -> Result<Answer, ServeError> {
        let asked: Transfer = read(body).await?;
        let request: TransferLeaderRequest<Types> =
            TransferLeaderRequest::new(asked.from.into(), asked.to, asked.last.map(LogId::from));
        let position = |position: Option<LogId>| position.map(PositionRecord::from);
        write(&match self.raft.handle_transfer_leader(request).await.map_err(stopped)? {
            Ok(()) => Transferred::Done,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Transferred::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Transferred::LogNotFlushed { expected: position(expected), actual: position(actual) }
            }
        })
    }

    /// Only here: a node that does not lead says so, and whoever asked looks again.
    async fn propose(&self, body: Incoming) -> Result<Answer, ServeError> {
        let Proposal { request, deadline_ms } = read(body).await?;
        let proposed = self.queue.submit(request, Duration::from_millis(deadline_ms)).await;
        let answer = match proposed {
            Ok(applied) => Proposed::Applied { outcome: applied.outcome, log_index: applied.log_index },
            Err(ClusterError::Busy) => Proposed::Busy,
            Err(ClusterError::NoLeader | ClusterError::Failed { .. }) => Proposed::NoLeader,
            Err(ClusterError::TooLarge { bytes, bytes_max }) => {
                Proposed::TooLarge { bytes: bytes as u64, bytes_max: bytes_max as u64 }
            }
            Err(_) => Proposed::Unknown,
        };
        write(&answer)
    }

    async fn read_index(&self) -> Result<Answer, ServeError> {
        write(&ReadIndex { log_index: read_index_here(&self.raft).await })
    }

    async fn change_members(&self, body: Incoming) -> Result<Answer, ServeError> {
        let change: MemberChange = read(body).await?;
        write(&self.leading.change(change).await)
    }
}

fn unreadable(error: impl ToString) -> ServeError {
    ServeError::Unreadable(error.to_string())
}

fn stopped(error: impl ToString) -> ServeError {
    ServeError::Stopped(error.to_string())
}

async fn read<M: Record>(body: Incoming) -> Result<M, ServeError> {
    let whole = Limited::new(body, WHOLE_BYTES_MAX).collect().await.map_err(unreadable)?;
    record::decode(&whole.to_bytes()).map_err(unreadable)
}

fn write(message: &impl Record) -> Result<Answer, ServeError> {
    Ok(Answer::new(bytes_body(record::encode(message).map_err(unreadable)?)))
}

/// The entries of a message follow one another in the log.
fn decode_append(group: GroupId, frame: &[u8]) -> io::Result<AppendEntriesRequest<Types>> {
    let append: Append = record::decode(frame).map_err(io::Error::other)?;
    let first = append.previous.map_or(0, |previous| previous.index.saturating_add(1));
    let entries = append.entries.iter().zip(first..).map(|(bytes, index)| entry::decode(group, index, bytes));
    Ok(AppendEntriesRequest {
        vote: append.vote.into(),
        prev_log_id: append.previous.map(LogId::from),
        entries: entries.collect::<Result<_, EntryError>>().map_err(io::Error::other)?,
        leader_commit: append.committed.map(LogId::from),
    })
}
