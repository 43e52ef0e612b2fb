//! Which language a page is written in: by its name, corrected by its content.

use super::{notebook, openapi, rst};

/// What a page is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// CommonMark with GitHub's extensions.
    Markdown,
    /// Markdown with JSX.
    Mdx,
    /// HTML of any generator.
    Html,
    /// reStructuredText of docutils and Sphinx.
    Restructured,
    /// AsciiDoc.
    AsciiDoc,
    /// A Jupyter notebook.
    Notebook,
    /// An OpenAPI or Swagger document, told by its content.
    OpenApi,
    /// Plain text.
    Text,
    /// Rust source; read for its doc comments.
    Rust,
}

impl Format {
    /// The format that a path's extension names.
    pub fn of_name(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        match extension.to_ascii_lowercase().as_str() {
            "md" | "markdown" | "mdown" | "mkd" | "mkdn" => Some(Self::Markdown),
            "mdx" => Some(Self::Mdx),
            "html" | "htm" | "xhtml" | "shtml" => Some(Self::Html),
            "rst" | "rest" => Some(Self::Restructured),
            "adoc" | "asciidoc" => Some(Self::AsciiDoc),
            "ipynb" => Some(Self::Notebook),
            "txt" | "text" => Some(Self::Text),
            "rs" => Some(Self::Rust),
            "" if is_prose_name(stem) => Some(Self::Text),
            _ => None,
        }
    }

    /// The format of a page whose name says `named`: HTML under another name is told by its first
    /// tag, Markdown in a text file by its headings, reStructuredText by its directives, a
    /// notebook and an OpenAPI document by their keys.
    pub(super) fn of_content(named: Option<Self>, text: &str) -> Option<Self> {
        if !matches!(named, None | Some(Self::Text)) {
            return named;
        }
        let start = text.trim_start();
        let begins = |tag: &str| start.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
        if begins("<!doctype html") || begins("<html") {
            return Some(Self::Html);
        }
        match named {
            Some(Self::Text) if is_markdown(start) => Some(Self::Markdown),
            Some(Self::Text) if rst::is_restructured(text) => Some(Self::Restructured),
            None if notebook::is_notebook(start) => Some(Self::Notebook),
            None if openapi::is_openapi(start) => Some(Self::OpenApi),
            named => named,
        }
    }
}

/// Files without an extension that people write prose in.
fn is_prose_name(stem: &str) -> bool {
    let stem = stem.to_ascii_uppercase();
    ["README", "CHANGELOG", "CHANGES", "NEWS", "HISTORY", "CONTRIBUTING", "INSTALL", "FAQ", "USAGE"]
        .contains(&stem.as_str())
}

/// Text that opens with a level-1 heading and has fences or more headings, such as `llms.txt`.
fn is_markdown(text: &str) -> bool {
    text.starts_with("# ") && (text.contains("\n## ") || text.contains("\n```") || text.contains("]("))
}

/// Bytes of a page that are looked at to tell whether it is text.
const HEAD_BYTES: usize = 8_192;
/// Bytes below which a page says too little of that.
const HEAD_BYTES_MIN: usize = 512;

/// Whether the first kilobytes of a page without a telling name look like text in some encoding.
pub(super) fn looks_like_text(bytes: &[u8]) -> bool {
    let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    is_utf16(head) || head.iter().filter(|byte| is_control(**byte)).count() * 50 <= head.len()
}

/// Whether the name of a page must be wrong: more than a twentieth of its first kilobytes is control characters, as in what is
/// compressed or compiled. NUL does not count, which is every other byte of UTF-16 that does not say so.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let controls = || head.iter().filter(|byte| is_control(**byte) && **byte != 0).count();
    head.len() >= HEAD_BYTES_MIN && !is_utf16(head) && controls() * 20 > head.len()
}

fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t' | 0x0c | 0x1b)
}
