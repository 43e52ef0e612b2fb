//! Explicit markup: directives, targets, substitutions, footnotes, comments.

use std::collections::HashMap;

use super::super::outline::language;
use super::lines::{field, indent};
use super::{Entry, Reader, object, table};

/// Substitutions of one page.
const SUBSTITUTIONS_MAX: usize = 1_000;

/// The name and argument of `name:: argument`.
pub(super) fn head(rest: &str) -> Option<(&str, &str)> {
    let (name, argument) = rest.split_once("::")?;
    let sound = !name.is_empty()
        && name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+:".contains(&byte));
    (sound && (argument.is_empty() || argument.starts_with(' '))).then_some((name, argument.trim()))
}

/// Whether a line begins a directive or a target also where no blank line stands before it.
pub(super) fn is_explicit(body: &str) -> bool {
    body.strip_prefix(".. ").is_some_and(|rest| rest.starts_with('_') || head(rest).is_some())
}

/// `.. |name| replace:: text` of the whole page, as they may be used before they are defined.
pub(super) fn substitutions(lines: &[&str]) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for line in lines.iter().filter_map(|line| line.strip_prefix(".. |")) {
        let Some((name, rest)) = line.split_once('|') else { continue };
        let value = match head(rest.trim_start()) {
            Some(("replace", text)) => text,
            Some(("unicode", text)) => &unicode(text),
            _ => continue,
        };
        if found.len() < SUBSTITUTIONS_MAX {
            found.insert(name.to_owned(), value.replace("``", "`"));
        }
    }
    found
}

/// The characters that `unicode::` names by their numbers.
fn unicode(text: &str) -> String {
    let words = text.split(" .. ").next().unwrap_or(text).split_whitespace();
    words
        .map(|word| {
            let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("U+"));
            digits
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32)
                .map_or_else(|| word.to_owned(), String::from)
        })
        .collect()
}

/// Directives whose content is no text of the page.
const DROPPED: &[&str] = &[
    "toctree",
    "include",
    "literalinclude",
    "contents",
    "raw",
    "index",
    "meta",
    "image",
    "default-role",
    "role",
    "sectionauthor",
    "moduleauthor",
    "codeauthor",
    "tabularcolumns",
    "graphviz",
    "digraph",
    "graph",
    "plot",
    "mermaid",
    "uml",
    "autosummary",
    "automodule",
    "autofunction",
    "autoclass",
    "automethod",
    "autoexception",
    "autodata",
    "autoattribute",
    "highlightlang",
    "sectnum",
    "section-numbering",
    "header",
    "footer",
    "youtube",
    "video",
    "inheritance-diagram",
    "acks",
    "bibliography",
    "testsetup",
    "testcleanup",
    "impl-detail-marker",
    "target-notes",
];

/// Directives that only say how their content looks.
const TRANSPARENT: &[&str] = &[
    "only",
    "ifconfig",
    "container",
    "compound",
    "class",
    "rst-class",
    "cssclass",
    "hlist",
    "tabs",
    "tab-set",
    "grid",
    "glossary",
    "centered",
    "epigraph",
    "highlights",
    "pull-quote",
    "figure",
    "nested",
];

impl<'a> Reader<'a> {
    /// Reads what begins with `..`.
    pub(super) fn explicit(&mut self, margin: usize) {
        let line = self.line(0);
        let rest = line[margin + 2..].trim_start();
        if let Some(target) = rest.strip_prefix('_') {
            self.target(target);
        } else if rest.starts_with('|') {
            self.at += 1;
            self.take_indented(margin);
        } else if let Some((name, argument)) = head(rest) {
            self.at += 1;
            self.directive(margin, name, argument);
        } else if let Some((label, text)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            let mut text = format!("[{}] {text}", label.trim_start_matches('#'));
            self.at += 1;
            self.continue_paragraph(margin + 1, &mut text);
            self.text(margin, None, margin, &text);
        } else {
            self.at += 1;
            self.take_indented(margin);
        }
    }

    /// `.. _name:` leads here, `.. _name: url` leads elsewhere.
    fn target(&mut self, target: &str) {
        self.at += 1;
        let name = match target.strip_prefix('`') {
            Some(quoted) => quoted.strip_suffix("`:"),
            None => target.strip_suffix(':'),
        };
        if let Some(name) = name.filter(|name| !name.is_empty() && !name.contains(": "))
            && self.pending.len() < 12
        {
            let id = self.ids.target(name);
            self.pending.push(id);
        }
    }

    fn directive(&mut self, margin: usize, name: &'a str, argument: &'a str) {
        let kind = name.rsplit(':').next().unwrap_or(name);
        match kind {
            "code-block" | "code" | "sourcecode" | "prompt" | "doctest" | "testcode" | "testoutput"
            | "parsed-literal" | "productionlist" | "ipython" | "jupyter-execute" | "math" | "code-cell"
            | "highlight-block" | "terminal" => self.code_directive(margin, kind, argument),
            "highlight" => {
                self.language = language(argument);
                self.options(margin);
            }
            "module" | "currentmodule" => {
                self.options(margin);
                argument.clone_into(&mut self.scope.module);
                self.scope.class.clear();
                if kind == "module" {
                    self.pending.push(object::module_anchor(argument));
                }
            }
            "program" => self.scope.program = argument.split_whitespace().collect::<Vec<_>>().join("-"),
            "default-domain" => argument.clone_into(&mut self.scope.domain),
            "list-table" | "csv-table" => self.table_directive(margin, kind, argument),
            "table" => {
                self.options(margin);
                self.lead(margin, "", argument);
            }
            _ if DROPPED.contains(&name) => {
                self.take_indented(margin);
            }
            _ if object::is_object(name) => self.describe(margin, name, argument),
            _ if TRANSPARENT.contains(&kind) => {
                self.options(margin);
            }
            _ => self.admonition(margin, kind, argument),
        }
    }

    /// A note, a warning, a version; an unknown directive is read as text with its argument before it.
    fn admonition(&mut self, margin: usize, kind: &str, argument: &str) {
        let label = match kind {
            "note" | "hint" | "tip" | "warning" | "caution" | "danger" | "error" | "important"
            | "attention" => {
                let mut label = kind.to_owned();
                label[..1].make_ascii_uppercase();
                label.push_str(": ");
                label
            }
            "seealso" => "See also: ".to_owned(),
            "versionadded" | "versionchanged" | "deprecated" | "deprecated-removed" | "versionremoved"
            | "availability" => {
                let words = match kind {
                    "versionadded" => "Added in version ",
                    "versionchanged" => "Changed in version ",
                    "versionremoved" => "Removed in version ",
                    "availability" => "Availability: ",
                    _ => "Deprecated since version ",
                };
                let (version, text) = argument.split_once(' ').unwrap_or((argument, ""));
                self.options(margin);
                let colon = if kind == "availability" { " " } else { ": " };
                self.lead(margin, &format!("{words}{version}{colon}"), text);
                return;
            }
            "impl-detail" => "CPython implementation detail: ".to_owned(),
            _ => String::new(),
        };
        self.options(margin);
        self.lead(margin, &label, argument);
    }

    /// An argument and the lines that belong to it, as a paragraph after `label`.
    fn lead(&mut self, margin: usize, label: &str, argument: &str) {
        if argument.is_empty() {
            label.clone_into(&mut self.label);
            // A label that nothing follows is still said.
            let next = self.lines[self.at..].iter().take(3).find(|line| !line.is_empty());
            if next.is_none_or(|line| indent(line) <= margin) {
                self.label.clear();
                let text = label.trim_end_matches([':', ' ']).to_owned();
                if !text.is_empty() {
                    self.text(margin, None, margin, &text);
                }
            }
            return;
        }
        let mut text = argument.to_owned();
        self.continue_paragraph(margin + 1, &mut text);
        label.clone_into(&mut self.label);
        self.text(margin, None, margin, &text);
    }

    /// Options that stand right after the directive's first line; gives `:header:` of a table.
    fn options(&mut self, margin: usize) -> Vec<(&'a str, &'a str)> {
        let mut options = Vec::new();
        loop {
            let line = self.line(0);
            match field(line.trim_start()) {
                Some((name, value)) if indent(line) > margin => options.push((name, value.trim())),
                _ => return options,
            }
            self.at += 1;
        }
    }

    fn code_directive(&mut self, margin: usize, kind: &str, argument: &str) {
        self.options(margin);
        let code = self.indented(margin);
        let written = match kind {
            "doctest" | "testcode" | "ipython" | "jupyter-execute" => "python".to_owned(),
            "testoutput" | "parsed-literal" | "productionlist" | "math" => String::new(),
            "prompt" => language(argument),
            _ if argument.is_empty() => self.language.clone(),
            _ => language(argument),
        };
        // `math` may have its formula as the argument.
        let code = if code.is_empty() && kind == "math" { argument.to_owned() } else { code };
        self.code(written, code);
    }

    fn table_directive(&mut self, margin: usize, kind: &str, title: &str) {
        let options = self.options(margin);
        let option = |name| options.iter().find(|(option, _)| *option == name).map(|(_, value)| *value);
        let header = option("header-rows").is_some_and(|rows| rows != "0");
        let body = self.take_indented(margin);
        let rows = match kind {
            "csv-table" => table::of_csv(body, option("header"), header),
            _ => table::of_list(body, header),
        };
        if !title.is_empty() {
            self.text(margin, None, margin, title);
        }
        if let Some((text, links)) = rows.render(&mut self.inline) {
            self.flush();
            self.settle();
            self.outline.prose(text, links);
        }
    }

    /// Opens the entry of an object; its description is read as the text inside the directive.
    fn describe(&mut self, margin: usize, name: &str, argument: &str) {
        let mut signatures = vec![argument.to_owned()];
        // More signatures stand below the first; one that ends with a backslash goes on.
        loop {
            let line = self.line(0);
            let body = line.trim_start();
            if body.is_empty() || indent(line) <= margin || field(body).is_some() || signatures.len() >= 32 {
                break;
            }
            match signatures.last_mut() {
                Some(last) if last.ends_with('\\') => {
                    last.pop();
                    last.push_str(body);
                }
                _ => signatures.push(body.to_owned()),
            }
            self.at += 1;
        }
        let options = self.options(margin);
        let hidden = options.iter().any(|(name, _)| matches!(*name, "noindex" | "no-index"));
        self.open_entry(margin, name, &signatures, hidden);
    }

    fn open_entry(&mut self, margin: usize, name: &str, signatures: &[String], hidden: bool) {
        self.flush();
        self.resume = None;
        if self.base.is_none() {
            self.outline.current();
            self.base = self.outline.position();
        }
        let level = match (self.entries.last(), self.base) {
            (Some(entry), _) => entry.level,
            (None, base) => base.map_or(0, |(_, level)| level),
        }
        .saturating_add(1);
        let objects: Vec<_> =
            signatures.iter().map(|signature| object::object(name, signature, &self.scope)).collect();
        let mut anchors: Vec<String> = Vec::new();
        if !hidden {
            anchors.extend(objects.iter().flat_map(|object| object.anchors.iter().cloned()));
        }
        anchors.append(&mut self.pending);
        let Some(first) = objects.into_iter().next() else { return };
        self.outline.open(level, &self.inline.read(&first.heading).0, anchors);
        let section = self.outline.position().map_or(0, |(index, _)| index);
        if let Some(language) = first.language {
            self.outline.code(language.to_owned(), signatures.join("\n"));
        }
        let outer_class = first.class.map(|class| std::mem::replace(&mut self.scope.class, class));
        self.entries.push(Entry { indent: margin, section, level, outer_class });
    }
}
