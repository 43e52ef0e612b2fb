//! Tables of reStructuredText as tables of Markdown: grids, simple ones, lists and comma-separated rows.

use super::inline::Inline;
use super::lines::{indent, is_adornment};

/// Columns that are kept; forged tables have any number.
const COLUMNS_MAX: usize = 64;

/// The cells of a table, and how many lines it took.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) lines: usize,
    header: bool,
    rows: Vec<Vec<String>>,
}

/// Whether a line is the upper border of a grid.
pub(super) fn is_grid(body: &str) -> bool {
    body.len() > 4
        && body.starts_with("+-")
        && body.ends_with('+')
        && body.bytes().all(|byte| b"+-=".contains(&byte))
}

/// Whether a line is the upper border of a simple table: at least two runs of `=`.
pub(super) fn is_simple(body: &str) -> bool {
    body.starts_with("==")
        && body.contains(" =")
        && body.bytes().all(|byte| byte == b'=' || byte == b' ')
        && body.split_whitespace().count() <= COLUMNS_MAX
}

/// Reads the grid or simple table whose upper border is the first of `lines`.
pub(super) fn read(lines: &[&str], margin: usize) -> Rows {
    let border = lines.first().copied().unwrap_or_default();
    let body = border.get(margin..).unwrap_or_default();
    if is_grid(body) { grid(lines, body, margin) } else { simple(lines, body, margin) }
}

fn grid(lines: &[&str], border: &str, margin: usize) -> Rows {
    let mut table = Rows::default();
    let mut row: Vec<String> = Vec::new();
    let corners: Vec<bool> = border.bytes().map(|byte| byte == b'+').collect();
    for line in lines {
        let body = line.get(margin..).unwrap_or_default();
        if !body.starts_with(['+', '|']) || indent(line) != margin {
            break;
        }
        table.lines += 1;
        if body.starts_with('+') && !body.contains(|sign: char| sign.is_alphanumeric()) {
            if body.contains('=') {
                table.header = true;
            }
            table.push(&mut row);
        } else {
            add_cells(&mut row, split_at_bars(body, &corners));
        }
    }
    table.push(&mut row);
    table
}

/// The cells of a line: what stands between bars that stand where the border has a corner.
fn split_at_bars(body: &str, corners: &[bool]) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    for (column, character) in body.chars().enumerate().skip(1) {
        if matches!(character, '|' | '+') && corners.get(column) == Some(&true) && cells.len() < COLUMNS_MAX {
            cells.push(std::mem::take(&mut cell));
        } else {
            cell.push(character);
        }
    }
    if !cell.trim().is_empty() {
        cells.push(cell);
    }
    cells
}

fn simple(lines: &[&str], border: &str, margin: usize) -> Rows {
    let mut starts = Vec::new();
    for (column, byte) in border.bytes().enumerate() {
        if byte == b'=' && (column == 0 || border.as_bytes()[column - 1] == b' ') {
            starts.push(column);
        }
    }
    let mut table = Rows { lines: 1, ..Rows::default() };
    let mut row: Vec<String> = Vec::new();
    let mut borders = 1;
    for (at, line) in lines.iter().enumerate().skip(1) {
        if !line.is_empty() && indent(line) < margin {
            break;
        }
        let body = line.get(margin..).unwrap_or_default();
        table.lines = at + 1;
        if is_simple(body) || (body.len() > 2 && is_adornment(body) == Some('=')) {
            borders += 1;
            table.push(&mut row);
            // A border before a blank line or the end is the last one.
            let last = lines.get(at + 1).is_none_or(|next| next.is_empty());
            if last || borders > 2 {
                break;
            }
            table.header = true;
            continue;
        }
        // A line of hyphens spans columns of the heading above it.
        if body.is_empty()
            || (body.starts_with("--") && body.bytes().all(|byte| byte == b'-' || byte == b' '))
        {
            continue;
        }
        let cells = split_at_columns(body, &starts);
        // Text in the first column begins a row; without it the row goes on.
        if cells.first().is_some_and(|first| !first.trim().is_empty()) {
            table.push(&mut row);
        }
        add_cells(&mut row, cells);
    }
    table.push(&mut row);
    table
}

fn split_at_columns(body: &str, starts: &[usize]) -> Vec<String> {
    let mut cells = vec![String::new(); starts.len().max(1)];
    let mut cell = 0;
    for (column, character) in body.chars().enumerate() {
        while starts.get(cell + 1).is_some_and(|&start| column >= start) {
            cell += 1;
        }
        cells[cell].push(character);
    }
    cells
}

/// The rows of a `list-table`: items of items.
pub(super) fn of_list(lines: &[&str], header: bool) -> Rows {
    let mut table = Rows { header, ..Rows::default() };
    let mut row: Vec<String> = Vec::new();
    let Some(margin) = lines.iter().find(|line| !line.is_empty()).map(|line| indent(line)) else {
        return table;
    };
    let mut inner = None;
    for line in lines {
        let mut body = line.get(margin..).unwrap_or_default();
        let mut at = margin;
        if let Some(rest) = body.strip_prefix("* ").or_else(|| body.strip_prefix("- ")) {
            table.push(&mut row);
            at += body.len() - rest.trim_start().len();
            body = rest.trim_start();
            inner = Some(at);
        } else {
            at += indent(body);
            body = body.trim_start();
        }
        let item =
            body.strip_prefix("- ").or_else(|| body.strip_prefix("* ")).or((body == "-").then_some(""));
        match item.filter(|_| inner == Some(at) && row.len() < COLUMNS_MAX) {
            Some(cell) => row.push(cell.to_owned()),
            None => join(row.last_mut(), body),
        }
    }
    table.push(&mut row);
    table
}

/// The rows of a `csv-table`; `first` is its `:header:`.
pub(super) fn of_csv(lines: &[&str], first: Option<&str>, header: bool) -> Rows {
    let mut table = Rows { header: header || first.is_some(), ..Rows::default() };
    let text: String = first
        .into_iter()
        .chain(lines.iter().copied())
        .fold(String::new(), |text, line| text + line.trim() + "\n");
    let (mut row, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted || cell.trim().is_empty() => quoted = !quoted,
            ',' if !quoted && row.len() < COLUMNS_MAX => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                if !row.is_empty() || !cell.trim().is_empty() {
                    row.push(std::mem::take(&mut cell));
                }
                table.push(&mut row);
            }
            other => cell.push(other),
        }
    }
    if !cell.trim().is_empty() {
        row.push(cell);
    }
    table.push(&mut row);
    table
}

fn add_cells(row: &mut Vec<String>, cells: Vec<String>) {
    for (column, cell) in cells.into_iter().enumerate() {
        match row.get_mut(column) {
            Some(before) => join(Some(before), &cell),
            None => row.push(cell.trim().to_owned()),
        }
    }
}

fn join(before: Option<&mut String>, more: &str) {
    if let Some(before) = before
        && !more.trim().is_empty()
    {
        if !before.is_empty() {
            before.push(' ');
        }
        before.push_str(more.trim());
    }
}

impl Rows {
    fn push(&mut self, row: &mut Vec<String>) {
        if row.iter().any(|cell| !cell.trim().is_empty()) {
            self.rows.push(std::mem::take(row));
        }
        row.clear();
    }

    /// The table as Markdown, and how many bytes of it are the text of links.
    pub(super) fn render(&self, inline: &mut Inline) -> Option<(String, u32)> {
        let columns = self.rows.iter().map(Vec::len).max().filter(|&columns| columns > 0)?;
        let (mut text, mut links) = (String::new(), 0);
        let empty = Vec::new();
        let rows = (!self.header).then_some(&empty).into_iter().chain(&self.rows);
        for (at, row) in rows.enumerate() {
            text.push('|');
            for cell in
                row.iter().map(String::as_str).chain(std::iter::repeat_n("", missing(columns, row, at)))
            {
                let (cell, link_bytes) = inline.read(cell.trim());
                text.push(' ');
                text.push_str(&cell.replace('|', "\\|"));
                text.push_str(" |");
                links += link_bytes;
            }
            text.push('\n');
            if at == 0 {
                text.push('|');
                text.extend(std::iter::repeat_n(" --- |", columns));
                text.push('\n');
            }
        }
        text.truncate(text.trim_end().len());
        Some((text, links))
    }
}

/// Cells that a row lacks: the head is filled up, later rows may be shorter than it.
fn missing(columns: usize, row: &[String], at: usize) -> usize {
    if at == 0 { columns - row.len() } else { 0 }
}
