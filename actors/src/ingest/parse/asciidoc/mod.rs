//! AsciiDoc, as Asciidoctor reads it: sections, attributes, delimited blocks, lists, tables.
//!
//! [`parse`] is the way in. A page is read line by line; blocks that hold other blocks (examples,
//! sidebars, quotes) are read in place, so nothing is nested in memory. Inline markup is in `inline`.
//!
//! `include::` is not followed and macros fetch nothing. Of conditions only those about the program
//! that shows the page (`env-github`) are decided; else the text of every branch is documentation.

mod attributes;
mod block;
mod inline;
mod list;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::outline::{Outline, language};
use super::{Document, ParseLimits};
use attributes::{Attributes, Style};
use inline::Inline;
use list::List;

/// Longest line that may be a title, in bytes.
const TITLE_BYTES_MAX: usize = 400;

/// Reads a page of AsciiDoc.
pub fn parse(path: &str, text: &str, limits: &ParseLimits) -> Document {
    let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    let mut reader = Reader {
        lines: &lines,
        at: 0,
        outline: Outline::new(limits),
        attributes: Attributes::default(),
        inline: Inline::new(text.len()),
        list: List::default(),
        style: Style::default(),
        title: None,
        anchors: Vec::new(),
        label: "",
        ids: HashMap::new(),
        open: Vec::new(),
    };
    reader.header();
    while reader.at < lines.len() {
        reader.block();
    }
    reader.flush();
    reader.outline.finish(path, None)
}

/// The state between two blocks.
struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
    outline: Outline,
    attributes: Attributes,
    inline: Inline,
    list: List,
    /// What the `[…]` line before the block says about it.
    style: Style,
    /// `.Title` of the block that follows.
    title: Option<&'a str>,
    /// Anchors that wait for what they stand before.
    anchors: Vec<String>,
    /// `Note: ` and the like, for the paragraph that follows.
    label: &'static str,
    /// Ids given to sections so far, each with the number that its last namesake got.
    ids: HashMap<String, u32>,
    /// The lines that began blocks of blocks which are not ended yet.
    open: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// The title with author and revision below it, which are no text.
    fn header(&mut self) {
        while self.line(0).is_empty() && self.at < self.lines.len() || self.line(0).starts_with("//") {
            self.at += 1;
        }
        if self.line(0).starts_with("= ") {
            self.section();
            for _ in 0..2 {
                let line = self.line(0);
                let plain = line.starts_with(|first: char| first.is_alphanumeric());
                if plain && (line.contains('@') || line.starts_with('v') || self.line(1).starts_with(':')) {
                    self.at += 1;
                }
            }
        }
    }

    /// Reads the block that begins on this line, or skips a blank line.
    fn block(&mut self) {
        let line = self.line(0);
        if line.is_empty() {
            self.at += 1;
        } else if !(self.aside(line) || self.section() || self.verbatim(line) || self.container(line)) {
            if line.starts_with([' ', '\t']) && !list::is_item(line.trim_start()) {
                self.literal_paragraph();
            } else {
                self.paragraph();
            }
        }
    }

    /// What is no text: comments, attributes, macros of a whole line, what is said about the next block.
    fn aside(&mut self, line: &'a str) -> bool {
        if let Some((name, value)) = attributes::entry(line) {
            let value = value.map(|value| self.inline.references(value, &self.attributes));
            self.attributes.set(name, value);
        } else if let Some(id) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            self.anchor(id.split(',').next().unwrap_or(id));
        } else if line.starts_with('[') && line.ends_with(']') && !line.contains("](") {
            self.style = Style::read(&line[1..line.len() - 1]);
            if let Some(id) = self.style.id.take() {
                self.anchor(&id);
            }
        } else if line.starts_with('.')
            && line[1..].starts_with(|next: char| !matches!(next, '.' | ' '))
            && line.len() > 1
        {
            self.title = Some(&line[1..]);
        } else if matches!(line, "'''" | "<<<" | "---" | "***" | "- - -" | "* * *") {
            self.flush();
        } else if let Some(skipped) = block::conditional(self.lines, self.at) {
            self.at += skipped;
            return true;
        } else if !block::is_silent(line) {
            return false;
        }
        self.at += 1;
        true
    }

    fn anchor(&mut self, id: &str) {
        if self.anchors.len() < 12 && !id.is_empty() {
            self.anchors.push(id.to_owned());
        }
    }

    /// `== Title`, or a title with a line of signs below it.
    fn section(&mut self) -> bool {
        let line = self.line(0);
        let Some((level, title, lines)) = block::title(line, self.line(1)) else { return false };
        // The line that ends a block of blocks may be as long as the text above it.
        if title.len() > TITLE_BYTES_MAX || (lines == 2 && self.open.last() == Some(&self.line(1))) {
            return false;
        }
        self.flush();
        self.list.clear();
        let (mut title, mut own) = (title, std::mem::take(&mut self.anchors));
        while let Some((before, id)) = title
            .strip_suffix("]]")
            .and_then(|rest| rest.rsplit_once("[["))
            .filter(|(before, _)| before.ends_with(' '))
        {
            own.push(id.to_owned());
            title = before.trim_end();
        }
        while let Some((id, rest)) = title.strip_prefix("[[").and_then(|rest| rest.split_once("]]")) {
            own.push(id.to_owned());
            title = rest;
        }
        let (heading, _) = self.inline.read(title, &self.attributes);
        if own.is_empty() {
            own.push(self.attributes.section_id(&heading, &mut self.ids));
        }
        self.outline.open(level, &heading, own);
        self.style = Style::default();
        self.title = None;
        self.label = "";
        self.at += lines;
        true
    }

    /// A block whose text is taken as it stands.
    fn verbatim(&mut self, line: &'a str) -> bool {
        let Some(kind) = block::verbatim(line) else { return false };
        self.at += 1;
        let body = self.until(|closing| closing == kind.end(line));
        self.at += 1;
        match kind {
            block::Verbatim::Comment | block::Verbatim::Pass => {}
            block::Verbatim::Table => self.table(body),
            block::Verbatim::Code => {
                let tagged = line.trim_start_matches('`');
                self.code(if line.starts_with('`') { tagged } else { "" }, body);
            }
        }
        self.style = Style::default();
        self.title = None;
        true
    }

    /// Takes lines up to the one that ends a block, or to the end of the page.
    fn until(&mut self, ends: impl Fn(&str) -> bool) -> &'a [&'a str] {
        let start = self.at;
        while self.at < self.lines.len() && !ends(self.lines[self.at]) {
            self.at += 1;
        }
        &self.lines[start..self.at]
    }

    /// A line that begins or ends a block of blocks: they are read in place.
    fn container(&mut self, line: &'a str) -> bool {
        if !block::is_delimiter(line) {
            return false;
        }
        if self.open.pop_if(|open| *open == line).is_none() {
            self.open.push(line);
        }
        self.flush();
        self.list.clear();
        self.label = attributes::admonition(&self.style.name).unwrap_or(self.label);
        self.announce();
        self.style = Style::default();
        self.at += 1;
        true
    }

    fn code(&mut self, tag: &str, lines: &[&str]) {
        let tag = match (tag.is_empty(), self.style.language.is_empty()) {
            (false, _) => tag,
            (true, false) => &self.style.language,
            (true, true) if self.style.name == "source" => {
                self.attributes.get("source-language").unwrap_or_default()
            }
            _ => "",
        };
        let tag = language(tag);
        let code = lines.join("\n");
        self.announce();
        self.flush();
        self.settle();
        self.outline.code(tag, code.trim_end().trim_start_matches('\n').to_owned());
    }

    fn literal_paragraph(&mut self) {
        let lines = self.until(str::is_empty);
        let least = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
        let lines: Vec<&str> = lines.iter().map(|line| line.get(least..).unwrap_or_default()).collect();
        self.code("", &lines);
        self.style = Style::default();
    }

    fn table(&mut self, lines: &[&str]) {
        self.announce();
        self.flush();
        let table = table::read(lines, &self.style);
        let cell = |text: &str| self.inline.read(text, &self.attributes);
        if let Some((text, links)) = table.render(cell) {
            self.settle();
            self.outline.prose(text, links);
        }
    }

    /// A paragraph or a list item.
    fn paragraph(&mut self) {
        let style = std::mem::take(&mut self.style);
        let first = self.line(0);
        if matches!(style.name.as_str(), "source" | "listing" | "literal") || !style.language.is_empty() {
            let lines = self.until(str::is_empty);
            self.style = style;
            self.code("", lines);
            self.style = Style::default();
            return;
        }
        if let Some(label) = attributes::admonition(&style.name) {
            self.label = label;
        }
        self.announce();
        let after_plus = self.at >= 1 && self.lines[self.at - 1] == "+";
        let item = list::item(first.trim_start());
        let mut text = item.as_ref().map_or(first, |item| item.text).trim().to_owned();
        self.at += 1;
        while self.goes_on() {
            text.truncate(text.strip_suffix(" +").unwrap_or(&text).len());
            text.push(' ');
            text.push_str(self.line(0).trim());
            self.at += 1;
        }
        text.truncate(text.strip_suffix(" +").unwrap_or(&text).len());
        let text = text.trim();
        let text = match attributes::admonition_prefix(text) {
            Some((label, rest)) => {
                self.label = label;
                rest
            }
            None => text,
        };
        let (mut shown, links) = self.inline.read(text, &self.attributes);
        shown.insert_str(0, std::mem::take(&mut self.label));
        match item {
            Some(item) => {
                let (term, _) = self.inline.read(item.term, &self.attributes);
                self.settle();
                self.list.item(&item, &term, &shown, links);
            }
            None if self.list.is_open() && (after_plus || self.list.is_defining()) => {
                self.settle();
                self.list.paragraph(&shown, links);
            }
            None => {
                self.flush();
                self.list.clear();
                self.settle();
                self.outline.prose(shown, links);
            }
        }
    }

    /// Whether the next line belongs to the paragraph.
    fn goes_on(&self) -> bool {
        let line = self.line(0);
        !(line.is_empty()
            || line == "+"
            || list::is_item(line.trim_start())
            || block::verbatim(line).is_some()
            || block::is_delimiter(line)
            || block::is_block_macro(line)
            || line.starts_with("//")
            || (line.starts_with('[') && line.ends_with(']') && !line.contains("](")))
    }

    /// Writes the title of the block that begins.
    fn announce(&mut self) {
        if let Some(title) = self.title.take() {
            let (text, links) = self.inline.read(title, &self.attributes);
            self.flush();
            self.settle();
            self.outline.prose(text, links);
        }
    }

    fn flush(&mut self) {
        if let Some((text, links)) = self.list.take() {
            self.outline.prose(text, links);
        }
    }

    /// Anchors before text lead to its section.
    fn settle(&mut self) {
        if self.anchors.is_empty() {
            return;
        }
        let section = self.outline.current();
        for anchor in self.anchors.drain(..) {
            if section.anchors.len() < 12 && !section.anchors.contains(&anchor) {
                section.anchors.push(anchor);
            }
        }
    }

    /// The line `ahead` of this one; empty after the last.
    fn line(&self, ahead: usize) -> &'a str {
        self.lines.get(self.at + ahead).copied().unwrap_or_default()
    }
}
