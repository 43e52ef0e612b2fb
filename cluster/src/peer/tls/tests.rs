//! Authorities of two nodes: the same, one after the other, and none in common.

use std::sync::Arc;

use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use twinmcp_storage::members::Authority;

use super::*;
use crate::authority::{CertificateAuthority, ClusterKey};
use crate::keys::ClusterKeys;
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
