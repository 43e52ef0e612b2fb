//! Example programs: shown as code, whole when they are short.

use crate::ingest::parse::{Document, ParseError, ParseLimits, Section, markdown};

/// Code blocks are never cut later, so a long program is cut here, between its items.
const BLOCK_BYTES: usize = 3072;

/// Reads one example program.
///
/// Its first doc comment (`//!`) says what it shows; its title is the file's name, or the folder's for `main.rs`.
pub fn example(path: &str, source: &str, limits: &ParseLimits) -> Result<Document, ParseError> {
    if source.len() > limits.page_bytes {
        return Err(ParseError::TooLarge { bytes: source.len(), limit: limits.page_bytes });
    }
    let source = source.strip_prefix('\u{feff}').unwrap_or(source).replace("\r\n", "\n");
    let (docs, code) = split_docs(&source);
    let title = format!("Example: {}", name(path));
    let mut first = Section::new(1, title.clone(), Vec::new());
    let mut sections = markdown::sections(&docs, 1, limits);
    if sections.first().is_some_and(|section| section.heading.is_empty()) {
        first.pieces.append(&mut sections.remove(0).pieces);
    }
    sections.insert(0, first);
    if let Some(last) = sections.last_mut() {
        blocks(code).into_iter().take(limits.pieces).for_each(|block| last.push_code("rust", block));
    }
    Ok(Document { path: path.to_owned(), title, sections, repairs: Vec::new() })
}

/// `examples/echo.rs` and `examples/echo/main.rs` are both `echo`.
fn name(path: &str) -> String {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/main").unwrap_or(path);
    path.rsplit_once("examples/").map_or(path, |(_, name)| name).to_owned()
}

/// The leading `//!` lines as Markdown, and the program without them and without its licence header.
fn split_docs(source: &str) -> (String, &str) {
    let mut docs = String::new();
    let mut rest = source;
    while let Some((line, after)) = rest.split_once('\n') {
        let text = line.trim();
        if let Some(doc) = text.strip_prefix("//!") {
            docs.push_str(doc.strip_prefix(' ').unwrap_or(doc));
            docs.push('\n');
        } else if !text.is_empty() && !text.starts_with("//") {
            break;
        }
        rest = after;
    }
    (docs, rest)
}

/// The program in blocks of about [`BLOCK_BYTES`], cut at blank lines before an unindented one.
fn blocks(code: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut after_blank = false;
    for line in code.trim().lines() {
        let starts_item = after_blank && !line.starts_with([' ', '\t', '}', ')']) && !line.trim().is_empty();
        let is_full = blocks.last().is_some_and(|block| block.len() + line.len() > BLOCK_BYTES / 2);
        if starts_item && is_full {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line.trim_end());
            block.push('\n');
        }
        after_blank = line.trim().is_empty();
    }
    blocks.into_iter().map(|block| block.trim_end().to_owned()).collect()
}
