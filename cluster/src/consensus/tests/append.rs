//! Streams of entries whose answers stop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use openraft::{RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::watch;
use twinmcp_storage::record;

use super::super::messages::Appended;
use super::super::network::Network;
use super::super::records::PositionRecord;
use super::super::types::{LeaderId, LogId, Member, Types, Vote};
use super::super::work::Work;
use crate::peer::{Answer, Asked, Patience, PeerServer, PeerService, Peers, frame, frames, stream_body};
use crate::status::GroupId;
use crate::tests::network::Network as Links;

/// Gives these answers, one for each request, and then ends without an error, as a node does that stops.
struct Stops(Vec<Appended>);

impl PeerService for Stops {
    fn answer(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Answer> {
        let answers: Vec<_> = self.0.iter().map(|answer| frame(&record::encode(answer).unwrap())).collect();
        let requests = frames(asked.request.into_body());
        let answered = requests.zip(stream::iter(answers)).map(|(_, answer)| answer);
        Box::pin(async { Answer::new(stream_body(answered)) })
    }
}

fn position(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

fn request(index: u64) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(position(index)),
        entries: Vec::new(),
        leader_commit: None,
    }
}

/// What comes of `requests` requests to a node that answers so; with `is_open`, more could follow.
async fn outcomes(requests: u64, is_open: bool, answers: Vec<Appended>) -> Vec<&'static str> {
    let links = Links::new();
    let patience = Patience {
        connect: Duration::from_secs(30),
        ping: Duration::from_secs(30),
        silence: Duration::from_secs(30),
    };
    let (_, here) = links.attach(1);
    let (address, there) = links.attach(2);
    let server = PeerServer { transport: there, service: Arc::new(Stops(answers)), patience };
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopped));
    let peers = Arc::new(Peers::new(here, patience));
    let mut network = Network { group: GroupId(0), peers, work: Work::Threads };
    let mut peer = network.new_client(2, &Member { address }).await;
    let more = stream::iter(0..u64::from(is_open)).then(|_| std::future::pending());
    let input = Box::pin(stream::iter((1..=requests).map(request)).chain(more));
    let option = RPCOption::new(Duration::from_secs(30));
    let answers = RaftNetworkV2::stream_append(&mut peer, input, option).await.unwrap();
    let outcome = |answer| match answer {
        Ok(Ok(_)) => "stored",
        Ok(Err(StreamAppendError::Conflict(_))) => "conflict",
        Ok(Err(StreamAppendError::HigherVote(_))) => "higher vote",
        Err(_) => "lost",
    };
    let outcomes = answers.map(outcome).collect().await;
    stop.send_replace(true);
    serving.await.unwrap();
    outcomes
}

fn stored(index: u64) -> Appended {
    Appended::Stored(Some(PositionRecord::from(position(index))))
}

#[tokio::test]
async fn answers_that_stop_before_all_were_given_end_with_an_error() {
    assert_eq!(outcomes(1, false, vec![]).await, ["lost"]);
    assert_eq!(outcomes(2, false, vec![stored(1)]).await, ["stored", "lost"]);
    // More requests could have followed.
    assert_eq!(outcomes(1, true, vec![stored(1)]).await, ["stored", "lost"]);
    assert_eq!(outcomes(0, true, vec![]).await, ["lost"]);
}

#[tokio::test]
async fn answers_that_were_all_given_end_without_one() {
    assert_eq!(outcomes(2, false, vec![stored(1), stored(2)]).await, ["stored", "stored"]);
    let conflict = Appended::Conflict(PositionRecord::from(position(2)));
    assert_eq!(outcomes(2, true, vec![stored(1), conflict]).await, ["stored", "conflict"]);
}
