//! Docstrings as Markdown: plain text, Google, NumPy and reStructuredText, which mix freely.

use super::{fields, rest};

/// A docstring without its quotes, as Markdown.
pub(super) fn markdown(raw: &str) -> String {
    let text = clean(raw);
    let mut out = String::with_capacity(text.len());
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    let mut plain: Vec<&str> = Vec::new();
    while let Some(line) = lines.get(at) {
        let rest_of = lines.get(at..).unwrap_or_default();
        let section =
            fields::google(rest_of).or_else(|| fields::numpy(rest_of)).or_else(|| fields::sphinx(rest_of));
        match section {
            Some((section, taken)) => {
                push(&mut out, &rest::markdown(&std::mem::take(&mut plain)));
                push(&mut out, &section);
                at += taken;
            }
            None => {
                plain.push(line);
                at += 1;
            }
        }
    }
    push(&mut out, &rest::markdown(&plain));
    out
}

fn push(out: &mut String, part: &str) {
    let part = part.trim_matches('\n');
    if !part.trim().is_empty() {
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        out.push_str(part);
    }
}

/// `inspect.cleandoc`: the first line stands behind the quotes, the others share an indent.
fn clean(raw: &str) -> String {
    let raw = raw.replace("\r\n", "\n").replace('\t', "        ");
    let mut lines = raw.lines();
    let first = lines.next().unwrap_or_default().trim();
    let others: Vec<&str> = lines.collect();
    let indent = others.iter().filter(|line| !line.trim().is_empty()).map(|line| indent_of(line)).min();
    let mut out = first.to_owned();
    for line in others {
        out.push('\n');
        out.push_str(line.get(indent.unwrap_or(0)..).unwrap_or_default().trim_end());
    }
    out.trim().to_owned()
}

/// Blanks a line begins with.
pub(super) fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Lines without the indent they share.
pub(super) fn dedented<'text>(lines: &[&'text str]) -> Vec<&'text str> {
    let indent = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent_of(line)).min();
    lines.iter().map(|line| line.get(indent.unwrap_or(0)..).unwrap_or_default()).collect()
}

/// How many of the lines, from the first on, are indented by more than `indent` or blank.
pub(super) fn deeper(lines: &[&str], indent: usize) -> usize {
    let inside = |line: &&&str| line.trim().is_empty() || indent_of(line) > indent;
    let taken = lines.iter().take_while(inside).count();
    // Blank lines at the end belong to what follows.
    let blank =
        lines.get(..taken).unwrap_or_default().iter().rev().take_while(|line| line.trim().is_empty()).count();
    taken - blank
}
