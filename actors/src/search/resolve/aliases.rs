//! Short forms and what they stand for: a table of general knowledge, `aliases.txt`.

use std::sync::LazyLock;

use super::edit::distance;
use super::words::{key, words};

/// Shortest short form that is also found with a slip, in bytes.
const FUZZY_BYTES_MIN: usize = 6;
/// Words of a long form.
const WORDS_MAX: usize = 8;

/// One of the names a short form stands for.
pub(super) struct Target {
    pub(super) key: String,
    pub(super) words: Vec<String>,
}

/// A short form as key, with what it stands for.
type Alias = (String, Vec<Target>);

/// Sorted by short form.
static ALIASES: LazyLock<Vec<Alias>> = LazyLock::new(|| {
    let target = |name: &str| Target { key: key(name), words: words(name, WORDS_MAX) };
    let lines = include_str!("aliases.txt").lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let mut aliases: Vec<Alias> =
        pairs.map(|(short, long)| (key(short), long.split(',').map(target).collect())).collect();
    aliases.sort_by(|one, other| one.0.cmp(&other.0));
    aliases
});

/// What the key stands for.
pub(super) fn of(short: &str) -> impl Iterator<Item = &'static Target> {
    let from = ALIASES.partition_point(|(known, _)| known.as_str() < short);
    ALIASES[from..].iter().take_while(move |(known, _)| known == short).flat_map(|(_, targets)| targets)
}

/// What short forms at one edit from the key stand for, each with the short form.
pub(super) fn near(key: &str) -> impl Iterator<Item = (&'static str, &'static Target)> {
    let is_near = move |short: &str| {
        short.len().min(key.len()) >= FUZZY_BYTES_MIN
            && distance(short.as_bytes(), key.as_bytes(), 1) == Some(1)
    };
    let found = ALIASES.iter().filter(move |(short, _)| is_near(short));
    found.flat_map(|(short, targets)| targets.iter().map(move |target| (short.as_str(), target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        assert!(ALIASES.len() > 100);
        for (short, targets) in ALIASES.iter() {
            assert!(!short.is_empty() && !targets.is_empty());
            assert!(targets.iter().all(|target| !target.key.is_empty() && target.key != *short), "{short}");
        }
    }

    #[test]
    fn short_forms_are_found_as_they_are_and_long_ones_with_a_slip() {
        let of = |short: &str| of(short).map(|target| target.key.as_str()).collect::<Vec<_>>();
        assert_eq!(of("postgres"), ["postgresql"]);
        assert_eq!(of("tf"), ["terraform", "tensorflow"]);
        assert_eq!(of("postgre"), [""; 0]);
        let near =
            |key: &str| near(key).map(|(short, target)| (short, target.key.as_str())).collect::<Vec<_>>();
        assert_eq!(near("posgres"), [("postgres", "postgresql")]);
        assert_eq!(near("nz"), []);
    }
}
