//! Proposals: their outcomes, their limits, and how few syncs they need.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use twinmcp_storage::accounts;
use twinmcp_storage::command::{Command, Outcome};

use super::engines::{Gate, Power};
use super::{Machine, account, account_id, config, has_account, make_accounts};
use crate::{ClusterConfig, ClusterError};

#[tokio::test(flavor = "multi_thread")]
async fn each_proposer_gets_the_outcome_of_its_own_command() {
    let cluster = Machine::new().start(config()).await.unwrap();
    let twice = join_all((0..40).map(|number| cluster.propose(account(number / 2)))).await;
    for pair in twice.chunks(2) {
        let outcomes: Vec<_> = pair.iter().map(|answer| answer.as_ref().unwrap().outcome).collect();
        assert_eq!(outcomes, [Outcome::Done, Outcome::AlreadyExists]);
    }
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_command_can_be_read_and_its_index_is_applied() {
    let cluster = Machine::new().start(config()).await.unwrap();
    let before = cluster.view();
    let applied = cluster.propose(account(1)).await.unwrap();
    assert!(has_account(&cluster, 1));
    assert!(accounts::get(&*before, &account_id(1)).unwrap().is_none());
    cluster.wait_applied(applied.log_index, Duration::ZERO).await.unwrap();
    let behind = cluster.wait_applied(applied.log_index + 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(behind, ClusterError::Behind { wanted, applied: at }
        if at == applied.log_index && wanted == at + 1));
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn proposers_that_wait_together_share_a_sync() {
    let (machine, gate) = (Machine::new(), Gate::default());
    let (cluster, _, raft) = machine.start_watched(config(), &Power::steady(), &gate).await;
    let cluster = cluster.unwrap();
    let before = raft.synced();

    gate.close();
    let mut proposals: Vec<_> = (0..64).map(|number| Box::pin(cluster.propose(account(number)))).collect();
    for proposal in &mut proposals {
        assert!(poll!(proposal).is_pending());
    }
    gate.open();
    for answer in join_all(proposals).await {
        assert_eq!(answer.unwrap().outcome, Outcome::Done);
    }
    let syncs = raft.synced() - before;
    assert!(syncs <= 8, "64 commands took {syncs} syncs");
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_recovers() {
    let (machine, gate) = (Machine::new(), Gate::default());
    let config =
        ClusterConfig { queue_commands_max: 8, entry_commands_max: 1, entries_in_flight_max: 1, ..config() };
    let (cluster, ..) = machine.start_watched(config, &Power::steady(), &gate).await;
    let cluster = cluster.unwrap();

    gate.close();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for number in 0..20 {
        let mut proposal = Box::pin(cluster.propose(account(number)));
        match poll!(&mut proposal) {
            std::task::Poll::Pending => waiting.push(proposal),
            std::task::Poll::Ready(answer) => {
                assert!(matches!(answer.unwrap_err(), ClusterError::Busy));
                refused += 1;
            }
        }
    }
    // Eight wait, one or two are on their way.
    assert!((10..=12).contains(&refused), "{refused} of 20 were refused");
    gate.open();
    assert!(join_all(waiting).await.into_iter().all(|answer| answer.is_ok()));
    make_accounts(&cluster, 100..101).await;
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_too_many_bytes_refuses_too() {
    let (machine, gate) = (Machine::new(), Gate::default());
    let config = ClusterConfig { queue_bytes_max: 4096, entry_bytes_max: 2048, ..config() };
    let (cluster, ..) = machine.start_watched(config, &Power::steady(), &gate).await;
    let cluster = cluster.unwrap();

    gate.close();
    let mut waiting = Vec::new();
    let mut is_busy = false;
    for number in 0..20 {
        let id = account_id(number);
        let command = Command::Accounts(accounts::Command::Create { id, name: "n".repeat(1500) });
        let mut proposal = Box::pin(cluster.propose(command));
        match poll!(&mut proposal) {
            std::task::Poll::Pending => waiting.push(proposal),
            std::task::Poll::Ready(answer) => is_busy |= matches!(answer, Err(ClusterError::Busy)),
        }
    }
    assert!(is_busy);
    gate.open();
    assert!(join_all(waiting).await.into_iter().all(|answer| answer.is_ok()));
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_larger_than_an_entry_is_refused_and_one_that_fits_is_not() {
    let cluster = Machine::new().start(ClusterConfig { entry_bytes_max: 1024, ..config() }).await.unwrap();
    let named = |number, bytes| {
        Command::Accounts(accounts::Command::Create { id: account_id(number), name: "n".repeat(bytes) })
    };
    let refused = cluster.propose(named(1, 1024)).await.unwrap_err();
    assert!(matches!(refused, ClusterError::TooLarge { bytes, bytes_max: 1024 } if bytes > 1024));
    let together = join_all((2..6).map(|number| cluster.propose(named(number, 900)))).await;
    assert!(together.into_iter().all(|answer| answer.unwrap().outcome == Outcome::Done));
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_deadline_a_command_may_still_be_applied_once() {
    let (machine, gate) = (Machine::new(), Gate::default());
    let (cluster, ..) = machine.start_watched(config(), &Power::steady(), &gate).await;
    let cluster = cluster.unwrap();
    gate.close();
    let late = cluster.propose_within(account(1), Duration::from_millis(1)).await;
    assert!(matches!(late.unwrap_err(), ClusterError::Deadline));
    gate.open();
    // Whether the first got into an entry or not, there is one account.
    let again = cluster.propose(account(1)).await.unwrap().outcome;
    assert!(matches!(again, Outcome::Done | Outcome::AlreadyExists));
    assert!(has_account(&cluster, 1));
    cluster.shutdown().await.unwrap();
}
