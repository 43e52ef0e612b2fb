//! Joins tiny sections: an introduction with what it introduces, small entries with one another.

use super::{Outline, SplitSettings, pieces::Atom};

/// Sections that one part may join; forged pages have thousands of empty headings.
const RUNS_MAX: usize = 64;

/// Text of one section inside a part.
#[derive(Debug)]
pub(super) struct Run<'d> {
    pub(super) section: usize,
    pub(super) atoms: Vec<Atom<'d>>,
}

/// What becomes one snippet.
#[derive(Debug)]
pub(super) struct Part<'d> {
    /// The section whose path the snippet shows: its only one, or the one around all of them;
    /// `None` for the page itself.
    pub(super) top: Option<usize>,
    pub(super) runs: Vec<Run<'d>>,
    tokens: usize,
}

impl<'d> Part<'d> {
    pub(super) fn new(section: usize, atoms: Vec<Atom<'d>>, tokens: usize) -> Self {
        Self { top: Some(section), runs: vec![Run { section, atoms }], tokens }
    }

    fn is_blank(&self) -> bool {
        self.runs.iter().all(|run| run.atoms.is_empty())
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn last_section(&self) -> usize {
        self.runs.last().map_or(0, |run| run.section)
    }

    fn absorb(&mut self, next: Self, top: Option<usize>) {
        self.tokens += next.tokens;
        self.top = top;
        self.runs.extend(next.runs);
    }
}

/// Joins parts from the first to the last; the order of the page is kept.
pub(super) fn merge<'d>(
    parts: Vec<Part<'d>>,
    outline: &Outline<'d>,
    settings: &SplitSettings,
) -> Vec<Part<'d>> {
    let mut merged: Vec<Part<'d>> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.last_mut().and_then(|last| joint(last, &part, outline, settings).map(|top| (last, top)))
        {
            Some((last, top)) => last.absorb(part, top),
            None => merged.push(part),
        }
    }
    merged
}

/// The section whose path two parts would share, when they belong together.
fn joint(
    last: &Part<'_>,
    next: &Part<'_>,
    outline: &Outline<'_>,
    settings: &SplitSettings,
) -> Option<Option<usize>> {
    let (before, after) = (last.last_section(), next.last_section());
    if before == after || last.runs.len() >= RUNS_MAX || last.runs.iter().any(|run| run.section == after) {
        return None;
    }
    // A heading without text leads its first child, whatever their size.
    if last.is_blank() && outline.is_inside(after, before) {
        return Some(next.top);
    }
    let base = last.runs.iter().find(|run| !run.atoms.is_empty()).or(last.runs.first())?.section;
    let sum = last.tokens + next.tokens;
    // With all it contains: the head of a large section stays with that section.
    let tiny = outline.whole_tokens(after) < settings.tiny_tokens;
    if outline.is_inside(after, base) {
        // A section that fits with all it contains is one snippet: a function with its examples. Not
        // so a page: its sections are subjects of their own.
        let whole = outline.parent(base).is_some() && outline.whole_tokens(base) <= settings.max_tokens;
        let fits = sum <= settings.max_tokens;
        return (fits && (whole || tiny)).then_some(Some(base));
    }
    // Tiny siblings take the path of what is around them; a larger one keeps its own name.
    let parent = outline.parent(base);
    let siblings = outline.parent(after) == parent;
    let joined = last.runs.iter().filter(|run| !run.atoms.is_empty()).count();
    let alike = tiny && last.tokens < joined.max(1) * settings.tiny_tokens;
    (siblings && alike && sum <= settings.merged_tokens).then_some(parent)
}
