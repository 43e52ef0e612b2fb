//! Lists as Markdown: bulleted, numbered, of terms, of callouts.

/// How deep the indentation of nested lists goes.
const DEPTH_MAX: usize = 6;

/// A line that begins an item.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// The mark, which tells the level by its kind and length.
    mark: &'a str,
    /// What a description list describes; empty in other lists.
    pub(super) term: &'a str,
    pub(super) text: &'a str,
    /// The number of a callout.
    number: &'a str,
}

pub(super) fn is_item(line: &str) -> bool {
    item(line).is_some()
}

/// Reads a line (without its indentation) as an item.
pub(super) fn item(line: &str) -> Option<Item<'_>> {
    let sign = line.as_bytes().first().copied()?;
    let marks = match sign {
        b'*' | b'.' => line.bytes().take(8).take_while(|&byte| byte == sign).count(),
        b'-' => 1,
        b'<' => {
            let callout = line[1..].split_once("> ").filter(|(number, _)| {
                *number == "." || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            });
            return match callout {
                Some((number, text)) => Some(Item { mark: "<", term: "", text, number }),
                None => term(line),
            };
        }
        b'0'..=b'9' => {
            let digits = line.bytes().take(5).take_while(u8::is_ascii_digit).count();
            if line.as_bytes().get(digits) != Some(&b'.') {
                return term(line);
            }
            digits + 1
        }
        _ => 0,
    };
    match line[marks..].strip_prefix(' ') {
        Some(text) if marks > 0 && !text.trim().is_empty() => {
            let mark = if sign.is_ascii_digit() { "1." } else { &line[..marks] };
            Some(Item { mark, term: "", text: text.trim_start(), number: "" })
        }
        _ => term(line),
    }
}

/// `term:: text`, where the text may stand on the next line.
fn term(line: &str) -> Option<Item<'_>> {
    let (at, mark) = ["::::", ":::", "::", ";;"].iter().find_map(|mark| {
        let at = line.find(mark)?;
        let after = &line[at + mark.len()..];
        (after.is_empty() || after.starts_with(' ')).then_some((at, *mark))
    })?;
    let term = line[..at].trim();
    // A macro or a name of C++ is no term.
    let sound = !term.is_empty() && !term.starts_with("//") && !term.ends_with(':');
    sound.then(|| Item { mark, term, text: line[at + mark.len()..].trim(), number: "" })
}

/// The list that is being collected.
#[derive(Debug, Default)]
pub(super) struct List {
    text: String,
    links: u32,
    marks: Vec<String>,
    defining: bool,
}

impl List {
    pub(super) fn item(&mut self, item: &Item<'_>, term: &str, text: &str, links: u32) {
        match self.marks.iter().position(|mark| mark == item.mark) {
            Some(place) => self.marks.truncate(place + 1),
            None if self.marks.len() < 32 => self.marks.push(item.mark.to_owned()),
            None => {}
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.extend(std::iter::repeat_n("  ", (self.marks.len() - 1).min(DEPTH_MAX)));
        match item.number {
            "" | "." => self.text.push_str("- "),
            number => {
                self.text.push_str(number);
                self.text.push_str(". ");
            }
        }
        self.text.push_str(term);
        if !term.is_empty() && !text.is_empty() {
            self.text.push_str(": ");
        }
        self.text.push_str(text);
        self.defining = text.is_empty();
        self.links = self.links.saturating_add(links);
    }

    /// A paragraph of the last item.
    pub(super) fn paragraph(&mut self, text: &str, links: u32) {
        if self.defining {
            self.text.push_str(": ");
        } else {
            if !self.text.is_empty() {
                self.text.push_str("\n\n");
            }
            self.text.extend(std::iter::repeat_n("  ", self.marks.len().min(DEPTH_MAX)));
        }
        self.text.push_str(text);
        self.defining = false;
        self.links = self.links.saturating_add(links);
    }

    pub(super) fn is_open(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Whether the last term still has no text.
    pub(super) fn is_defining(&self) -> bool {
        self.defining
    }

    /// The list so far; its marks stay, so that it can go on after code.
    pub(super) fn take(&mut self) -> Option<(String, u32)> {
        self.defining = false;
        let text = std::mem::take(&mut self.text);
        let links = std::mem::take(&mut self.links);
        (!text.trim().is_empty()).then_some((text, links))
    }

    /// Ends the list.
    pub(super) fn clear(&mut self) {
        self.marks.clear();
    }
}
