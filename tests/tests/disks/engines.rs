//! A node on the second engine, for caches and development.

use twinmcp_tests::NodeSetup;

use super::{check_keys, check_kiln, index_kiln, make_keys};

#[tokio::test]
async fn a_node_on_sled_keeps_what_it_acknowledged_says_what_it_is_for_and_stays_on_it() {
    let mut node = NodeSetup::default().with("storage", "engine", "sled").start().await;
    index_kiln(&node.client()).await;
    let secrets = make_keys(&node.client(), 5).await;
    node.restart().await;
    check_keys(&node.client(), &secrets).await;
    check_kiln(&node.client()).await;
    assert!(node.log().contains("is for caches and development"), "{}", node.log());
    let stopped = node.stop().await;
    assert!(stopped.success(), "{stopped}: {}", node.log());
    let refused = NodeSetup::default().on(&node.data_dir()).try_start().await.map(|_| ());
    let refused = refused.expect_err("its data is of another engine");
    assert!(refused.contains("storage.engine = \"sled\""), "{refused}");
}
