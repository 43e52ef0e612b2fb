//! Words as rules compare them: lower case, look-alike letters folded, and whether they are quoted.

use unicode_normalization::UnicodeNormalization;

/// A word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    /// It opens a quotation or stands in code marks: what is said about it is a mention.
    pub(super) quoted: bool,
    /// A sentence ends before it.
    pub(super) begins: bool,
}

/// The text in lower case with look-alike letters folded.
pub(super) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfkc().flat_map(char::to_lowercase).map(latin).collect()
}

/// Letters of Cyrillic and Greek that look like Latin ones (from Unicode's confusables, UTS #39).
fn latin(letter: char) -> char {
    match letter {
        'а' | 'α' => 'a',
        'ь' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ё' => 'e',
        'һ' => 'h',
        'і' | 'ι' | 'ı' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' => 'l',
        'м' => 'm',
        'п' => 'n',
        'о' | 'ο' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' => 'u',
        'ν' => 'v',
        'ѡ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        other => other,
    }
}

/// The words of a folded text.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::with_capacity(text.len() / 6);
    let mut start = None;
    let (mut begins, mut in_code, mut opened) = (true, false, false);
    // What the word that is being read was found in.
    let (mut quoted, mut first) = (false, true);
    let mut push = |from: usize, to: usize, quoted: bool, begins: bool| {
        if let Some(text) = text.get(from..to) {
            words.push(Word { text, quoted, begins });
        }
    };
    for (at, character) in text.char_indices() {
        if character.is_alphanumeric() || (character == '\'' && start.is_some()) || character == '’' {
            if start.is_none() {
                start = Some(at);
                (quoted, first) = (opened || in_code, begins);
                (opened, begins) = (false, false);
            }
            continue;
        }
        if let Some(from) = start.take() {
            push(from, at, quoted, first);
        }
        match character {
            '`' => in_code = !in_code,
            '"' | '“' | '‘' | '«' | '\'' => opened = true,
            '.' | '!' | '?' | ':' | ';' => begins = true,
            // Code marks do not reach over the end of a line, so that one tick cannot hide a page.
            '\n' => (in_code, opened) = (false, false),
            character if character.is_whitespace() => {}
            _ => opened = false,
        }
    }
    if let Some(from) = start {
        push(from, text.len(), quoted, first);
    }
    words
}
