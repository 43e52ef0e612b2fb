//! Base64 that hides text: long words of its alphabet that decode to readable ASCII.

/// A shorter word is a name or a hash; 32 letters hide 24.
const ENCODED_BYTES_MIN: usize = 32;
/// What is decoded of one word; a picture in a data URL is longer.
const ENCODED_BYTES_MAX: usize = 4_096;
/// Words that are decoded of one text.
const WORDS_MAX: usize = 16;

/// Texts that stand encoded in `text`.
pub(super) fn decoded(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '+' | '/' | '-' | '_'))
        .filter(|word| (ENCODED_BYTES_MIN..=ENCODED_BYTES_MAX).contains(&word.len()))
        .take(WORDS_MAX)
        .filter_map(decode)
}

/// The readable text that a word of Base64 (RFC 4648, both alphabets) stands for.
fn decode(word: &str) -> Option<String> {
    let mut out = Vec::with_capacity(word.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in word.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            let byte = (bits >> held) as u8;
            if !(byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\t')) {
                return None;
            }
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
