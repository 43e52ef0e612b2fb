//! What every engine must do: one suite, run against each.
//!
//! The suite compares an engine with a plain map over random operations, and checks what is promised
//! about batches, views, limits and scans. What a *crash* leaves is checked where it can be made to
//! happen: beside [`super::MemoryEngine`], and by killing a writing process.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{
    Batch, Durability, Engine, KEY_BYTES_MAX, Keyspace, Pair, Reader, StorageError, VALUE_BYTES_MAX,
};

/// Runs the whole contract; `make` gives a fresh, empty engine with the keyspaces of
/// [`Keyspace::STATE`], `reopen` closes it and opens what it left.
///
/// # Panics
/// When the engine breaks the contract.
pub(super) fn check<E: Engine>(make: impl Fn() -> E, reopen: impl Fn(E) -> E) {
    behaves_like_a_sorted_map(&make, &reopen);
    a_scan_stays_inside_its_prefix_and_limit(&make());
    the_last_write_of_a_batch_wins(&make());
    a_view_does_not_change(&make());
    limits_are_refused_and_nothing_is_written(&make());
}

type Model = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(Keyspace, Vec<u8>, Option<Vec<u8>>)>, bool),
    Scan(Keyspace, Vec<u8>, Option<Vec<u8>>, usize),
    Reopen,
}

fn space() -> impl Strategy<Value = Keyspace> {
    prop_oneof![Just(Keyspace::Accounts), Just(Keyspace::Libraries), Just(Keyspace::Jobs)]
}

/// Few and short keys, so that operations meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(255_u8)], 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let write = (space(), key(), proptest::option::of(vec(any::<u8>(), 0..20)));
    prop_oneof![
        6 => (vec(write, 0..8), any::<bool>()).prop_map(|(writes, synced)| Step::Commit(writes, synced)),
        3 => (space(), vec(prop_oneof![Just(b'a'), Just(255_u8)], 0..2), proptest::option::of(key()), 0..6_usize)
            .prop_map(|(space, prefix, after, limit)| Step::Scan(space, prefix, after, limit)),
        1 => Just(Step::Reopen),
    ]
}

fn behaves_like_a_sorted_map<E: Engine>(make: &impl Fn() -> E, reopen: &impl Fn(E) -> E) {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&vec(step(), 1..40), |steps| {
        let mut engine = make();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Commit(writes, synced) => {
                    let mut batch = Batch::new();
                    for (space, key, value) in writes {
                        match value {
                            Some(value) => {
                                batch.put(space, key.clone(), value.clone());
                                model.insert((space, key), value);
                            }
                            None => {
                                batch.remove(space, key.clone());
                                model.remove(&(space, key));
                            }
                        }
                    }
                    let durability = if synced { Durability::Synced } else { Durability::Buffered };
                    engine.commit(batch, durability).unwrap();
                }
                Step::Scan(space, prefix, after, limit) => {
                    let found = engine.scan(space, &prefix, after.as_deref(), limit).unwrap();
                    prop_assert_eq!(found, expected(&model, space, &prefix, after.as_deref(), limit));
                }
                Step::Reopen => engine = reopen(engine),
            }
        }
        for space in [Keyspace::Accounts, Keyspace::Libraries, Keyspace::Jobs] {
            prop_assert_eq!(
                engine.scan(space, &[], None, usize::MAX).unwrap(),
                expected(&model, space, &[], None, usize::MAX)
            );
        }
        for ((space, key), value) in &model {
            let found = engine.get(*space, key).unwrap();
            prop_assert_eq!(found.as_ref(), Some(value));
        }
        Ok(())
    });
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
}

fn expected(model: &Model, space: Keyspace, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Pair> {
    model
        .iter()
        .filter(|((found, key), _)| *found == space && key.starts_with(prefix))
        .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
        .take(limit)
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

fn a_scan_stays_inside_its_prefix_and_limit(engine: &dyn Engine) {
    let mut batch = Batch::new();
    for key in ["a", "a/1", "a/2", "a/3", "b"] {
        batch.put(Keyspace::Jobs, key, "x");
    }
    batch.put(Keyspace::Accounts, "a/9", "y");
    engine.commit(batch, Durability::Buffered).unwrap();
    let keys = |after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
        let pairs = engine.scan(Keyspace::Jobs, b"a/", after, limit).unwrap();
        pairs.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(None, 10), [b"a/1", b"a/2", b"a/3"]);
    assert_eq!(keys(Some(b"a/1"), 1), [b"a/2"]);
    assert_eq!(keys(Some(b"a/3"), 10), Vec::<Vec<u8>>::new());
    assert_eq!(keys(Some(b"A"), 1), [b"a/1"]);
}

fn the_last_write_of_a_batch_wins(engine: &dyn Engine) {
    let mut batch = Batch::new();
    batch.put(Keyspace::Jobs, "k", "first");
    batch.remove(Keyspace::Jobs, "k");
    batch.put(Keyspace::Jobs, "k", "last");
    batch.put(Keyspace::Jobs, "gone", "soon");
    batch.remove(Keyspace::Jobs, "gone");
    engine.commit(batch, Durability::Synced).unwrap();
    assert_eq!(engine.get(Keyspace::Jobs, b"k").unwrap().unwrap(), b"last");
    assert_eq!(engine.get(Keyspace::Jobs, b"gone").unwrap(), None);
}

fn a_view_does_not_change(engine: &dyn Engine) {
    let put = |value: &str| {
        let mut batch = Batch::new();
        batch.put(Keyspace::Jobs, "k", value);
        batch.put(Keyspace::Accounts, value, value);
        engine.commit(batch, Durability::Buffered).unwrap();
    };
    put("before");
    let view: Box<dyn Reader> = engine.view();
    put("after");
    assert_eq!(view.get(Keyspace::Jobs, b"k").unwrap().unwrap(), b"before");
    assert_eq!(view.scan(Keyspace::Accounts, &[], None, 10).unwrap().len(), 1);
    assert_eq!(engine.get(Keyspace::Jobs, b"k").unwrap().unwrap(), b"after");
}

fn limits_are_refused_and_nothing_is_written(engine: &dyn Engine) {
    let attempt = |space, key: Vec<u8>, value: Vec<u8>| {
        let mut batch = Batch::new();
        batch.put(Keyspace::Jobs, "neighbour", "x");
        batch.put(space, key, value);
        let refused = engine.commit(batch, Durability::Synced);
        assert_eq!(engine.get(Keyspace::Jobs, b"neighbour").unwrap(), None);
        refused.unwrap_err()
    };
    let too_long = vec![b'k'; KEY_BYTES_MAX + 1];
    assert!(matches!(attempt(Keyspace::Jobs, too_long, vec![]), StorageError::KeyLength { .. }));
    assert!(matches!(attempt(Keyspace::Jobs, vec![], vec![]), StorageError::KeyLength { .. }));
    let too_large = vec![0; VALUE_BYTES_MAX + 1];
    assert!(matches!(attempt(Keyspace::Jobs, b"k".to_vec(), too_large), StorageError::ValueLength { .. }));
    assert!(matches!(attempt(Keyspace::Log, b"k".to_vec(), vec![]), StorageError::UnknownKeyspace { .. }));
}
