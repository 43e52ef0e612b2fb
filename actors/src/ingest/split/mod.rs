//! From a document to snippets: by heading, never through a code block, each of a size that can be
//! ranked and answered.
//!
//! A section is one snippet when it fits. A long one is cut between paragraphs, list items, rows and
//! code blocks (`pieces`); tiny ones join their siblings or their parent (`merge`). The headings
//! around a snippet stay with it as its path, and a heading that was merged stays in the text.
//!
//! Sizes were chosen by measurement on the evaluation set: see `examples/retrieval_eval`.

mod merge;
mod pieces;

use crate::ingest::parse::{Document, Section};
use merge::Part;
use twinmcp_storage::bundle::{Block, Snippet};

/// Headings kept in a path; of deeper ones the outermost two and the innermost stay.
const PATH_MAX: usize = 8;

/// How large snippets are, in tokens of the counter that is passed along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitSettings {
    /// A snippet grows no larger than this, unless one code block alone is.
    pub max_tokens: usize,
    /// A section below this looks for company among its siblings.
    pub tiny_tokens: usize,
    /// What tiny sections grow to together.
    pub merged_tokens: usize,
    /// A code block up to here stays whole. A longer one is cut at blank lines: dropping it would lose
    /// what is often the only complete example, and whole it would fill an answer alone.
    pub code_tokens: usize,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self { max_tokens: 448, tiny_tokens: 64, merged_tokens: 192, code_tokens: 2048 }
    }
}

/// A snippet, and how much of which section it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The snippet.
    pub snippet: Snippet,
    /// Sections of the document whose text it holds, in order.
    pub covers: Vec<Cover>,
}

/// A stretch of a section inside a snippet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// Index into [`Document::sections`].
    pub section: usize,
    /// Bytes of that section's text in the snippet; 0 for a heading without text, which is there whole.
    pub bytes: usize,
}

/// Cuts a document into snippets of page number `page`.
pub fn split(
    document: &Document,
    page: u32,
    settings: &SplitSettings,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Snippet> {
    cuts(document, page, settings, count_tokens).into_iter().map(|cut| cut.snippet).collect()
}

/// As [`split`], and says what each snippet covers.
pub fn cuts(
    document: &Document,
    page: u32,
    settings: &SplitSettings,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Cut> {
    let mut outline = Outline::new(document, count_tokens);
    let mut parts = Vec::new();
    for (index, section) in document.sections.iter().enumerate() {
        pieces::parts(index, section, settings, count_tokens, &mut parts);
    }
    outline.measure(&parts);
    let parts = merge::merge(parts, &outline, settings);
    parts.into_iter().filter_map(|part| outline.cut(part, page)).collect()
}

/// Where the sections of a document stand among each other.
struct Outline<'d> {
    document: &'d Document,
    /// The section around each one.
    parents: Vec<Option<usize>>,
    /// Tokens of the text of each section with all sections inside it.
    whole_tokens: Vec<usize>,
    /// Tokens of each heading, and of the title.
    heading_tokens: Vec<usize>,
    title_tokens: usize,
}

impl<'d> Outline<'d> {
    fn new(document: &'d Document, count_tokens: &dyn Fn(&str) -> usize) -> Self {
        let mut open: Vec<usize> = Vec::new();
        let mut parents = Vec::with_capacity(document.sections.len());
        for (index, section) in document.sections.iter().enumerate() {
            while open.last().is_some_and(|&last| document.sections[last].level >= section.level) {
                open.pop();
            }
            parents.push(open.last().copied());
            open.push(index);
        }
        let heading_tokens = document.sections.iter().map(|section| count_tokens(&section.heading)).collect();
        let whole_tokens = vec![0; parents.len()];
        Self { document, parents, whole_tokens, heading_tokens, title_tokens: count_tokens(&document.title) }
    }

    /// Adds up the parts of each section and of those inside it.
    fn measure(&mut self, parts: &[Part<'_>]) {
        for part in parts {
            if let Some(whole) = self.whole_tokens.get_mut(part.last_section()) {
                *whole += part.tokens();
            }
        }
        for index in (0..self.parents.len()).rev() {
            if let Some(parent) = self.parent(index) {
                self.whole_tokens[parent] += self.whole_tokens[index];
            }
        }
    }

    fn whole_tokens(&self, section: usize) -> usize {
        self.whole_tokens.get(section).copied().unwrap_or(0)
    }

    fn section(&self, index: usize) -> Option<&'d Section> {
        self.document.sections.get(index)
    }

    fn parent(&self, index: usize) -> Option<usize> {
        self.parents.get(index).copied().flatten()
    }

    /// Whether `inner` stands inside `outer`.
    fn is_inside(&self, inner: usize, outer: usize) -> bool {
        let mut at = self.parent(inner);
        while let Some(section) = at {
            if section <= outer {
                return section == outer;
            }
            at = self.parent(section);
        }
        false
    }

    /// Headings from the title down to a section, and their tokens.
    fn path(&self, section: Option<usize>) -> (Vec<String>, usize) {
        let mut path = Vec::new();
        let mut tokens = 0;
        let mut at = section;
        while let Some(index) = at {
            if let Some(section) = self.section(index)
                && !section.heading.is_empty()
            {
                path.push(section.heading.clone());
                tokens += self.heading_tokens.get(index).copied().unwrap_or(0);
            }
            at = self.parent(index);
        }
        if path.last() != Some(&self.document.title) && !self.document.title.is_empty() {
            path.push(self.document.title.clone());
            tokens += self.title_tokens;
        }
        path.reverse();
        if path.len() > PATH_MAX {
            path.drain(2..path.len() - (PATH_MAX - 2));
        }
        (path, tokens)
    }

    /// Anchors of a part. Where its text begins comes first, to be linked to; headings without text
    /// that lead it come last.
    fn anchors(&self, part: &Part<'_>) -> Vec<String> {
        let begin = part.runs.iter().position(|run| !run.atoms.is_empty()).unwrap_or(0);
        let (leading, text) = part.runs.split_at(begin);
        let mut anchors: Vec<String> = Vec::new();
        for anchor in text
            .iter()
            .chain(leading)
            .filter_map(|run| self.section(run.section))
            .flat_map(|section| &section.anchors)
        {
            if !anchors.contains(anchor) {
                anchors.push(anchor.clone());
            }
        }
        anchors
    }

    /// The snippet of a part; nothing for headings without text.
    fn cut(&self, part: Part<'d>, page: u32) -> Option<Cut> {
        if part.runs.iter().all(|run| run.atoms.is_empty()) {
            return None;
        }
        let (heading_path, path_tokens) = self.path(part.top);
        let mut writer = BlockWriter::default();
        let anchors = self.anchors(&part);
        let (mut covers, mut bytes, mut links, mut tokens) = (Vec::new(), 0, 0, path_tokens);
        for run in &part.runs {
            let Some(section) = self.section(run.section) else {
                continue;
            };
            let shown = part.top.is_some_and(|top| top == run.section || self.is_inside(top, run.section));
            if !shown && !section.heading.is_empty() && !run.atoms.is_empty() {
                writer.heading(section);
                tokens += self.heading_tokens.get(run.section).copied().unwrap_or(0);
            }
            let covered: usize = run.atoms.iter().map(|atom| atom.text().len()).sum();
            covers.push(Cover { section: run.section, bytes: covered });
            bytes += covered;
            links += run.atoms.iter().map(|atom| atom.link_bytes).sum::<usize>();
            tokens += run.atoms.iter().map(|atom| atom.tokens).sum::<usize>();
            for atom in &run.atoms {
                writer.atom(atom);
            }
        }
        let link_percent = u8::try_from((links * 100 / bytes.max(1)).min(100)).unwrap_or(100);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let snippet = Snippet { page, anchors, heading_path, blocks: writer.blocks, tokens, link_percent };
        Some(Cut { snippet, covers })
    }
}

/// Joins prose that follows prose.
#[derive(Default)]
struct BlockWriter {
    blocks: Vec<Block>,
}

impl BlockWriter {
    fn heading(&mut self, section: &Section) {
        self.prose(&format!("### {}", section.heading));
    }

    fn atom(&mut self, atom: &pieces::Atom<'_>) {
        match &atom.content {
            pieces::Content::Prose(prose) => self.prose(prose),
            pieces::Content::Code { language, code } => {
                self.blocks.push(Block::Code { language: (*language).to_owned(), code: code.to_string() });
            }
        }
    }

    fn prose(&mut self, prose: &str) {
        match self.blocks.last_mut() {
            Some(Block::Prose(before)) => {
                before.push_str("\n\n");
                before.push_str(prose);
            }
            _ => self.blocks.push(Block::Prose(prose.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
