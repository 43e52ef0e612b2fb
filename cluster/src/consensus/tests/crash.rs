//! One machine that goes down at random writes, over and over.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use twinmcp_storage::accounts;
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Keyspace, Reader};

use super::super::entry;
use super::super::types::Entry;
use super::{GROUP, commands_of, contents, in_memory};
use crate::ClusterConfig;
use crate::tests::engines::{Gate, Power};
use crate::tests::{Machine, account, account_id, config};

/// One life: how many writes until it ends, whether the last one lands, and whether the whole machine
/// goes down, which takes what no engine has synced, or only the process, which does not.
type Life = (i64, bool, bool);

#[test]
fn what_was_answered_survives_every_crash_and_nothing_is_applied_twice() {
    let lives = proptest::collection::vec((0..60_i64, any::<bool>(), any::<bool>()), 1..8);
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let answers = Cell::new(0);
    let checked = runner.run(&(lives, any::<bool>()), |(lives, is_cut)| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        answers.set(answers.get() + runtime.block_on(live_and_check(lives, is_cut)));
        Ok(())
    });
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
    assert!(answers.get() > 500, "the power went before there was much to lose: {} answers", answers.get());
}

/// Answers how many commands were answered in all lives.
async fn live_and_check(lives: Vec<Life>, is_cut: bool) -> usize {
    let machine = Machine::new();
    let answered = Arc::new(Mutex::new(BTreeMap::new()));
    // With a log that is cut, snapshots are made and lost as well; without, the log tells all.
    let config = match is_cut {
        true => ClusterConfig { snapshot_every_entries: 7, snapshot_keep_entries: 2, ..config() },
        false => ClusterConfig { entry_commands_max: 3, ..config() },
    };
    for (life, (writes, last_lands, takes_machine)) in (0..).zip(lives) {
        live(&machine, &config, life, Power::cut_after(writes, last_lands), &answered).await;
        if takes_machine {
            machine.crash();
        }
    }
    let cluster = machine.start(config).await.unwrap();
    let answered = answered.lock().unwrap().clone();
    for (&number, &outcome) in &answered {
        assert_eq!(outcome, Outcome::Done);
        let found = accounts::get(cluster.reader(), &account_id(number)).unwrap();
        assert!(found.is_some(), "{number} was answered and is gone");
    }
    cluster.shutdown().await.unwrap();
    if !is_cut {
        check_against_log(&machine, &answered.keys().copied().collect());
    }
    answered.len()
}

/// Four proposers, each command once, until the power goes.
async fn live(
    machine: &Machine,
    config: &ClusterConfig,
    life: u64,
    power: Power,
    answered: &Arc<Mutex<BTreeMap<u64, Outcome>>>,
) {
    let (started, ..) = machine.start_watched(config.clone(), &power, &Gate::default()).await;
    let Ok(cluster) = started else { return };
    let proposers: Vec<_> = (0..4)
        .map(|proposer| {
            let (cluster, answered) = (cluster.clone(), Arc::clone(answered));
            tokio::spawn(async move {
                for number in (life * 10_000 + proposer..).step_by(4) {
                    let Ok(applied) = cluster.propose(account(number)).await else {
                        break;
                    };
                    answered.lock().unwrap().insert(number, applied.outcome);
                }
            })
        })
        .collect();
    for proposer in proposers {
        proposer.await.unwrap();
    }
    // The engines refuse to close: they have no power.
    let _ = cluster.shutdown().await;
}

/// The state is what the log makes of an empty one, each entry once; and no command is in it twice.
fn check_against_log(machine: &Machine, answered: &BTreeSet<u64>) {
    let fresh = in_memory();
    let mut seen = BTreeSet::new();
    for entry in entries(machine) {
        for command in commands_of(&entry) {
            let Command::Audited(audited) = command else { panic!("{command:?}") };
            let Command::Accounts(accounts::Command::Create { id, .. }) = audited.command else {
                panic!("{audited:?}")
            };
            assert!(seen.insert(id.clone()), "{id} is in the log twice");
        }
        fresh.applier.apply(&entry).unwrap();
    }
    assert!(answered.iter().all(|&number| seen.contains(&account_id(number))));
    assert_eq!(contents(&machine.state, Keyspace::STATE), contents(&*fresh.state, Keyspace::STATE));
}

fn entries(machine: &Machine) -> Vec<Entry> {
    let pairs = machine.raft.scan(Keyspace::Log, &[], None, usize::MAX).unwrap();
    (0..).zip(pairs).map(|(index, (_, value))| entry::decode(GROUP, index, &value).unwrap()).collect()
}
