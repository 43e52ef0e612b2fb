//! One line out of an element: headings, terms, cells, captions.

use super::{entity, site, tag::Tag, tree::Tree};
use crate::ingest::parse::prose::Prose;

/// An element's text as one line of Markdown, and what leads to it.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) link_bytes: u32,
    /// Ids inside the element, permalinks and buttons included.
    pub(super) anchors: Vec<String>,
    /// Where the element's own permalink goes, e.g. a pilcrow.
    pub(super) permalink: Option<String>,
}

/// Reads all inside `index` as one line; `code` keeps inline code in ticks.
pub(super) fn line(tree: &Tree<'_>, index: usize, code: bool) -> Line {
    let end = tree.nodes.get(index).map_or(index, |node| node.end);
    let mut line = Line::default();
    let mut prose = Prose::default();
    let (mut code_end, mut link_end) = (0, 0);
    let mut at = index + 1;
    while let Some(node) = tree.nodes.get(at).filter(|_| at < end) {
        if code_end != 0 && at >= code_end {
            prose.tick();
            code_end = 0;
        }
        let Some(tag) = node.tag else {
            prose.push(&entity::decode(node.raw), at < link_end);
            at += 1;
            continue;
        };
        collect_id(tree, at, tag, &mut line.anchors);
        let permalink = tag == Tag::A && is_permalink(tree, at, &mut line);
        if permalink || site::is_furniture(tree, at, tag, false) {
            for (inner, tag) in tree.elements(at + 1, node.end) {
                collect_id(tree, inner, tag, &mut line.anchors);
            }
            at = node.end;
            continue;
        }
        match tag {
            Tag::Code | Tag::Tt | Tag::Kbd | Tag::Samp if code && code_end == 0 => {
                prose.tick();
                code_end = node.end;
            }
            Tag::A if at >= link_end && !tree.attribute(at, "href").is_empty() => link_end = node.end,
            _ if tag.is_block() || tag == Tag::Br => prose.push(" ", false),
            _ => {}
        }
        at += 1;
    }
    (line.text, line.link_bytes) = prose.take();
    line
}

/// Ids kept of one element; forged ones hold any number.
const IDS: usize = 64;
/// Nodes inside a permalink: a sign and what dresses it.
const PERMALINK_NODES: usize = 8;

/// Adds the ids of an element, and the name of an old-style anchor.
pub(super) fn collect_id(tree: &Tree<'_>, index: usize, tag: Tag, anchors: &mut Vec<String>) {
    if anchors.len() >= IDS || tree.nodes.get(index).is_none_or(|node| node.raw.is_empty()) {
        return;
    }
    for name in ["id", "name"] {
        if name == "name" && tag != Tag::A {
            continue;
        }
        let id = tree.attribute(index, name);
        let id = id.trim();
        if !id.is_empty() && id.len() <= 256 && !anchors.iter().any(|anchor| anchor == id) {
            anchors.push(id.to_owned());
        }
    }
}

/// Whether a link only points at its own heading: it has no text but a sign. Keeps its target.
fn is_permalink(tree: &Tree<'_>, index: usize, line: &mut Line) -> bool {
    let href = tree.attribute(index, "href");
    let Some(target) = href.strip_prefix('#').filter(|target| !target.is_empty()) else {
        return false;
    };
    if line.permalink.is_none() {
        line.permalink = Some(target.to_owned());
    }
    if tree.nodes.get(index).is_none_or(|node| node.end - index > PERMALINK_NODES) {
        return false;
    }
    let text = tree.text(index);
    let sign = !text.chars().any(char::is_alphanumeric);
    sign || tree.has_class(index, "headerlink") || tree.has_class(index, "anchor-link")
}
