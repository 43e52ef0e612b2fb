//! The keys a name may stand for: whole, without what surrounds it, in parts, and spelled out.

use super::aliases;
use super::ask::{Cover, NameWord, Role};
use super::edit::{FUZZY_BYTES_MAX, edits_allowed};

/// Words that are tried as one name, wherever they stand.
const SPAN_WORDS_MAX: usize = 5;
/// Readings that are also looked up with slips.
const FUZZY_MAX: usize = 5;
/// What must stay of a name before `js`, in bytes.
const BARE_BYTES_MIN: usize = 3;

/// A key the name may stand for.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) key: String,
    /// The words it explains.
    pub(super) cover: Cover,
    /// The short form this is what it stands for.
    pub(super) alias_of: Option<String>,
    /// Slips in that short form.
    pub(super) slips: usize,
    /// Edits with which it is also looked up.
    pub(super) edits_max: usize,
    /// Whether keys that start with it are looked up.
    pub(super) is_whole: bool,
}

/// The keys the name may stand for, the whole name first.
pub(super) fn readings(words: &[NameWord]) -> Vec<Reading> {
    let mut readings = Readings { words, found: Vec::new(), fuzzy: 0 };
    let all: Vec<usize> = (0..words.len()).collect();
    let without = |roles: &[Role]| -> Vec<usize> {
        all.iter().copied().filter(|at| !roles.contains(&words[*at].role)).collect()
    };
    readings.add(&all, true);
    let roles = [Role::Filler, Role::Version, Role::Language, Role::Generic];
    for count in 1..=roles.len() {
        readings.add(&without(&roles[..count]), true);
    }
    for from in 0..words.len() {
        for to in from + 1..=words.len().min(from + SPAN_WORDS_MAX) {
            let has = |role: Role| words[from..to].iter().any(|word| word.role == role);
            let is_padded = [from, to - 1].iter().any(|at| words[*at].role == Role::Filler);
            if !is_padded && has(Role::Content) {
                readings.add(&all[from..to], false);
            }
        }
    }
    readings.found
}

struct Readings<'a> {
    words: &'a [NameWord],
    found: Vec<Reading>,
    /// How many are also looked up with slips.
    fuzzy: usize,
}

impl Readings<'_> {
    /// Adds the words at these places read as one name, once.
    fn add(&mut self, places: &[usize], is_whole: bool) {
        let key: String = places.iter().map(|at| self.words[*at].text.as_str()).collect();
        if key.is_empty() || self.found.iter().any(|known| known.alias_of.is_none() && known.key == key) {
            return;
        }
        let cover = places.iter().fold(0, |cover, at| cover | 1 << at);
        let is_name = is_whole || matches!(places, [at] if self.words[*at].role == Role::Content);
        let is_fuzzy = is_name && self.fuzzy < FUZZY_MAX && key.len() <= FUZZY_BYTES_MAX;
        self.fuzzy += usize::from(is_fuzzy);
        let edits_max = if is_fuzzy { edits_allowed(key.len()) } else { 0 };

        let alias = |short: &str, slips: usize, target: &aliases::Target| Reading {
            key: target.key.clone(),
            cover,
            alias_of: Some(short.to_owned()),
            slips,
            ..Reading::default()
        };
        self.found.extend(aliases::of(&key).map(|target| alias(&key, 0, target)));
        if edits_max > 0 {
            self.found.extend(aliases::near(&key).map(|(short, target)| alias(short, 1, target)));
        }
        // `reactjs` is react; a library that has the suffix itself comes first.
        let bare = key.strip_suffix("js").filter(|bare| bare.len() >= BARE_BYTES_MIN).map(str::to_owned);
        self.found.push(Reading { key, cover, edits_max, is_whole, ..Reading::default() });
        self.found.extend(bare.map(|key| Reading { key, cover, ..Reading::default() }));
    }
}
