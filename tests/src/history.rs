//! Whether what callers of several nodes saw can have come from one service that does one thing after another
//! (linearizable), by the search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with a memory of where
//! it has been (Lowe, "Testing for linearizability", 2017).
//!
//! What is followed is one thing that is made once and used once, as an API key is made and revoked: [`Did`]. One history
//! is about one such thing; [`first_fault`] is the way in.

use std::collections::HashSet;
use std::time::Duration;

/// Operations in one history, at most: each is a bit of a number.
pub const OPERATIONS_MAX: usize = 128;

/// What a caller asked for, and was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It was made.
    Make,
    /// It was used up, by this caller or (`false`) by another before.
    Use(bool),
    /// It was looked at: whether it could still be used.
    See(bool),
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// What was done.
    pub did: Did,
    /// When it was asked for, since any beginning.
    pub called: Duration,
    /// When it was answered. Nothing when it was not: then it may have been done at any time after the call, or never,
    /// and what it was told counts for nothing.
    pub returned: Option<Duration>,
}

/// What the thing is between two operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Absent,
    Open,
    Used,
}

impl State {
    /// The state after `operation`; nothing when it cannot have been told what it was.
    fn after(self, operation: &Operation) -> Option<Self> {
        let is_answered = operation.returned.is_some();
        match operation.did {
            Did::Make => (self == Self::Absent).then_some(Self::Open),
            Did::Use(won) if is_answered && won != (self == Self::Open) => None,
            Did::Use(_) => Some(if self == Self::Open { Self::Used } else { self }),
            Did::See(open) if is_answered && open != (self == Self::Open) => None,
            Did::See(_) => Some(self),
        }
    }
}

/// Nothing when the history is linearizable; otherwise the operations up to the first answer that no order explains.
///
/// # Panics
/// With more than [`OPERATIONS_MAX`] operations.
pub fn first_fault(operations: &[Operation]) -> Option<Vec<Operation>> {
    assert!(operations.len() <= OPERATIONS_MAX, "{} operations on one thing", operations.len());
    if is_linearizable(operations) {
        return None;
    }
    let mut answers: Vec<Duration> = operations.iter().filter_map(|operation| operation.returned).collect();
    answers.sort_unstable();
    // What was seen until an answer: later ones had been asked for at most.
    let until = |end: Duration| -> Vec<Operation> {
        let asked = operations.iter().filter(|operation| operation.called <= end);
        asked.map(|one| Operation { returned: one.returned.filter(|at| *at <= end), ..*one }).collect()
    };
    answers.into_iter().map(until).find(|prefix| !is_linearizable(prefix))
}

fn is_linearizable(operations: &[Operation]) -> bool {
    let answered = operations.iter().enumerate().filter(|(_, operation)| operation.returned.is_some());
    let all = answered.fold(0_u128, |all, (number, _)| all | 1 << number);
    let (mut seen, mut waiting) = (HashSet::new(), vec![(0_u128, State::Absent)]);
    while let Some((done, state)) = waiting.pop() {
        // The rest was never answered, and may be left out.
        if done & all == all {
            return true;
        }
        if !seen.insert((done, state)) {
            continue;
        }
        let left = || operations.iter().enumerate().filter(|(number, _)| done & 1 << number == 0);
        let first_answer = left().filter_map(|(_, operation)| operation.returned).min();
        let next = left().filter(|(_, operation)| first_answer.is_none_or(|first| operation.called <= first));
        waiting.extend(
            next.filter_map(|(number, operation)| Some((done | 1 << number, state.after(operation)?))),
        );
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Chance;

    fn at(did: Did, called: u64, returned: u64) -> Operation {
        let returned = (returned > 0).then_some(Duration::from_millis(returned));
        Operation { did, called: Duration::from_millis(called), returned }
    }

    #[test]
    fn two_winners_a_lost_make_and_a_thing_that_comes_back_are_faults() {
        let made = at(Did::Make, 0, 10);
        let faults = [
            vec![made, at(Did::Use(true), 20, 40), at(Did::Use(true), 30, 50)],
            vec![made, at(Did::Use(false), 20, 40)],
            vec![made, at(Did::See(false), 20, 40)],
            vec![made, at(Did::Use(true), 20, 40), at(Did::See(true), 41, 50)],
            vec![made, at(Did::Use(false), 20, 0), at(Did::See(false), 30, 40), at(Did::See(true), 41, 50)],
            vec![made, at(Did::Use(true), 20, 40), at(Did::Use(false), 11, 19)],
        ];
        for fault in faults {
            assert!(first_fault(&fault).is_some(), "{fault:?}");
        }
        let fine = [
            vec![made, at(Did::Use(true), 20, 40), at(Did::Use(false), 10, 50)],
            vec![made, at(Did::Use(false), 20, 0), at(Did::See(true), 30, 40), at(Did::Use(false), 41, 50)],
            vec![made, at(Did::Use(true), 20, 40), at(Did::See(true), 10, 30), at(Did::See(false), 15, 25)],
            vec![at(Did::Make, 5, 0), at(Did::See(false), 10, 20), at(Did::See(true), 30, 40)],
        ];
        for fine in fine {
            assert!(first_fault(&fine).is_none(), "{fine:?}");
        }
    }

    #[test]
    fn the_fault_is_told_without_what_came_after_it() {
        let mut history = vec![at(Did::Make, 0, 10), at(Did::Use(true), 20, 30), at(Did::Use(true), 40, 50)];
        history.extend((0..20).map(|look| at(Did::See(false), 60 + look, 90)));
        let told = first_fault(&history).expect("used twice");
        assert_eq!(told.len(), 3, "{told:?}");
    }

    /// A history as a service that does one thing after another gives it to clients that overlap, some never answered.
    fn honest(chance: &mut Chance) -> Vec<Operation> {
        let (mut state, mut history) = (State::Absent, Vec::new());
        for step in 1..60_u64 {
            // It is done at this time, asked for some time before, answered some time after.
            let done = step * 100;
            let did = match (step, chance.below(6)) {
                (1, _) => Did::Make,
                (30.., 0) => Did::Use(state == State::Open),
                _ => Did::See(state == State::Open),
            };
            let (before, after) = (chance.below(400), 1 + chance.below(400));
            let is_lost = step > 1 && chance.below(33) == 0;
            let operation = at(did, done.saturating_sub(before), if is_lost { 0 } else { done + after });
            state = state.after(&operation).expect("it was told the truth");
            history.push(operation);
        }
        history
    }

    #[test]
    fn no_honest_history_is_refused_and_every_forged_one_is() {
        let mut chance = Chance::new();
        for _ in 0..40 {
            let history = honest(&mut chance);
            assert!(first_fault(&history).is_none(), "{history:?}");
            let mut forged = history.clone();
            // Somebody is told, long after it was used up, that it was not.
            let used = forged.iter().find(|one| matches!(one.did, Did::Use(true)) && one.returned.is_some());
            let Some(used) = used.and_then(|one| one.returned) else { continue };
            let late = used + Duration::from_secs(60);
            let did = if chance.below(2) == 0 { Did::Use(true) } else { Did::See(true) };
            forged.push(Operation { did, called: late, returned: Some(late + Duration::from_millis(5)) });
            assert!(first_fault(&forged).is_some(), "{forged:?}");
        }
    }
}
