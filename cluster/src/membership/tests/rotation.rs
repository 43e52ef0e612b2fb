//! A secret is replaced while nodes run.

use super::*;

#[tokio::test]
async fn a_secret_is_replaced_without_losing_sight() {
    let first = start(config(1, &[]), &UdpNetwork).await;
    let second = start(config(2, &[first.address()]), &UdpNetwork).await;
    let third = start(config(3, &[first.address()]), &UdpNetwork).await;
    let nodes = [&first, &second, &third];
    for node in nodes {
        until(node, "all are alive", are_alive(&[1, 2, 3])).await;
    }
    let (old, new) = (secret(1), secret(2));
    let steps = [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()], vec![new.clone()]];
    let mut index = 0;
    for secrets in steps {
        for changed in nodes {
            changed.rotate(&secrets).unwrap();
            // In each of the nine states on the way what any node tells reaches all others.
            for told in nodes {
                index += 1;
                told.update(LocalState { applied_index: Some(index), ..LocalState::default() }).unwrap();
                for node in nodes {
                    let is_told = |members: &BTreeMap<u64, MemberState>| {
                        members.values().any(|member| member.applied_index == Some(index))
                    };
                    until(node, "the update", is_told).await;
                    assert_eq!(node.members().len(), 3);
                }
            }
        }
    }
    for node in nodes {
        assert_eq!(node.dropped(Dropped::Key), 0, "nothing was sealed with what is not accepted");
        until(node, "all are alive", are_alive(&[1, 2, 3])).await;
    }

    // Who missed it all is out, and comes back with the new secret.
    second.rotate(&[old]).unwrap();
    until(&first, "2 is dead", has_liveness(2, Liveness::Dead)).await;
    until_counted("what it sends", 0, || first.dropped(Dropped::Key)).await;
    second.rotate(&[new]).unwrap();
    until(&first, "2 is back", has_liveness(2, Liveness::Alive)).await;

    assert!(first.rotate(&[]).is_err());
    until(&first, "all are alive", are_alive(&[1, 2, 3])).await;
}
