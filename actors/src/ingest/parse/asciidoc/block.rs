//! Which block a line begins.

/// A block whose text is not read as AsciiDoc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbatim {
    Code,
    Table,
    Comment,
    Pass,
}

impl Verbatim {
    /// The line that ends the block which `begin` began.
    pub(super) fn end(self, begin: &str) -> &str {
        let marks = begin.trim_end_matches(|sign: char| sign != '`').len();
        if self == Self::Code && begin.starts_with('`') { &begin[..marks] } else { begin }
    }
}

pub(super) fn verbatim(line: &str) -> Option<Verbatim> {
    let repeats = |sign: u8| line.len() >= 4 && line.bytes().all(|byte| byte == sign);
    if repeats(b'-') || repeats(b'.') || is_fence(line) {
        Some(Verbatim::Code)
    } else if matches!(line, "|===" | ",===" | ":===" | "!===") {
        Some(Verbatim::Table)
    } else if repeats(b'/') {
        Some(Verbatim::Comment)
    } else if repeats(b'+') {
        Some(Verbatim::Pass)
    } else {
        None
    }
}

/// ```` ```rust ````: nothing but a language after the marks.
fn is_fence(line: &str) -> bool {
    line.strip_prefix("```").is_some_and(|rest| !rest.contains('`') && rest.len() <= 64)
}

/// Whether a line begins or ends a block of blocks.
pub(super) fn is_delimiter(line: &str) -> bool {
    let sign = line.as_bytes().first().copied().unwrap_or_default();
    line == "--" || (line.len() >= 4 && b"=*_".contains(&sign) && line.bytes().all(|byte| byte == sign))
}

/// Level, text and number of lines of a title: `== Title`, or a line of signs as long as the title below it.
pub(super) fn title<'a>(line: &'a str, next: &str) -> Option<(u8, &'a str, usize)> {
    let sign = line.as_bytes().first().copied()?;
    if matches!(sign, b'=' | b'#') {
        let marks = line.bytes().take_while(|&byte| byte == sign).count();
        let text = line[marks..].strip_prefix(' ').map(str::trim).filter(|text| !text.is_empty());
        if let (1..=6, Some(text)) = (marks, text) {
            return Some((u8::try_from(marks).unwrap_or(6), text.trim_end_matches([' ', '=']), 1));
        }
        return None;
    }
    let under = next.as_bytes().first().copied()?;
    let level = b"=-~^+".iter().position(|&sign| sign == under)?;
    let width = line.chars().count();
    let plain = line.starts_with(|first: char| first.is_alphanumeric())
        && line.contains(|letter: char| letter.is_alphabetic());
    let fits = next.len() >= 3 && next.len().abs_diff(width) <= 1 && next.bytes().all(|byte| byte == under);
    (plain && fits).then_some((u8::try_from(level + 1).unwrap_or(5), line, 2))
}

/// Comments, marks of continued items, and macros that are no text.
pub(super) fn is_silent(line: &str) -> bool {
    line == "+" || (line.starts_with("//") && !line.starts_with("////")) || is_block_macro(line)
}

/// Macros of a whole line that are no text: pictures, included files, tables of contents.
pub(super) fn is_block_macro(line: &str) -> bool {
    let Some((name, rest)) = line.split_once("::") else { return false };
    matches!(
        name,
        "image"
            | "include"
            | "toc"
            | "video"
            | "audio"
            | "asciimath"
            | "plantuml"
            | "ditaa"
            | "endif"
            | "ifeval"
            | "ifdef"
            | "ifndef"
            | "component"
            | "operation"
    ) && rest.ends_with(']')
}

/// How many lines a condition about the showing program takes away; `None` when the line is none.
///
/// `ifdef::env-github[]` is text for one place only, up to its `endif`. What `ifndef` holds stays, and the
/// branches of any other condition do too.
pub(super) fn conditional(lines: &[&str], at: usize) -> Option<usize> {
    let rest = lines.get(at)?.strip_prefix("ifdef::env-")?;
    let (_, inline) = rest.split_once('[')?;
    if inline != "]" {
        return Some(1);
    }
    let mut depth = 0_usize;
    for (offset, line) in lines[at..].iter().enumerate() {
        let opens = ["ifdef::", "ifndef::", "ifeval::"].iter().any(|name| line.starts_with(name));
        if opens && (line.ends_with("[]") || line.starts_with("ifeval::")) {
            depth += 1;
        } else if line.starts_with("endif::") {
            depth -= 1;
            if depth == 0 {
                return Some(offset + 1);
            }
        }
    }
    // Without an end it reaches to the end of the page.
    Some(lines.len() - at)
}
