//! HTML pages of documentation generators: the main content as sections, furniture left out.
//!
//! The page becomes a flat list of nodes (`tree`), the generator's conventions tell where the text
//! stands (`site`), and one pass over that stretch of nodes writes the sections (`walk`).

mod code;
mod entity;
mod entry;
mod head;
mod inline;
mod site;
mod table;
mod tag;
mod tree;
mod walk;

pub use head::{Head, head};

use super::{ParseError, ParseLimits, Parsed, Repair, Section, outline::Outline};
use tag::Tag;
use tree::Tree;
use walk::Walk;

/// Reads a page.
pub fn parse(path: &str, html: &str, limits: &ParseLimits) -> Result<Parsed, ParseError> {
    if let Some(reason) = site::skip_by_path(path) {
        return Ok(Parsed::Skipped(reason));
    }
    let tree = Tree::read(html, limits.depth);
    if let Some(reason) = site::skip_by_content(&tree, path) {
        return Ok(Parsed::Skipped(reason));
    }
    let (root, in_body) = site::main_content(&tree);
    let mut outline = Outline::new(limits);
    Walk::new(&tree, &mut outline, in_body).run(root);
    let has_title = outline.position().is_some_and(|_| outline.opens_with_heading());
    let title = if has_title { None } else { page_title(&tree) };
    let mut document = outline.finish(path, title);
    document.repairs.extend(tree.is_flattened.then_some(Repair::Nesting));
    Ok(Parsed::Document(document))
}

/// Reads HTML inside another format: sections below headings, the first one without.
pub(super) fn fragment(html: &str, limits: &ParseLimits) -> (Vec<Section>, Vec<String>) {
    let tree = Tree::read(html, limits.depth);
    let mut outline = Outline::new(limits);
    let pending = Walk::new(&tree, &mut outline, false).run(0);
    (outline.into_sections(), pending)
}

/// The `title` element without the site's name behind the last separator.
fn page_title(tree: &Tree<'_>) -> Option<String> {
    let (index, _) = tree.elements(0, tree.nodes.len()).find(|&(_, tag)| tag == Tag::Title)?;
    let title = tree.text(index);
    let title = title.trim();
    let cut = [" | ", " — ", " – ", " · ", " - ", " :: "]
        .iter()
        .filter_map(|separator| title.rfind(separator))
        .max();
    Some(title.get(..cut.unwrap_or(title.len())).unwrap_or(title).trim().to_owned())
}

#[cfg(test)]
mod tests;
