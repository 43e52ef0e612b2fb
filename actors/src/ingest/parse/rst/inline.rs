//! Inline markup as Markdown text: literals in backticks, roles and links as their text.
//!
//! Linear, by [`Ends`].

use std::collections::HashMap;

use super::super::ends::Ends;

/// Reads inline markup; holds the page's substitutions.
pub(super) struct Inline {
    substitutions: HashMap<String, String>,
    /// Bytes that substitutions may still add: short names for long texts must not make a page grow.
    left: usize,
}

/// The signs that inline markup begins and ends with.
const SIGNS: [&str; 5] = ["``", "`", "**", "*", "|"];
/// Places in [`SIGNS`].
const LITERAL: usize = 0;
const INTERPRETED: usize = 1;
const STRONG: usize = 2;
const EMPHASIS: usize = 3;
const SUBSTITUTION: usize = 4;

struct Line<'a> {
    text: &'a str,
    at: usize,
    out: String,
    links: u32,
    /// Start of the word that is being copied, in `out`.
    word: usize,
    ends: Ends<5>,
}

impl Inline {
    pub(super) fn new(substitutions: HashMap<String, String>, added_bytes_max: usize) -> Self {
        Self { substitutions, left: added_bytes_max }
    }

    /// The text as Markdown, and how many bytes of it are the text of links.
    pub(super) fn read(&mut self, text: &str) -> (String, u32) {
        let mut line = Line {
            text,
            at: 0,
            out: String::with_capacity(text.len()),
            links: 0,
            word: 0,
            ends: Ends::new(SIGNS),
        };
        while let Some(byte) = text.as_bytes().get(line.at).copied() {
            let done = match byte {
                b'\\' => line.escape(),
                b'`' => line.literal() || line.interpreted(""),
                b':' => line.role(),
                b'*' => line.emphasis(),
                b'|' => self.substitute(&mut line),
                b'_' => line.underscore(),
                b'[' => line.footnote(),
                _ => false,
            };
            if !done {
                line.copy();
            }
        }
        (line.out, line.links)
    }

    /// `|name|`: its text, or the name where the page does not define it.
    fn substitute(&mut self, line: &mut Line<'_>) -> bool {
        let Some(end) = line.span(SUBSTITUTION) else { return false };
        let name = &line.text[line.at + 1..end];
        let value = self.substitutions.get(name).filter(|value| value.len() <= self.left);
        self.left -= value.map_or(0, String::len);
        let value = value.map_or(name, String::as_str);
        line.out.push_str(value);
        line.at = end + 1;
        line.skip_underscores();
        true
    }
}

impl<'a> Line<'a> {
    fn copy(&mut self) {
        let Some(character) = self.text[self.at..].chars().next() else { return };
        if !character.is_alphanumeric() && character != '_' {
            self.word = self.out.len() + character.len_utf8();
        }
        self.out.push(character);
        self.at += character.len_utf8();
    }

    /// A backslash takes away the meaning of the next sign; before a blank both go.
    fn escape(&mut self) -> bool {
        let Some(next) = self.text[self.at + 1..].chars().next() else { return false };
        if !next.is_whitespace() {
            self.out.push(next);
        }
        self.at += 1 + next.len_utf8();
        true
    }

    /// Where the markup that begins here ends.
    fn span(&mut self, kind: usize) -> Option<usize> {
        self.ends.span(self.text, self.at, kind)
    }

    /// Whether what stands before lets markup begin here.
    fn opens(&self) -> bool {
        self.text[..self.at].chars().next_back().is_none_or(|before| !before.is_alphanumeric())
    }

    /// ``` ``code`` ```
    fn literal(&mut self) -> bool {
        if !self.text[self.at..].starts_with("``") {
            return false;
        }
        let Some(end) = self.span(LITERAL) else { return false };
        let code = &self.text[self.at + 2..end];
        self.tick(code);
        self.at = end + 2;
        true
    }

    /// `:role:` before interpreted text.
    fn role(&mut self) -> bool {
        let rest = &self.text[self.at + 1..];
        let length = rest
            .bytes()
            .take(64)
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.+:".contains(byte))
            .count();
        let Some(name) = rest[..length].strip_suffix(':') else { return false };
        if name.is_empty() || !rest[length..].starts_with('`') || !self.opens() {
            return false;
        }
        let back = self.at;
        self.at += 1 + length;
        if self.interpreted(name) {
            return true;
        }
        self.at = back;
        false
    }

    /// `` `text` ``, with a role before or after it, or as a link.
    fn interpreted(&mut self, role: &str) -> bool {
        let Some(end) = self.span(INTERPRETED) else { return false };
        let inside = &self.text[self.at + 1..end];
        self.at = end + 1;
        let rest = &self.text[self.at..];
        if role.is_empty() && rest.starts_with('_') {
            let (text, _) = titled(inside);
            self.link(text);
            self.skip_underscores();
            return true;
        }
        let role = if role.is_empty() { self.role_after() } else { role };
        let domainless = role.rsplit(':').next().unwrap_or(role);
        self.as_role(domainless, inside);
        true
    }

    fn role_after(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let Some(name) = rest.strip_prefix(':').and_then(|rest| rest.split_once(':')).map(|(name, _)| name)
        else {
            return "";
        };
        let sound =
            !name.is_empty() && name.len() < 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !sound {
            return "";
        }
        self.at += name.len() + 2;
        name
    }

    fn as_role(&mut self, role: &str, inside: &str) {
        let (text, target) = titled(inside);
        let titled = !target.is_empty();
        match role {
            "ref" | "doc" | "numref" | "any" | "term" | "keyword" | "download" | "token" | "eq" => {
                self.link(text)
            }
            "pep" => self.link(&if titled { text.to_owned() } else { format!("PEP {text}") }),
            "rfc" => self.link(&if titled { text.to_owned() } else { format!("RFC {text}") }),
            "abbr" | "strong" | "emphasis" | "sub" | "sup" | "title" | "title-reference" | "t" | "dfn"
            | "guilabel" | "menuselection" | "math" | "index" | "" => self.out.push_str(text),
            "func" | "meth" | "function" | "method" if !titled => {
                let name = short(text);
                let call = if name.ends_with(')') { "" } else { "()" };
                self.tick(&format!("{name}{call}"));
            }
            _ if titled => self.out.push_str(text),
            _ => self.tick(short(text)),
        }
    }

    /// `**strong**` and `*emphasis*` as plain text.
    fn emphasis(&mut self) -> bool {
        let kind = if self.text[self.at..].starts_with("**") { STRONG } else { EMPHASIS };
        let length = SIGNS[kind].len();
        let Some(end) = self.span(kind) else { return false };
        self.out.push_str(&self.text[self.at + length..end]);
        self.at = end + length;
        true
    }

    /// `name_` refers to something; `_` at the start of `` _`target` `` makes it one.
    fn underscore(&mut self) -> bool {
        let rest = &self.text[self.at..];
        if rest.starts_with("_`") && self.opens() {
            self.at += 1;
            return true;
        }
        let trimmed = rest.trim_start_matches('_');
        let marks = rest.len() - trimmed.len();
        let ends = trimmed
            .chars()
            .next()
            .is_none_or(|next| !next.is_alphanumeric() && !matches!(next, '(' | '*' | '/'));
        let word = self.out.get(self.word..).unwrap_or_default();
        let simple = word.starts_with(|first: char| first.is_alphanumeric());
        if marks > 2 || !ends || !simple {
            self.out.push_str(&rest[..marks]);
        } else {
            self.links += u32::try_from(word.len()).unwrap_or(0);
        }
        self.at += marks;
        true
    }

    /// `[1]_`, `[#name]_` and `[Name2002]_`: numbers go, names stay.
    fn footnote(&mut self) -> bool {
        let rest = &self.text[self.at + 1..];
        let length = rest.bytes().take(64).take_while(|byte| !b"] [".contains(byte)).count();
        if !rest.get(length..).is_some_and(|rest| rest.starts_with("]_")) {
            return false;
        }
        let name = &rest[..length];
        if name.starts_with(|first: char| first.is_alphabetic()) {
            self.out.push_str(&self.text[self.at..self.at + length + 2]);
        } else {
            self.out.truncate(self.out.trim_end().len());
        }
        self.at += length + 3;
        true
    }

    fn skip_underscores(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.bytes().take(2).take_while(|&byte| byte == b'_').count();
    }

    fn link(&mut self, text: &str) {
        self.out.push_str(text);
        self.links = self.links.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }

    /// Code in backticks: more of them where the code has one itself (CommonMark 0.31, 6.1).
    fn tick(&mut self, code: &str) {
        let (before, after) = if code.contains('`') { ("`` ", " ``") } else { ("`", "`") };
        self.out.push_str(before);
        self.out.push_str(code);
        self.out.push_str(after);
    }
}

/// `text <target>` as its two parts; no target when there is none.
fn titled(inside: &str) -> (&str, &str) {
    match inside.strip_suffix('>').and_then(|inside| inside.rsplit_once('<')) {
        Some((text, target)) if !text.trim().is_empty() => (text.trim(), target),
        Some((_, target)) => (target, ""),
        None => (inside, ""),
    }
}

/// `~a.b.Name` is shown as `Name`, `!name` as `name`.
fn short(text: &str) -> &str {
    match text.strip_prefix('~') {
        Some(path) => path.rsplit('.').next().unwrap_or(path),
        None => text.strip_prefix('!').unwrap_or(text).trim_start_matches('.'),
    }
}
