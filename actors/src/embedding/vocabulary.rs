//! The WordPiece vocabulary as a hash table made for one question: which piece is the longest prefix?
//!
//! A slot holds 16 bits of the hash beside the token id, so that nearly every miss ends in the slot
//! itself; a hit is confirmed against the vocabulary's own bytes. The hash is built byte by byte, so
//! one run over a word gives the hashes of all its prefixes. Which of these are worth a look says a table
//! of the lengths that pieces have which begin with the same three bytes: about two of a dozen are. 256 KiB
//! of slots, 16 KiB of lengths and 119 KiB of offsets are all that lives on the heap; building them takes
//! about a millisecond.

use std::borrow::Cow;

/// The built-in vocabulary file: one piece a line, the line number is the token id.
const PIECES: &str = include_str!("model/vocab.txt");

/// Number of built-in pieces, which is also the number of rows of every table trained on them.
pub(super) const PIECE_COUNT: usize = 30_522;

/// Pieces a vocabulary may have: an id is below 0x8000, so that no slot looks like [`EMPTY`].
pub(super) const PIECES_MAX: usize = 0x8000;

/// The piece that stands for a word that cannot be spelled with the others.
const UNKNOWN_PIECE: &str = "[UNK]";

/// No piece is longer; longer prefixes are not looked up. The longest in the file has 18 bytes.
const PIECE_BYTES_MAX: usize = 24;

/// A power of two; less than half of the slots are taken, so probe runs stay short.
const SLOT_BITS: u32 = 16;

const EMPTY: u32 = u32::MAX;

/// Bytes by which pieces are grouped to know their lengths.
const HEAD_BYTES: usize = 3;
/// A power of two of groups: three or four pieces fall into each.
const HEAD_BITS: u32 = 12;
/// The lengths of pieces that are shorter than a head; every group has them.
const BELOW_HEAD: u32 = (1 << (HEAD_BYTES - 1)) - 1;

/// Pieces that open a word and pieces that continue one (`##…`) are two separate sets of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    Continuation,
}

/// One line of the vocabulary, found as the longest prefix of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u16,
    /// Bytes of the text it covers; at least 1.
    pub(super) len: usize,
}

/// The pieces, ready to be searched.
pub(super) struct Vocabulary {
    pieces: Cow<'static, str>,
    /// `tag << 16 | id`.
    slots: Box<[u32]>,
    /// The lengths of the pieces of each group of heads: bit 0 stands for one byte.
    lengths: Box<[u32]>,
    /// Where the key of each id starts in `pieces`, its `##` left out.
    starts: Box<[u32]>,
    unknown: u16,
}

impl Vocabulary {
    /// The vocabulary in the binary.
    pub(super) fn builtin() -> Self {
        Self::build(Cow::Borrowed(PIECES), PIECE_COUNT)
    }

    /// The vocabulary of a model of its own, one piece a line; `None` for more than [`PIECES_MAX`]
    /// pieces, or none at all.
    pub(super) fn from_lines(pieces: String) -> Option<Self> {
        let count = pieces.lines().count();
        (1..=PIECES_MAX)
            .contains(&count)
            .then(|| Self::build(Cow::Owned(pieces.replace("\r\n", "\n")), count))
    }

    fn build(pieces: Cow<'static, str>, count: usize) -> Self {
        let mut vocabulary = Self {
            pieces: Cow::Borrowed(""),
            slots: vec![EMPTY; 1 << SLOT_BITS].into_boxed_slice(),
            lengths: vec![BELOW_HEAD; 1 << HEAD_BITS].into_boxed_slice(),
            starts: vec![0; count].into_boxed_slice(),
            unknown: 0,
        };
        let mut line_start = 0;
        for (id, line) in (0_u16..).zip(pieces.split('\n').take(count)) {
            let (place, key) = match line.strip_prefix("##") {
                Some(key) if !key.is_empty() => (Place::Continuation, key),
                _ => (Place::Start, line),
            };
            let key_start = line_start + (line.len() - key.len());
            line_start += line.len() + 1;
            if let Some(start) = vocabulary.starts.get_mut(usize::from(id)) {
                *start = u32::try_from(key_start).unwrap_or(0);
            }
            if !key.is_empty() {
                vocabulary.insert(place, key.as_bytes(), id);
            }
        }
        vocabulary.pieces = pieces;
        vocabulary.unknown = vocabulary.id_of(UNKNOWN_PIECE).unwrap_or(0);
        vocabulary
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The piece that stands for a word that cannot be spelled.
    pub(super) fn unknown(&self) -> u16 {
        self.unknown
    }

    /// The id of a piece that opens a word, `[CLS]` for one, or `None` when there is none.
    pub(super) fn id_of(&self, piece: &str) -> Option<u16> {
        self.longest_prefix(Place::Start, piece.as_bytes())
            .filter(|found| found.len == piece.len())
            .map(|found| found.id)
    }

    /// The longest piece that `text` starts with; `None` also for an empty text.
    pub(super) fn longest_prefix(&self, place: Place, text: &[u8]) -> Option<Piece> {
        let mut hashes = [0_u64; PIECE_BYTES_MAX];
        let mut state = seed(place);
        for (hash, byte) in hashes.iter_mut().zip(text) {
            state = step(state, *byte);
            *hash = state;
        }
        // A prefix that ends inside a character is never equal to a piece: pieces are whole UTF-8.
        let mut lengths = match hashes.get(HEAD_BYTES - 1).and_then(|head| self.lengths.get(group(*head))) {
            Some(lengths) if text.len() >= HEAD_BYTES => *lengths,
            _ => BELOW_HEAD,
        };
        lengths &= (1 << text.len().min(PIECE_BYTES_MAX)) - 1;
        while let Some(last) = lengths.checked_ilog2() {
            let last = last as usize;
            let prefix = text.get(..=last)?;
            if let Some(id) = self.find(*hashes.get(last)?, prefix, place) {
                return Some(Piece { id, len: prefix.len() });
            }
            lengths ^= 1 << last;
        }
        None
    }

    fn insert(&mut self, place: Place, key: &[u8], id: u16) {
        // Longer pieces are never looked up.
        if let Some(head) = key.get(..HEAD_BYTES).filter(|_| key.len() <= PIECE_BYTES_MAX)
            && let Some(lengths) = self.lengths.get_mut(group(hash(place, head)))
        {
            *lengths |= 1 << (key.len() - 1);
        }
        let (mut index, tag) = index_and_tag(hash(place, key));
        // Ends: the table has more than twice as many slots as the file has pieces.
        while let Some(slot) = self.slots.get_mut(index) {
            if *slot == EMPTY {
                *slot = tag << 16 | u32::from(id);
                return;
            }
            index = next(index);
        }
    }

    fn find(&self, hash: u64, key: &[u8], place: Place) -> Option<u16> {
        let (mut index, tag) = index_and_tag(hash);
        loop {
            let slot = *self.slots.get(index)?;
            if slot == EMPTY {
                return None;
            }
            let id = (slot & 0xFFFF) as u16;
            if slot >> 16 == tag && self.is(id, key, place) {
                return Some(id);
            }
            index = next(index);
        }
    }

    /// Whether the piece `id` is spelled `key` and belongs to `place`.
    fn is(&self, id: u16, key: &[u8], place: Place) -> bool {
        let Some(&start) = self.starts.get(usize::from(id)) else {
            return false;
        };
        let start = start as usize;
        let bytes = self.pieces.as_bytes();
        let ends_there = bytes.get(start + key.len()).is_none_or(|&byte| byte == b'\n');
        let continues = start >= 2 && bytes.get(start - 2..start) == Some(b"##");
        ends_there
            && continues == (place == Place::Continuation)
            && bytes.get(start..start + key.len()) == Some(key)
    }
}

fn seed(place: Place) -> u64 {
    match place {
        Place::Start => 0xCBF2_9CE4_8422_2325,
        Place::Continuation => 0x9E37_79B9_7F4A_7C15,
    }
}

/// One round of FNV-1a.
fn step(state: u64, byte: u8) -> u64 {
    (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
}

fn hash(place: Place, key: &[u8]) -> u64 {
    key.iter().fold(seed(place), |state, &byte| step(state, byte))
}

/// FNV mixes its low bits badly; one more multiplication spreads them over the high half.
fn index_and_tag(hash: u64) -> (usize, u32) {
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> (64 - SLOT_BITS)) as usize, (mixed >> 32) as u32 & 0xFFFF)
}

/// The group of a head with this hash.
fn group(head: u64) -> usize {
    index_and_tag(head).0 >> (SLOT_BITS - HEAD_BITS)
}

fn next(index: usize) -> usize {
    (index + 1) & ((1 << SLOT_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_the_file_is_found_under_its_own_line_number() {
        let vocabulary = Vocabulary::builtin();
        let lines: Vec<&str> = PIECES.lines().collect();
        assert_eq!(lines.len(), PIECE_COUNT);
        for (id, line) in lines.iter().enumerate() {
            let (place, key) = match line.strip_prefix("##") {
                Some(key) => (Place::Continuation, key),
                None => (Place::Start, *line),
            };
            let found = vocabulary.longest_prefix(place, key.as_bytes());
            assert_eq!(found, Some(Piece { id: id as u16, len: key.len() }), "{line}");
        }
    }

    #[test]
    fn no_piece_is_longer_than_the_prefixes_looked_up() {
        assert!(PIECES.lines().all(|line| line.trim_start_matches("##").len() <= PIECE_BYTES_MAX));
        assert_eq!(Vocabulary::builtin().unknown(), 100);
    }

    #[test]
    fn a_vocabulary_of_its_own_is_read_by_line_and_has_a_limit() {
        let own = Vocabulary::from_lines("[PAD]\n[UNK]\nwidget\n##s".to_owned()).unwrap();
        assert_eq!(
            (own.len(), own.unknown(), own.id_of("widget"), own.id_of("widge")),
            (4, 1, Some(2), None)
        );
        assert_eq!(own.longest_prefix(Place::Continuation, b"s"), Some(Piece { id: 3, len: 1 }));
        assert!(Vocabulary::from_lines(String::new()).is_none());
        assert!(Vocabulary::from_lines("a\n".repeat(PIECES_MAX + 1)).is_none());
    }

    #[test]
    fn the_longest_piece_wins() {
        let vocabulary = Vocabulary::builtin();
        let piece = |place, text: &str| {
            let found = vocabulary.longest_prefix(place, text.as_bytes())?;
            PIECES.lines().nth(usize::from(found.id)).map(|line| (line, found.len))
        };
        assert_eq!(piece(Place::Start, "embedding"), Some(("em", 2)));
        assert_eq!(piece(Place::Continuation, "bedding"), Some(("##bed", 3)));
        assert_eq!(piece(Place::Start, "the"), Some(("the", 3)));
        assert_eq!(piece(Place::Start, "\u{1F680}"), None);
        assert_eq!(piece(Place::Start, ""), None);
    }
}
