//! From bytes to sections: every format ends as the same flat [`Document`].
//!
//! [`parse`] is the way in. It tells the format by name and content, decodes the bytes, and hands
//! the text to [`markdown`], [`html`], [`rst`], [`asciidoc`], [`notebook`], [`openapi`] or [`text`]. Pages that
//! only list other pages are recognised and skipped with a reason.
//!
//! Invariant: pure and linear in the input. No clock, no IO, no recursion over the input; a page
//! that is not understood is an error value or [`Parsed::Skipped`], never a panic.

pub mod asciidoc;
mod charset;
mod code;
mod document;
mod ends;
mod format;
pub mod html;
mod limits;
pub mod markdown;
pub mod notebook;
pub mod openapi;
mod outline;
mod prose;
pub mod python;
pub mod rst;
pub mod rust;
mod slug;
pub mod text;
pub mod typescript;

pub use document::{Document, Piece, Section, page_url};
pub use format::Format;
pub use limits::{ParseError, ParseLimits, Parsed, Repair, SkipReason};

/// Reads one page: tells its format, decodes it and cuts it into sections.
///
/// `path` is the page's place inside its source, with `/` between parts. Rust sources are not read
/// here, because a package's files belong together: see [`rust::RustCrate`].
pub fn parse(path: &str, bytes: &[u8], limits: &ParseLimits) -> Result<Parsed, ParseError> {
    if bytes.len() > limits.page_bytes {
        return Err(ParseError::TooLarge { bytes: bytes.len(), limit: limits.page_bytes });
    }
    let named = Format::of_name(path);
    let is_text = if named.is_some() { !format::is_binary(bytes) } else { format::looks_like_text(bytes) };
    if !is_text {
        return Ok(Parsed::Skipped(SkipReason::Binary));
    }
    let (text, repairs) = charset::decode(bytes);
    let Some(format) = Format::of_content(named, &text) else {
        return Ok(Parsed::Skipped(SkipReason::UnknownFormat));
    };
    let mut document = match format {
        Format::Markdown => markdown::parse(path, &text, limits),
        Format::Mdx => markdown::parse_mdx(path, &text, limits),
        Format::Html => match html::parse(path, &text, limits)? {
            Parsed::Document(document) => document,
            skipped @ Parsed::Skipped(_) => return Ok(skipped),
        },
        Format::Restructured => rst::parse(path, &text, limits),
        Format::AsciiDoc => asciidoc::parse(path, &text, limits),
        Format::Notebook => notebook::parse(path, &text, limits)?,
        Format::OpenApi => match openapi::parse(path, &text, limits)? {
            Parsed::Document(document) => document,
            skipped @ Parsed::Skipped(_) => return Ok(skipped),
        },
        Format::Text => text::parse(path, &text, limits),
        Format::Rust => return Ok(Parsed::Skipped(SkipReason::UnknownFormat)),
    };
    if document.sections.iter().all(Section::is_empty) {
        return Ok(Parsed::Skipped(SkipReason::NoText));
    }
    document.repairs.extend(repairs);
    Ok(Parsed::Document(document))
}

#[cfg(test)]
mod tests;
