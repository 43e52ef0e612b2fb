//! The names an entry answers to: those it is told to have, and those that follow from them by rule.

use super::Entry;
use super::keys::Kind;
use super::languages::Languages;
use super::lists::{LEADS, MAIN_PACKAGES, PAPER, RETIRED, VENDORS};
use super::words::{key, words};

/// Words of a name looked at; real ones have fewer.
const NAME_WORDS_MAX: usize = 12;
/// Affixes by which a name says its language.
const AFFIXES: [(&str, &str); 7] = [
    ("Python", "py"),
    ("Python", "python"),
    ("JavaScript", "js"),
    ("JavaScript", "node"),
    ("Rust", "rs"),
    ("Rust", "rust"),
    ("Go", "go"),
];
const NUMBERS: [(&str, char); 9] = [
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
];

/// Calls `found` with every key of the entry; a key may come more than once.
pub(super) fn each_key(entry: &Entry, languages: Languages, mut found: impl FnMut(&str, Kind)) {
    let name = entry.id.name();
    found(&key(name), Kind::Name);
    if Languages::of_registry(entry.id.owner()).is_empty() {
        found(&key(&format!("{} {name}", entry.id.owner())), Kind::Name);
    }
    found(&key(&entry.title), Kind::Title);
    for alias in &entry.aliases {
        found(&key(alias), Kind::Alias);
    }
    if let Some((scope, package)) = name.strip_prefix('@').and_then(|scoped| scoped.split_once('/')) {
        found(&key(package), Kind::Package);
        if MAIN_PACKAGES.has(package) {
            found(&key(scope), Kind::Scope);
        }
    }
    let name_words = words(name, NAME_WORDS_MAX);
    let title_words = words(&entry.title, NAME_WORDS_MAX);
    // A title may be the name cut into words: `Django REST framework`.
    let named = [Some(&name_words), Some(&title_words).filter(|words| **words != name_words)];
    for words in named.into_iter().flatten() {
        core_keys(words, *words == title_words, &mut |key| found(key, Kind::Core));
        bare_keys(words, languages, &mut |key| found(key, Kind::Bare));
        if words.len() > 2 {
            found(&initials(words), Kind::Initials);
        }
    }
}

/// `Apache Kafka` is kafka, `Cargo Book` cargo, `OpenCV for Python` opencv.
fn core_keys(words: &[String], is_title: bool, found: &mut impl FnMut(&str)) {
    let is_paper = |word: &str| PAPER.has(word) || VENDORS.has(word);
    let without_paper: Vec<&str> = words.iter().map(String::as_str).filter(|word| !is_paper(word)).collect();
    if without_paper.len() < words.len() {
        found(&without_paper.concat());
    }
    let is_language = |word: &str| word == "for" || !Languages::of_word(word, None).is_empty();
    let bare: Vec<&str> = without_paper.iter().copied().filter(|word| !is_language(word)).collect();
    // In a name the language is an affix, see below.
    if is_title && bare.len() < without_paper.len() {
        found(&bare.concat());
    }
}

/// `python-dateutil` is dateutil, `pyyaml` yaml, `beautifulsoup4` beautifulsoup.
fn bare_keys(words: &[String], languages: Languages, found: &mut impl FnMut(&str)) {
    let whole = words.concat();
    let without_number = whole.trim_end_matches(|character: char| character.is_ascii_digit());
    if without_number.len() < whole.len() && without_number.len() > 3 {
        found(without_number);
    }
    for (language, affix) in AFFIXES {
        if languages.name() != Some(language) {
            continue;
        }
        match words {
            [first, rest @ ..] if first == affix && !rest.is_empty() => found(&rest.concat()),
            [rest @ .., last] if last == affix && !rest.is_empty() => found(&rest.concat()),
            _ => {}
        }
        let attached = match affix {
            "py" => whole.strip_prefix("py"),
            "js" => whole.strip_suffix("js"),
            _ => None,
        };
        if let Some(rest) = attached.filter(|rest| rest.len() > 2) {
            found(rest);
        }
    }
}

/// `Ruby on Rails` is ror, `react three fiber` r3f.
fn initials(words: &[String]) -> String {
    let initial = |word: &String| {
        let number = NUMBERS.iter().find(|(number, _)| number == word).map(|(_, digit)| *digit);
        number.or_else(|| word.chars().next())
    };
    words.iter().filter_map(initial).collect()
}

/// What a description says about the package being there no more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Retirement {
    /// It is out of use, or was never in use.
    pub(super) is_retired: bool,
    /// Keys of names that may be what to use instead.
    pub(super) successors: Vec<String>,
}

/// Descriptions longer than this many words tell about something else.
const DESCRIPTION_WORDS_MAX: usize = 24;
const SUCCESSORS_MAX: usize = 6;

/// Reads `deprecated sklearn package, use scikit-learn instead` and the like.
pub(super) fn retirement(description: &str) -> Retirement {
    let words: Vec<&str> = description.split_whitespace().take(DESCRIPTION_WORDS_MAX + 1).collect();
    let bare = |word: &str| word.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
    let is_cue = |word: &&str| RETIRED.has(&bare(word));
    let Some(cue) = words.iter().position(is_cue).filter(|_| words.len() <= DESCRIPTION_WORDS_MAX) else {
        return Retirement::default();
    };
    let mut successors = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let is_led = at > 0 && LEADS.has(&bare(words[at - 1]));
        let is_quoted = word.starts_with(['(', '`', '\'', '"', '@']);
        let name = key(word);
        if (is_led || is_quoted) && name.len() > 1 && !LEADS.has(&name) && successors.len() < SUCCESSORS_MAX {
            successors.push(name);
        }
    }
    let opens = cue == 0 || description.contains("DEPRECATED") || description.contains("(deprecated)");
    let says_empty = ["placeholder", "reserved", "dummy"].iter().any(|word| bare(words[cue]) == *word);
    Retirement { is_retired: opens || says_empty && words.len() < 10, successors }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, title: &str) -> Vec<(String, Kind)> {
        let entry = Entry {
            id: id.parse().unwrap(),
            title: title.to_owned(),
            description: String::new(),
            aliases: Vec::new(),
            ecosystem: String::new(),
            popularity: None,
            trust_tenths: None,
            snippets: 0,
        };
        let languages = Languages::of_registry(entry.id.owner());
        let mut keys = Vec::new();
        each_key(&entry, languages, |key, kind| keys.push((key.to_owned(), kind)));
        keys
    }

    #[test]
    fn names_that_follow_by_rule_are_keys() {
        for (id, title, key, kind) in [
            ("/pypi/pyyaml", "", "yaml", Kind::Bare),
            ("/pypi/python-dateutil", "", "dateutil", Kind::Bare),
            ("/pypi/beautifulsoup4", "", "beautifulsoup", Kind::Bare),
            ("/npm/node-fetch", "", "fetch", Kind::Bare),
            ("/npm/dayjs", "Day.js", "day", Kind::Bare),
            ("/docs/kafka", "Apache Kafka", "kafka", Kind::Core),
            ("/docs/x", "The Cargo Book", "cargo", Kind::Core),
            ("/pypi/x", "OpenCV for Python", "opencv", Kind::Core),
            ("/npm/@angular/core", "", "angular", Kind::Scope),
            ("/npm/@types/node", "", "node", Kind::Package),
            ("/docs/rails", "Ruby on Rails", "ror", Kind::Initials),
            ("/npm/@react-three/fiber", "", "r3f", Kind::Initials),
            ("/vercel/next.js", "", "vercelnextjs", Kind::Name),
        ] {
            let keys = keys(id, title);
            assert!(keys.contains(&(key.to_owned(), kind)), "{id} {key}: {keys:?}");
        }
    }

    #[test]
    fn affixes_of_another_language_belong_to_the_name() {
        assert!(keys("/crates/pyo3", "").iter().all(|(key, _)| key != "o3"));
        assert!(keys("/pypi/node-tools", "").iter().all(|(key, _)| key != "tools"));
    }

    #[test]
    fn a_description_tells_what_to_use_instead() {
        for (description, is_retired, successors) in [
            ("deprecated sklearn package, use scikit-learn instead", true, &["scikitlearn"][..]),
            ("Dummy package for Beautiful Soup (beautifulsoup4)", true, &["beautiful", "beautifulsoup4"]),
            ("You might want to use puppeteer instead", false, &["puppeteer"]),
            ("Renamed to rehype", true, &["rehype"]),
            ("Placeholder package", true, &[]),
            ("A React component to show placeholders while the content is loading", false, &[]),
            ("Fast web framework to build APIs with", false, &[]),
            ("", false, &[]),
        ] {
            let found = retirement(description);
            assert_eq!(found.is_retired, is_retired, "{description}");
            assert_eq!(found.successors, successors, "{description}");
        }
    }
}
