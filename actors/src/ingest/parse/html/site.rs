//! What the generators of documentation sites put around and into the text: where the main content
//! stands, what is furniture, and which pages only list others.
//!
//! Written after the output of Sphinx (old and new), rustdoc, mdBook, Docusaurus, VitePress, MkDocs,
//! DocBook, the Node.js API docs, Javadoc and GitHub's renderer. The rules go by role, element and
//! class, so that a generator nobody named mostly falls under them too.

use super::{entity, tag::Tag, tree::Tree};
use crate::ingest::parse::SkipReason;

/// Classes of furniture: navigation, permalinks, edit buttons, line numbers, text for screen readers.
const FURNITURE_CLASSES: &[&str] = &[
    "sidebar",
    "sphinxsidebar",
    "toc",
    "table-of-contents",
    "tableofcontents",
    "theme-doc-toc-mobile",
    "theme-doc-toc-desktop",
    "theme-doc-breadcrumbs",
    "theme-doc-footer",
    "theme-doc-version-badge",
    "theme-edit-this-page",
    "edit-this-page",
    "breadcrumb",
    "breadcrumbs",
    "navheader",
    "navfooter",
    "related",
    "pagination-nav",
    "prev-next",
    "prevnext",
    "headerlink",
    "header-anchor",
    "hash-link",
    "anchor-link",
    "anchorjs-link",
    "permalink",
    "viewcode-link",
    "md-content__button",
    "md-source-file",
    "copybutton",
    "copybtn",
    "copy-button",
    "srclink",
    "rightside",
    "out-of-band",
    "since",
    "test-arrow",
    "linenos",
    "linenodiv",
    "lineno",
    "line-number",
    "line-numbers",
    "sr-only",
    "visually-hidden",
    "screen-reader-text",
    "skip-link",
    "toctree-wrapper",
    "rst-footer-buttons",
    "wy-nav-side",
    "nav",
    "navbar",
    "site-footer",
    "page-nav",
    "vp-doc-footer",
    "on-this-page",
    "editlink",
    "boring",
    "hideme",
    "sub-container",
    "changelog",
    "github-fork-ribbon",
    "indextable",
    "notable-traits",
    "tooltip",
];
/// Ids of furniture.
const FURNITURE_IDS: &[&str] = &[
    "toc",
    "sidebar",
    "footer",
    "navigation",
    "nav",
    "breadcrumbs",
    "hd",
    "ft",
    "TOC",
    "search",
    "searchbox",
    "nav-above",
    "nav-below",
    "synthetic-implementations",
    "blanket-implementations",
    "synthetic-implementations-list",
    "blanket-implementations-list",
    "sidebar-toggle",
    "menu-bar",
    "copy-path",
    "settings-menu",
    "indices-and-tables",
];
/// Roles of furniture.
const FURNITURE_ROLES: &[&str] =
    &["navigation", "search", "banner", "contentinfo", "menu", "menubar", "toolbar"];

/// A longer style is not looked through; what people write has a few hundred bytes.
const STYLE_BYTES_MAX: usize = 4096;

/// Whether an element with all inside it is left out.
pub(super) fn is_furniture(tree: &Tree<'_>, index: usize, tag: Tag, in_body: bool) -> bool {
    match tag {
        Tag::Script
        | Tag::Style
        | Tag::Nav
        | Tag::Footer
        | Tag::Button
        | Tag::Svg
        | Tag::Math
        | Tag::Iframe
        | Tag::Template
        | Tag::Dialog
        | Tag::Object
        | Tag::Canvas
        | Tag::Video
        | Tag::Audio
        | Tag::Select
        | Tag::Textarea
        | Tag::Head
        | Tag::Title
        | Tag::Input => return true,
        // A header outside the main content is the site's; inside it holds the page's heading.
        Tag::Header if in_body => return true,
        // Notes are asides too, so only those of the whole page go.
        Tag::Aside if in_body => return true,
        _ => {}
    }
    let Some(node) = tree.nodes.get(index) else {
        return false;
    };
    if node.raw.is_empty() {
        return false;
    }
    let mut left_out = is_hidden(tree, index);
    for (name, value) in super::tree::attributes(node.raw) {
        left_out |= match name {
            "class" => {
                value.split_ascii_whitespace().any(|class| is_furniture_class(class, tag))
                    || is_local_toc(value)
            }
            "id" => FURNITURE_IDS.contains(&value),
            "role" => FURNITURE_ROLES.contains(&value),
            _ => false,
        };
    }
    left_out
}

/// Whether no browser shows an element, by its own attributes: a person who reviews the page would not read what a model does.
/// The panels of tabs are hidden until somebody chooses them, and are read.
pub(super) fn is_hidden(tree: &Tree<'_>, index: usize) -> bool {
    let raw = tree.nodes.get(index).map_or("", |node| node.raw);
    let (mut hidden, mut is_panel) = (false, false);
    for (name, value) in super::tree::attributes(raw) {
        if name.eq_ignore_ascii_case("hidden") {
            hidden |= !value.eq_ignore_ascii_case("until-found");
        } else if name.eq_ignore_ascii_case("style") {
            hidden |= hides(&entity::decode(value));
        } else if name.eq_ignore_ascii_case("role") {
            is_panel |= value.eq_ignore_ascii_case("tabpanel");
        }
    }
    hidden && !is_panel
}

/// Whether a style takes an element out of sight.
fn hides(style: &str) -> bool {
    if style.len() > STYLE_BYTES_MAX {
        return false;
    }
    style.split(';').any(|declaration| {
        let mut parts = declaration.splitn(2, ':').map(|part| part.trim().to_ascii_lowercase());
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let value = value.trim_end_matches("!important").trim_end();
        matches!((name.as_str(), value), ("display", "none") | ("visibility", "hidden" | "collapse"))
    })
}

fn is_furniture_class(class: &str, tag: Tag) -> bool {
    match class {
        // Sphinx gives figures and notes beside the text the class of a sidebar.
        "sidebar" if tag == Tag::Aside => false,
        "changelog" => tag == Tag::Details,
        "related" | "nav" | "since" => tag != Tag::Section && tag != Tag::Li && tag != Tag::P,
        _ => {
            FURNITURE_CLASSES.contains(&class)
                || class.starts_with("tableOfContents")
                || class.starts_with("tocCollapsible")
        }
    }
}

/// The local table of contents of docutils; others call the main content `contents`.
fn is_local_toc(classes: &str) -> bool {
    let has = |name: &str| classes.split_ascii_whitespace().any(|class| class == name);
    has("contents") && (has("topic") || has("local"))
}

/// The element that holds the page's own text, and whether it is no better than the whole body.
pub(super) fn main_content(tree: &Tree<'_>) -> (usize, bool) {
    let mut best = (0_u8, 0_usize);
    let mut articles = Vec::new();
    for (index, tag) in tree.elements(1, tree.nodes.len()) {
        let rank = rank(tree, index, tag);
        if tag == Tag::Article {
            articles.push(index);
        }
        // The first of a rank wins: later ones are nested in it or repeat it.
        if rank > best.0 && (rank == 1 || has_text(tree, index)) {
            best = (rank, index);
        }
    }
    let (rank, root) = best;
    let end = tree.nodes.get(root).map_or(0, |node| node.end);
    articles.retain(|&article| article >= root && article < end);
    if let [article] = articles[..]
        && has_text(tree, article)
        && size(tree, article) * 2 > size(tree, root)
    {
        return (article, false);
    }
    (root, rank <= 1)
}

/// How surely an element is the main content; 0 for not at all.
fn rank(tree: &Tree<'_>, index: usize, tag: Tag) -> u8 {
    let mut rank = match tag {
        Tag::Main => 7,
        Tag::Body => 1,
        Tag::Div | Tag::Section | Tag::Article | Tag::Td => 0,
        _ => return 0,
    };
    let raw = tree.nodes.get(index).map_or("", |node| node.raw);
    for (name, value) in super::tree::attributes(raw) {
        rank = rank.max(match (name, value) {
            ("id", "main-content") if tag == Tag::Section => 9,
            ("id", "apicontent") => 8,
            ("role", "main") => 8,
            ("id", "content" | "main" | "main-content" | "bd" | "docContent") if tag != Tag::Body => 3,
            ("class", classes) => classes.split_ascii_whitespace().map(class_rank).max().unwrap_or(0),
            _ => 0,
        });
    }
    rank
}

fn class_rank(class: &str) -> u8 {
    match class {
        "theme-doc-markdown" | "vp-doc" | "markdown-body" | "md-content__inner" | "sl-markdown-content" => 6,
        "body" | "yui-b" => 5,
        "contents" | "content" | "document" => 2,
        _ => 0,
    }
}

fn has_text(tree: &Tree<'_>, index: usize) -> bool {
    let end = tree.nodes.get(index).map_or(0, |node| node.end);
    let nodes = tree.nodes.get(index..end).unwrap_or_default();
    let bytes: usize =
        nodes.iter().filter(|node| node.tag.is_none()).map(|node| node.raw.trim().len()).take(64).sum();
    bytes >= 40
}

fn size(tree: &Tree<'_>, index: usize) -> usize {
    tree.nodes.get(index).map_or(0, |node| node.end - index)
}

/// Pages that hold nothing of their own, told by their name.
pub(super) fn skip_by_path(path: &str) -> Option<SkipReason> {
    let lower = path.to_ascii_lowercase();
    let (folder, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    if stem == "404" || stem == "not_found" {
        return Some(SkipReason::NotFoundPage);
    }
    if name.ends_with(".rs.html") || folder.split('/').any(|part| part == "_modules" || part == "src-html") {
        return Some(SkipReason::SourceListing);
    }
    let listed = matches!(
        stem,
        "genindex"
            | "genindex-all"
            | "search"
            | "py-modindex"
            | "modindex"
            | "np-modindex"
            | "http-routingtable"
            | "sitemap"
            | "bookindex"
            | "print"
            | "index-all"
            | "allclasses"
            | "allclasses-index"
            | "allpackages-index"
            | "allclasses-frame"
            | "overview-tree"
            | "package-tree"
            | "overview-frame"
            | "package-frame"
            | "searchindex"
            | "constant-values"
    ) || stem.strip_prefix("genindex-").is_some()
        || folder.split('/').any(|part| part == "index-files");
    listed.then_some(SkipReason::GeneratedIndex)
}

/// Pages that hold nothing of their own, told by their content.
pub(super) fn skip_by_content(tree: &Tree<'_>, path: &str) -> Option<SkipReason> {
    let mut generator = String::new();
    for (index, tag) in tree.elements(0, tree.nodes.len()).take(400) {
        match tag {
            Tag::Meta if tree.attribute(index, "http-equiv").eq_ignore_ascii_case("refresh") => {
                let content = tree.attribute(index, "content");
                if content.to_ascii_lowercase().contains("url") {
                    return Some(SkipReason::Redirect);
                }
            }
            Tag::Meta if tree.attribute(index, "name") == "generator" => {
                generator = tree.attribute(index, "content").into_owned();
            }
            Tag::Body => {
                let name = path.rsplit('/').next().unwrap_or(path);
                let rustdoc = tree.has_class(index, "rustdoc") || generator == "rustdoc";
                if rustdoc && tree.has_class(index, "source") {
                    return Some(SkipReason::SourceListing);
                }
                let of_rustdoc = rustdoc
                    && matches!(
                        name,
                        "all.html" | "settings.html" | "help.html" | "scrape-examples-help.html"
                    );
                let of_node = name == "all.html" && tree.has_class(index, "apidoc");
                return (of_rustdoc || of_node).then_some(SkipReason::GeneratedIndex);
            }
            _ => {}
        }
    }
    None
}
