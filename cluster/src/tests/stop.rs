//! Ending: by request, with work under way, and what others hear of it.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use twinmcp_storage::transaction::Change;

use super::engines::{Gate, Power};
use super::{Machine, account, config, has_account};
use crate::{ClusterConfig, ClusterError, Role, StopReason};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_what_waits_with_its_outcome() {
    let (machine, gate) = (Machine::new(), Gate::default());
    let config = ClusterConfig { entry_commands_max: 2, ..config() };
    let (cluster, ..) = machine.start_watched(config, &Power::steady(), &gate).await;
    let cluster = cluster.unwrap();
    gate.close();
    let mut proposals: Vec<_> = (0..20).map(|number| Box::pin(cluster.propose(account(number)))).collect();
    for proposal in &mut proposals {
        assert!(poll!(proposal).is_pending());
    }
    let mut shutdown = Box::pin(cluster.shutdown());
    assert!(poll!(&mut shutdown).is_pending());
    gate.open();
    shutdown.await.unwrap();
    for answer in join_all(proposals).await {
        answer.unwrap();
    }
    assert!((0..20).all(|number| has_account(&cluster, number)));
    assert!(matches!(cluster.propose(account(99)).await.unwrap_err(), ClusterError::Stopped { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_that_cannot_finish_the_work_answers_that_it_stopped() {
    let (machine, gate) = (Machine::new(), Gate::default());
    let config = ClusterConfig {
        entry_commands_max: 1,
        entries_in_flight_max: 1,
        stop_deadline: Duration::from_millis(1),
        ..config()
    };
    let (cluster, ..) = machine.start_watched(config, &Power::steady(), &gate).await;
    let cluster = cluster.unwrap();
    gate.close();
    let mut proposals: Vec<_> = (0..20).map(|number| Box::pin(cluster.propose(account(number)))).collect();
    for proposal in &mut proposals {
        assert!(poll!(proposal).is_pending());
    }
    let stopping = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.shutdown().await }
    });
    for answer in join_all(proposals).await {
        assert!(matches!(answer.unwrap_err(), ClusterError::Stopped { .. }));
    }
    gate.open();
    stopping.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_subscriptions_and_tells_the_supervisor() {
    let cluster = Machine::new().start(config()).await.unwrap();
    let (mut changes, stopped) = (cluster.changes(), cluster.stopped());
    cluster.shutdown().await.unwrap();
    cluster.shutdown().await.unwrap();
    assert_eq!(stopped.await, StopReason::Shutdown);
    assert_eq!(cluster.stopped().await, StopReason::Shutdown);
    assert!(changes.next().await.is_none());
    let status = cluster.status();
    assert_eq!((status.role, status.leader, status.unhealthy), (Role::Stopped, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_comes_after_its_change_can_be_read() {
    use twinmcp_storage::api_keys::{self, Command as ApiKeys, SecretHash};
    use twinmcp_storage::command::Command;
    use twinmcp_storage::scope::Scope;
    let cluster = Machine::new().start(config()).await.unwrap();
    let mut changes = cluster.changes();
    let (account, id) =
        (super::account_id(1), format!("key_{:026}", 1).parse::<twinmcp_storage::ids::ApiKeyId>().unwrap());
    let create = ApiKeys::Create {
        id: id.clone(),
        account: account.clone(),
        name: "laptop".to_owned(),
        scopes: vec![Scope::DocsRead],
        secret_hash: SecretHash::of("tmcp_secret"),
        hint: "cret".to_owned(),
        expires_at: None,
    };
    let noticed = tokio::spawn({
        let cluster = cluster.clone();
        let (account, id) = (account.clone(), id.clone());
        async move {
            let notice = changes.next().await.unwrap();
            (notice, api_keys::get(cluster.reader(), &account, &id).unwrap())
        }
    });
    cluster.propose(Command::ApiKeys(create)).await.unwrap();
    let (notice, key) = noticed.await.unwrap();
    assert_eq!(*notice, [Change::ApiKey(id)]);
    assert!(key.is_some());
    cluster.shutdown().await.unwrap();
}
