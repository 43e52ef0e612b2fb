//! Authorities of two nodes: the same, one after the other, and none in common.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use twinmcp_storage::members::Authority;

use super::*;
use crate::authority::{CertificateAuthority, ClusterKey};
use crate::keys::ClusterKeys;
use crate::peer::{Answer, Asked, Patience, PeerError, PeerServer, PeerService, Peers, bytes_body};
use crate::rotation::Trust;

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn authority() -> Authority {
    let made = CertificateAuthority::make().unwrap();
    let (certificate, sealed_key) = made.seal(&ClusterKey::new([7; 32]), &SystemEntropy).unwrap();
    Authority { certificate, sealed_key, made_at: Timestamp::default() }
}

fn certify(node: &TlsTcp, id: u64, issuing: &Authority, also: Option<&Authority>) {
    let trust = Trust { issuing: issuing.clone(), also: also.cloned() };
    let keys = ClusterKeys::unkept(ClusterKey::new([7; 32]));
    let me = (CLUSTER, NodeId(id));
    node.certify(trust.credentials(&keys, me, SystemClock.now(), 60_000).unwrap()).unwrap();
}

async fn listening() -> Arc<TlsTcp> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Arc::new(TlsTcp::new(listener, Box::new(|_| true)))
}

/// Node 1 connects to node 2; what node 2 knows of it then.
async fn connect(one: &TlsTcp, two: &TlsTcp) -> io::Result<Accepted> {
    let address = two.listener.local_addr()?.to_string();
    let accept = async { two.accept().await?.await };
    let (dialed, accepted) = tokio::join!(one.dial(NodeId(2), &address), accept);
    dialed?;
    accepted
}

#[tokio::test]
async fn nodes_know_each_other_through_a_rotation_and_what_was_before_is_refused_after_it() {
    let (one, two) = (listening().await, listening().await);
    let (old, new) = (authority(), authority());
    let mut before = None;
    // Every state on the way from the old to the new one, first of one node, then of the other.
    for (issuing, also) in [(&old, None), (&old, Some(&new)), (&new, Some(&old)), (&new, None)] {
        for (node, id) in [(&one, 1), (&two, 2)] {
            certify(node, id, issuing, also);
            if id == 1 && before.is_none() {
                continue;
            }
            let accepted = connect(&one, &two).await.unwrap();
            assert_eq!(accepted.peer, Some(NodeId(1)));
            let authority = accepted.authority.unwrap();
            assert!(two.trusts(authority), "what was just believed");
            before.get_or_insert(authority);
        }
    }
    assert_eq!(before, Some(pin(&old.certificate)));
    assert!(!two.trusts(pin(&old.certificate)), "a connection of before outlives its authority");
    assert!(one.estranged().is_empty());
}

#[tokio::test]
async fn a_node_that_missed_a_rotation_is_told_apart_until_it_is_let_back_in() {
    let (one, two) = (listening().await, listening().await);
    let (old, new) = (authority(), authority());
    certify(&one, 1, &old, None);
    certify(&two, 2, &new, None);
    assert!(connect(&one, &two).await.is_err());
    assert_eq!(one.estranged(), [NodeId(2)]);
    certify(&one, 1, &new, None);
    connect(&one, &two).await.unwrap();
    assert!(one.estranged().is_empty());
}

/// Says yes to whoever is let through.
struct Yes;

impl PeerService for Yes {
    fn answer(self: Arc<Self>, _: Asked) -> BoxFuture<'static, Answer> {
        Box::pin(async { Answer::new(bytes_body("yes")) })
    }
}

#[tokio::test]
async fn a_node_that_was_removed_is_refused_on_the_connection_that_it_has() {
    const PATIENCE: Patience = Patience {
        connect: Duration::from_secs(10),
        ping: Duration::from_secs(10),
        silence: Duration::from_secs(10),
    };
    let members = Arc::new(Mutex::new(BTreeSet::from([NodeId(1), NodeId(2)])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let known = Arc::clone(&members);
    let two = Arc::new(TlsTcp::new(listener, Box::new(move |node| known.lock().unwrap().contains(&node))));
    let (one, authority) = (listening().await, authority());
    certify(&one, 1, &authority, None);
    certify(&two, 2, &authority, None);
    let (stop, stopped) = watch::channel(false);
    let server = PeerServer { transport: two, service: Arc::new(Yes), patience: PATIENCE };
    let served = tokio::spawn(server.run(stopped));

    let peers = Peers::new(one, PATIENCE);
    let ask = async || peers.call((NodeId(2), &address), "/anything", Vec::new()).await;
    assert_eq!(ask().await.unwrap(), "yes");
    members.lock().unwrap().remove(&NodeId(1));
    let refused = ask().await.unwrap_err();
    assert!(
        matches!(&refused, PeerError::Refused { status: 403, reason, .. } if reason.contains("was removed")),
        "{refused}"
    );
    stop.send(true).unwrap();
    served.await.unwrap();
}
