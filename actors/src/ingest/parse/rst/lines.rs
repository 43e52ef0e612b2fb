//! Lines of reStructuredText: indentation, adornments, marks of lists and fields.

use std::borrow::Cow;

/// Where a tab leads, in columns (docutils' default).
const TAB_COLUMNS: usize = 8;

/// The text with tabs as blanks, so that a column is a character.
pub(super) fn without_tabs(text: &str) -> Cow<'_, str> {
    if !text.contains('\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' => {
                let blanks = TAB_COLUMNS - column % TAB_COLUMNS;
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            '\n' => {
                out.push('\n');
                column = 0;
            }
            other => {
                out.push(other);
                column += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// Blanks a line begins with.
pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Where the text of an item or paragraph begins: code has to stand further in than that.
pub(super) fn indent_of_text(indent: usize, inner: usize) -> usize {
    // `1. Do this::` may have code three blanks in, as far as its text.
    if inner > indent { indent + 1 } else { indent }
}

/// The sign of a line that is one sign again and again; two of them at least.
pub(super) fn is_adornment(line: &str) -> Option<char> {
    let sign = line.chars().next().filter(char::is_ascii_punctuation)?;
    let whole = line.len() >= 2 && line.bytes().all(|byte| char::from(byte) == sign);
    // Two or three of these are more often text than a title's line.
    (whole && (line.len() >= 3 || matches!(sign, '=' | '-' | '~' | '^' | '#' | '*')) && line != "..")
        .then_some(sign)
}

/// Length of the mark a list item begins with, its blanks included.
pub(super) fn is_item(body: &str) -> Option<usize> {
    let mark = match body.chars().next()? {
        '-' | '*' | '+' => 1,
        '•' | '‣' | '⁃' => 3,
        '#' if body.starts_with("#.") => 2,
        '0'..='9' => {
            let digits = body.bytes().take_while(u8::is_ascii_digit).count();
            let closed = matches!(body.as_bytes().get(digits), Some(b'.' | b')'));
            if !closed || digits > 4 {
                return None;
            }
            digits + 1
        }
        '(' => {
            let inside = body[1..].bytes().take_while(u8::is_ascii_alphanumeric).count();
            if inside == 0 || inside > 3 || body.as_bytes().get(inside + 1) != Some(&b')') {
                return None;
            }
            inside + 2
        }
        'a'..='z' if matches!(body.as_bytes().get(1), Some(b'.' | b')')) => 2,
        _ => return None,
    };
    let rest = body.get(mark..)?;
    if rest.is_empty() {
        return Some(mark);
    }
    let blanks = indent(rest);
    (blanks > 0 && blanks < rest.len()).then_some(mark + blanks)
}

/// `:name: text` as its two parts.
pub(super) fn field(body: &str) -> Option<(&str, &str)> {
    let rest = body.strip_prefix(':')?;
    let (name, text) = rest.split_once(':')?;
    let sound = !name.is_empty() && !name.starts_with(' ') && !name.contains('`') && name.len() <= 100;
    (sound && (text.is_empty() || text.starts_with(' '))).then_some((name, text))
}

/// Lines without the indentation they share, blank ones at both ends left out.
pub(super) fn dedented(lines: &[&str]) -> String {
    let least = lines.iter().filter(|line| !line.is_empty()).map(|line| indent(line)).min().unwrap_or(0);
    let mut text = String::new();
    for line in lines.iter().skip_while(|line| line.is_empty()) {
        text.push_str(line.get(least..).unwrap_or_default());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}
