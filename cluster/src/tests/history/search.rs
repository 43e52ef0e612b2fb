//! The search for an order.

use std::collections::HashMap;

use super::{Operation, Step};

/// Steps of one search: a history that has an order is through after about as many as it has operations.
const STEPS_MAX: usize = 300_000;
/// Operations without an answer, of those that matter.
const UNKNOWN_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Found,
    /// There is none, or none was found in a search far longer than any that ends well.
    NotFound,
}

/// Which of the answered operations are done.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done {
    /// All before it are.
    first: usize,
    bits: Vec<u64>,
}

impl Done {
    fn has(&self, place: usize) -> bool {
        self.bits[place / 64] & 1 << (place % 64) != 0
    }

    fn with(&self, place: usize, count: usize) -> Self {
        let mut done = self.clone();
        done.bits[place / 64] |= 1 << (place % 64);
        while done.first < count && done.has(done.first) {
            done.first += 1;
        }
        done
    }
}

/// Looks for an order, depth first. What was done with what state is entered once, unless fewer of the operations without
/// an answer were needed to get there: who has used fewer can do all the other can.
pub(super) fn order<S: Step>(operations: &[Operation<S>]) -> Search {
    let (mut known, mut unknown): (Vec<_>, Vec<_>) =
        operations.iter().partition(|operation| operation.returned.is_some());
    known.sort_by_key(|operation| operation.called);
    unknown.retain(|operation| operation.step.matters(operations));
    assert!(unknown.len() <= UNKNOWN_MAX, "{} operations of one key have no answer", unknown.len());

    let none = Done { first: 0, bits: vec![0; known.len().div_ceil(64)] };
    let mut open = vec![(none, S::State::default(), 0_u128)];
    let mut entered: HashMap<(Done, S::State), Vec<u128>> = HashMap::new();
    for _ in 0..STEPS_MAX {
        let Some((done, state, used)) = open.pop() else { return Search::NotFound };
        let before = entered.entry((done.clone(), state.clone())).or_default();
        if before.iter().any(|before| before & used == *before) {
            continue;
        }
        before.push(used);
        if done.first == known.len() {
            return Search::Found;
        }
        // In order of their calls: whatever was called after the earliest return so far comes after it.
        let (mut earliest, mut next) = (u64::MAX, Vec::new());
        for (place, operation) in known.iter().enumerate().skip(done.first) {
            if operation.called > earliest {
                break;
            }
            if !done.has(place) {
                earliest = earliest.min(operation.returned.unwrap_or(u64::MAX));
                next.push(place);
            }
        }
        next.retain(|place| known[*place].called < earliest);
        for (place, operation) in unknown.iter().enumerate() {
            if operation.called < earliest
                && used & 1 << place == 0
                && let Some(after) = operation.step.apply(&state)
                && after != state
            {
                open.push((done.clone(), after, used | 1 << place));
            }
        }
        // The stack takes its end: what returned first is tried first, and what has no answer last.
        next.sort_by_key(|place| std::cmp::Reverse(known[*place].returned));
        for place in next {
            if let Some(after) = known[place].step.apply(&state) {
                open.push((done.with(place, known.len()), after, used));
            }
        }
    }
    Search::NotFound
}
