//! Attributes: of the document (`:name: value`) and of a block (`[source,rust]`).

use std::collections::HashMap;

/// Attributes one page may set.
const ATTRIBUTES_MAX: usize = 1_000;
/// Bytes of `idprefix` and of `idseparator`; a longer one is as if it was not set.
const AFFIX_BYTES_MAX: usize = 64;
/// Bytes of an id before it is numbered.
const ID_BYTES_MAX: usize = 512;

/// What the document has set so far.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    values: HashMap<String, String>,
}

impl Attributes {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).or_else(|| builtin(name))
    }

    /// Sets an attribute, or unsets it.
    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        match value {
            None => {
                self.values.remove(name);
            }
            Some(value) if self.values.len() < ATTRIBUTES_MAX => {
                self.values.insert(name.to_owned(), value);
            }
            Some(_) => {}
        }
    }

    /// The id Asciidoctor gives a section: `_section_title`, or as `idprefix` and `idseparator` say. `taken` has the ids
    /// given so far, each with the number that its last namesake got.
    pub(super) fn section_id(&self, heading: &str, taken: &mut HashMap<String, u32>) -> String {
        let separator = self.affix("idseparator");
        let mut id = self.affix("idprefix").to_owned();
        let start = id.len();
        for character in heading.chars().flat_map(char::to_lowercase) {
            if character.is_alphanumeric() || character == '_' {
                id.push(character);
            } else if matches!(character, ' ' | '-' | '.')
                && (separator.is_empty() || !id.ends_with(separator))
            {
                id.push_str(separator);
            }
            if id.len() > ID_BYTES_MAX {
                break;
            }
        }
        id.truncate(id.floor_char_boundary(ID_BYTES_MAX));
        if !separator.is_empty() && id.len() > start {
            id.truncate(id.trim_end_matches(separator).len());
        }
        let Some(mut number) = taken.get(&id).copied() else {
            taken.insert(id.clone(), 1);
            return id;
        };
        // Counting on from the last number given keeps a page of equal headings linear.
        let numbered = loop {
            number += 1;
            let numbered = format!("{id}{separator}{number}");
            if !taken.contains_key(&numbered) {
                break numbered;
            }
        };
        taken.insert(id, number);
        taken.insert(numbered.clone(), 1);
        numbered
    }

    /// What stands before or between the words of ids.
    fn affix(&self, name: &str) -> &str {
        self.values.get(name).filter(|value| value.len() <= AFFIX_BYTES_MAX).map_or("_", String::as_str)
    }
}

/// Characters that have a name (Asciidoctor's intrinsic attributes).
fn builtin(name: &str) -> Option<&'static str> {
    Some(match name {
        "empty" | "blank" | "zwsp" | "wj" => "",
        "sp" | "nbsp" => " ",
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "apos" | "lsquo" | "rsquo" => "'",
        "quot" | "ldquo" | "rdquo" => "\"",
        "startsb" => "[",
        "endsb" => "]",
        "vbar" => "|",
        "caret" => "^",
        "asterisk" => "*",
        "tilde" => "~",
        "plus" => "+",
        "backslash" => "\\",
        "backtick" => "`",
        "two-colons" => "::",
        "two-semicolons" => ";;",
        "cpp" => "C++",
        "pp" => "++",
        "deg" => "°",
        _ => return None,
    })
}

/// `:name: value` and `:!name:` as name and value.
pub(super) fn entry(line: &str) -> Option<(&str, Option<&str>)> {
    let (name, value) = line.strip_prefix(':')?.split_once(':')?;
    let plain = name.trim_start_matches('!').trim_end_matches('!');
    let sound = !plain.is_empty()
        && plain.len() <= 64
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !sound || !(value.is_empty() || value.starts_with(' ')) {
        return None;
    }
    Some((plain, (plain.len() == name.len()).then(|| value.trim())))
}

/// What a `[…]` line says about the block below it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// `source`, `NOTE`, `quote` and so on.
    pub(super) name: String,
    pub(super) language: String,
    pub(super) id: Option<String>,
    /// Columns of a table, 0 when it does not say.
    pub(super) columns: usize,
    pub(super) header: bool,
    /// What separates cells, when it says.
    pub(super) separator: Option<char>,
}

impl Style {
    pub(super) fn read(attributes: &str) -> Self {
        let mut style = Self::default();
        for (place, part) in split(attributes).into_iter().enumerate().take(32) {
            let part = part.trim();
            if let Some((name, value)) = part.split_once('=') {
                style.named(name.trim(), value.trim().trim_matches(['"', '\'']));
            } else if place == 0 {
                style.first(part);
            } else if place == 1 && matches!(style.name.as_str(), "source" | "") {
                part.trim_matches('"').clone_into(&mut style.language);
            }
        }
        style
    }

    /// `style#id.role%option`.
    fn first(&mut self, part: &str) {
        let end = part.find(['#', '.', '%']).unwrap_or(part.len());
        part[..end].clone_into(&mut self.name);
        if let Some(id) = part.split('#').nth(1) {
            let id = id.split(['.', '%']).next().unwrap_or(id);
            self.id = Some(id.to_owned());
        }
        self.header |= part.contains("%header");
    }

    fn named(&mut self, name: &str, value: &str) {
        match name {
            "id" => self.id = Some(value.to_owned()),
            "language" => value.clone_into(&mut self.language),
            "options" | "opts" => self.header |= value.contains("header"),
            "separator" => self.separator = value.chars().next(),
            "format" if value == "csv" => self.separator = Some(','),
            "cols" => self.columns = columns(value),
            _ => {}
        }
    }
}

/// How many columns `cols` names: `1,2`, `3*`, `2*,1`.
fn columns(value: &str) -> usize {
    let count = |column: &str| match column.trim().split_once('*') {
        Some((times, _)) => times.trim().parse::<usize>().map_or(1, |times| times.min(64)),
        None => 1,
    };
    value.split([',', ';']).map(count).sum::<usize>().min(64)
}

/// Parts between commas that stand in no quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// What an admonition is shown as.
pub(super) fn admonition(name: &str) -> Option<&'static str> {
    Some(match name {
        "NOTE" => "Note: ",
        "TIP" => "Tip: ",
        "IMPORTANT" => "Important: ",
        "WARNING" => "Warning: ",
        "CAUTION" => "Caution: ",
        _ => return None,
    })
}

/// `NOTE: text` as label and text.
pub(super) fn admonition_prefix(text: &str) -> Option<(&'static str, &str)> {
    let (name, rest) = text.split_once(": ")?;
    Some((admonition(name)?, rest))
}
