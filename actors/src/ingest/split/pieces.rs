//! Cuts the text of one section into parts that fit, at the borders that hurt least.

use super::{SplitSettings, merge::Part};
use crate::ingest::parse::{Piece, Section};
use std::borrow::Cow;
use twinmcp_storage::bundle::Block;

/// Prose up to this many tokens stays with the large code block it introduces.
const INTRODUCTION: usize = 128;

/// A stretch of text that is not cut any further.
#[derive(Debug, Clone)]
pub(super) struct Atom<'d> {
    pub(super) content: Content<'d>,
    pub(super) tokens: usize,
    pub(super) link_bytes: usize,
}

/// What an atom holds.
#[derive(Debug, Clone)]
pub(super) enum Content<'d> {
    Prose(Cow<'d, str>),
    Code { language: &'d str, code: Cow<'d, str> },
}

impl Atom<'_> {
    pub(super) fn text(&self) -> &str {
        match &self.content {
            Content::Prose(text) | Content::Code { code: text, .. } => text,
        }
    }

    fn is_code(&self) -> bool {
        matches!(self.content, Content::Code { .. })
    }

    /// Whether the text announces what comes next.
    fn introduces(&self) -> bool {
        !self.is_code() && self.text().trim_end().ends_with(':')
    }
}

/// Adds the parts of a section: one when it fits, none cut inside a code block.
pub(super) fn parts<'d>(
    index: usize,
    section: &'d Section,
    settings: &SplitSettings,
    count_tokens: &dyn Fn(&str) -> usize,
    parts: &mut Vec<Part<'d>>,
) {
    let mut atoms = Vec::with_capacity(section.pieces.len());
    for piece in &section.pieces {
        atomise(piece, settings, count_tokens, &mut atoms);
    }
    let total: usize = atoms.iter().map(|atom| atom.tokens).sum();
    if total <= settings.max_tokens {
        parts.push(Part::new(index, atoms, total));
        return;
    }
    // Parts of like size: a last one of two lines would rank badly and say little.
    let goal = total.div_ceil(total.div_ceil(settings.max_tokens.max(1)));
    let mut part: Vec<Atom<'d>> = Vec::new();
    let mut size = 0;
    for atom in atoms {
        let over = size + atom.tokens > settings.max_tokens;
        let joined = atom.is_code() && size <= INTRODUCTION;
        let held = part.last().is_some_and(Atom::introduces) || atom.is_code();
        if !part.is_empty() && ((over && !joined) || (size >= goal && !held)) {
            let carried =
                if part.len() > 1 && part.last().is_some_and(Atom::introduces) { part.pop() } else { None };
            finish(index, &mut part, parts);
            part.extend(carried);
            size = part.iter().map(|atom| atom.tokens).sum();
        }
        size += atom.tokens;
        part.push(atom);
    }
    finish(index, &mut part, parts);
}

fn finish<'d>(index: usize, atoms: &mut Vec<Atom<'d>>, parts: &mut Vec<Part<'d>>) {
    if !atoms.is_empty() {
        let tokens = atoms.iter().map(|atom| atom.tokens).sum();
        parts.push(Part::new(index, std::mem::take(atoms), tokens));
    }
}

/// A piece as atoms: itself when it fits, else its lines, sentences or stretches of code.
fn atomise<'d>(
    piece: &'d Piece,
    settings: &SplitSettings,
    count_tokens: &dyn Fn(&str) -> usize,
    atoms: &mut Vec<Atom<'d>>,
) {
    let text = piece.text();
    let tokens = count_tokens(text);
    let most = settings.max_tokens.max(16);
    match &piece.block {
        Block::Prose(prose) if tokens <= most => atoms.push(Atom {
            content: Content::Prose(Cow::Borrowed(prose)),
            tokens,
            link_bytes: piece.link_bytes as usize,
        }),
        Block::Prose(prose) => {
            for part in prose_parts(prose, most, count_tokens) {
                let link_bytes = piece.link_bytes as usize * part.len() / prose.len().max(1);
                let tokens = count_tokens(&part);
                atoms.push(Atom { content: Content::Prose(Cow::Owned(part)), tokens, link_bytes });
            }
        }
        Block::Code { language, code } if tokens <= settings.code_tokens => {
            atoms.push(Atom {
                content: Content::Code { language, code: Cow::Borrowed(code) },
                tokens,
                link_bytes: 0,
            });
        }
        Block::Code { language, code } => {
            for part in code_parts(code, most, count_tokens) {
                let tokens = count_tokens(&part);
                atoms.push(Atom {
                    content: Content::Code { language, code: Cow::Owned(part) },
                    tokens,
                    link_bytes: 0,
                });
            }
        }
    }
}

/// Long prose by lines, and long lines by sentences. Rows of a table keep its heading.
fn prose_parts(prose: &str, most: usize, count_tokens: &dyn Fn(&str) -> usize) -> Vec<String> {
    let mut lines = prose.lines();
    let heading = match (prose.starts_with('|'), lines.next(), lines.next()) {
        (true, Some(first), Some(second)) if second.starts_with("| ---") => format!("{first}\n{second}\n"),
        _ => String::new(),
    };
    let heading_tokens = count_tokens(&heading);
    // A heading as wide as a part would leave no room for rows.
    let (heading, heading_tokens) =
        if heading_tokens * 2 > most { (String::new(), 0) } else { (heading, heading_tokens) };
    let body = prose.get(heading.len()..).unwrap_or(prose);
    let mut units = Vec::new();
    for line in body.split_inclusive('\n') {
        if count_tokens(line) <= most - heading_tokens {
            units.push(line);
        } else {
            sentences(line, most - heading_tokens, count_tokens, &mut units);
        }
    }
    let mut parts = pack(&units, most - heading_tokens, count_tokens, |_| true);
    for part in &mut parts {
        *part = format!("{heading}{}", part.trim_end());
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// A line cut after full stops, and where there are none at a fixed number of bytes.
fn sentences<'l>(line: &'l str, most: usize, count_tokens: &dyn Fn(&str) -> usize, units: &mut Vec<&'l str>) {
    for sentence in line.split_inclusive(". ") {
        let mut rest = sentence;
        // A token has at least one byte, so twice the limit in bytes bounds the work on endless words.
        while rest.len() > most * 2 && count_tokens(rest.get(..floor(rest, most * 16)).unwrap_or(rest)) > most
        {
            let end = floor(rest, most * 2);
            let end = rest.get(..end).and_then(|head| head.rfind(' ')).map_or(end, |space| space + 1).max(1);
            let end = if rest.is_char_boundary(end) { end } else { floor(rest, most * 2) };
            let (head, tail) = rest.split_at(end);
            units.push(head);
            rest = tail;
        }
        units.push(rest);
    }
}

/// Code beyond the hard cap: at blank lines before lines at the margin, else at any line.
fn code_parts(code: &str, most: usize, count_tokens: &dyn Fn(&str) -> usize) -> Vec<String> {
    let mut units: Vec<&str> = Vec::new();
    let mut blank = Vec::new();
    let mut after_blank = true;
    for line in code.split_inclusive('\n') {
        let before = units.len();
        if line.len() > most * 8 {
            sentences(line, most, count_tokens, &mut units);
        } else {
            units.push(line);
        }
        blank.resize(units.len(), false);
        if let Some(first) = blank.get_mut(before) {
            *first = after_blank;
        }
        after_blank = line.trim().is_empty();
    }
    let mut parts = pack(&units, most, count_tokens, |unit| blank.get(unit).copied().unwrap_or(false));
    for part in &mut parts {
        part.truncate(part.trim_end().len());
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Joins units to parts of at most `most` tokens, preferring to cut where `good` says so.
fn pack(
    units: &[&str],
    most: usize,
    count_tokens: &dyn Fn(&str) -> usize,
    good: impl Fn(usize) -> bool,
) -> Vec<String> {
    let sizes: Vec<usize> = units.iter().map(|unit| count_tokens(unit)).collect();
    let mut parts = Vec::new();
    let (mut start, mut size) = (0, 0);
    let mut last_good = 0;
    for (unit, &tokens) in sizes.iter().enumerate() {
        if good(unit) {
            last_good = unit;
        }
        if size + tokens > most && unit > start {
            // A good border in the second half is worth a shorter part.
            let end = if last_good > start + (unit - start) / 2 { last_good } else { unit };
            parts.push(units[start..end].concat());
            size = sizes[end..unit].iter().sum();
            start = end;
        }
        size += tokens;
    }
    if start < units.len() {
        parts.push(units[start..].concat());
    }
    parts
}

/// The last character border at or before `at`, at least one character in.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    if at == 0 { text.chars().next().map_or(0, char::len_utf8) } else { at }
}
