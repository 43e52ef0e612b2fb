//! From text to words, keys and stems: how names and descriptions are made comparable.
//!
//! A *word* is a run of letters and digits in lower case without accents (`Café` gives `cafe`, `C++`
//! gives `cpp`, `C#` gives `csharp`). A *key* is all words of a name run together, so that `Next.js`,
//! `next-js` and `NEXT JS` are one and the same. A *stem* is a word without its usual English ending.

use std::sync::LazyLock;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Bytes beyond which a word is cut: longer ones are blobs, not words.
const WORD_BYTES_MAX: usize = 48;

/// Endings a stem goes without, the longer first, when [`STEM_BYTES_MIN`] stay.
const ENDINGS: &str = "izations ization ations izing izers ators ation ating ments izer ized izes ator ated \
     ates ings ment able ible ions ize ate ing ers ors ies ied ion ity ed er or es ly al e y s";
/// Those of them before which one byte less is enough: `pars-ing`, `tag-s`.
const INFLECTIONS: &str = "ings ing ies ied ed es e s";
const STEM_BYTES_MIN: usize = 4;

/// Each ending with the bytes that must stay before it.
static STEMMING: LazyLock<Vec<(&str, usize)>> = LazyLock::new(|| {
    let is_inflection = |ending: &str| INFLECTIONS.split(' ').any(|known| known == ending);
    let stays = |ending: &'static str| (ending, STEM_BYTES_MIN - usize::from(is_inflection(ending)));
    ENDINGS.split_whitespace().map(stays).collect()
});

/// Calls `found` with every word of `text`, in order.
pub(super) fn each_word(text: &str, mut found: impl FnMut(&str)) {
    let mut word = String::with_capacity(WORD_BYTES_MAX);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '+' if !word.is_empty() && characters.peek() == Some(&'+') => {
                characters.next();
                word.push_str("pp");
            }
            '#' if !word.is_empty() => word.push_str("sharp"),
            _ if character.is_ascii_alphanumeric() => push(&mut word, character.to_ascii_lowercase()),
            _ if character.is_ascii() => end(&mut word, &mut found),
            _ => fold(character, &mut word, &mut found),
        }
    }
    end(&mut word, &mut found);
}

/// The words of `text`, the first `words_max` of them.
pub(super) fn words(text: &str, words_max: usize) -> Vec<String> {
    let mut words = Vec::new();
    each_word(text, |word| {
        if words.len() < words_max {
            words.push(word.to_owned());
        }
    });
    words
}

/// The key of a name: its words without anything between them.
pub(super) fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    each_word(name, |word| key.push_str(word));
    key
}

/// The word without its English ending; always the start of the word.
pub(super) fn stem(word: &str) -> &str {
    if !word.bytes().all(|byte| byte.is_ascii_lowercase()) || word.ends_with("ss") {
        return word;
    }
    let stem = STEMMING
        .iter()
        .find_map(|(ending, stays)| word.strip_suffix(ending).filter(|stem| stem.len() >= *stays))
        .unwrap_or(word);
    match stem.as_bytes() {
        // `formatter` and `format`, `plugging` and `plug`; but `css` and `install` stay apart.
        [.., one, other]
            if stem.len() > 3 && stem.len() < word.len() && one == other && !b"sl".contains(one) =>
        {
            &stem[..stem.len() - 1]
        }
        _ => stem,
    }
}

fn push(word: &mut String, character: char) {
    if word.len() < WORD_BYTES_MAX {
        word.push(character);
    }
}

fn end(word: &mut String, found: &mut impl FnMut(&str)) {
    if !word.is_empty() {
        found(word);
        word.clear();
    }
}

/// Beyond ASCII: compatibility forms are taken apart, accents dropped.
fn fold(character: char, word: &mut String, found: &mut impl FnMut(&str)) {
    decompose_compatible(character, |part| {
        if part.is_alphanumeric() {
            part.to_lowercase().for_each(|lower| push(word, lower));
        } else if !is_combining_mark(part) {
            end(word, found);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_key_however_it_is_spelled() {
        for (name, expected) in [
            ("Next.js", "nextjs"),
            ("NEXT JS", "nextjs"),
            ("next-js", "nextjs"),
            ("@tanstack/react-query", "tanstackreactquery"),
            ("Café", "cafe"),
            ("ｆｕｌｌ ｗｉｄｔｈ", "fullwidth"),
            ("C++", "cpp"),
            ("C#", "csharp"),
            ("a\0b", "ab"),
            ("++ # --", ""),
            ("", ""),
        ] {
            assert_eq!(key(name), expected, "{name}");
        }
    }

    #[test]
    fn forms_of_one_word_share_a_stem() {
        for forms in [
            &["validate", "validation", "validator", "validating", "validates"][..],
            &["parse", "parser", "parsing", "parsers"],
            &["library", "libraries"],
            &["serialize", "serializer", "serialization"],
            &["format", "formatter", "formatting"],
            &["bundle", "bundler", "bundling"],
            &["queue", "queues"],
            &["connect", "connection", "connecting"],
        ] {
            for form in forms {
                assert_eq!(stem(form), stem(forms[0]), "{form}");
            }
        }
        assert_ne!(stem("react"), stem("reactive"));
        assert_eq!(stem("css"), "css");
        assert_eq!(stem("s3"), "s3");
    }

    #[test]
    fn endless_words_and_lists_are_cut() {
        assert_eq!(words(&"x".repeat(10_000), 8), ["x".repeat(WORD_BYTES_MAX)]);
        assert_eq!(words(&"a ".repeat(10_000), 8).len(), 8);
    }
}
