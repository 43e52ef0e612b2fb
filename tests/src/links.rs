//! What the links between the nodes of a test are like, and how a test changes that: late, or cut, one way or both.
//!
//! [`Links`] says so to whatever carries the bytes: the relay on loopback ([`Links::before`]) or [`crate::Regions`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;

/// What the links are like now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    /// From, to, by number: nothing passes.
    cut: BTreeSet<(usize, usize)>,
    /// Each way, where nothing else is said.
    delay: Duration,
    /// Each way between two nodes, by number, the lower first.
    delays: BTreeMap<(usize, usize), Duration>,
}

impl Weather {
    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    pub(crate) fn delay(&self, from: usize, to: usize) -> Duration {
        *self.delays.get(&(from.min(to), from.max(to))).unwrap_or(&self.delay)
    }
}

/// The links between nodes, by number from 1; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Links {
    pub(crate) weather: watch::Sender<Weather>,
}

impl Links {
    /// Nothing passes from one node to another any more.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        self.weather.send_modify(|weather| {
            weather.cut.insert((from, to));
        });
    }

    /// Nothing passes between a node and `others` any more.
    pub fn cut(&self, number: usize, others: &[usize]) {
        for &other in others {
            self.cut_one_way(number, other);
            self.cut_one_way(other, number);
        }
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| weather.cut.clear());
    }

    /// Each way takes so long from now on.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Each way between two nodes takes so long from now on.
    pub fn delay_between(&self, one: usize, other: usize, delay: Duration) {
        self.weather.send_modify(|weather| {
            weather.delays.insert((one.min(other), one.max(other)), delay);
        });
    }
}
