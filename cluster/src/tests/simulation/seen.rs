//! What clients saw, in the order it happened, and whether it may have been like that.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Mutex;

use super::disk::Oracle;
use crate::tests::history::{Name, Operation, Register, Step, check};

/// Everything is numbered: the simulation does one thing at a time.
#[derive(Default)]
pub(super) struct Seen(Mutex<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    now: u64,
    registers: BTreeMap<Key, Vec<Option<Operation<Register>>>>,
    names: BTreeMap<Key, Vec<Option<Operation<Name>>>>,
    /// Log indexes that were answered, with the time of the call and of the return.
    indexes: Vec<(u64, u64, u64, Asked)>,
    locals: Vec<Local>,
    problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Change,
    Read,
}

/// What is taken apart from other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Facts(u64),
    Job(u64),
    Account(u64),
    Token(u64),
}

/// A register as one node has it, read without asking anybody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    /// Which start of which node.
    pub(super) reader: (u64, u64),
    pub(super) register: u64,
    pub(super) value: u64,
    /// A value that was put through this node, and answered, before the read.
    pub(super) after: Option<u64>,
}

/// An operation under way.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    key: Key,
    place: usize,
    called: u64,
}

/// What became of an operation.
pub(super) enum Ended<S> {
    Answered(S),
    /// It was certainly not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Histories of one kind of key.
pub(super) trait Kept: Step {
    fn of(inner: &mut Inner, key: Key) -> &mut Vec<Option<Operation<Self>>>;
}

impl Kept for Register {
    fn of(inner: &mut Inner, key: Key) -> &mut Vec<Option<Operation<Self>>> {
        inner.registers.entry(key).or_default()
    }
}

impl Kept for Name {
    fn of(inner: &mut Inner, key: Key) -> &mut Vec<Option<Operation<Self>>> {
        inner.names.entry(key).or_default()
    }
}

/// How much was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) answered: usize,
    pub(super) unknown: usize,
    pub(super) locals: usize,
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

impl Seen {
    /// Notes a call. Should its node die, it is one without an answer.
    pub(super) fn call<S: Kept>(&self, key: Key, step: &S) -> Ticket {
        let mut inner = self.0.lock().unwrap();
        let called = inner.tick();
        let history = S::of(&mut inner, key);
        history.push(Some(Operation { called, returned: None, step: step.without_answer() }));
        Ticket { key, place: history.len() - 1, called }
    }

    /// Notes what became of it.
    pub(super) fn end<S: Kept>(&self, ticket: Ticket, ended: Ended<S>) {
        let mut inner = self.0.lock().unwrap();
        let returned = inner.tick();
        let place = &mut S::of(&mut inner, ticket.key)[ticket.place];
        match ended {
            Ended::Answered(step) => {
                *place = Some(Operation { called: ticket.called, returned: Some(returned), step });
            }
            Ended::Refused => *place = None,
            Ended::Unknown => {}
        }
    }

    /// Notes the entry a change was in.
    pub(super) fn change_in(&self, ticket: Ticket, log_index: u64) {
        let mut inner = self.0.lock().unwrap();
        let returned = inner.tick();
        inner.indexes.push((ticket.called, returned, log_index, Asked::Change));
    }

    /// Notes how far a linearizable read saw.
    pub(super) fn read_to(&self, ticket: Ticket, log_index: u64) {
        let mut inner = self.0.lock().unwrap();
        let returned = inner.tick();
        inner.indexes.push((ticket.called, returned, log_index, Asked::Read));
    }

    pub(super) fn local(&self, local: Local) {
        self.0.lock().unwrap().locals.push(local);
    }

    /// Something that must not be, whatever else happened.
    pub(super) fn problem(&self, problem: impl Display) {
        self.0.lock().unwrap().problems.push(problem.to_string());
    }

    pub(super) fn counts(&self) -> Counts {
        let inner = self.0.lock().unwrap();
        let registers =
            inner.registers.values().flatten().flatten().map(|operation| operation.returned.is_some());
        let names = inner.names.values().flatten().flatten().map(|operation| operation.returned.is_some());
        let (answered, unknown): (Vec<bool>, Vec<bool>) = registers.chain(names).partition(|known| *known);
        Counts { answered: answered.len(), unknown: unknown.len(), locals: inner.locals.len() }
    }

    /// What cannot have been.
    pub(super) fn verdict(&self, oracle: &Oracle) -> Result<(), String> {
        let inner = self.0.lock().unwrap();
        if let Some(problem) = inner.problems.first() {
            return Err(problem.clone());
        }
        oracle.difference().map_or(Ok(()), Err)?;
        for (key, history) in &inner.registers {
            explained(*key, history)?;
        }
        for (key, history) in &inner.names {
            explained(*key, history)?;
        }
        check_indexes(&inner.indexes)?;
        check_locals(&inner.locals, oracle)
    }
}

fn explained<S: Step>(key: Key, history: &[Option<Operation<S>>]) -> Result<(), String> {
    let history: Vec<Operation<S>> = history.iter().flatten().cloned().collect();
    check(&history).map_err(|wrong| format!("{key:?}: {wrong}"))
}

/// What was called after an answer is in a later entry, and a read sees at least as far.
fn check_indexes(indexes: &[(u64, u64, u64, Asked)]) -> Result<(), String> {
    let mut by_return: Vec<(u64, u64)> = indexes
        .iter()
        .filter(|(.., asked)| *asked == Asked::Change)
        .map(|(_, returned, index, _)| (*returned, *index))
        .collect();
    by_return.sort_unstable();
    let mut newest = 0;
    for (_, index) in &mut by_return {
        newest = newest.max(*index);
        *index = newest;
    }
    for (called, _, index, asked) in indexes {
        let before = by_return.partition_point(|(returned, _)| returned < called);
        let Some((_, newest)) = before.checked_sub(1).map(|last| by_return[last]) else { continue };
        let is_after = match asked {
            Asked::Change => *index > newest,
            Asked::Read => *index >= newest,
        };
        if !is_after {
            return Err(format!(
                "{asked:?} at {called} got entry {index}, and entry {newest} was answered before"
            ));
        }
    }
    Ok(())
}

/// Nobody who reads on one node goes back in time, nor behind what was answered there.
fn check_locals(locals: &[Local], oracle: &Oracle) -> Result<(), String> {
    let mut floors: BTreeMap<((u64, u64), u64), u64> = BTreeMap::new();
    for local in locals {
        let put_by = |value| {
            oracle
                .put_by(local.register, value)
                .ok_or_else(|| format!("{local:?}: nothing put {value} there"))
        };
        let floor = floors.entry((local.reader, local.register)).or_default();
        if let Some(after) = local.after {
            // One that was replaced in its own entry was never there.
            *floor = oracle.put_by(local.register, after).unwrap_or(0).max(*floor);
        }
        let seen = put_by(local.value)?;
        if seen < *floor {
            return Err(format!("{local:?}: of entry {seen}, though this start had seen entry {floor}"));
        }
        *floor = seen;
    }
    Ok(())
}
