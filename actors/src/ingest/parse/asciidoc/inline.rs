//! Inline markup as Markdown text: code in backticks, links and macros as their text.
//!
//! Linear: ends of formatting by [`Ends`], everything else within a window of fixed size.

use super::super::ends::Ends;
use super::attributes::Attributes;

const SIGNS: [&str; 10] = ["`", "*", "_", "+", "#", "``", "**", "__", "++", "##"];
const CODE: usize = 0;
/// From here on the signs are double and may stand inside words.
const UNCONSTRAINED: usize = 5;

/// How far the target and the text of a macro are looked for, in bytes.
const TARGET_BYTES_MAX: usize = 512;
const TEXT_BYTES_MAX: usize = 1_024;

/// Macros and what becomes of their text.
const MACROS: &[(&str, Shown)] = &[
    ("https:", Shown::Link),
    ("http:", Shown::Link),
    ("link:", Shown::Link),
    ("xref:", Shown::Link),
    ("mailto:", Shown::Link),
    ("footnote:", Shown::Aside),
    ("image:", Shown::Nothing),
    ("icon:", Shown::Nothing),
    ("anchor:", Shown::Nothing),
    ("indexterm:", Shown::Nothing),
    ("kbd:", Shown::Plain),
    ("btn:", Shown::Plain),
    ("pass:", Shown::Plain),
    ("stem:", Shown::Plain),
    ("indexterm2:", Shown::Plain),
    ("menu:", Shown::Menu),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Link,
    Aside,
    Plain,
    Menu,
    Nothing,
}

/// Reads inline markup.
pub(super) struct Inline {
    /// Bytes that attributes may still add: short names for long texts must not make a page grow.
    left: usize,
}

struct Line<'a> {
    text: &'a str,
    at: usize,
    out: String,
    links: u32,
    ends: Ends<10>,
}

impl Inline {
    pub(super) fn new(added_bytes_max: usize) -> Self {
        Self { left: added_bytes_max }
    }

    /// The text as Markdown, and how many bytes of it are the text of links.
    pub(super) fn read(&mut self, text: &str, attributes: &Attributes) -> (String, u32) {
        let text = self.references(text, attributes);
        let mut line = Line {
            text: &text,
            at: 0,
            out: String::with_capacity(text.len()),
            links: 0,
            ends: Ends::new(SIGNS),
        };
        while let Some(byte) = text.as_bytes().get(line.at).copied() {
            let done = match byte {
                b'\\' => line.escape(),
                b'`' | b'*' | b'_' | b'+' | b'#' => line.formatted(),
                b'<' => line.cross_reference(),
                b'[' => line.bracket(),
                b'(' => line.index_term(),
                byte if byte.is_ascii_lowercase() => line.macro_(),
                _ => false,
            };
            if !done {
                line.copy();
            }
        }
        line.out.truncate(line.out.trim_end().len());
        (line.out, line.links)
    }

    /// `{name}` as its value; what is not set stays as it is.
    pub(super) fn references(&mut self, text: &str, attributes: &Attributes) -> String {
        if !text.contains('{') {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            let close = rest.bytes().take(66).position(|byte| byte == b'}');
            let value = close
                .and_then(|close| attributes.get(&rest[1..close]))
                .filter(|value| value.len() <= self.left);
            match (value, close) {
                (Some(value), Some(close)) if !out.ends_with('\\') => {
                    self.left -= value.len();
                    out.push_str(value);
                    rest = &rest[close + 1..];
                }
                _ => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }
}

impl Line<'_> {
    fn copy(&mut self) {
        if let Some(character) = self.text[self.at..].chars().next() {
            self.out.push(character);
            self.at += character.len_utf8();
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn after_word(&self) -> bool {
        self.text[..self.at]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || before == '_')
    }

    /// A backslash before markup keeps it text.
    fn escape(&mut self) -> bool {
        let marked =
            self.rest()[1..].starts_with(['`', '*', '_', '+', '#', '<', '[', '{', '(', '^', '~', '-']);
        if marked {
            self.at += 1;
            self.copy();
        }
        marked
    }

    /// Formatting: code keeps its marks, other text loses them.
    fn formatted(&mut self) -> bool {
        let double = (UNCONSTRAINED..SIGNS.len()).find(|&kind| self.rest().starts_with(SIGNS[kind]));
        if let Some(kind) = double
            && let Some(end) = self.ends.anywhere(self.text, self.at, kind)
        {
            self.emit(kind, end);
            return true;
        }
        let Some(kind) = (0..UNCONSTRAINED).find(|&kind| self.rest().starts_with(SIGNS[kind])) else {
            return false;
        };
        let Some(end) = self.ends.span(self.text, self.at, kind) else { return false };
        self.emit(kind, end);
        true
    }

    fn emit(&mut self, kind: usize, end: usize) {
        let length = SIGNS[kind].len();
        let inside = &self.text[self.at + length..end];
        if kind % UNCONSTRAINED == CODE {
            // `+x+` inside code says that nothing in it is markup.
            let plain =
                inside.strip_prefix('+').and_then(|inside| inside.strip_suffix('+')).unwrap_or(inside);
            let (before, after) = if plain.contains('`') { ("`` ", " ``") } else { ("`", "`") };
            self.out.push_str(before);
            self.out.push_str(plain);
            self.out.push_str(after);
        } else {
            self.out.push_str(inside);
        }
        self.at = end + length;
    }

    /// `<<id,text>>`
    fn cross_reference(&mut self) -> bool {
        let Some(rest) = self.rest().strip_prefix("<<") else { return false };
        let window = &rest[..rest.floor_char_boundary(TARGET_BYTES_MAX)];
        let Some(end) = window.find(">>") else { return false };
        let (id, text) = window[..end].split_once(',').unwrap_or((&window[..end], ""));
        let shown = if text.trim().is_empty() { readable(id) } else { text.trim().to_owned() };
        self.link(&shown);
        self.at += end + 4;
        true
    }

    /// `[[id]]` is no text, `[.role]#text#` only its text.
    fn bracket(&mut self) -> bool {
        let rest = self.rest();
        let window = &rest[..rest.floor_char_boundary(130)];
        let skipped = if window.starts_with("[[") {
            window.find("]]").map(|end| end + 2)
        } else {
            window
                .find(']')
                .filter(|&end| window[end + 1..].starts_with(['#', '*', '_', '`']))
                .map(|end| end + 1)
        };
        self.at += skipped.unwrap_or(0);
        skipped.is_some()
    }

    /// `((shown))` and `(((hidden)))`.
    fn index_term(&mut self) -> bool {
        let rest = self.rest();
        let window = &rest[..rest.floor_char_boundary(TARGET_BYTES_MAX)];
        if let Some(end) = window.strip_prefix("(((").and_then(|inside| inside.find(")))")) {
            self.at += end + 6;
            return true;
        }
        let Some(inside) = window.strip_prefix("((") else { return false };
        let Some(end) = inside.find("))") else { return false };
        let shown = inside[..end].to_owned();
        self.out.push_str(&shown);
        self.at += end + 4;
        true
    }

    /// `name:target[text]`
    fn macro_(&mut self) -> bool {
        if self.after_word() {
            return false;
        }
        let rest = self.rest();
        let Some(&(name, shown)) = MACROS.iter().find(|(name, _)| rest.starts_with(name)) else {
            return false;
        };
        let target_end = rest
            .bytes()
            .take(TARGET_BYTES_MAX)
            .position(|byte| byte == b'[' || byte.is_ascii_whitespace())
            .filter(|&end| rest.as_bytes()[end] == b'[');
        let Some(open) = target_end else { return false };
        let window =
            &rest[open + 1..rest.floor_char_boundary((open + TEXT_BYTES_MAX).min(rest.len()).max(open + 1))];
        let Some(close) = window.find(']') else { return false };
        let target = &rest[name.len()..open];
        let text = window[..close].trim().trim_end_matches('^');
        // Attributes of a link stand after its text.
        let text = text
            .split(",role=")
            .next()
            .unwrap_or(text)
            .split(",window=")
            .next()
            .unwrap_or(text)
            .trim_matches('"');
        let (text, at) = match shown {
            Shown::Nothing => (String::new(), open + close + 2),
            Shown::Aside if self.out.ends_with(' ') => (format!("({text})"), open + close + 2),
            Shown::Aside => (format!(" ({text})"), open + close + 2),
            Shown::Menu => (format!("{target} > {text}"), open + close + 2),
            Shown::Plain => (text.to_owned(), open + close + 2),
            Shown::Link if text.is_empty() && name == "xref:" => (readable(target), open + close + 2),
            Shown::Link if text.is_empty() => {
                (rest[..open].trim_start_matches("link:").to_owned(), open + close + 2)
            }
            Shown::Link => (text.replace('`', ""), open + close + 2),
        };
        if shown == Shown::Link {
            self.link(&text)
        } else {
            self.out.push_str(&text)
        }
        self.at += at;
        true
    }

    fn link(&mut self, text: &str) {
        self.out.push_str(text);
        self.links = self.links.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }
}

/// An id as words, where nobody gave a text.
fn readable(id: &str) -> String {
    let id = id.rsplit('#').next().unwrap_or(id).trim_start_matches('_');
    id.trim_end_matches(".adoc").replace(['_', '-'], " ")
}
