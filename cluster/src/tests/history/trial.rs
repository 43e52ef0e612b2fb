//! The checker on trial: histories that are well by construction, and the same with one lie in them.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Name, Operation, Register, Step, check};

const HISTORIES: u64 = 40;
const OPERATIONS: usize = 300;
const CLIENTS: usize = 6;
/// Of a hundred operations, how many get no answer.
const UNKNOWN: u32 = 3;

/// An operation, and when it took effect.
struct Made<S> {
    operation: Operation<S>,
    at: u64,
}

/// What a client is about to do: called, takes effect, returns.
type Plan = (u64, u64, u64);

/// Clients work one thing after another, each taking effect at a moment of its own between its call and its return.
fn plans(dice: &mut SmallRng) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for client in 0..CLIENTS {
        let mut now = client as u64;
        for _ in 0..OPERATIONS / CLIENTS {
            let called = now + dice.random_range(1..20_000);
            let returned = called + dice.random_range(15_000..500_000);
            plans.push((called, dice.random_range(called + 1..returned), returned));
            now = returned;
        }
    }
    plans.sort_by_key(|plan| plan.1);
    plans
}

/// A history that is well: every step answers what holds when it takes effect.
fn well<S: Step>(dice: &mut SmallRng, answer: impl Fn(&mut SmallRng, u64, &S::State) -> S) -> Vec<Made<S>> {
    let mut state = S::State::default();
    let mut history = Vec::new();
    for (number, (called, at, returned)) in (1..).zip(plans(dice)) {
        let step = answer(dice, number, &state);
        let is_known = !dice.random_ratio(UNKNOWN, 100);
        // Without an answer it may as well not have been done.
        if is_known || dice.random() {
            state = step.apply(&state).unwrap();
        }
        let (returned, step) = if is_known { (Some(returned), step) } else { (None, step.without_answer()) };
        history.push(Made { operation: Operation { called, returned, step }, at });
    }
    history
}

fn register(dice: &mut SmallRng) -> Vec<Made<Register>> {
    well(dice, |dice, number, state| match dice.random_range(0..10) {
        0..4 => Register::Put(number),
        4..6 => Register::Swap(*state, number, Some(true)),
        6 => Register::Swap(number + 1_000_000, number, Some(false)),
        _ => Register::Get(*state),
    })
}

fn name(dice: &mut SmallRng) -> Vec<Made<Name>> {
    well(dice, |dice, number, state| match dice.random_range(0..3) {
        0 => Name::Look(*state),
        _ => Name::Take(number, Some(state.is_none())),
    })
}

fn operations<S: Clone>(history: &[Made<S>]) -> Vec<Operation<S>> {
    history.iter().map(|made| made.operation.clone()).collect()
}

/// Answers a read with what was put, and replaced, before it was called.
fn read_stale(history: &mut [Made<Register>]) -> bool {
    let put = |made: &Made<Register>| match made.operation.step {
        Register::Put(value) if made.operation.returned.is_some() => Some(value),
        _ => None,
    };
    let found = (0..history.len()).rev().find_map(|read| {
        let called = history[read].operation.called;
        if !matches!(history[read].operation.step, Register::Get(_)) {
            return None;
        }
        let newer = history.iter().rev().find(|made| {
            put(made).is_some() && made.operation.returned.is_some_and(|returned| returned < called)
        })?;
        let is_older = |made: &&Made<Register>| {
            put(made).is_some() && made.operation.returned.is_some_and(|end| end < newer.operation.called)
        };
        let older = history.iter().rev().find(is_older)?;
        Some((read, put(older)?))
    });
    let Some((read, value)) = found else { return false };
    history[read].operation.step = Register::Get(value);
    true
}

/// Lets somebody take what another had taken.
fn take_again(history: &mut [Made<Name>]) -> bool {
    let refused =
        history.iter_mut().rev().find(|made| matches!(made.operation.step, Name::Take(_, Some(false))));
    let Some(made) = refused else { return false };
    let Name::Take(by, _) = made.operation.step else { return false };
    made.operation.step = Name::Take(by, Some(true));
    true
}

#[test]
fn forty_histories_that_are_well_raise_no_alarm() {
    for seed in 0..HISTORIES {
        let mut dice = SmallRng::seed_from_u64(seed);
        check(&operations(&register(&mut dice))).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        check(&operations(&name(&mut dice))).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

#[test]
fn forty_lies_are_caught() {
    for seed in 0..HISTORIES {
        let mut dice = SmallRng::seed_from_u64(seed);
        let is_caught = if seed % 2 == 0 {
            let mut history = register(&mut dice);
            assert!(read_stale(&mut history), "seed {seed} has no read to spoil");
            check(&operations(&history)).is_err()
        } else {
            let mut history = name(&mut dice);
            assert!(take_again(&mut history), "seed {seed} has no refusal to spoil");
            check(&operations(&history)).is_err()
        };
        assert!(is_caught, "seed {seed}");
    }
}

#[test]
fn the_shortest_prefix_that_fails_ends_with_the_lie() {
    let mut history = register(&mut SmallRng::seed_from_u64(1));
    history.sort_by_key(|made| made.at);
    assert!(read_stale(&mut history));
    let wrong = check(&operations(&history)).unwrap_err();
    let text = wrong.to_string();
    let last = wrong
        .prefix
        .iter()
        .filter(|operation| operation.returned.is_some())
        .max_by_key(|operation| operation.returned);
    assert!(matches!(last.unwrap().step, Register::Get(_)), "{text}");
    assert!(text.starts_with("no order explains these"), "{text}");
}

#[test]
fn what_has_no_answer_may_be_done_late_or_never() {
    let unknown = |called, step| Operation { called, returned: None, step };
    let known = |called, returned, step| Operation { called, returned: Some(returned), step };
    let late = [unknown(1, Register::Put(5)), known(2, 3, Register::Get(0)), known(4, 5, Register::Get(5))];
    assert!(check(&late).is_ok());
    let never = [unknown(1, Register::Put(5)), known(2, 3, Register::Get(0))];
    assert!(check(&never).is_ok());
    let undone = [late[0].clone(), late[2].clone(), known(6, 7, Register::Get(0))];
    assert!(check(&undone).is_err());
    let before_it_was_called = [unknown(9, Register::Put(5)), known(4, 5, Register::Get(5))];
    assert!(check(&before_it_was_called).is_err());
}
