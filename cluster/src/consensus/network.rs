//! Peers of the group as `openraft` asks them.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::mpsc;
use twinmcp_storage::record::{self, Record};

use super::entry;
use super::messages::{
    Append, Appended, AskVote, GiveVote, SnapshotHead, SnapshotTaken, Transfer, Transferred,
};
use super::owed::{AppendAnswer, Owed};
use super::records::{MembershipRecord, PositionRecord};
use super::snapshot::{Snapshot, SnapshotPieces};
use super::types::{LogId, Member, Types, Vote};
use super::work::Work;
use crate::peer::{Lane, PeerError, Peers, frame, frames, stream_body};
use crate::status::{GroupId, NodeId};

/// How long a peer is left alone after it could not be reached.
const UNREACHED_PAUSE: Duration = Duration::from_millis(50);

/// What a node is asked, after its group: entries, in a stream.
pub(super) const APPEND: &str = "append";
/// A vote.
pub(super) const VOTE: &str = "vote";
/// To take a snapshot.
pub(super) const SNAPSHOT: &str = "snapshot";
/// To lead, or to let somebody lead.
pub(super) const TRANSFER: &str = "transfer";
/// To propose.
pub(super) const PROPOSE: &str = "propose";
/// How far a linearizable read must see.
pub(super) const READ_INDEX: &str = "read-index";
/// To change who takes part.
pub(super) const MEMBERS: &str = "members";

/// Pieces of a snapshot read ahead.
const PIECES_AHEAD: usize = 2;

/// Knows the way to peers.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) group: GroupId,
    pub(super) peers: Arc<Peers>,
    pub(super) work: Work,
}

/// The way to one peer.
pub(super) struct Peer {
    network: Network,
    node: NodeId,
    address: String,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, member: &Member) -> Peer {
        Peer { network: self.clone(), node: NodeId(target), address: member.address.clone() }
    }
}

/// `openraft` waits before it asks an unreachable peer again, and asks at once after other errors.
fn rpc_error(error: &PeerError) -> RPCError<Types> {
    match error {
        PeerError::Unreachable { .. } | PeerError::Refused { .. } => Unreachable::new(error).into(),
        PeerError::Lost { .. } => NetworkError::new(error).into(),
    }
}

/// The way to a peer ended in the middle of something.
pub(super) fn broken(error: &io::Error) -> RPCError<Types> {
    NetworkError::new(error).into()
}

fn unreadable(error: impl std::error::Error + 'static) -> RPCError<Types> {
    Unreachable::new(&error).into()
}

impl Peer {
    fn path(&self, what: &str) -> String {
        format!("/{}/{what}", self.network.group)
    }

    /// Asks within what `openraft` allows.
    async fn ask<Q: Record, A: Record>(
        &self,
        what: &str,
        question: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Types>> {
        let body = record::encode(question).map_err(unreadable)?;
        let (peer, path) = ((self.node, self.address.as_str()), self.path(what));
        let asked = tokio::time::timeout(option.soft_ttl(), self.network.peers.call(peer, &path, body)).await;
        let answer = asked.map_err(|_| broken(&io::ErrorKind::TimedOut.into()))?;
        let answer = answer.map_err(|error| rpc_error(&error))?;
        record::decode(&answer).map_err(unreadable)
    }

    async fn ask_vote(
        &self,
        request: VoteRequest<Types>,
        is_pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let question = AskVote {
            vote: request.vote.into(),
            last: request.last_log_id.map(PositionRecord::from),
            is_transfer: request.leadership_transfer,
            is_pre_vote,
        };
        let answer: GiveVote = self.ask(VOTE, &question, option).await?;
        Ok(VoteResponse {
            vote: answer.vote.into(),
            vote_granted: answer.is_granted,
            last_log_id: answer.last.map(LogId::from),
        })
    }

    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> Result<SnapshotTaken, RPCError<Types>> {
        let pieces = snapshot.snapshot;
        let head = SnapshotHead {
            vote: vote.into(),
            applied: snapshot.meta.last_log_id.map(PositionRecord::from),
            membership: MembershipRecord::new(
                *snapshot.meta.last_membership.log_id(),
                snapshot.meta.last_membership.membership(),
            ),
            pieces: pieces.count(),
            bytes: pieces.bytes(),
            hash: pieces.hash(),
        };
        let head = record::encode(&head).map_err(unreadable)?;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES_AHEAD);
        self.network.work.produce(sender, move |send| {
            if !send(frame(&head)) {
                return;
            }
            let mut reader = pieces.reader();
            while let Some(piece) = reader.piece().transpose() {
                let framed = piece.map_err(io::Error::from).and_then(|piece| frame(&piece));
                // Whoever sent it may have given up.
                if !send(framed) {
                    return;
                }
            }
        });
        let body = stream_body(tokio_stream(receiver));
        let peer = (self.node, self.address.as_str());
        let answer = self.network.peers.open(peer, Lane::Bulk, &self.path(SNAPSHOT), body).await;
        let answer = answer.map_err(|error| rpc_error(&error))?;
        let first = Box::pin(frames(answer.into_body())).next().await;
        let first = first.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        record::decode(&first.map_err(|error| broken(&error))?).map_err(unreadable)
    }
}

fn tokio_stream<T: Send + 'static>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send {
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

fn encode_append(group: GroupId, request: &AppendEntriesRequest<Types>) -> io::Result<Bytes> {
    let entries = request.entries.iter().map(|entry| entry::encode(group, entry));
    let append = Append {
        vote: request.vote.into(),
        previous: request.prev_log_id.map(PositionRecord::from),
        committed: request.leader_commit.map(PositionRecord::from),
        entries: entries.collect::<Result<_, _>>().map_err(io::Error::other)?,
    };
    frame(&record::encode(&append).map_err(io::Error::other)?)
}

fn appended(answer: Appended) -> AppendAnswer {
    match answer {
        Appended::Stored(last) => Ok(Ok(last.map(LogId::from))),
        Appended::Conflict(position) => Ok(Err(StreamAppendError::Conflict(position.into()))),
        Appended::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote.into()))),
        Appended::Stopped => Err(unreadable(io::Error::other("the node takes no part any more"))),
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotPieces;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let input = futures_util::stream::iter([request]);
        let mut answers = RaftNetworkV2::stream_append(self, input, option).await?;
        let answer = answers.next().await;
        answer
            .unwrap_or_else(|| Err(broken(&io::ErrorKind::UnexpectedEof.into())))
            .map(AppendEntriesResponse::from)
    }

    /// One stream of HTTP/2 carries requests one way and answers the other: several are under way at once, in order.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendAnswer>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let group = self.network.group;
            let owed = Owed::new();
            let requests = owed.count(input.map(move |request| encode_append(group, &request)));
            let body = stream_body(requests);
            let peer = (self.node, self.address.as_str());
            let answer = self.network.peers.open(peer, Lane::Urgent, &self.path(APPEND), body).await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    // openraft's own pause lies in the requests, which nobody reads without a connection.
                    tokio::time::sleep(UNREACHED_PAUSE).await;
                    return Err(rpc_error(&error));
                }
            };
            let answers = frames(answer.into_body()).map(|answer| {
                let answer = answer.map_err(|error| broken(&error))?;
                appended(record::decode(&answer).map_err(unreadable)?)
            });
            Ok(owed.settle(answers).boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(request, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(request, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => match sent {
                Ok(taken) => Ok(SnapshotResponse::new(taken.vote.into())),
                Err(RPCError::Timeout(error)) => Err(error.into()),
                Err(RPCError::Unreachable(error)) => Err(error.into()),
                Err(RPCError::Network(error)) => Err(error.into()),
                Err(RPCError::RemoteError(error)) => Err(unreachable_error(&error).into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let question = Transfer {
            from: (*request.from_leader()).into(),
            to: *request.to_node_id(),
            last: request.last_log_id().copied().map(PositionRecord::from),
        };
        let position = |position: Option<PositionRecord>| position.map(LogId::from);
        Ok(match self.ask(TRANSFER, &question, &option).await? {
            Transferred::Done => Ok(()),
            Transferred::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            Transferred::LogNotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: position(expected),
                actual: position(actual),
            }),
        })
    }
}

fn unreachable_error(error: &(impl std::error::Error + 'static)) -> Unreachable<Types> {
    Unreachable::new(error)
}
