//! What somebody typed, taken apart: which words carry the name, what they may stand for, and which
//! language is meant.

use super::aliases;
use super::languages::Languages;
use super::lists::{FILLER, GENERIC};
use super::readings::{Reading, readings};
use super::words::{stem, words};

/// Bytes of a name or query that are read; callers refuse longer ones.
pub const ASK_BYTES_MAX: usize = 500;
/// Words of a name that are read: one bit each in a [`Cover`].
const NAME_WORDS_MAX: usize = 16;
const QUERY_WORDS_MAX: usize = 40;
/// Stems of the query that are looked up.
const QUERY_TERMS_MAX: usize = 20;

/// Words of the name, one bit each.
pub(super) type Cover = u16;

/// What stands between the words of one name.
const GLUE: [char; 8] = ['-', '_', '.', '/', '+', '#', '&', ':'];

/// One word of the name.
#[derive(Debug)]
pub(super) struct NameWord {
    pub(super) text: String,
    /// What of the name is unexplained without it.
    pub(super) weight: f32,
    /// The languages it hints at.
    pub(super) languages: Languages,
    /// Whether it is a part of a longer name: `js` in `chart.js`.
    pub(super) is_compound: bool,
    pub(super) role: Role,
}

/// What a word of the name does there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It names something.
    Content,
    /// It says what kind of thing is meant.
    Generic,
    /// It says for which language.
    Language,
    /// It says which version.
    Version,
    /// It says nothing.
    Filler,
}

impl Role {
    fn weight(self) -> f32 {
        match self {
            Self::Content => 1.0,
            Self::Generic => 0.35,
            Self::Language => 0.35,
            Self::Version | Self::Filler => 0.0,
        }
    }
}

/// A stem to look for in names and descriptions.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) stem: String,
    /// Its share among terms of the same origin.
    pub(super) weight: f32,
    /// The words of the name it stands for; none for a term of the query.
    pub(super) cover: Cover,
}

/// A name and a query, ready to be looked up.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) words: Vec<NameWord>,
    pub(super) readings: Vec<Reading>,
    pub(super) terms: Vec<Term>,
    /// Languages the name hints at, and languages the query does.
    pub(super) languages: Languages,
    pub(super) query_languages: Languages,
    /// The name as an id, when it looks like one.
    pub(super) id: Option<String>,
    /// What the whole ask means, for the embedder.
    pub(super) meaning: String,
    /// The weight of all words of the name.
    weight: f32,
}

impl Ask {
    pub(super) fn new(name: &str, query: &str) -> Self {
        let (mut name, mut query) = (cut(name), cut(query));
        let mut words = name_words(name);
        if words.is_empty() {
            (name, query) = (query, "");
            words = name_words(name);
        }
        let languages = words.iter().fold(Languages::default(), |all, word| all.with(word.languages));
        let query_words = self::words(query, QUERY_WORDS_MAX);
        let mut query_languages = Languages::default();
        for (at, word) in query_words.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| query_words[before].as_str());
            query_languages = query_languages.with(Languages::of_word(word, before));
        }
        let mut terms = name_terms(&words);
        add_query_terms(&query_words, &mut terms);
        Self {
            readings: readings(&words),
            id: id(name),
            meaning: format!("{name}. {query}"),
            weight: words.iter().map(|word| word.weight).sum(),
            words,
            terms,
            languages,
            query_languages,
        }
    }

    /// The share of the name that `explained` explains, 0 to 1: it tells how much of each word.
    pub(super) fn weigh(&self, explained: impl Fn(usize, &NameWord) -> f32) -> f32 {
        let sum: f32 =
            self.words.iter().enumerate().map(|(at, word)| word.weight * explained(at, word)).sum();
        if self.weight > 0.0 { sum / self.weight } else { 0.0 }
    }

    /// The share of the name that these words are.
    pub(super) fn share(&self, cover: Cover) -> f32 {
        self.weigh(|at, _| if cover >> at & 1 == 1 { 1.0 } else { 0.0 })
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(ASK_BYTES_MAX)]
}

fn name_words(name: &str) -> Vec<NameWord> {
    let mut named: Vec<NameWord> = Vec::new();
    for chunk in name.split(|character: char| !character.is_alphanumeric() && !GLUE.contains(&character)) {
        let texts = words(chunk, NAME_WORDS_MAX - named.len());
        let is_compound = texts.len() > 1;
        for text in texts {
            let before = named.last();
            let languages = Languages::of_word(&text, before.map(|before| before.text.as_str()));
            let is_after_version = before.is_some_and(|before| before.role == Role::Version);
            let role = match text.as_str() {
                text if before.is_some() && is_version(text) => Role::Version,
                "x" if is_after_version => Role::Version,
                _ if !languages.is_empty() => Role::Language,
                _ if is_compound => Role::Content,
                text if FILLER.has(text) => Role::Filler,
                text if GENERIC.has(text) => Role::Generic,
                _ => Role::Content,
            };
            named.push(NameWord { text, weight: role.weight(), languages, is_compound, role });
        }
    }
    // Somebody who types `python` or `client` alone means it.
    for role in [Role::Language, Role::Generic, Role::Filler, Role::Version] {
        if named.iter().any(|word| word.role == Role::Content) {
            break;
        }
        for word in named.iter_mut().filter(|word| word.role == role) {
            (word.role, word.weight) = (Role::Content, 1.0);
        }
    }
    named
}

/// `4`, `v4`, `17`: but not `2kb` or `s3`.
fn is_version(word: &str) -> bool {
    let digits = word.strip_prefix('v').unwrap_or(word);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn name_terms(words: &[NameWord]) -> Vec<Term> {
    let mut terms = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if word.weight == 0.0 {
            continue;
        }
        let cover = 1 << at;
        let mut add = |text: &str, weight: f32, cover: Cover| {
            terms.push(Term { stem: stem(text).to_owned(), weight, cover });
        };
        add(&word.text, word.weight, cover);
        for target in aliases::of(&word.text) {
            if let [only] = target.words.as_slice() {
                add(only, word.weight, cover);
            }
        }
        // `web socket` and `websocket`.
        if let Some(next) = words.get(at + 1).filter(|next| next.weight > 0.0) {
            add(&format!("{}{}", word.text, next.text), 1.0, cover | 1 << (at + 1));
        }
    }
    terms
}

fn add_query_terms(words: &[String], terms: &mut Vec<Term>) {
    let of_name = terms.len();
    for word in words {
        if terms.len() - of_name >= QUERY_TERMS_MAX {
            break;
        }
        let stem = stem(word);
        if !FILLER.has(word) && terms.iter().all(|known| known.stem != stem) {
            terms.push(Term { stem: stem.to_owned(), weight: 1.0, cover: 0 });
        }
    }
}

/// `/npm/react`, `npm/react@19`, `https://github.com/vercel/next.js`: the id as text.
fn id(name: &str) -> Option<String> {
    let name = name.trim();
    let path = match name.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => name,
    };
    let path = path.trim_start_matches('/').split(['?', '#']).next()?.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    if path.contains(char::is_whitespace) || !path.contains('/') {
        return None;
    }
    let parts_max = if path.contains("/@") { 3 } else { 2 };
    let parts: Vec<&str> = path.split('/').take(parts_max).collect();
    let joined = parts.join("/");
    let without_version = match joined.rfind('@') {
        Some(at) if at > 0 && !joined[..at].ends_with('/') => &joined[..at],
        _ => joined.as_str(),
    };
    Some(format!("/{without_version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_with_and_without_what_surrounds_it() {
        let keys = |name: &str| -> Vec<String> {
            Ask::new(name, "")
                .readings
                .into_iter()
                .filter(|reading| reading.is_whole)
                .map(|reading| reading.key)
                .collect()
        };
        assert_eq!(keys("react"), ["react"]);
        assert_eq!(
            keys("how to use the redis client for python 3"),
            [
                "howtousetheredisclientforpython3",
                "redisclientpython3",
                "redisclientpython",
                "redisclient",
                "redis"
            ]
        );
        assert_eq!(keys("is-map"), ["ismap"], "filler inside a name is the name");
        assert_eq!(keys("python"), ["python"], "a language alone is what is meant");
        assert_eq!(keys(""), [""; 0]);
    }

    #[test]
    fn a_short_form_is_also_read_as_the_long_one() {
        let read = |name: &str, key: &str| {
            Ask::new(name, "")
                .readings
                .into_iter()
                .find(|reading| reading.key == key)
                .map(|reading| (reading.alias_of, reading.slips))
        };
        assert_eq!(read("postgres", "postgresql"), Some((Some("postgres".to_owned()), 0)));
        assert_eq!(read("posgres", "postgresql"), Some((Some("postgres".to_owned()), 1)));
        assert_eq!(read("reactjs", "react"), Some((None, 0)));
        assert_eq!(read("npm", "numpy"), None);
    }

    #[test]
    fn an_id_is_taken_out_of_what_looks_like_one() {
        for (name, expected) in [
            ("/npm/react", Some("/npm/react")),
            ("npm/react@19", Some("/npm/react")),
            ("/npm/@scope/name@1.0", Some("/npm/@scope/name")),
            ("/a/b/v1", Some("/a/b")),
            ("https://github.com/a/b.git", Some("/a/b")),
            ("https://example", None),
            ("react", None),
            ("client/server framework", None),
            ("@scope/name", Some("/@scope/name")),
            ("", None),
        ] {
            assert_eq!(id(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn endless_asks_have_bounded_readings_and_terms() {
        let ask = Ask::new(&"ab cd ".repeat(5_000), &"ef gh1 ij ".repeat(5_000));
        assert!(ask.words.len() <= NAME_WORDS_MAX && ask.readings.len() <= 200 && ask.terms.len() <= 100);
    }
}
