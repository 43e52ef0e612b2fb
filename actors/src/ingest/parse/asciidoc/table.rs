//! Tables of AsciiDoc as tables of Markdown.

use super::attributes::Style;

/// Columns that are kept.
const COLUMNS_MAX: usize = 64;

/// The cells of a table, row after row.
pub(super) struct Table {
    cells: Vec<String>,
    columns: usize,
    header: bool,
}

/// Reads the lines between `|===` and `|===`.
pub(super) fn read(lines: &[&str], style: &Style) -> Table {
    let separator = style.separator.unwrap_or('|');
    let mut cells: Vec<String> = Vec::new();
    let mut first_row = 0;
    let mut header = style.header;
    let text = lines.iter().filter(|line| !line.starts_with("//"));
    for (at, line) in text.enumerate() {
        if line.is_empty() {
            // A blank line after the first line makes it the head.
            header |= at == 1 && first_row > 0;
            continue;
        }
        let begins = separator != '|';
        let mut parts = split(line, separator).enumerate().peekable();
        while let Some((place, part)) = parts.next() {
            if place == 0 && !begins {
                match cells.last_mut() {
                    // What stands before the first separator goes on with the last cell, or is a specifier.
                    Some(cell) if !is_specifier(part.trim()) && !part.trim().is_empty() => {
                        cell.push(' ');
                        cell.push_str(part.trim());
                    }
                    _ => {}
                }
            } else {
                cells.push(without_specifier(part, parts.peek().is_none()));
            }
        }
        if first_row == 0 {
            first_row = cells.len();
        }
    }
    let columns = if style.columns > 0 { style.columns } else { first_row };
    Table { cells, columns: columns.clamp(1, COLUMNS_MAX), header }
}

/// The parts of a line between separators that are not escaped.
fn split(line: &str, separator: char) -> impl Iterator<Item = &str> {
    let is_end = move |(at, _): &(usize, &str)| !line[..*at].ends_with('\\');
    let ends = line.match_indices(separator).filter(is_end).map(|(at, sign)| (at, at + sign.len()));
    let mut start = 0;
    ends.chain([(line.len(), line.len())])
        .map(move |(end, next)| &line[std::mem::replace(&mut start, next)..end])
}

/// A cell's text; a specifier of the next cell (`2+`, `a`) stands at its end unless it is the `last` of its line.
fn without_specifier(part: &str, last: bool) -> String {
    let text = part.trim();
    let text = match text.rsplit_once(' ') {
        Some((before, specifier))
            if !last && is_specifier(specifier) && specifier.contains(['+', '*', '^', '>', '<', '.']) =>
        {
            before
        }
        _ => text,
    };
    text.trim().replace("\\|", "|")
}

/// `2+`, `.3+`, `3*`, `^.>s`, `a`.
fn is_specifier(text: &str) -> bool {
    text.len() <= 8
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+*.^<>adehlmsv".contains(&byte))
        && !text.is_empty()
}

impl Table {
    /// The table as Markdown and the bytes of it that are the text of links; `cell` reads one cell.
    pub(super) fn render(&self, mut cell: impl FnMut(&str) -> (String, u32)) -> Option<(String, u32)> {
        if self.cells.is_empty() {
            return None;
        }
        let (mut text, mut links) = (String::new(), 0_u32);
        let rule = |text: &mut String| {
            text.push('|');
            text.extend(std::iter::repeat_n(" --- |", self.columns));
            text.push('\n');
        };
        if !self.header {
            text.push('|');
            text.extend(std::iter::repeat_n("  |", self.columns));
            text.push('\n');
            rule(&mut text);
        }
        for (at, row) in self.cells.chunks(self.columns).enumerate() {
            text.push('|');
            for content in row {
                let (content, link_bytes) = cell(content);
                links = links.saturating_add(link_bytes);
                text.push(' ');
                text.push_str(&content.replace('|', "\\|"));
                text.push_str(" |");
            }
            text.push('\n');
            if at == 0 && self.header {
                rule(&mut text);
            }
        }
        text.truncate(text.trim_end().len());
        Some((text, links))
    }
}
