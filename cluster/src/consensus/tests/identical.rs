//! Same log, same bytes: on every engine, and however commands were put into entries.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{EngineKind, Keyspace};

use super::commands::command;
use super::{Stores, contents, entry_of, in_memory, on_disk};

fn apply(stores: &Stores, entries: &[(u64, Vec<Command>)]) {
    for (index, (at, commands)) in entries.iter().enumerate() {
        let answer = stores.applier.apply(&entry_of(index as u64, *at, commands)).unwrap();
        assert_eq!(answer.0.len(), commands.len());
    }
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value)) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&strategy, |value| {
        test(value);
        Ok(())
    });
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}

#[test]
fn a_log_gives_the_same_bytes_in_memory_and_on_every_disk() {
    let entries = vec((0..10_000_u64, vec(command(), 0..8)), 1..16);
    run(12, entries, |entries| {
        let folder = tempfile::tempdir().unwrap();
        let memory = in_memory();
        apply(&memory, &entries);
        for kind in EngineKind::ALL {
            let disk = on_disk(kind, &folder.path().join(kind.name()));
            apply(&disk, &entries);
            assert_eq!(contents(&*memory.state, Keyspace::STATE), contents(&*disk.state, Keyspace::STATE));
        }
    });
}

#[test]
fn commands_give_the_same_records_however_they_were_put_into_entries() {
    // Where entries are counted, and requests by their numbers.
    let others = [Keyspace::Meta, Keyspace::Requests];
    let nouns: Vec<_> = Keyspace::STATE.iter().copied().filter(|space| !others.contains(space)).collect();
    run(48, (vec(command(), 1..60), vec(1..9_usize, 1..20)), |(commands, sizes)| {
        let one = in_memory();
        apply(&one, &[(1_000, commands.clone())]);

        let mut entries = Vec::new();
        let (mut rest, mut sizes) = (commands.as_slice(), sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            entries.push((1_000, now.to_vec()));
            rest = later;
        }
        let many = in_memory();
        apply(&many, &entries);
        assert_eq!(contents(&*one.state, &nouns), contents(&*many.state, &nouns));
    });
}

/// Without it the two tests above could pass over logs that do nothing.
#[test]
fn random_commands_reach_every_keyspace() {
    let mut runner = TestRunner::deterministic();
    let stores = in_memory();
    let mut empty = Keyspace::STATE.to_vec();
    for index in 0..200 {
        let commands = vec(command(), 8).new_tree(&mut runner).unwrap().current();
        stores.applier.apply(&entry_of(index, index, &commands)).unwrap();
        empty.retain(|&space| stores.state.scan(space, &[], None, 1).unwrap().is_empty());
    }
    assert!(empty.is_empty(), "nothing ever in {empty:?}");
}
