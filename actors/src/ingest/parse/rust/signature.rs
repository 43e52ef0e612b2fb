//! Signatures, cut out of the source by the places of their tokens.

use std::{fmt::Write, ops::Range};

use proc_macro2::Span;

/// A longer signature is cut: a page about an enum of a thousand variants is no better for them all.
const SIGNATURE_BYTES_MAX: usize = 4096;

/// Cuts pieces out of one source.
#[derive(Clone, Copy)]
pub(super) struct Cutter<'source> {
    source: &'source str,
}

impl<'source> Cutter<'source> {
    pub(super) fn new(source: &'source str) -> Self {
        Self { source }
    }

    /// From the start of one token to the end of another, without comments and attributes, and
    /// moved to the left as far as its first line.
    pub(super) fn between(self, first: Span, last: Span) -> String {
        self.cut(first.byte_range().start..last.byte_range().end)
    }

    /// From the start of one token up to another.
    pub(super) fn up_to(self, first: Span, end: Span) -> String {
        self.cut(first.byte_range().start..end.byte_range().start)
    }

    fn cut(self, range: Range<usize>) -> String {
        let Some(text) = self.source.get(range.clone()) else {
            return String::new();
        };
        let before = self.source.get(..range.start).unwrap_or("");
        let line = before.rsplit('\n').next().unwrap_or("");
        let indent = line.len() - line.trim_start().len();
        let mut out = String::with_capacity(text.len());
        for (number, line) in text.trim_end().lines().enumerate() {
            let blanks = line.len() - line.trim_start().len();
            let line = if number == 0 { line } else { line.get(blanks.min(indent)..).unwrap_or(line) };
            let start = line.trim_start();
            if number > 0 && (start.starts_with("//") || start.starts_with("#[") || start.is_empty()) {
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

/// `head { members }`, a member a line, as many as fit.
pub(super) fn block(head: &str, members: &[String], hidden: Option<&str>) -> String {
    let head = head.trim_end();
    if members.is_empty() {
        return match hidden {
            Some(hidden) => format!("{head} {{ {hidden} }}"),
            None => format!("{head} {{}}"),
        };
    }
    let mut out = format!("{head} {{\n");
    for (number, member) in members.iter().enumerate() {
        if out.len() + member.len() > SIGNATURE_BYTES_MAX {
            let _ = writeln!(out, "    // and {} more", members.len() - number);
            break;
        }
        for line in member.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    if let Some(hidden) = hidden {
        let _ = writeln!(out, "    {hidden}");
    }
    out.push('}');
    out
}

/// Cuts a text at a line end near the limit.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > SIGNATURE_BYTES_MAX {
        let fitting = text.floor_char_boundary(SIGNATURE_BYTES_MAX);
        let end = text.get(..fitting).and_then(|text| text.rfind('\n')).unwrap_or(fitting);
        text.truncate(end);
        text.push_str("\n// …");
    }
    text
}
