//! Messages of gossip cut into datagrams, and put together again.
//!
//! The list of all nodes is in most messages, about 50 bytes each: past 20 nodes a message outgrows a datagram
//! that every network carries whole. IP would cut it as well, but pieces of IP datagrams are dropped by many
//! firewalls and most IPv6 paths; ours are ordinary datagrams, sealed one by one.
//!
//! Invariants: memory is taken only for authentic fragments, and is bounded by [`MESSAGES_MAX`] and
//! [`MESSAGES_OF_SENDER_MAX`]; a message of which a fragment is missing goes after [`AGE_MS_MAX`], or
//! earlier when there is no room, the oldest first.

use std::collections::HashMap;

use twinmcp_storage::clock::Timestamp;

use super::seal::{FRAGMENT_BYTES_MAX, Fragment, Opened, Sender};
use super::traffic::Dropped;

/// One bit each in a word. Together 72,000 bytes; `chitchat` makes no message above 65,507.
const FRAGMENTS_MAX: usize = 64;
/// Messages under way at once, of all senders: at most 18 MB.
const MESSAGES_MAX: usize = 256;
/// Messages under way at once of one sender, so that one does not push out all others.
const MESSAGES_OF_SENDER_MAX: usize = 8;
/// How long fragments wait for the others, in milliseconds. They are sent together.
const AGE_MS_MAX: u64 = 5_000;

/// The fragments of a message, in order.
///
/// # Errors
/// [`Dropped::Large`] when there would be more than [`FRAGMENTS_MAX`].
pub(super) fn split(message: &[u8]) -> Result<impl Iterator<Item = Fragment<'_>>, Dropped> {
    let count = message.len().div_ceil(FRAGMENT_BYTES_MAX);
    if count > FRAGMENTS_MAX {
        return Err(Dropped::Large);
    }
    // At most 64, see above.
    let count = count as u8;
    let pieces = message.chunks(FRAGMENT_BYTES_MAX);
    Ok((0..count).zip(pieces).map(move |(place, bytes)| Fragment { place, count, bytes }))
}

/// Messages of which not all fragments have come.
#[derive(Default)]
pub(super) struct Reassembly {
    partial: HashMap<(Sender, u64), Partial>,
}

struct Partial {
    count: u8,
    /// One bit a fragment that has come.
    come: u64,
    /// Room for all fragments; cut to the message when the last has come.
    bytes: Vec<u8>,
    len: usize,
    since: Timestamp,
}

impl Reassembly {
    /// Takes a fragment; the message when it was the last one missing. `dropped` is told of each message given up.
    ///
    /// # Errors
    /// [`Dropped::Fragment`] when it cannot be part of a message.
    pub(super) fn add(
        &mut self,
        opened: &Opened<'_>,
        now: Timestamp,
        dropped: impl Fn(Dropped),
    ) -> Result<Option<Vec<u8>>, Dropped> {
        let fragment = &opened.fragment;
        check(fragment)?;
        if fragment.count == 1 {
            return Ok(Some(fragment.bytes.to_vec()));
        }
        let name = (opened.sender, opened.message);
        if !self.partial.contains_key(&name) {
            self.make_room(&opened.sender, now, dropped);
        }
        let partial = self.partial.entry(name).or_insert_with(|| Partial::new(fragment.count, now));
        if partial.count != fragment.count {
            return Err(Dropped::Fragment);
        }
        if !partial.add(fragment) {
            return Ok(None);
        }
        Ok(self.partial.remove(&name).map(Partial::finish))
    }

    fn make_room(&mut self, sender: &Sender, now: Timestamp, dropped: impl Fn(Dropped)) {
        let before = self.partial.len();
        self.partial.retain(|_, partial| now.millis_since(partial.since) <= AGE_MS_MAX);
        let of_sender = self.partial.keys().filter(|(of, _)| of == sender).count();
        if of_sender >= MESSAGES_OF_SENDER_MAX {
            self.give_up_oldest(|of| of == sender);
        } else if self.partial.len() >= MESSAGES_MAX {
            self.give_up_oldest(|_| true);
        }
        (self.partial.len()..before).for_each(|_| dropped(Dropped::Incomplete));
    }

    fn give_up_oldest(&mut self, is_one: impl Fn(&Sender) -> bool) {
        let ours = self.partial.iter().filter(|((of, _), _)| is_one(of));
        let oldest = ours.min_by_key(|((_, message), partial)| (partial.since, *message));
        if let Some(name) = oldest.map(|(name, _)| *name) {
            self.partial.remove(&name);
        }
    }
}

/// All fragments are full but the last, which is not empty.
fn check(fragment: &Fragment<'_>) -> Result<(), Dropped> {
    if fragment.place >= fragment.count || usize::from(fragment.count) > FRAGMENTS_MAX {
        return Err(Dropped::Fragment);
    }
    let is_last = fragment.place + 1 == fragment.count;
    let is_full = fragment.bytes.len() == FRAGMENT_BYTES_MAX;
    if is_full || (is_last && !fragment.bytes.is_empty()) { Ok(()) } else { Err(Dropped::Fragment) }
}

impl Partial {
    fn new(count: u8, since: Timestamp) -> Self {
        let room = usize::from(count) * FRAGMENT_BYTES_MAX;
        Self { count, come: 0, bytes: vec![0; room], len: room, since }
    }

    /// Whether all have come.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let at = usize::from(fragment.place) * FRAGMENT_BYTES_MAX;
        let end = at + fragment.bytes.len();
        self.bytes[at..end].copy_from_slice(fragment.bytes);
        if fragment.place + 1 == fragment.count {
            self.len = end;
        }
        self.come |= 1 << fragment.place;
        self.come.count_ones() == u32::from(self.count)
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const MESSAGE_BYTES_MAX: usize = FRAGMENTS_MAX * FRAGMENT_BYTES_MAX;

    fn sender(node: u64) -> Sender {
        Sender { node, generation: 1, boot: [0; 16] }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    proptest! {
        #[test]
        fn a_message_comes_out_as_it_went_in_whatever_the_order(
            message in prop::collection::vec(any::<u8>(), 1..MESSAGE_BYTES_MAX),
            turn in any::<prop::sample::Index>(),
        ) {
            let mut fragments: Vec<Fragment<'_>> = split(&message).unwrap().collect();
            let turn = turn.index(fragments.len());
            fragments.rotate_left(turn);
            let mut reassembly = Reassembly::default();
            let last = fragments.len() - 1;
            for (nth, fragment) in fragments.into_iter().enumerate() {
                let opened = Opened { sender: sender(1), message: 9, fragment };
                let whole = reassembly.add(&opened, at(0), |_| panic!("nothing is given up")).unwrap();
                prop_assert_eq!(whole.as_deref(), (nth == last).then_some(&message[..]));
            }
            prop_assert!(reassembly.partial.is_empty());
        }

        #[test]
        fn no_fragment_is_too_strange(
            fragments in prop::collection::vec((any::<u8>(), any::<u8>(), 0..=FRAGMENT_BYTES_MAX, 0_u64..3), 1..200),
        ) {
            let mut reassembly = Reassembly::default();
            for (nth, (place, count, len, message)) in fragments.into_iter().enumerate() {
                let bytes = vec![0; len];
                let fragment = Fragment { place, count, bytes: &bytes };
                let opened = Opened { sender: sender(1), message, fragment };
                let _ = reassembly.add(&opened, at(nth as u64), |_| ());
            }
        }
    }

    #[test]
    fn a_message_above_the_limit_is_not_sent() {
        assert_eq!(split(&vec![0; MESSAGE_BYTES_MAX]).unwrap().count(), FRAGMENTS_MAX);
        assert_eq!(split(&vec![0; MESSAGE_BYTES_MAX + 1]).err(), Some(Dropped::Large));
    }

    #[test]
    fn what_is_under_way_is_bounded_in_count_and_age_and_by_sender() {
        let (mut reassembly, given_up) = (Reassembly::default(), Cell::new(0));
        let bytes = [0; FRAGMENT_BYTES_MAX];
        let mut begin = |node, message, now| {
            let opened = Opened {
                sender: sender(node),
                message,
                fragment: Fragment { place: 0, count: 2, bytes: &bytes },
            };
            assert_eq!(reassembly.add(&opened, at(now), |_| given_up.set(given_up.get() + 1)).unwrap(), None);
            reassembly.partial.len()
        };
        for message in 0..20 {
            begin(1, message, 0);
        }
        assert_eq!((begin(2, 0, 0), given_up.get()), (9, 12), "one sender has eight");
        for node in 3..=300 {
            begin(node, 0, node);
        }
        assert_eq!(begin(301, 0, 301), MESSAGES_MAX);
        assert_eq!(begin(302, 0, 10_000), 1, "all others waited too long");
    }
}
