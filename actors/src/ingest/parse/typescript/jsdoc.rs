//! JSDoc and TSDoc comments as Markdown.

use std::fmt::Write;

use crate::ingest::parse::code::Docs;

/// Pieces of text of one comment; later ones are left out.
const TEXTS_MAX: usize = 64;

/// What a comment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) docs: Docs,
    /// `@internal`, `@hidden`, `@ignore`, `@private`: not for users.
    pub(super) is_hidden: bool,
}

/// Reads a comment, `/**` and `*/` included.
pub(super) fn read(comment: &str) -> Said {
    let mut parts = Parts::default();
    for (tag, text) in blocks(comment) {
        parts.take(&tag, text.trim_matches('\n'));
    }
    parts.said()
}

/// A comment's text up to the first tag, then each tag with its text. Tags inside fences are text.
fn blocks(comment: &str) -> Vec<(String, String)> {
    let mut blocks = vec![(String::new(), String::new())];
    let mut fenced = false;
    let inner = comment.strip_prefix("/**").unwrap_or(comment);
    let inner = inner.strip_suffix("*/").unwrap_or(inner);
    for line in inner.lines() {
        let line = line.trim_end();
        let bare = line.trim_start();
        let line = match bare.strip_prefix('*') {
            Some(rest) => rest.strip_prefix(' ').unwrap_or(rest),
            None => bare,
        };
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
        }
        let tag = trimmed.strip_prefix('@').filter(|_| !fenced && line.len() - trimmed.len() < 4);
        let name =
            tag.map(|tag| tag.split(|at: char| !at.is_ascii_alphanumeric()).next().unwrap_or_default());
        match (tag, name) {
            (Some(tag), Some(name)) if !name.is_empty() && !is_decorator(tag, name, &blocks) => {
                let text = tag.get(name.len()..).unwrap_or_default().trim_start();
                blocks.push((name.to_owned(), text.to_owned()));
            }
            _ => {
                if let Some((_, text)) = blocks.last_mut() {
                    text.push('\n');
                    text.push_str(line);
                }
            }
        }
    }
    blocks
}

/// In an example a line such as `@Injectable()` is code.
fn is_decorator(tag: &str, name: &str, blocks: &[(String, String)]) -> bool {
    let in_example = blocks.last().is_some_and(|(open, _)| open == "example");
    in_example
        && (name.starts_with(|first: char| first.is_ascii_uppercase()) || tag[name.len()..].starts_with('('))
}

/// A comment sorted by what its tags mean.
#[derive(Default)]
struct Parts {
    text: Vec<String>,
    parameters: Vec<String>,
    type_parameters: Vec<String>,
    lines: Vec<String>,
    examples: Vec<String>,
    notes: Vec<String>,
    is_hidden: bool,
}

impl Parts {
    fn take(&mut self, tag: &str, text: &str) {
        let said = inline(text);
        let trimmed = said.trim();
        match tag {
            ""
            | "description"
            | "desc"
            | "summary"
            | "remarks"
            | "classdesc"
            | "privateRemarks"
            | "fileoverview"
            | "packageDocumentation"
            | "module" => {
                // `@module name` names, and what follows is text.
                let body = if tag == "module" {
                    trimmed.split_once('\n').map_or("", |(_, body)| body)
                } else {
                    trimmed
                };
                if tag != "privateRemarks" && !body.is_empty() {
                    self.say(body.trim());
                }
            }
            "param" | "arg" | "argument" | "prop" | "property" => self.parameters.extend(parameter(trimmed)),
            "typeParam" | "typeparam" | "template" => self.type_parameters.extend(parameter(trimmed)),
            "returns" | "return" => self.line("Returns", without_type(trimmed)),
            "yields" | "yield" => self.line("Yields", without_type(trimmed)),
            "throws" | "exception" => self.line("Throws", without_type(trimmed)),
            "see" => self.line("See", trimmed),
            "since" => self.line("Since", trimmed),
            "default" | "defaultValue" => self.line("Default", trimmed),
            "example" => self.examples.extend(example(text)),
            "deprecated" => {
                let note = if trimmed.is_empty() {
                    "Deprecated.".to_owned()
                } else {
                    format!("Deprecated: {trimmed}")
                };
                self.notes.push(note.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            "experimental" | "alpha" | "beta" => self.notes.push("Experimental.".to_owned()),
            "internal" | "hidden" | "ignore" | "private" => self.is_hidden = true,
            _ => {}
        }
    }

    /// Adds text; a summary that the description begins with is said once.
    fn say(&mut self, text: &str) {
        if let Some(known) = self.text.iter_mut().find(|known| text.starts_with(known.as_str())) {
            text.clone_into(known);
        } else if self.text.len() < TEXTS_MAX && !self.text.iter().any(|known| known == text) {
            self.text.push(text.to_owned());
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        if !text.is_empty() {
            self.lines.push(format!("{label}: {}", text.trim_start_matches("- ").trim_start()));
        }
    }

    fn said(self) -> Said {
        let mut markdown = self.text.join("\n\n");
        let mut section = |title: &str, items: &[String]| {
            if !items.is_empty() {
                let _ = write!(markdown, "\n\n{title}:\n\n{}", items.join("\n"));
            }
        };
        section("Type parameters", &self.type_parameters);
        section("Parameters", &self.parameters);
        for text in self.lines.iter().chain(&self.examples) {
            let _ = write!(markdown, "\n\n{text}");
        }
        let docs = Docs { markdown: markdown.trim().to_owned(), notes: self.notes };
        Said { docs, is_hidden: self.is_hidden }
    }
}

/// `{type} [name=default] - text` as a list item.
fn parameter(text: &str) -> Option<String> {
    let text = without_type(text);
    let (name, said) = match text.strip_prefix('[') {
        Some(optional) => {
            let (name, said) = optional.split_once(']')?;
            (name.split('=').next().unwrap_or(name).trim(), said)
        }
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    };
    let said = said.trim_start().trim_start_matches("- ").trim();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty() && !said.is_empty()).then(|| format!("- `{name}`: {said}"))
}

/// The text behind a type in braces, which the signature says better.
fn without_type(text: &str) -> &str {
    if !text.starts_with('{') {
        return text;
    }
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(at + 1..).unwrap_or_default().trim_start();
        }
    }
    text
}

/// An example as Markdown: its own fences, or one around all of it.
fn example(text: &str) -> Option<String> {
    let (caption, code) =
        match text.trim_start().strip_prefix("<caption>").and_then(|text| text.split_once("</caption>")) {
            Some((caption, code)) => (caption.trim(), code.trim_matches('\n')),
            None => ("", text),
        };
    if code.trim().is_empty() {
        return None;
    }
    let body = if code.contains("```") || code.contains("~~~") {
        inline(code)
    } else {
        format!("```ts\n{}\n```", code.trim_end())
    };
    Some(if caption.is_empty() { body } else { format!("{caption}\n\n{body}") })
}

/// `{@link x}` and its kin as Markdown; fences stay as they are.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || !line.contains("{@") {
            out.push_str(line);
        } else {
            inline_line(line, &mut out);
        }
        out.push('\n');
    }
    out
}

fn inline_line(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{@") {
        out.push_str(before);
        let Some((tag, next)) = after.split_once('}') else {
            out.push_str("{@");
            out.push_str(after);
            return;
        };
        let (name, text) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        let text = text.trim();
        let (target, shown) =
            text.split_once('|').or_else(|| text.split_once(char::is_whitespace)).unwrap_or((text, ""));
        let (target, shown) = (target.trim(), shown.trim());
        match name {
            "inheritDoc" | "label" => {}
            "code" | "literal" => {
                let _ = write!(out, "`{text}`");
            }
            _ if target.contains("://") => {
                let shown = if shown.is_empty() { target } else { shown };
                let _ = write!(out, "[{shown}]({target})");
            }
            _ if shown.is_empty() && target.is_empty() => {}
            _ if shown.is_empty() => {
                let _ = write!(out, "`{target}`");
            }
            _ => out.push_str(shown),
        }
        rest = next;
    }
    out.push_str(rest);
}
