//! Doc comments: from attributes to Markdown, and from Markdown to sections.

use std::borrow::Cow;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

use crate::ingest::parse::{ParseLimits, Section, markdown};

/// What is said about an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Docs {
    /// The doc comment as Markdown, without the indent all its lines share.
    pub(super) markdown: String,
    /// Sentences made of attributes: deprecated, needs a feature.
    pub(super) notes: Vec<String>,
}

impl Docs {
    /// What the attributes of an item say.
    pub(super) fn of(attributes: &[Attribute]) -> Self {
        let mut lines = Vec::new();
        let mut notes = Vec::new();
        for attribute in attributes {
            match &attribute.meta {
                Meta::NameValue(pair) if pair.path.is_ident("doc") => {
                    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value {
                        lines.extend(comment_lines(&text.value()));
                    }
                }
                Meta::Path(path) if path.is_ident("deprecated") => notes.push("Deprecated.".to_owned()),
                Meta::NameValue(pair) if pair.path.is_ident("deprecated") => {
                    if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value {
                        notes.push(format!("Deprecated: {}", text.value()));
                    }
                }
                Meta::List(list) if list.path.is_ident("deprecated") => {
                    notes.push(deprecated(value_of(&list.tokens, "since"), value_of(&list.tokens, "note")));
                }
                Meta::List(list) if list.path.is_ident("cfg") && !has_word(&list.tokens, "not") => {
                    notes.extend(features(&list.tokens));
                }
                _ => {}
            }
        }
        notes.dedup();
        Self { markdown: unindented(&lines), notes }
    }

    /// Whether there is no doc comment.
    pub(super) fn is_empty(&self) -> bool {
        self.markdown.trim().is_empty()
    }

    /// Adds what is said at another place about the same item.
    pub(super) fn append(&mut self, other: Self) {
        if !self.markdown.is_empty() && !other.markdown.is_empty() {
            self.markdown.push_str("\n\n");
        }
        self.markdown.push_str(&other.markdown);
        self.notes.extend(other.notes);
    }

    /// Adds the text to `section`, whose level is `section.level`; returns the sections of its own headings.
    pub(super) fn write(&self, section: &mut Section, limits: &ParseLimits) -> Vec<Section> {
        for note in &self.notes {
            section.push_prose(note.clone(), 0);
        }
        let mut sections = markdown::sections(&rust_fences(&self.markdown), section.level, limits);
        if sections.first().is_some_and(|first| first.heading.is_empty()) {
            section.pieces.append(&mut sections.remove(0).pieces);
        }
        sections
    }
}

/// Whether an item is left out: hidden from documentation, or compiled for tests alone.
pub(super) fn is_hidden(attributes: &[Attribute]) -> bool {
    is_doc_hidden(attributes) || is_for_tests(attributes)
}

/// Whether an item has `#[doc(hidden)]`.
pub(super) fn is_doc_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("doc") && has_word(&list.tokens, "hidden"),
        _ => false,
    })
}

/// Whether an item is compiled for tests of some kind alone.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") && !has_word(&list.tokens, "not") => {
            ["test", "doctest", "fuzzing", "loom"].into_iter().any(|word| has_word(&list.tokens, word))
        }
        _ => false,
    })
}

fn deprecated(since: Option<String>, note: Option<String>) -> String {
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    match note {
        Some(note) => format!("Deprecated{since}: {note}"),
        None => format!("Deprecated{since}."),
    }
}

/// `feature = "x"` anywhere in a condition without `not`.
fn features(condition: &TokenStream) -> Option<String> {
    let mut names = Vec::new();
    collect_values(condition, "feature", &mut names);
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.len() {
        0 => None,
        1 => Some(format!("Needs the crate feature {}.", quoted.concat())),
        _ if has_word(condition, "any") => {
            Some(format!("Needs one of the crate features {}.", quoted.join(", ")))
        }
        _ => Some(format!("Needs the crate features {}.", quoted.join(", "))),
    }
}

fn value_of(tokens: &TokenStream, key: &str) -> Option<String> {
    let mut values = Vec::new();
    collect_values(tokens, key, &mut values);
    values.into_iter().next()
}

/// The string literals behind `key =`. Attributes nest within the bounds of [`super::tokens`].
fn collect_values(tokens: &TokenStream, key: &str, values: &mut Vec<String>) {
    let mut expected = 0;
    for token in tokens.clone() {
        expected = match (expected, &token) {
            (_, TokenTree::Ident(ident)) if ident == key => 1,
            (1, TokenTree::Punct(punct)) if punct.as_char() == '=' => 2,
            (2, TokenTree::Literal(literal)) => {
                if let Lit::Str(text) = Lit::new(literal.clone()) {
                    values.push(text.value());
                }
                0
            }
            (_, TokenTree::Group(group)) => {
                collect_values(&group.stream(), key, values);
                0
            }
            _ => 0,
        };
    }
}

pub(super) fn has_word(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => has_word(&group.stream(), word),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The lines of one `///` or of a whole `/** */`, whose lines may begin with a star.
fn comment_lines(text: &str) -> Vec<String> {
    // The first line stands behind `/**`, where an indent means nothing.
    let Some((first, rest)) = text.split_once('\n') else {
        return vec![text.to_owned()];
    };
    let starred =
        rest.lines().filter(|line| !line.trim().is_empty()).all(|line| line.trim_start().starts_with('*'));
    let line = |line: &str| match line.trim_start().strip_prefix('*') {
        Some(rest) if starred => rest.to_owned(),
        _ => line.to_owned(),
    };
    let first = Some(first.trim()).filter(|first| !first.is_empty());
    let rest: Vec<String> = rest.lines().map(line).collect();
    first.map(str::to_owned).into_iter().chain(unindented(&rest).lines().map(str::to_owned)).collect()
}

/// Joins lines without the indent that all of them share.
fn unindented(lines: &[String]) -> String {
    let indent = |line: &&String| line.len() - line.trim_start_matches(' ').len();
    let shared =
        lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(&line)).min().unwrap_or(0);
    let lines: Vec<&str> = lines.iter().map(|line| line.get(shared..).unwrap_or("").trim_end()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// Names the language of every fence as rustdoc understands it, and drops the lines rustdoc hides.
fn rust_fences(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut open: Option<(String, bool)> = None;
    for line in markdown.lines() {
        let text = line.trim_start();
        let indent = line.get(..line.len() - text.len()).unwrap_or("");
        match &open {
            None => match fence(text) {
                Some(marks) => {
                    let is_rust = is_rust(text.get(marks.len()..).unwrap_or(""));
                    out.push_str(&if is_rust { format!("{indent}{marks}rust") } else { line.to_owned() });
                    open = Some((marks, is_rust));
                }
                None => out.push_str(&without_item_links(line)),
            },
            Some((marks, _))
                if text.trim_end().starts_with(marks.as_str())
                    && text.trim_end().trim_start_matches(['`', '~']).is_empty() =>
            {
                out.push_str(line);
                open = None;
            }
            Some((_, true)) => match text.strip_prefix('#') {
                // `##` is how a line that starts with `#` is written, `#[…]` an attribute.
                Some(rest) if rest.starts_with('#') => out.push_str(&format!("{indent}{rest}")),
                Some(rest) if rest.is_empty() || rest.starts_with(' ') => continue,
                _ => out.push_str(line),
            },
            Some((_, false)) => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Drops the brackets around a name in code marks: rustdoc finds the item by itself, a reader of Markdown sees brackets.
fn without_item_links(line: &str) -> Cow<'_, str> {
    if !line.contains("[`") {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("[`") {
        out.push_str(before);
        match after.split_once("`]") {
            // A link with a target, or the definition of one, is left as it is.
            Some((name, next)) if !name.contains('`') && !next.starts_with(['(', '[', ':']) => {
                out.push('`');
                out.push_str(name);
                out.push('`');
                rest = next;
            }
            _ => {
                out.push_str("[`");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The marks of a line that opens a fence.
fn fence(text: &str) -> Option<String> {
    let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let marks: String = text.chars().take_while(|character| *character == mark).collect();
    let info = text.get(marks.len()..).unwrap_or("");
    (marks.len() >= 3 && !(mark == '`' && info.contains('`'))).then_some(marks)
}

/// Whether rustdoc would compile a fence with this info string: every word is one of its own.
fn is_rust(info: &str) -> bool {
    let own = |word: &str| {
        matches!(
            word,
            "rust"
                | "ignore"
                | "no_run"
                | "should_panic"
                | "compile_fail"
                | "test_harness"
                | "standalone_crate"
                | "standalone"
        ) || word.starts_with("edition")
            || word.starts_with("ignore-")
            || (word.starts_with('E')
                && word.len() == 5
                && word.bytes().skip(1).all(|byte| byte.is_ascii_digit()))
    };
    info.split([',', ' ', '\t', '{', '}']).filter(|word| !word.is_empty()).all(own)
}
