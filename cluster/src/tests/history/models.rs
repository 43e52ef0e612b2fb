//! What a key can be: a register, or a name that one may take.

use super::{Operation, Step};

/// A register of numbers; each is put once. 0 is what it holds at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Register {
    Put(u64),
    Get(u64),
    /// From what it must hold to what it holds then; whether it was done, unless that is unknown.
    Swap(u64, u64, Option<bool>),
    /// A read that answered nothing.
    Nothing,
}

impl Step for Register {
    type State = u64;

    fn apply(&self, state: &u64) -> Option<u64> {
        match *self {
            Self::Put(value) => Some(value),
            Self::Get(value) => (value == *state).then_some(value),
            Self::Swap(from, to, Some(true)) => (from == *state).then_some(to),
            Self::Swap(from, _, Some(false)) => (from != *state).then_some(*state),
            Self::Swap(from, to, None) => Some(if from == *state { to } else { *state }),
            Self::Nothing => Some(*state),
        }
    }

    fn without_answer(&self) -> Self {
        match *self {
            Self::Get(_) => Self::Nothing,
            Self::Swap(from, to, _) => Self::Swap(from, to, None),
            ref known => known.clone(),
        }
    }

    fn matters(&self, others: &[Operation<Self>]) -> bool {
        let (Self::Put(put) | Self::Swap(_, put, _)) = self else { return false };
        let puts = |value: &u64| {
            *value == 0
                || others.iter().any(
                    |other| matches!(&other.step, Self::Put(put) | Self::Swap(_, put, _) if put == value),
                )
        };
        others.iter().any(|other| match &other.step {
            Self::Get(seen) | Self::Swap(seen, _, Some(true) | None) => seen == put,
            // It held something else than what it may have held without this.
            Self::Swap(from, _, Some(false)) => puts(from),
            _ => false,
        })
    }
}

/// A name, or a token: one takes it, once; by whom is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// Who tries; whether it was theirs to take, unless that is unknown.
    Take(u64, Option<bool>),
    /// Whose it is.
    Look(Option<u64>),
}

impl Step for Name {
    type State = Option<u64>;

    fn apply(&self, state: &Option<u64>) -> Option<Option<u64>> {
        match *self {
            Self::Take(by, Some(true)) => state.is_none().then_some(Some(by)),
            Self::Take(_, Some(false)) => state.is_some().then_some(*state),
            Self::Take(by, None) => Some(state.or(Some(by))),
            Self::Look(whose) => (whose == *state).then_some(*state),
        }
    }

    fn without_answer(&self) -> Self {
        match *self {
            Self::Take(by, _) => Self::Take(by, None),
            Self::Look(whose) => Self::Look(whose),
        }
    }

    fn matters(&self, others: &[Operation<Self>]) -> bool {
        let Self::Take(by, _) = self else { return false };
        others.iter().any(|other| match &other.step {
            Self::Look(whose) => *whose == Some(*by),
            Self::Take(_, taken) => *taken == Some(false),
        })
    }
}
