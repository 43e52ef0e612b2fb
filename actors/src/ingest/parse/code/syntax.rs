//! Syntax trees within bounds, and pieces cut out of their source.

use std::fmt::Write;
use std::ops::{ControlFlow, Range};

use tree_sitter::{Language, Node, ParseOptions, Parser, Tree};

use crate::ingest::parse::{ParseError, ParseLimits};

/// A longer signature is cut: a page about a type of a thousand members is no better for them all.
const SIGNATURE_BYTES_MAX: usize = 4096;

/// Steps a parser may take for each byte, and at least: well-formed code needs less than one, what is no code
/// at all makes it try many readings. Steps are counted in hundreds, as tree-sitter reports them.
const STEPS_PER_BYTE: usize = 8;
const STEPS_MIN: usize = 400_000;

/// A source and its tree.
pub(in crate::ingest::parse) struct Source<'text> {
    text: &'text str,
    tree: Tree,
}

impl<'text> Source<'text> {
    /// Parses a whole file. Errors in it are no error here: what follows them is read all the same.
    pub(in crate::ingest::parse) fn parse(
        language: &Language,
        text: &'text str,
        limits: &ParseLimits,
    ) -> Result<Self, ParseError> {
        if text.len() > limits.page_bytes {
            return Err(ParseError::TooLarge { bytes: text.len(), limit: limits.page_bytes });
        }
        let unread = |reason: &str| ParseError::Syntax { reason: reason.to_owned() };
        let mut parser = Parser::new();
        parser.set_language(language).map_err(|error| unread(&error.to_string()))?;
        let mut left = (text.len().saturating_mul(STEPS_PER_BYTE)).max(STEPS_MIN) / 100;
        let mut progress = |_: &tree_sitter::ParseState| {
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut read = |at: usize, _| text.as_bytes().get(at..).unwrap_or_default();
        let options = ParseOptions::new().progress_callback(&mut progress);
        let tree = parser
            .parse_with_options(&mut read, None, Some(options))
            .ok_or_else(|| unread("it is too far from its language's grammar"))?;
        Ok(Self { text, tree })
    }

    pub(in crate::ingest::parse) fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }

    pub(in crate::ingest::parse) fn text(&self, node: Node<'_>) -> &'text str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// The named children of a node, comments included.
    pub(in crate::ingest::parse) fn children<'tree>(node: Node<'tree>) -> Vec<Node<'tree>> {
        let mut cursor = node.walk();
        node.named_children(&mut cursor).collect()
    }

    /// Whether one of a node's direct children is the keyword.
    pub(in crate::ingest::parse) fn has_word(node: Node<'_>, word: &str) -> bool {
        let mut cursor = node.walk();
        node.children(&mut cursor).any(|child| child.kind() == word)
    }

    /// The source from `range.start` to `range.end`, both inside `node`, without comments, and moved to the left
    /// as far as its first line.
    pub(in crate::ingest::parse) fn cut(&self, node: Node<'_>, range: Range<usize>) -> String {
        let mut plain = String::new();
        let mut at = range.start;
        for comment in comments(node, &range) {
            plain.push_str(self.text.get(at..comment.start).unwrap_or_default());
            at = at.max(comment.end);
        }
        plain.push_str(self.text.get(at..range.end).unwrap_or_default());
        let before = self.text.get(..range.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let indent = line.len() - line.trim_start().len();
        let mut out = String::with_capacity(plain.len());
        for (number, line) in plain.trim().lines().enumerate() {
            let blanks = line.len() - line.trim_start().len();
            let line = if number == 0 { line } else { line.get(blanks.min(indent)..).unwrap_or(line) };
            if line.trim().is_empty() {
                continue;
            }
            if number > 0 {
                out.push('\n');
            }
            out.push_str(line.trim_end());
        }
        bounded(out)
    }
}

/// The comments below a node that lie in `range`, in order.
fn comments(node: Node<'_>, range: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut cursor = node.walk();
    loop {
        let here = cursor.node();
        let inside = here.end_byte() > range.start && here.start_byte() < range.end;
        if inside && here.kind() == "comment" {
            found.push(here.byte_range());
        }
        if inside && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return found;
            }
        }
    }
}

/// `head`, then `members` a line each as far as they fit, between `open` and `close`.
pub(in crate::ingest::parse) fn block(head: &str, members: &[String], more: &str, close: &str) -> String {
    let mut out = head.trim_end().to_owned();
    for (number, member) in members.iter().enumerate() {
        out.push('\n');
        if out.len() + member.len() > SIGNATURE_BYTES_MAX {
            let _ = write!(out, "    {more} and {} more", members.len() - number);
            break;
        }
        let lines: Vec<String> = member.lines().map(|line| format!("    {line}")).collect();
        out.push_str(&lines.join("\n"));
    }
    if !close.is_empty() {
        out.push('\n');
        out.push_str(close);
    }
    out
}

/// Cuts a text at a line end near the limit.
pub(in crate::ingest::parse) fn bounded(mut text: String) -> String {
    if text.len() > SIGNATURE_BYTES_MAX {
        let fitting = text.floor_char_boundary(SIGNATURE_BYTES_MAX);
        let end = text.get(..fitting).and_then(|text| text.rfind('\n')).unwrap_or(fitting);
        text.truncate(end);
        text.push_str("\n…");
    }
    text
}
