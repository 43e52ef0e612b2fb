//! Which datagrams of which sender were seen: a sliding window each (RFC 4303 section 3.4.3, with the bits in a
//! ring as in RFC 6479).
//!
//! Invariants: an entry is made only for a datagram whose tag has verified, so that nobody without the secret can
//! fill the table; an entry goes only when everything its sender ever sent is too old to be taken, so that
//! pushing a sender out does not let its datagrams in again.

use std::collections::HashMap;

use ring::aead::LessSafeKey;
use twinmcp_storage::clock::Timestamp;

use super::seal::{KeyId, Sender};
use super::traffic::Dropped;

/// Boots of nodes that are remembered at once, about 1 KB each. A full table refuses new ones until old
/// ones have been silent for the time clocks may be apart.
pub(super) const SENDERS_MAX: usize = 4_096;

/// How far behind the newest a datagram of the same sender may arrive.
const WINDOW: u64 = 1_024;

/// Who was heard.
#[derive(Default)]
pub(super) struct Senders {
    heard: HashMap<(KeyId, Sender), Heard>,
}

struct Heard {
    key: LessSafeKey,
    window: Window,
    /// The latest time in any of its datagrams.
    newest: Timestamp,
}

impl Senders {
    /// The key of a sender that was heard before.
    pub(super) fn key(&self, id: KeyId, sender: &Sender) -> Option<&LessSafeKey> {
        self.heard.get(&(id, *sender)).map(|heard| &heard.key)
    }

    /// Notes an authentic datagram.
    ///
    /// # Errors
    /// [`Dropped::Replayed`] when it was seen before or is too far behind, [`Dropped::Sender`] when the
    /// table is full.
    pub(super) fn accept(
        &mut self,
        who: (KeyId, Sender),
        counter: u64,
        sent: Timestamp,
        now: Timestamp,
        skew_max_ms: u64,
        key: impl FnOnce() -> Result<LessSafeKey, Dropped>,
    ) -> Result<(), Dropped> {
        if let Some(heard) = self.heard.get_mut(&who) {
            heard.newest = heard.newest.max(sent);
            return if heard.window.accept(counter) { Ok(()) } else { Err(Dropped::Replayed) };
        }
        if self.heard.len() >= SENDERS_MAX {
            self.heard.retain(|_, heard| now.millis_since(heard.newest) <= skew_max_ms);
        }
        if self.heard.len() >= SENDERS_MAX {
            return Err(Dropped::Sender);
        }
        let mut window = Window::default();
        window.accept(counter);
        self.heard.insert(who, Heard { key: key()?, window, newest: sent });
        Ok(())
    }
}

/// The last [`WINDOW`] counters of one sender.
struct Window {
    highest: Option<u64>,
    /// One bit a counter, at its remainder by [`WINDOW`].
    seen: [u64; (WINDOW / 64) as usize],
}

impl Default for Window {
    fn default() -> Self {
        Self { highest: None, seen: [0; (WINDOW / 64) as usize] }
    }
}

impl Window {
    /// Whether `counter` is new; it no longer is afterwards.
    fn accept(&mut self, counter: u64) -> bool {
        match self.highest {
            Some(highest) if counter <= highest => {
                if highest - counter >= WINDOW {
                    return false;
                }
            }
            Some(highest) if counter - highest < WINDOW => {
                (highest + 1..counter).for_each(|skipped| self.clear(skipped));
                self.clear(counter);
                self.highest = Some(counter);
            }
            _ => {
                self.seen = [0; (WINDOW / 64) as usize];
                self.highest = Some(counter);
            }
        }
        let (word, bit) = Self::place(counter);
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }

    fn clear(&mut self, counter: u64) {
        let (word, bit) = Self::place(counter);
        self.seen[word] &= !bit;
    }

    fn place(counter: u64) -> (usize, u64) {
        let place = counter % WINDOW;
        ((place / 64) as usize, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use ring::aead::{CHACHA20_POLY1305, UnboundKey};

    use super::*;

    fn key() -> Result<LessSafeKey, Dropped> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[0; 32]).map_err(|_| Dropped::Key)?;
        Ok(LessSafeKey::new(key))
    }

    proptest! {
        /// Against the plain meaning: seen, or at least a window behind the highest.
        #[test]
        fn a_window_takes_each_counter_once(
            start in prop_oneof![Just(0), Just(u64::MAX - 5_000), any::<u32>().prop_map(u64::from)],
            steps in prop::collection::vec(0_u64..4_000, 1..400),
        ) {
            let (mut window, mut seen, mut highest) = (Window::default(), BTreeSet::new(), None);
            for counter in steps.into_iter().map(|step| start + step) {
                let is_behind = highest.is_some_and(|highest: u64| highest.saturating_sub(counter) >= WINDOW);
                prop_assert_eq!(window.accept(counter), !is_behind && !seen.contains(&counter));
                seen.insert(counter);
                highest = highest.max(Some(counter));
            }
        }
    }

    #[test]
    fn a_full_table_forgets_only_senders_whose_datagrams_are_too_old() {
        let mut senders = Senders::default();
        let who = |node| ([0; 4], Sender { node, generation: 1, boot: [0; 16] });
        let at = Timestamp::from_millis;
        let mut accept =
            |node, counter, sent, now| senders.accept(who(node), counter, at(sent), at(now), 100, key);
        for node in 0..SENDERS_MAX as u64 {
            accept(node, 7, 1_000 + node % 2, 1_000).unwrap();
        }
        let late = SENDERS_MAX as u64;
        assert_eq!(accept(late, 0, 1_100, 1_100), Err(Dropped::Sender), "all may still be replayed");
        assert_eq!(accept(0, 7, 1_000, 1_100), Err(Dropped::Replayed));
        accept(late, 0, 1_101, 1_101).unwrap();
        assert_eq!(
            accept(1, 7, 1_001, 1_101),
            Err(Dropped::Replayed),
            "it was heard later and is still known"
        );
        accept(1, 8, 1_101, 1_101).unwrap();
    }
}
