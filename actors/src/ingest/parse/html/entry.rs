//! API entries: terms with ids (Sphinx, DocBook, option lists) and the items of rustdoc.

use super::{inline, tag::Tag, tree::Tree, walk::Walk};

/// Headers of implementations kept of one type; `Debug` has thousands.
const IMPLEMENTATIONS: usize = 80;

/// Ids of a term: its own, or of an anchor in it.
pub(super) fn anchors_in(tree: &Tree<'_>, term: usize) -> Vec<String> {
    let mut anchors = Vec::new();
    let end = tree.nodes.get(term).map_or(term, |node| node.end);
    for (index, tag) in tree.elements(term, end).take(24) {
        inline::collect_id(tree, index, tag, &mut anchors);
    }
    anchors
}

/// Starts the section of a term; a second term before the definition joins it.
pub(super) fn term(walk: &mut Walk<'_, '_, '_>, at: usize, level: u8) {
    walk.flush();
    let tree = walk.tree;
    let line = inline::line(tree, at, false);
    let mut anchors = Vec::new();
    inline::collect_id(tree, at, Tag::Dt, &mut anchors);
    let signature =
        tree.has_class(at, "sig") || tree.has_class(at, "sig-object") || is_sphinx_object(tree, at);
    let language = domain(tree, at);
    if walk.open_term {
        let joined = walk.anchors_of(&line);
        anchors.extend(joined);
        walk.outline.join(anchors, &line.text, signature);
        return;
    }
    let joined = walk.anchors_of(&line);
    anchors.extend(joined);
    let heading = match anchors.first() {
        Some(anchor) if signature => qualified_name(anchor, &line.text),
        _ => line.text.clone(),
    };
    walk.open(level, &heading, anchors);
    if signature {
        walk.outline.code(language, line.text);
    }
    walk.open_term = true;
}

/// Sphinx before version 4 marks objects by the class of the list alone.
fn is_sphinx_object(tree: &Tree<'_>, term: usize) -> bool {
    let parent = tree.nodes.get(term).map_or(0, |node| node.parent);
    let classes = tree.attribute(parent, "class");
    let kind = |class| {
        matches!(
            class,
            "function"
                | "class"
                | "method"
                | "attribute"
                | "exception"
                | "data"
                | "staticmethod"
                | "classmethod"
                | "property"
        )
    };
    classes.split_ascii_whitespace().any(kind)
}

/// The language of a signature, from the Sphinx domain.
fn domain(tree: &Tree<'_>, term: usize) -> String {
    let parent = tree.nodes.get(term).map_or(0, |node| node.parent);
    let classes = tree.attribute(parent, "class");
    let language = match classes.split_ascii_whitespace().next() {
        Some(
            "py" | "function" | "class" | "method" | "attribute" | "exception" | "data" | "staticmethod"
            | "classmethod",
        ) => "python",
        Some("js") => "javascript",
        Some(domain @ ("c" | "cpp" | "rust" | "ruby" | "go")) => domain,
        _ => "",
    };
    language.to_owned()
}

/// `collections.Counter.most_common()` out of the anchor and the signature `most_common([n])`.
fn qualified_name(anchor: &str, signature: &str) -> String {
    let name_end = signature.find('(').unwrap_or(signature.len());
    let name =
        signature.get(..name_end).unwrap_or(signature).trim().rsplit([' ', '.']).next().unwrap_or_default();
    let name_of_anchor = anchor.rsplit('.').next().unwrap_or(anchor);
    if name.is_empty() || name_of_anchor != name {
        return signature.to_owned();
    }
    let call = if name_end < signature.len() { "()" } else { "" };
    format!("{anchor}{call}")
}

/// What rustdoc writes differently from all others; returns where to go on when the node was read.
pub(super) fn special(walk: &mut Walk<'_, '_, '_>, at: usize, tag: Tag) -> Option<usize> {
    let tree = walk.tree;
    let node = tree.nodes.get(at)?;
    if node.raw.is_empty() {
        return None;
    }
    if let Some(level) = tag.heading_level() {
        if level == 1 && walk.owner.is_empty() {
            let line = inline::line(tree, at, false);
            walk.owner = line
                .text
                .rsplit([' ', ':'])
                .next()
                .unwrap_or_default()
                .split('<')
                .next()
                .unwrap_or_default()
                .to_owned();
            return None;
        }
        return tree.has_class(at, "code-header").then(|| {
            item(walk, at, level);
            node.end
        });
    }
    if !matches!(tag, Tag::Div | Tag::Section | Tag::Span) {
        return None;
    }
    let id = tree.attribute(at, "id");
    if matches!(&*id, "trait-implementations-list" | "implementors-list" | "foreign-impls")
        || id.starts_with("deref-methods-")
    {
        headers(walk, at);
        return Some(node.end);
    }
    if id.starts_with("variant.") || id.starts_with("structfield.") {
        inline::collect_id(tree, at, tag, &mut walk.pending);
        item(walk, at, 3);
        return Some(node.end);
    }
    None
}

/// A method, variant or implementation: named after its anchor, its signature as code.
fn item(walk: &mut Walk<'_, '_, '_>, at: usize, level: u8) {
    let line = inline::line(walk.tree, at, false);
    let anchors = walk.anchors_of(&line);
    let member = anchors.iter().find_map(|anchor| {
        let (kind, name) = anchor.split_once('.')?;
        matches!(
            kind,
            "method" | "tymethod" | "variant" | "associatedtype" | "associatedconstant" | "structfield"
        )
        .then(|| name.split('-').next().unwrap_or(name).to_owned())
    });
    let Some(name) = member.filter(|name| !name.is_empty()) else {
        if anchors.iter().any(|anchor| anchor == "impl" || anchor.starts_with("impl-"))
            && !walk.owner.is_empty()
        {
            // The header of an inherent implementation says nothing that its methods do not.
            walk.flush();
            walk.pending = anchors;
            return;
        }
        return walk.open(level, &line.text, anchors);
    };
    let heading = if walk.owner.is_empty() { name } else { format!("{}::{name}", walk.owner) };
    walk.open(level, &heading, anchors);
    walk.outline.code("rust".to_owned(), line.text);
}

/// The headers of implementations as a list: what is implemented matters, the inherited text stands
/// at the trait.
fn headers(walk: &mut Walk<'_, '_, '_>, at: usize) {
    let tree = walk.tree;
    let end = tree.nodes.get(at).map_or(at, |node| node.end);
    let found = tree
        .elements(at + 1, end)
        .filter(|&(index, tag)| tag.heading_level().is_some() && tree.has_class(index, "code-header"));
    let mut list = String::new();
    for (index, _) in found.filter(|&(index, _)| is_implementation(tree, index)).take(IMPLEMENTATIONS) {
        let line = inline::line(tree, index, false);
        list.push_str("- `");
        list.push_str(&line.text);
        list.push_str("`\n");
    }
    walk.flush();
    walk.resume_section();
    walk.outline.prose(list.trim_end().to_owned(), 0);
    walk.pending.clear();
}

/// Whether a header is that of an `impl`, not of a method in it.
fn is_implementation(tree: &Tree<'_>, heading: usize) -> bool {
    let parent = tree.nodes.get(heading).map_or(0, |node| node.parent);
    let id = tree.attribute(parent, "id");
    id.starts_with("impl")
        || (!id.starts_with("method.") && !id.starts_with("tymethod.") && !id.starts_with("associated"))
}
