//! What a node answers its peers about bundles.

use twinmcp_cluster::KeptQuestion;
use twinmcp_storage::bundle::BundleHash;

use super::world::World;
use crate::search::{QUERY_BYTES_MAX, SearchError};

const GUIDE: (&str, &str) = ("docs/guide.md", "# Widgets\n\nA widget is polished with a soft cloth.\n");

/// A node with one bundle.
async fn node() -> (World, BundleHash) {
    let world = World::new().await;
    world.index("/acme/widget", "1.0", world.source("v1", &[GUIDE])).await;
    let hash = world.bundles().list().unwrap()[0].hash;
    (world, hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_what_is_named_and_here_unless_it_is_about_to_let_it_go() {
    let (world, hash) = node().await;
    let distribution = &world.actors.distribution;
    let stranger = BundleHash::of(b"another");
    let applied_index = world.cluster.status().applied_index.unwrap();
    let kept = async |applied_index| {
        let bundles = vec![*hash.as_bytes(), *stranger.as_bytes()];
        distribution.kept(KeptQuestion { applied_index, bundles }).await
    };
    assert_eq!(kept(applied_index).await, [true, false]);
    let leaving = distribution.leaving(hash);
    assert_eq!(kept(applied_index).await, [false, false], "nobody relies on a copy that may go");
    drop(leaving);
    assert_eq!(kept(applied_index).await, [true, false]);
    assert_eq!(kept(u64::MAX).await, [false, false], "the asker may know that nobody names it");
    world.lose_bundles();
    assert_eq!(kept(applied_index).await, [false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_answered_from_this_disk_or_not_at_all() {
    let (world, hash) = node().await;
    // Version 1 of a question for documentation: its text, 300 tokens, 5 snippets.
    let asked = |text: &str| {
        let length = u16::try_from(text.len()).unwrap();
        let length = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
        [&[1, 0], &length, text.as_bytes(), &[0xac, 2, 5]].concat()
    };
    let search = &world.actors.search;
    let answer = search.answer_peer(hash, &asked("polish"), |_| 0).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("polished with a soft cloth"), "{text}");
    assert!(search.answer_peer(BundleHash::of(b"another"), &asked("polish"), |_| 0).await.unwrap().is_none());
    let long = "x".repeat(QUERY_BYTES_MAX + 1);
    let refused = search.answer_peer(hash, &asked(&long), |_| 0).await.unwrap_err();
    assert!(matches!(refused, SearchError::QueryLength), "{refused}");
    for wrong in [&b""[..], b"\x02\x02", b"\x01\x09", b"\x01\x00\xff\xff\xff\xff\x7fabc"] {
        let refused = search.answer_peer(hash, wrong, |_| 0).await.unwrap_err();
        assert!(matches!(refused, SearchError::Storage(_)), "{wrong:?}: {refused}");
    }
}
