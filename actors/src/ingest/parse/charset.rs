//! From bytes to text: UTF-8 first, then what the page declares, then windows-1252.
//!
//! The result has no byte order mark, no NUL and only `\n` line ends, so that nothing later has to
//! think of them.

use std::borrow::Cow;

use super::Repair;

/// How far into a page a declared charset is looked for; browsers read 1,024 bytes, generators that
/// put comments first need a little more.
const DECLARATION_WINDOW: usize = 4096;

/// What the bytes 0x80-0x9F mean in windows-1252; the five holes keep their control codes.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Text of a page, whatever its encoding, and what had to be done for that; never fails, since every byte means something
/// in windows-1252.
pub(super) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Vec<Repair>) {
    let (text, is_sound) = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => std::str::from_utf8(bytes).map_or_else(|_| guessed(bytes), |text| (Cow::Borrowed(text), true)),
    };
    let mut repairs: Vec<Repair> = (!is_sound).then_some(Repair::Encoding).into_iter().collect();
    repairs.extend(text.contains('\0').then_some(Repair::Nul));
    let is_normal = !text.bytes().any(|byte| byte == 0 || byte == b'\r');
    (if is_normal { text } else { Cow::Owned(normalised(&text)) }, repairs)
}

/// Text of bytes that are no UTF-8, and whether that is what they are.
fn guessed(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    match declared(bytes) {
        Some(Declared::Utf8) => utf8(bytes),
        None if is_mostly_utf8(bytes) => utf8(bytes),
        told => {
            let text = bytes.iter().map(|&byte| windows_1252(byte)).collect();
            (Cow::Owned(text), told == Some(Declared::Latin))
        }
    }
}

/// What a page says about its own encoding.
#[derive(PartialEq, Eq)]
enum Declared {
    Utf8,
    Latin,
}

fn declared(bytes: &[u8]) -> Option<Declared> {
    let head = bytes.get(..DECLARATION_WINDOW).unwrap_or(bytes).to_ascii_lowercase();
    let declares = |name: &[u8]| {
        head.windows(8).position(|window| window == b"charset=").is_some_and(|at| {
            let value = head.get(at + 8..).unwrap_or_default();
            let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
            value.starts_with(name)
        })
    };
    if declares(b"utf-8") || declares(b"utf8") {
        return Some(Declared::Utf8);
    }
    let is_latin = declares(b"iso-8859-1") || declares(b"latin") || declares(b"windows-1252");
    is_latin.then_some(Declared::Latin)
}

/// Whether broken UTF-8 that tells no encoding is still better read as UTF-8: when most of its multi-byte sequences are
/// sound.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
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

/// Text, and whether all of it is UTF-8.
fn utf8(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let text = String::from_utf8_lossy(bytes);
    let is_sound = matches!(text, Cow::Borrowed(_));
    (text, is_sound)
}

/// Text, and whether all of it is UTF-16.
fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> (Cow<'_, str>, bool) {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let mut is_sound = bytes.len().is_multiple_of(2);
    let mut replaced = |_| {
        is_sound = false;
        char::REPLACEMENT_CHARACTER
    };
    let text = char::decode_utf16(units).map(|result| result.unwrap_or_else(&mut replaced)).collect();
    (Cow::Owned(text), is_sound)
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
