//! Plain text: underlined titles, literal blocks, paragraphs.
//!
//! Headings are guessed conservatively: a line underlined by one repeated sign at least as long as
//! itself, or a short line in capitals at the margin above indented text, as in manual pages.

use super::{Document, ParseLimits, outline::Outline, slug::Slugs};

/// Longest line that may be a heading.
const HEADING_MAX: usize = 120;

/// Reads a page of plain text.
pub fn parse(path: &str, text: &str, limits: &ParseLimits) -> Document {
    let mut reader = Reader {
        outline: Outline::new(limits),
        slugs: Slugs::default(),
        signs: Vec::new(),
        paragraph: Vec::new(),
        literal: false,
    };
    let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    let mut at = 0;
    while at < lines.len() {
        at = reader.line(&lines, at);
    }
    reader.end_paragraph();
    reader.outline.finish(path, None)
}

struct Reader<'a> {
    outline: Outline,
    slugs: Slugs,
    /// Underline signs in the order they came up: the order gives their level.
    signs: Vec<(char, bool)>,
    paragraph: Vec<&'a str>,
    /// Whether a literal block may follow.
    literal: bool,
}

impl<'a> Reader<'a> {
    /// Reads what begins at line `at`; returns the next line to read.
    fn line(&mut self, lines: &[&'a str], at: usize) -> usize {
        let line = lines[at];
        if let Some(next) = self.heading(lines, at) {
            return next;
        }
        if line.trim().is_empty() {
            self.end_paragraph();
            return at + 1;
        }
        let indent = indent(line);
        if self.paragraph.is_empty() && indent > 0 && self.literal {
            return self.literal_block(lines, at, indent);
        }
        if indent == 0 {
            self.literal = false;
        }
        self.paragraph.push(line);
        at + 1
    }

    /// A title with an underline, an overline too perhaps, or a margin title of a manual page.
    fn heading(&mut self, lines: &[&'a str], at: usize) -> Option<usize> {
        let line = lines[at];
        let next = lines.get(at + 1).copied().unwrap_or_default();
        let begins = self.paragraph.is_empty();
        if let (Some(over), Some(under)) = (underline(line), lines.get(at + 2).copied().and_then(underline))
            && begins
            && over == under
            && !next.trim().is_empty()
            && next.len() <= HEADING_MAX
        {
            self.open((over.0, true), next.trim());
            return Some(at + 3);
        }
        if let Some((sign, length)) = underline(next)
            && begins
            && !line.trim().is_empty()
            && indent(line) == 0
            && line.len() <= HEADING_MAX
            && length + 1 >= line.chars().count()
            && underline(line).is_none()
            // Columns, so the line is the head of a table.
            && !line.trim().contains("  ")
        {
            self.open((sign, false), line);
            return Some(at + 2);
        }
        let capitals = line.len() <= 60
            && line.chars().any(char::is_alphabetic)
            && !line.chars().any(|character| character.is_lowercase())
            && line.starts_with(|first: char| first.is_alphabetic())
            && !line.ends_with(['.', ',', ';', ':'])
            && line.bytes().filter(|byte| byte.is_ascii_alphabetic()).count() >= 3;
        if begins && capitals && indent(line) == 0 && indent(next) > 0 && !next.trim().is_empty() {
            self.open(('A', false), line);
            return Some(at + 1);
        }
        None
    }

    fn open(&mut self, sign: (char, bool), title: &str) {
        self.end_paragraph();
        self.literal = false;
        let level = self.signs.iter().position(|&seen| seen == sign).unwrap_or_else(|| {
            self.signs.push(sign);
            self.signs.len() - 1
        });
        let anchors = vec![self.slugs.anchor(title)];
        self.outline.open(u8::try_from(level + 1).unwrap_or(6).min(6), title, anchors);
    }

    /// Indented lines after `::`, without their common indentation.
    fn literal_block(&mut self, lines: &[&'a str], at: usize, base: usize) -> usize {
        let mut code = String::new();
        let mut end = at;
        let mut next = at;
        while let Some(line) = lines.get(next) {
            if !line.is_empty() {
                if indent(line) == 0 {
                    break;
                }
                end = next + 1;
            }
            next += 1;
        }
        let least = lines[at..end]
            .iter()
            .filter(|line| !line.is_empty())
            .map(|line| indent(line))
            .min()
            .unwrap_or(base);
        for line in &lines[at..end] {
            if code.is_empty() && line.is_empty() {
                continue;
            }
            code.push_str(line.get(least..).unwrap_or_default());
            code.push('\n');
        }
        code.truncate(code.trim_end().len());
        self.literal = false;
        self.outline.code(String::new(), code);
        end.max(at + 1)
    }

    fn end_paragraph(&mut self) {
        if self.paragraph.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.paragraph);
        let least = lines.iter().map(|line| indent(line)).min().unwrap_or(0);
        let mut text = String::new();
        for line in &lines {
            text.push_str(line.get(least..).unwrap_or(line));
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        if let Some(before) = text.strip_suffix("::") {
            self.literal = true;
            text = format!("{}:", before.trim_end());
            if text == ":" {
                return;
            }
        }
        self.outline.prose(text, 0);
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The sign and length of a line that is an underline.
fn underline(line: &str) -> Option<(char, usize)> {
    let sign = line.chars().next().filter(|sign| "=-~^\"'#*+`.:_".contains(*sign))?;
    (line.len() >= 3 && line.chars().all(|character| character == sign)).then_some((sign, line.len()))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::ingest::parse::ParseLimits;

    #[test]
    fn underlined_titles_are_headings_and_their_signs_are_levels() {
        let text = "=====\nTitle\n=====\n\nIntro.\n\nFirst\n-----\n\nDeep\n~~~~\n\nText a\nText b\n\nSecond\n------\nmore\n";
        let document = parse("a.txt", text, &ParseLimits::default());
        let found: Vec<_> =
            document.sections.iter().map(|section| (section.level, section.heading.as_str())).collect();
        assert_eq!(found, [(1, "Title"), (2, "First"), (3, "Deep"), (2, "Second")]);
        assert_eq!(document.sections[2].anchors, ["deep"]);
        assert_eq!(document.title, "Title");
    }

    #[test]
    fn literal_blocks_become_code_without_their_indentation() {
        let text = "Run this::\n\n    $ make\n\n      $ make install\n\nthen\n";
        let document = parse("a.txt", text, &ParseLimits::default());
        let pieces: Vec<_> = document.sections[0].pieces.iter().map(super::super::Piece::text).collect();
        assert_eq!(pieces, ["Run this:", "$ make\n\n  $ make install", "then"]);
    }

    #[test]
    fn ordinary_lines_are_no_headings() {
        let text = "A list of things\n\nYES we do.\n\n----\n\nname  value\n------------------------------\nx     1\n";
        let document = parse("notes.txt", text, &ParseLimits::default());
        assert!(document.sections.iter().all(|section| section.heading.is_empty()), "{document:?}");
    }

    #[test]
    fn margin_titles_of_manual_pages_are_headings() {
        let document =
            parse("ls.txt", "NAME\n       ls - list\n\nOPTIONS\n       -a  all\n", &ParseLimits::default());
        let found: Vec<_> = document.sections.iter().map(|section| section.heading.as_str()).collect();
        assert_eq!(found, ["NAME", "OPTIONS"]);
    }
}
