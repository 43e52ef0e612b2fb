//! From bytes to text: UTF-8 first, then what the page declares, then windows-1252.
//!
//! The result has no byte order mark, no NUL and only `\n` line ends, so that nothing later has to
//! think of them.

use std::borrow::Cow;

/// How far into a page a declared charset is looked for; browsers read 1,024 bytes, generators that
/// put comments first need a little more.
const DECLARATION_WINDOW: usize = 4096;

/// What the bytes 0x80-0x9F mean in windows-1252; the five holes keep their control codes.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Text of a page, whatever its encoding; never fails, since every byte means something in windows-1252.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if is_mostly_utf8(bytes) => String::from_utf8_lossy(bytes),
            Err(_) => Cow::Owned(bytes.iter().map(|&byte| windows_1252(byte)).collect()),
        },
    };
    if text.bytes().any(|byte| byte == 0 || byte == b'\r') { Cow::Owned(normalised(&text)) } else { text }
}

/// Whether broken UTF-8 is still better read as UTF-8: when the page says so, or when most of its
/// multi-byte sequences are sound.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
    let head = bytes.get(..DECLARATION_WINDOW).unwrap_or(bytes).to_ascii_lowercase();
    let declares = |name: &[u8]| {
        head.windows(8).position(|window| window == b"charset=").is_some_and(|at| {
            let value = head.get(at + 8..).unwrap_or_default();
            let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
            value.starts_with(name)
        })
    };
    if declares(b"utf-8") || declares(b"utf8") {
        return true;
    }
    if declares(b"iso-8859-1") || declares(b"latin") || declares(b"windows-1252") {
        return false;
    }
    let (mut sound, mut broken) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        sound += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    sound > broken
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|result| result.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn normalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\0' => {}
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            _ => out.push(character),
        }
    }
    out
}
