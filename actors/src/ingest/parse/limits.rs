//! What a page may cost, and what becomes of one that is not taken.

use super::Document;

/// Bounds of one page; a page beyond the first is refused, beyond the others it is cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseLimits {
    /// Bytes of one page as fetched; larger ones are refused.
    pub page_bytes: usize,
    /// Elements open at once; deeper ones are read as if they stood beside each other.
    pub depth: usize,
    /// Sections of one page; the text of later ones joins the last.
    pub sections: usize,
    /// Paragraphs, lists, tables and code blocks of one page; later ones are left out.
    pub pieces: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { page_bytes: 8 << 20, depth: 256, sections: 20_000, pieces: 200_000 }
    }
}

/// What became of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Text to index.
    Document(Document),
    /// Nothing to index, for a reason that is no fault.
    Skipped(SkipReason),
}

/// Why a page holds nothing worth indexing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// A list of other pages made by a generator: index, search form, site map, whole book in one page.
    GeneratedIndex,
    /// Sends the browser elsewhere.
    Redirect,
    /// The page a server shows for a missing one.
    NotFoundPage,
    /// A listing of source code; sources are indexed from the sources.
    SourceListing,
    /// Only images, scripts or navigation.
    NoText,
    /// Not text.
    Binary,
    /// Neither name nor content tell how to read it.
    UnknownFormat,
}

impl SkipReason {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::GeneratedIndex => "generated_index",
            Self::Redirect => "redirect",
            Self::NotFoundPage => "not_found_page",
            Self::SourceListing => "source_listing",
            Self::NoText => "no_text",
            Self::Binary => "binary",
            Self::UnknownFormat => "unknown_format",
        }
    }
}

/// What had to be done to a page before it could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repair {
    /// Bytes that are no text in the encoding the page has or tells: replaced, or read as windows-1252.
    Encoding,
    /// NUL characters, which no text has: taken out.
    Nul,
    /// Elements of HTML inside more others than [`ParseLimits::depth`]: read as if they stood beside each other.
    Nesting,
}

impl Repair {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Encoding => "broken_encoding",
            Self::Nul => "nul_characters",
            Self::Nesting => "deep_nesting",
        }
    }
}

/// Why a page was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Larger than [`ParseLimits::page_bytes`].
    #[error("the page has {bytes} bytes, more than the limit of {limit} bytes; split it")]
    TooLarge {
        /// Bytes of the page.
        bytes: usize,
        /// The limit it broke.
        limit: usize,
    },
    /// The source does not follow its language's grammar.
    #[error("the source could not be read: {reason}")]
    Syntax {
        /// What stood where.
        reason: String,
    },
}

impl ParseError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Syntax { .. } => "syntax",
        }
    }
}
