//! What a bundle holds: pages of one library version, and the snippets cut out of them.
//!
//! A snippet follows the Context7 model: with at least one code block it is shown as a *code
//! snippet* (title, description, code list), without any as an *info snippet* (breadcrumb, content).
//! Both are the same record, because both are ranked by the same rule.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One document of a source, as clients are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Where the page lies inside its source, with `/` between parts, e.g. `library/json.html`.
    /// Unique within a bundle and stable across builds of the same source.
    pub path: String,
    /// Where a person can open the page; anchors are appended as `#anchor`.
    pub url: String,
    /// The document's own title, or its path where it has none.
    pub title: String,
}

/// One stretch of a section, in the order of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Block {
    /// Markdown text without fences.
    Prose(String),
    /// One code block, never cut.
    Code {
        /// Lower-case language tag, e.g. `rust`; empty when the document names none.
        language: String,
        /// The code without its fence.
        code: String,
    },
}

/// The unit that is ranked and answered: one section of a page, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    /// Index into the bundle's pages.
    pub page: u32,
    /// Anchors whose text this snippet covers, in document order; the first is the link target.
    pub anchors: Vec<String>,
    /// Headings from the page's title down to this section, outermost first.
    pub heading_path: Vec<String>,
    /// Prose and code in document order.
    pub blocks: Vec<Block>,
    /// Tokens of heading path and blocks, by the built-in WordPiece tokenizer.
    pub tokens: u32,
    /// Share of the text that is link text, in percent: link lists are damped when ranked.
    pub link_percent: u8,
}

/// The first of a snippet's anchors. Leaves the others unread, so nothing behind it can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FirstAnchor<'a>(pub(super) Option<&'a str>);

impl<'de> Deserialize<'de> for FirstAnchor<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstAnchor(None))
    }
}

impl<'de> Visitor<'de> for FirstAnchor<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anchors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut anchors: A) -> Result<Self, A::Error> {
        anchors.next_element().map(FirstAnchor)
    }
}

impl Snippet {
    /// Whether the snippet is shown as a code snippet.
    pub fn has_code(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Code { .. }))
    }

    /// The innermost heading; empty only when the page has no title either.
    pub fn title(&self) -> &str {
        self.heading_path.last().map_or("", String::as_str)
    }

    /// Prose and code joined by newlines: what words and vectors are made from.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for block in &self.blocks {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(match block {
                Block::Prose(prose) => prose,
                Block::Code { code, .. } => code,
            });
        }
        text
    }
}
