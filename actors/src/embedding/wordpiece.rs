//! BERT-uncased tokenization: text to token ids, by hand.
//!
//! Why not the `tokenizers` crate: it keeps offsets, alignments and a `String` for every step of a
//! configurable pipeline, which here costs about fifty times the embedding itself (the tokenizer was four fifths of
//! the time in our measurements), and it brings some forty crates. One fixed pipeline over bytes
//! needs neither; the parity fixture holds it to the same ids.
//!
//! The pipeline: drop control characters, split at whitespace, cut out punctuation and CJK
//! characters one by one, decompose and drop accents, lower-case, then the greedy longest match of
//! [`Vocabulary`]. A word of more than 100 characters, or one that cannot be spelled, is one `[UNK]`.
//! Time is linear in the text (a piece has a bounded length) and the memory constant.

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::char::decompose_canonical;

use super::vocabulary::{Place, Vocabulary};

/// Longer words are `[UNK]`, as in BERT.
const WORD_CHARS_MAX: usize = 100;

/// Splits text into the ids of its pieces.
pub(super) struct Tokenizer {
    vocabulary: Vocabulary,
}

impl Tokenizer {
    /// Over the vocabulary in the binary.
    pub(super) fn builtin() -> Self {
        Self { vocabulary: Vocabulary::builtin() }
    }

    /// Over another vocabulary.
    pub(super) fn new(vocabulary: Vocabulary) -> Self {
        Self { vocabulary }
    }

    /// Calls `emit` with each token id in order; no special tokens are added.
    pub(super) fn tokenize(&self, text: &str, mut emit: impl FnMut(u16)) {
        let mut word = Word::new();
        let mut rest = text;
        while let Some(&byte) = rest.as_bytes().first() {
            if byte.is_ascii() {
                rest = self.ascii_run(rest, &mut word, &mut emit);
            } else if let Some(character) = rest.chars().next() {
                self.wide_character(character, &mut word, &mut emit);
                rest = rest.get(character.len_utf8()..).unwrap_or("");
            }
        }
        self.flush(&mut word, &mut emit);
    }

    /// Takes the ASCII characters at the start of `text` and returns the rest.
    fn ascii_run<'text>(&self, text: &'text str, word: &mut Word, emit: &mut impl FnMut(u16)) -> &'text str {
        for (at, &byte) in text.as_bytes().iter().enumerate() {
            match ASCII[usize::from(byte)] {
                Ascii::Word => word.push_ascii(byte.to_ascii_lowercase()),
                Ascii::Space => self.flush(word, emit),
                Ascii::Punctuation => self.stand_alone(char::from(byte), word, emit),
                Ascii::Dropped => {}
                Ascii::Wide => return text.get(at..).unwrap_or(""),
            }
        }
        ""
    }

    /// A character outside ASCII, in BERT's order: clean, separate CJK, drop accents, lower-case, split.
    fn wide_character(&self, character: char, word: &mut Word, emit: &mut impl FnMut(u16)) {
        if character == char::REPLACEMENT_CHARACTER || is_control(character) {
            return;
        }
        if character.is_whitespace() {
            return self.flush(word, emit);
        }
        let is_cjk = is_cjk(character);
        if is_cjk {
            self.flush(word, emit);
        }
        decompose_canonical(character, |part| {
            if get_general_category(part) == GeneralCategory::NonspacingMark {
                return;
            }
            for lower in part.to_lowercase() {
                if is_punctuation(lower) {
                    self.stand_alone(lower, word, emit);
                } else {
                    word.push(lower);
                }
            }
        });
        if is_cjk {
            self.flush(word, emit);
        }
    }

    fn stand_alone(&self, character: char, word: &mut Word, emit: &mut impl FnMut(u16)) {
        self.flush(word, emit);
        word.push(character);
        self.flush(word, emit);
    }

    /// Emits the pieces of the word collected so far and empties it.
    fn flush(&self, word: &mut Word, emit: &mut impl FnMut(u16)) {
        if word.chars == 0 {
            return;
        }
        if word.chars > WORD_CHARS_MAX {
            emit(self.vocabulary.unknown());
        } else {
            self.spell(word.as_bytes(), emit);
        }
        word.clear();
    }

    fn spell(&self, word: &[u8], emit: &mut impl FnMut(u16)) {
        let Some(first) = self.vocabulary.longest_prefix(Place::Start, word) else {
            return emit(self.vocabulary.unknown());
        };
        if first.len == word.len() {
            return emit(first.id);
        }
        // Kept back until the whole word is spelled: a gap anywhere makes it one `[UNK]`.
        let mut ids = [first.id; WORD_CHARS_MAX];
        let mut count = 1;
        let mut at = first.len;
        while let Some(rest) = word.get(at..).filter(|rest| !rest.is_empty()) {
            let piece = self.vocabulary.longest_prefix(Place::Continuation, rest);
            let (Some(piece), Some(id)) = (piece, ids.get_mut(count)) else {
                return emit(self.vocabulary.unknown());
            };
            *id = piece.id;
            count += 1;
            at += piece.len;
        }
        ids.iter().take(count).for_each(|id| emit(*id));
    }
}

/// The normalised word being collected; characters beyond the limit are counted, not kept.
struct Word {
    bytes: [u8; WORD_CHARS_MAX * 4],
    len: usize,
    chars: usize,
}

impl Word {
    fn new() -> Self {
        Self { bytes: [0; WORD_CHARS_MAX * 4], len: 0, chars: 0 }
    }

    fn push_ascii(&mut self, byte: u8) {
        if self.chars < WORD_CHARS_MAX
            && let Some(place) = self.bytes.get_mut(self.len)
        {
            *place = byte;
            self.len += 1;
        }
        self.chars += 1;
    }

    fn push(&mut self, character: char) {
        if self.chars < WORD_CHARS_MAX
            && let Some(place) = self.bytes.get_mut(self.len..self.len + character.len_utf8())
        {
            character.encode_utf8(place);
            self.len += character.len_utf8();
        }
        self.chars += 1;
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    fn clear(&mut self) {
        self.len = 0;
        self.chars = 0;
    }
}

/// What BERT does with a byte of the text.
#[derive(Clone, Copy)]
enum Ascii {
    Word,
    Space,
    Punctuation,
    Dropped,
    /// Not ASCII: the character has to be decoded.
    Wide,
}

static ASCII: [Ascii; 256] = {
    let mut table = [Ascii::Wide; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = match byte {
            // Vertical tab and form feed are control characters to BERT: dropped, not spaces.
            b' ' | b'\t' | b'\n' | b'\r' => Ascii::Space,
            _ if byte.is_ascii_punctuation() => Ascii::Punctuation,
            _ if byte.is_ascii_control() => Ascii::Dropped,
            _ => Ascii::Word,
        };
        byte += 1;
    }
    table
};

fn is_control(character: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    matches!(get_general_category(character), Control | Format | PrivateUse)
}

fn is_punctuation(character: char) -> bool {
    use GeneralCategory::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation, InitialPunctuation,
        OpenPunctuation, OtherPunctuation,
    };
    character.is_ascii_punctuation()
        || matches!(
            get_general_category(character),
            ClosePunctuation
                | ConnectorPunctuation
                | DashPunctuation
                | FinalPunctuation
                | InitialPunctuation
                | OpenPunctuation
                | OtherPunctuation
        )
}

/// The blocks BERT calls Chinese: each character is a word by itself. Kana and Hangul are not in it.
fn is_cjk(character: char) -> bool {
    matches!(u32::from(character),
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B820..=0x2CEAF | 0x2F800..=0x2FA1F)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNKNOWN: u16 = 100;

    fn ids(text: &str) -> Vec<u16> {
        let mut ids = Vec::new();
        Tokenizer::builtin().tokenize(text, |id| ids.push(id));
        ids
    }

    #[test]
    fn words_split_as_bert_splits_them() {
        for (text, same_as) in [
            ("Tokio::Spawn", "tokio : : spawn"),
            ("a_b", "a _ b"),
            ("naïve CAFÉ", "naive cafe"),
            ("a\u{301}b", "ab"),
            ("東京", "東 京"),
            ("x東y", "x 東 y"),
            ("a\u{2014}b", "a \u{2014} b"),
            ("a\u{a0}b\u{2028}c", "a b c"),
            ("a\u{200b}b\u{0}c\u{fffd}d\u{b}e", "abcde"),
            ("a\tb\r\nc", "a b c"),
            ("İ", "i"),
            ("\u{37e}", ";"),
            ("", ""),
            (" \t\n", ""),
        ] {
            assert_eq!(ids(text), ids(same_as), "{text:?}");
        }
    }

    #[test]
    fn pieces_are_the_ones_of_the_reference_tokenizer() {
        for (text, expected) in [
            ("hello world", &[7592, 2088][..]),
            ("unaffable", &[14477, 20961, 3468]),
            ("spawn_blocking", &[25645, 1035, 10851]),
            ("\u{1F680}", &[100]),
            ("ab\u{1F680}", &[100]),
        ] {
            assert_eq!(ids(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_of_101_characters_is_unknown_and_one_of_100_is_spelled() {
        assert!(ids(&"a".repeat(100)).len() > 1);
        assert!(!ids(&"é".repeat(100)).contains(&UNKNOWN));
        assert_eq!(ids(&"a".repeat(101)), [UNKNOWN]);
        assert_eq!(ids(&format!("{} the", "a".repeat(1000))), [UNKNOWN, 1996]);
    }

    proptest! {
        #[test]
        fn any_text_gives_at_most_one_token_a_normalised_character(text in "\\PC{0,200}") {
            let decomposed: usize =
                text.chars().flat_map(char::to_lowercase).map(|c| { let mut n = 0; decompose_canonical(c, |_| n += 1); n }).sum();
            prop_assert!(ids(&text).len() <= decomposed);
        }

        #[test]
        fn spaces_between_texts_keep_their_tokens_apart(left in "\\PC{0,60}", right in ".{0,60}") {
            let joined = ids(&format!("{left}\n{right}"));
            prop_assert_eq!(joined, [ids(&left), ids(&right)].concat());
        }
    }
}
