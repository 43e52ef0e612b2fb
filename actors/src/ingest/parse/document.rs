//! What a page says, whatever format it was written in.
//!
//! Invariant: `sections` are in the order of the page and flat; a section's children are the ones
//! after it with a larger level. The text of a child is never repeated in its parent.

use twinmcp_storage::bundle::Block;

use super::Repair;

/// One page, cut into sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// Where the page lies inside its source, `/` between parts, e.g. `library/json.html`.
    pub path: String,
    /// The document's own title (front matter, first level-1 heading, `<title>`), or its path.
    pub title: String,
    /// In document order. Text before the first heading is a section of level 0 without heading.
    pub sections: Vec<Section>,
    /// What had to be done to it, each once.
    pub repairs: Vec<Repair>,
}

/// A heading and the text that belongs to it alone, up to the next section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// 0 for text before the first heading, 1-6 for headings; an API entry (a function, a setting)
    /// has one more than the section it stands in, so levels above 6 occur.
    pub level: u8,
    /// The heading as one line of plain text; for an API entry a short name such as `json.dump()`.
    pub heading: String,
    /// Ids that lead here without `#`, the one to link to first; empty when the format has none.
    pub anchors: Vec<String>,
    /// Paragraphs, lists, tables and code in document order, one piece each.
    pub pieces: Vec<Piece>,
}

/// One block of a section, and how much of it is the text of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// A paragraph, a whole list or a table as Markdown without fences, or one code block.
    pub block: Block,
    /// Bytes of the block that are link text; 0 for code.
    pub link_bytes: u32,
}

impl Section {
    /// A section without text.
    pub fn new(level: u8, heading: impl Into<String>, anchors: Vec<String>) -> Self {
        Self { level, heading: heading.into(), anchors, pieces: Vec::new() }
    }

    /// Adds text; blank text is left out.
    pub fn push_prose(&mut self, prose: impl Into<String>, link_bytes: u32) {
        let prose = prose.into();
        if !prose.trim().is_empty() {
            self.pieces.push(Piece { block: Block::Prose(prose), link_bytes });
        }
    }

    /// Adds a code block; a blank one is left out. `language` is a lower-case tag or empty.
    pub fn push_code(&mut self, language: impl Into<String>, code: impl Into<String>) {
        let code = code.into();
        if !code.trim().is_empty() {
            self.pieces.push(Piece { block: Block::Code { language: language.into(), code }, link_bytes: 0 });
        }
    }

    /// Bytes of prose and code.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.text().len()).sum()
    }

    /// Whether the heading has no text of its own.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Piece {
    /// The prose or the code.
    pub fn text(&self) -> &str {
        match &self.block {
            Block::Prose(prose) => prose,
            Block::Code { code, .. } => code,
        }
    }
}

/// Where a person can open a page: `base` joined with the page's path, percent-encoded.
///
/// `base` is a URL or a prefix; a `/` is put between when it has none. Anchors are appended as `#anchor`.
pub fn page_url(base: &str, path: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut url = String::with_capacity(base.len() + path.len() + 1);
    url.push_str(base);
    if !base.is_empty() && !base.ends_with('/') {
        url.push('/');
    }
    for byte in path.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.push(char::from(HEX[usize::from(byte >> 4)]));
            url.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    url
}
