//! reStructuredText, as docutils and Sphinx read it: titles, targets, directives, tables, objects.
//!
//! [`parse`] is the way in. A page is read line by line: what stands inside a directive is read in
//! place, so nothing is nested in memory however deep a page nests. Text becomes Markdown (`inline`),
//! directives are in `directive`, what a Sphinx domain documents is in `object`.
//!
//! Nothing is fetched or executed: `include`, `raw` and the like are left out, and lists of pages
//! (`toctree`) say nothing by themselves.

mod directive;
mod flow;
mod ids;
mod inline;
mod lines;
mod object;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::outline::Outline;
use super::{Document, ParseLimits};
use flow::Flow;
use ids::Ids;
use inline::Inline;
use lines::{indent, is_adornment, is_item};
use object::Scope;

/// Longest line that may be a title, in bytes.
const TITLE_BYTES_MAX: usize = 400;

/// Reads a page of reStructuredText.
pub fn parse(path: &str, text: &str, limits: &ParseLimits) -> Document {
    let text = lines::without_tabs(text);
    let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    let substitutions = directive::substitutions(&lines);
    let mut reader = Reader {
        inline: Inline::new(substitutions, text.len()),
        lines: &lines,
        at: 0,
        outline: Outline::new(limits),
        ids: Ids::default(),
        signs: Vec::new(),
        pending: Vec::new(),
        flow: Flow::default(),
        literal: None,
        language: String::new(),
        label: String::new(),
        base: None,
        entries: Vec::new(),
        resume: None,
        scope: Scope::default(),
    };
    while reader.at < lines.len() {
        reader.block();
    }
    reader.flush();
    reader.outline.finish(path, None)
}

/// Whether a text file is written in reStructuredText: it has a directive or a target.
pub(super) fn is_restructured(text: &str) -> bool {
    text.lines().any(|line| {
        let Some(rest) = line.strip_prefix(".. ") else { return false };
        match rest.strip_prefix('_') {
            Some(target) => target.trim_end().ends_with(':') && target.len() > 1,
            None => directive::head(rest).is_some(),
        }
    })
}

/// The state between two blocks.
struct Reader<'a> {
    lines: &'a [&'a str],
    at: usize,
    outline: Outline,
    ids: Ids,
    /// Adornments of titles in the order they came up: the order gives their level.
    signs: Vec<(char, bool)>,
    /// Targets `.. _name:` that wait for what they stand before.
    pending: Vec<String>,
    flow: Flow,
    inline: Inline,
    /// Set when text ended with `::`: lines further in than this are code.
    literal: Option<usize>,
    /// What `highlight` says code is written in.
    language: String,
    /// `Note: ` and the like, for the paragraph that follows.
    label: String,
    /// The section of the last title: index and level.
    base: Option<(usize, u8)>,
    /// Objects that are being described, outermost first.
    entries: Vec<Entry>,
    /// The section that text after a description belongs to.
    resume: Option<usize>,
    scope: Scope,
}

/// A described object that is still open.
struct Entry {
    /// Text further in belongs to it.
    indent: usize,
    section: usize,
    level: u8,
    /// What the class was before it, when it is one.
    outer_class: Option<String>,
}

impl<'a> Reader<'a> {
    /// Reads the block that begins on this line, or skips a blank line.
    fn block(&mut self) {
        let line = self.lines[self.at];
        if line.is_empty() {
            self.at += 1;
            return;
        }
        let indent = indent(line);
        let body = &line[indent..];
        self.leave(indent);
        if let Some(base) = self.literal.take()
            && self.literal_block(base, indent)
        {
            return;
        }
        if indent == 0 && self.title() {
            return;
        }
        if body == ".." || body.starts_with(".. ") {
            self.explicit(indent);
        } else if body.starts_with("__ ") || self.is_transition(indent) {
            self.at += 1;
        } else if body.starts_with(">>> ") {
            self.doctest(indent);
        } else if table::is_grid(body) || table::is_simple(body) {
            self.table(indent);
        } else if body == "|" || body.starts_with("| ") {
            self.line_block(indent);
        } else if let Some((name, text)) = lines::field(body) {
            self.field(indent, name, text);
        } else {
            self.paragraph(indent);
        }
    }

    /// Ends the objects that a line at this indentation no longer belongs to.
    fn leave(&mut self, indent: usize) {
        while let Some(entry) = self.entries.pop_if(|entry| entry.indent >= indent) {
            self.flush();
            if let Some(outer) = entry.outer_class {
                self.scope.class = outer;
            }
            let parent = self.entries.last().map(|entry| entry.section);
            self.resume = parent.or(self.base.map(|(index, _)| index));
        }
    }

    /// A title: underlined, perhaps with a line above it too.
    fn title(&mut self) -> bool {
        let [line, next, after] = [0, 1, 2].map(|ahead| self.line(ahead));
        if let (Some(over), Some(under)) = (is_adornment(line), is_adornment(after))
            && over == under
            && !next.is_empty()
            && next.len() <= TITLE_BYTES_MAX
            && (next.trim().chars().count() <= line.len() || line.len() > 3)
        {
            self.open((over, true), next.trim());
            self.at += 3;
            return true;
        }
        let width = line.chars().count();
        if let Some(sign) = is_adornment(next)
            && line.len() <= TITLE_BYTES_MAX
            && is_adornment(line).is_none()
            && (next.len() >= width || (next.len() >= 4 && next.len() + 2 >= width))
        {
            self.open((sign, false), line);
            self.at += 2;
            return true;
        }
        false
    }

    fn open(&mut self, sign: (char, bool), title: &str) {
        self.flush();
        self.entries.clear();
        self.scope.class.clear();
        self.resume = None;
        let level = self.signs.iter().position(|&seen| seen == sign).unwrap_or_else(|| {
            self.signs.push(sign);
            self.signs.len() - 1
        });
        let (heading, _) = self.inline.read(title);
        let plain = heading.replace('`', "");
        let anchors = self.ids.section(&plain, std::mem::take(&mut self.pending));
        self.outline.open(u8::try_from(level + 1).unwrap_or(6).min(6), &heading, anchors);
        self.base = self.outline.position();
    }

    fn is_transition(&self, indent: usize) -> bool {
        let line = self.line(0);
        indent == 0 && line.len() >= 4 && is_adornment(line).is_some()
    }

    /// A paragraph, a list item or a term with its definition.
    fn paragraph(&mut self, indent: usize) {
        let first = &self.line(0)[indent..];
        let (mark, inner) = match is_item(first) {
            Some(mark) => (Some(&first[..mark]), indent + mark),
            None => (None, indent),
        };
        let mut text = self.line(0)[inner..].trim_start().to_owned();
        self.at += 1;
        let next = self.line(0);
        let deeper = !next.is_empty() && lines::indent(next) > inner;
        if mark.is_none() && deeper && !text.ends_with("::") && self.literal.is_none() {
            let (term, links) = self.inline.read(&text);
            self.settle();
            self.flow.term(indent, &term, links);
            return;
        }
        self.continue_paragraph(inner.min(indent + 1), &mut text);
        let body = lines::indent_of_text(indent, inner);
        self.text(indent, mark, body, &text);
    }

    /// Joins the lines that follow, up to a blank one, a shallower one or the next item.
    fn continue_paragraph(&mut self, least: usize, text: &mut String) {
        while let Some(line) = self.lines.get(self.at).copied().filter(|line| !line.is_empty()) {
            let indent = indent(line);
            let body = &line[indent..];
            if indent < least || is_item(body).is_some() || directive::is_explicit(body) {
                break;
            }
            text.push(' ');
            text.push_str(body);
            self.at += 1;
        }
    }

    /// Writes a paragraph; one that ends with `::` announces code.
    fn text(&mut self, indent: usize, mark: Option<&str>, inner: usize, text: &str) {
        let shown: Cow<'_, str> = match text.strip_suffix("::") {
            Some("") => {
                self.literal = Some(indent);
                return;
            }
            Some(before) => {
                self.literal = Some(inner);
                match before.strip_suffix(' ') {
                    Some(before) => before.into(),
                    None => format!("{before}:").into(),
                }
            }
            None => text.into(),
        };
        let (mut shown, links) = self.inline.read(&shown);
        if !self.label.is_empty() {
            shown.insert_str(0, &std::mem::take(&mut self.label));
        }
        self.write(indent, mark, shown, links);
    }

    /// Adds text to the list it stands in, or to its section.
    fn write(&mut self, indent: usize, mark: Option<&str>, text: String, links: u32) {
        self.settle();
        if mark.is_none() && self.flow.ended_by(indent) {
            self.flush();
            self.outline.prose(text, links);
        } else {
            self.flow.add(indent, mark, &text, links);
        }
    }

    /// Lines after `::` as code; `false` when there are none.
    fn literal_block(&mut self, base: usize, indent: usize) -> bool {
        let first = self.line(0).trim_start();
        if indent > base {
            let code = self.indented(base);
            self.code(self.language.clone(), code);
            return true;
        }
        // A quoted literal block: each line begins with the same sign.
        let Some(sign) = first.chars().next().filter(char::is_ascii_punctuation) else { return false };
        if indent != base || matches!(sign, '.' | ':') || is_item(first).is_some() {
            return false;
        }
        let mut code = String::new();
        while self.line(0).trim_start().starts_with(sign) {
            code.push_str(self.line(0).trim_start());
            code.push('\n');
            self.at += 1;
        }
        self.code(self.language.clone(), code);
        true
    }

    /// Takes the lines further in than `base`, without the indentation they share.
    fn indented(&mut self, base: usize) -> String {
        let lines = self.take_indented(base);
        lines::dedented(lines)
    }

    /// The lines further in than `base`, blank ones between them included.
    fn take_indented(&mut self, base: usize) -> &'a [&'a str] {
        let start = self.at;
        let mut end = start;
        let mut next = start;
        while let Some(line) = self.lines.get(next) {
            if !line.is_empty() {
                if indent(line) <= base {
                    break;
                }
                end = next + 1;
            }
            next += 1;
        }
        self.at = next;
        &self.lines[start..end]
    }

    fn doctest(&mut self, indent: usize) {
        let mut code = String::new();
        while !self.line(0).is_empty() {
            code.push_str(self.line(0).get(indent..).unwrap_or_default());
            code.push('\n');
            self.at += 1;
        }
        self.code("python".to_owned(), code);
    }

    fn line_block(&mut self, indent: usize) {
        let mut text = String::new();
        let mut links = 0;
        while let Some(rest) = self.line(0).trim_start().strip_prefix('|') {
            let (line, link_bytes) = self.inline.read(rest.trim());
            text.push_str(&line);
            text.push('\n');
            links += link_bytes;
            self.at += 1;
        }
        self.write(indent, None, text.trim_end().to_owned(), links);
    }

    /// `:name: text`: a parameter, what is returned, or a fact about the page.
    fn field(&mut self, indent: usize, name: &str, text: &str) {
        let mut text = text.trim().to_owned();
        self.at += 1;
        self.continue_paragraph(indent + 1, &mut text);
        // Facts about the page stand before its first title.
        if self.base.is_none() && self.entries.is_empty() && indent == 0 {
            return;
        }
        if let Some(line) = object::field(name, &text) {
            self.text(indent, Some("- "), indent + 1, &line);
        }
    }

    fn table(&mut self, indent: usize) {
        let start = self.at;
        let rows = table::read(&self.lines[start..], indent);
        self.at += rows.lines.max(1);
        let rendered = rows.render(&mut self.inline);
        if let Some((text, links)) = rendered {
            self.flush();
            self.outline.prose(text, links);
        }
    }

    fn code(&mut self, language: String, code: String) {
        self.flush();
        self.settle();
        self.outline.code(language, code.trim_end().to_owned());
    }

    /// Writes the list that is being collected.
    fn flush(&mut self) {
        if let Some((text, links)) = self.flow.take() {
            self.outline.prose(text, links);
        }
    }

    /// Before text is written: it goes to its section, and targets that stand before it lead there.
    fn settle(&mut self) {
        if let Some(section) = self.resume.take() {
            self.flush();
            self.outline.resume(section);
        }
        if !self.pending.is_empty() {
            let section = self.outline.current();
            for anchor in self.pending.drain(..) {
                if section.anchors.len() < 12 && !section.anchors.contains(&anchor) {
                    section.anchors.push(anchor);
                }
            }
        }
    }

    /// The line `ahead` of this one; empty after the last.
    fn line(&self, ahead: usize) -> &'a str {
        self.lines.get(self.at + ahead).copied().unwrap_or_default()
    }
}
