//! The keys of all names of a segment: found as they are, by their start, or with slips.

use std::ops::Range;

use super::edit::{FUZZY_BYTES_MAX, Signature, distance};

/// What a key is to the entry that holds it; the earlier, the more it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    /// The entry's name, or owner and name.
    Name,
    /// Its title.
    Title,
    /// Another name it is told to have.
    Alias,
    /// The name of an entry that says to use this one in its stead.
    Successor,
    /// Its title without vendor, language and the like.
    Core,
    /// Its name without a language's affix or a number at its end.
    Bare,
    /// The scope of a scope's main package.
    Scope,
    /// The package in a scope.
    Package,
    /// The initials of its title or name.
    Initials,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Name,
        Self::Title,
        Self::Alias,
        Self::Successor,
        Self::Core,
        Self::Bare,
        Self::Scope,
        Self::Package,
        Self::Initials,
    ];
}

/// An entry that holds a key, and how: entry above, four bits of kind below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder(u32);

/// Bytes of a key beyond which it is no name.
const KEY_BYTES_MAX: usize = 250;
/// Bits of a [`Holder`] that say the kind.
const KIND_BITS: u32 = 4;

impl Holder {
    fn new(entry: u32, kind: Kind) -> Self {
        Self(entry << KIND_BITS | kind as u32)
    }

    pub(super) fn entry(self) -> u32 {
        self.0 >> KIND_BITS
    }

    pub(super) fn kind(self) -> Kind {
        Kind::ALL[(self.0 & ((1 << KIND_BITS) - 1)) as usize % Kind::ALL.len()]
    }
}

/// Keys in order, with their holders.
pub(super) struct Keys {
    text: Box<str>,
    /// Where each key ends in `text`.
    ends: Box<[u32]>,
    holders: Box<[Holder]>,
    /// Where the holders of each key end.
    holder_ends: Box<[u32]>,
    /// The greatest popularity among the holders of each key.
    popularity: Box<[u8]>,
    /// Keys of up to [`FUZZY_BYTES_MAX`] bytes by length, with what tells most of them apart.
    by_length: Box<[(Signature, u32)]>,
    /// Where each length ends in `by_length`.
    length_ends: Box<[u32]>,
    /// The first key that starts with each byte or a greater one.
    first_byte: Box<[u32]>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, key: u32) -> &str {
        let at = key as usize;
        &self.text[start(&self.ends, at)..self.ends[at] as usize]
    }

    /// Who holds a key: first the most telling kind, and within it the most popular.
    pub(super) fn holders(&self, key: u32) -> &[Holder] {
        let at = key as usize;
        &self.holders[start(&self.holder_ends, at)..self.holder_ends[at] as usize]
    }

    /// The greatest popularity among a key's holders.
    pub(super) fn popularity(&self, key: u32) -> u8 {
        self.popularity[key as usize]
    }

    /// The key spelled exactly so.
    pub(super) fn exact(&self, text: &str) -> Option<u32> {
        let at = self.position(text);
        (at < self.len() as u32 && self.get(at) == text).then_some(at)
    }

    /// The keys that start so, in order; among them the key itself.
    pub(super) fn starting_with(&self, text: &str) -> Range<u32> {
        let from = self.position(text);
        let (mut low, mut high) = (from, self.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).starts_with(text) { low = middle + 1 } else { high = middle }
        }
        from..low
    }

    /// Calls `found` with every key at 1 to `edits_max` edits from `text`, and the edits.
    pub(super) fn near(&self, text: &str, edits_max: usize, mut found: impl FnMut(u32, usize)) {
        if text.len() > FUZZY_BYTES_MAX || edits_max == 0 {
            return;
        }
        let signature = Signature::of(text);
        let lengths =
            text.len().saturating_sub(edits_max).max(1)..=(text.len() + edits_max).min(FUZZY_BYTES_MAX);
        let (from, to) =
            (start(&self.length_ends, *lengths.start()), self.length_ends[*lengths.end()] as usize);
        for (other, key) in &self.by_length[from..to] {
            if signature.may_be_within(*other, edits_max) {
                let edits = distance(text.as_bytes(), self.get(*key).as_bytes(), edits_max);
                if let Some(edits) = edits.filter(|edits| *edits > 0) {
                    found(*key, edits);
                }
            }
        }
    }

    /// Calls `found` with the keys of `bytes` bytes that start with `first` and end with `last`.
    pub(super) fn of_shape(&self, first: u8, bytes: usize, last: u8, mut found: impl FnMut(u32)) {
        if bytes > FUZZY_BYTES_MAX {
            return;
        }
        for (_, key) in &self.by_length[start(&self.length_ends, bytes)..self.length_ends[bytes] as usize] {
            let text = self.get(*key).as_bytes();
            if text.first() == Some(&first) && text.last() == Some(&last) {
                found(*key);
            }
        }
    }

    /// Heap bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
            + size_of_val(&*self.ends)
            + size_of_val(&*self.holders)
            + size_of_val(&*self.holder_ends)
            + self.popularity.len()
            + size_of_val(&*self.by_length)
            + size_of_val(&*self.length_ends)
            + size_of_val(&*self.first_byte)
    }

    /// The first key not less than `text`.
    fn position(&self, text: &str) -> u32 {
        let Some(byte) = text.bytes().next() else { return 0 };
        let (mut low, mut high) =
            (self.first_byte[usize::from(byte)], self.first_byte[usize::from(byte) + 1]);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) < text { low = middle + 1 } else { high = middle }
        }
        low
    }
}

fn start(ends: &[u32], at: usize) -> usize {
    at.checked_sub(1).map_or(0, |before| ends[before] as usize)
}

/// Collects keys in any order.
#[derive(Default)]
pub(super) struct KeysBuilder {
    text: String,
    /// Where the text of each addition ends, and who holds it.
    added: Vec<(u32, u32, Holder)>,
}

impl KeysBuilder {
    /// Adds a key; an empty one, and one longer than [`KEY_BYTES_MAX`], is nobody's.
    pub(super) fn add(&mut self, key: &str, entry: u32, kind: Kind) {
        let ends = (u32::try_from(self.text.len()), u32::try_from(self.text.len() + key.len()));
        if let (1..=KEY_BYTES_MAX, (Ok(from), Ok(to))) = (key.len(), ends) {
            self.text.push_str(key);
            self.added.push((from, to, Holder::new(entry, kind)));
        }
    }

    /// Puts the keys in order; `popularity` is that of an entry.
    pub(super) fn finish(mut self, popularity: impl Fn(u32) -> u8) -> Keys {
        let from = std::mem::take(&mut self.text);
        let text_of = |addition: &(u32, u32, Holder)| &from[addition.0 as usize..addition.1 as usize];
        self.added.sort_unstable_by(|one, other| {
            let order =
                |holder: Holder| (holder.kind(), u8::MAX - popularity(holder.entry()), holder.entry());
            text_of(one).cmp(text_of(other)).then_with(|| order(one.2).cmp(&order(other.2)))
        });
        let mut text = String::with_capacity(from.len());
        let (mut ends, mut holders, mut holder_ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut greatest = Vec::new();
        // The key that each entry was last noted for: a bare name may have a million holders (`library-1`, `library-2`, …).
        let entries = self.added.iter().map(|(.., holder)| holder.entry() as usize + 1).max().unwrap_or(0);
        let mut noted = vec![None; entries];
        for same in self.added.chunk_by(|one, other| text_of(one) == text_of(other)) {
            text.push_str(text_of(&same[0]));
            ends.push(text.len() as u32);
            let first = holders.len();
            for (_, _, holder) in same {
                if noted[holder.entry() as usize].replace(ends.len()) != Some(ends.len()) {
                    holders.push(*holder);
                }
            }
            holder_ends.push(holders.len() as u32);
            greatest.push(
                holders[first..].iter().map(|holder: &Holder| popularity(holder.entry())).max().unwrap_or(0),
            );
        }
        let (by_length, length_ends) = by_length(&text, &ends);
        let mut first_byte = vec![0_u32; 257];
        for at in 0..ends.len() {
            let byte = text.as_bytes()[start(&ends, at)];
            first_byte[usize::from(byte) + 1] = at as u32 + 1;
        }
        for byte in 1..first_byte.len() {
            first_byte[byte] = first_byte[byte].max(first_byte[byte - 1]);
        }
        Keys {
            text: text.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            holders: holders.into_boxed_slice(),
            holder_ends: holder_ends.into_boxed_slice(),
            popularity: greatest.into_boxed_slice(),
            by_length,
            length_ends,
            first_byte: first_byte.into_boxed_slice(),
        }
    }
}

type ByLength = (Box<[(Signature, u32)]>, Box<[u32]>);

fn by_length(text: &str, ends: &[u32]) -> ByLength {
    let length = |at: usize| ends[at] as usize - start(ends, at);
    let mut keys: Vec<usize> = (0..ends.len()).filter(|at| length(*at) <= FUZZY_BYTES_MAX).collect();
    keys.sort_by_key(|at| length(*at));
    let length_ends =
        (0..=FUZZY_BYTES_MAX).map(|bytes| keys.partition_point(|at| length(*at) <= bytes) as u32).collect();
    let signed = |at: usize| (Signature::of(&text[start(ends, at)..ends[at] as usize]), at as u32);
    (keys.into_iter().map(signed).collect(), length_ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Keys {
        let mut builder = KeysBuilder::default();
        for (entry, name) in (0..).zip(names) {
            builder.add(name, entry, Kind::Name);
        }
        builder.finish(|entry| entry as u8)
    }

    #[test]
    fn a_key_is_found_as_it_is_by_its_start_and_with_slips() {
        let keys = keys(&["vue", "react", "reactdom", "preact", "zod", "react", "日本"]);
        let text = |key| keys.get(key);
        assert_eq!(keys.len(), 6);
        assert_eq!(keys.exact("react").map(text), Some("react"));
        assert_eq!(keys.exact("reac"), None);
        assert_eq!(keys.exact(""), None);
        assert_eq!(keys.exact("日本").map(text), Some("日本"));
        assert_eq!(keys.starting_with("react").map(text).collect::<Vec<_>>(), ["react", "reactdom"]);
        assert_eq!(keys.starting_with("z").map(text).collect::<Vec<_>>(), ["zod"]);
        assert_eq!(keys.starting_with("~").count(), 0);
        let mut near = Vec::new();
        keys.near("raect", 2, |key, edits| near.push((text(key), edits)));
        assert_eq!(near, [("react", 1), ("preact", 2)]);
        let mut shaped = Vec::new();
        keys.of_shape(b'r', 8, b'm', |key| shaped.push(text(key)));
        assert_eq!(shaped, ["reactdom"]);
    }

    #[test]
    fn the_most_telling_and_then_the_most_popular_holder_comes_first() {
        let mut builder = KeysBuilder::default();
        builder.add("http", 1, Kind::Package);
        builder.add("http", 2, Kind::Name);
        builder.add("http", 3, Kind::Name);
        builder.add("http", 3, Kind::Title);
        builder.add("", 4, Kind::Name);
        builder.add(&"x".repeat(300), 4, Kind::Name);
        let keys = builder.finish(|entry| entry as u8 * 10);
        let key = keys.exact("http").unwrap();
        let holders: Vec<_> = keys.holders(key).iter().map(|held| (held.entry(), held.kind())).collect();
        assert_eq!(holders, [(3, Kind::Name), (2, Kind::Name), (1, Kind::Package)]);
        assert_eq!(keys.popularity(key), 30);
        assert_eq!(keys.len(), 1);
    }

    /// `library-1`, `library-2` and so on are all `library` too. With a look at every holder before it this would not end.
    #[test]
    fn a_key_that_very_many_entries_have_has_each_of_them_once() {
        const ENTRIES: u32 = 1_000_000;
        let mut builder = KeysBuilder::default();
        for entry in 0..ENTRIES {
            builder.add("library", entry, Kind::Bare);
            builder.add("library", entry, Kind::Title);
        }
        let keys = builder.finish(|_| 50);
        let holders = keys.holders(keys.exact("library").unwrap());
        assert!(holders.iter().map(|held| held.entry()).eq(0..ENTRIES));
        assert!(holders.iter().all(|held| held.kind() == Kind::Title), "the most telling kind");
    }
}
