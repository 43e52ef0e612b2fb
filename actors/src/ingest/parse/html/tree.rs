//! A page as a flat list of elements and texts in document order.
//!
//! Not the tree of the HTML standard: its repair rules (adoption agency, re-opened formatting,
//! scope look-ups through all open elements) take time and memory that grow with the square of a
//! forged page. Here every byte is looked at once, at most [`ParseLimits::depth`] elements are open,
//! and nothing is copied: what is needed to read documentation is which text stands in which
//! element, and generators write that down properly.
//!
//! [`ParseLimits::depth`]: crate::ingest::parse::ParseLimits::depth

use super::{entity, tag::Tag};
use std::borrow::Cow;

/// One element or stretch of text; its content is the nodes up to `end`.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// `None` for text.
    pub(super) tag: Option<Tag>,
    /// The raw text, or the raw attributes of an element.
    pub(super) raw: &'a str,
    /// Index after the last node inside this one.
    pub(super) end: usize,
    /// The element around, itself for the first.
    pub(super) parent: usize,
    /// For a table: it holds blocks, so it was used for layout.
    pub(super) layout: bool,
}

/// All nodes of a page; index 0 is a root that holds everything.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    /// Whether more elements were inside each other than may be open.
    pub(super) is_flattened: bool,
}

impl<'a> Tree<'a> {
    /// Reads a page or a fragment with at most `depth` elements open at once.
    pub(super) fn read(html: &'a str, depth: usize) -> Self {
        let mut builder = Builder::new(depth, html.len(), html.trim_start().starts_with("<?xml"));
        builder.run(html);
        builder.finish()
    }

    /// The value of an attribute; empty when the element does not have it.
    pub(super) fn attribute(&self, index: usize, name: &str) -> Cow<'a, str> {
        self.nodes.get(index).map_or(Cow::Borrowed(""), |node| {
            attributes(node.raw)
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map_or(Cow::Borrowed(""), |(_, value)| entity::decode(value))
        })
    }

    /// Whether an element carries that class.
    pub(super) fn has_class(&self, index: usize, class: &str) -> bool {
        self.attribute(index, "class").split_ascii_whitespace().any(|name| name == class)
    }

    /// The text inside a node without any markup, for titles.
    pub(super) fn text(&self, index: usize) -> String {
        let end = self.nodes.get(index).map_or(0, |node| node.end);
        let texts = self.nodes.get(index..end).unwrap_or_default().iter().filter(|node| node.tag.is_none());
        texts.map(|node| entity::decode(node.raw)).collect()
    }

    /// Indexes of the elements between two nodes.
    pub(super) fn elements(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, Tag)> + '_ {
        let nodes = self.nodes.get(from..to.min(self.nodes.len())).unwrap_or_default();
        nodes.iter().enumerate().filter_map(move |(offset, node)| node.tag.map(|tag| (from + offset, tag)))
    }
}

/// Names and raw values of an element's attributes, in order.
pub(super) fn attributes(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|character: char| character.is_ascii_whitespace() || character == '/');
        if rest.is_empty() {
            return None;
        }
        // An attribute may begin with `=`, by the standard; so at least one character is a name.
        let name_end = rest
            .char_indices()
            .skip(1)
            .find(|(_, character)| character.is_ascii_whitespace() || matches!(character, '=' | '/'))
            .map_or(rest.len(), |(at, _)| at);
        let (name, after) = rest.split_at(name_end);
        let Some(value) = after.trim_start().strip_prefix('=') else {
            rest = after;
            return Some((name, ""));
        };
        let value = value.trim_start();
        let (value, after) = match value.as_bytes().first() {
            Some(&quote @ (b'"' | b'\'')) => {
                let inner = value.get(1..).unwrap_or_default();
                inner.split_once(char::from(quote)).unwrap_or((inner, ""))
            }
            _ => value.split_at(
                value.find(|character: char| character.is_ascii_whitespace()).unwrap_or(value.len()),
            ),
        };
        rest = after;
        Some((name, value))
    })
}

struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    /// Open elements, the root first.
    open: Vec<(usize, Tag)>,
    /// How many of each are open: most end tags and implied ends are settled by a zero here.
    counts: [u32; Tag::COUNT],
    depth: usize,
    is_flattened: bool,
    xml: bool,
}

impl<'a> Builder<'a> {
    fn new(depth: usize, bytes: usize, xml: bool) -> Self {
        let mut nodes = Vec::with_capacity(bytes / 24 + 16);
        nodes.push(Node { tag: Some(Tag::Other), raw: "", end: 0, parent: 0, layout: false });
        let (open, counts) = (vec![(0, Tag::Other)], [0; Tag::COUNT]);
        Self { nodes, open, counts, depth: depth.max(8), is_flattened: false, xml }
    }

    fn run(&mut self, html: &'a str) {
        let mut at = 0;
        while let Some(found) = html.get(at..).and_then(|rest| rest.find('<')) {
            let open = at + found;
            self.text(html.get(at..open).unwrap_or_default());
            at = self.markup(html, open);
        }
        self.text(html.get(at..).unwrap_or_default());
    }

    /// Reads the markup at `open`, which holds a `<`; returns where to go on.
    fn markup(&mut self, html: &'a str, open: usize) -> usize {
        let rest = html.get(open..).unwrap_or_default();
        let past = |needle: &str, skip: usize| {
            rest.get(skip..)
                .and_then(|tail| tail.find(needle))
                .map_or(html.len(), |found| open + skip + found + needle.len())
        };
        match rest.as_bytes().get(1) {
            Some(b'!') if rest.starts_with("<!--") => past("-->", 2),
            Some(b'!') if rest.starts_with("<![CDATA[") => {
                let end = past("]]>", 9);
                self.text(html.get(open + 9..end.saturating_sub(3)).unwrap_or_default());
                end
            }
            Some(b'!' | b'?') => past(">", 2),
            Some(b'/') if rest.as_bytes().get(2).is_some_and(u8::is_ascii_alphabetic) => {
                let end = past(">", 2);
                let name = rest.get(2..(end - open).saturating_sub(1)).unwrap_or_default();
                let length = name_length(name.as_bytes());
                self.close(Tag::of(name.as_bytes().get(..length).unwrap_or_default()));
                end
            }
            Some(b'/') => past(">", 2),
            Some(byte) if byte.is_ascii_alphabetic() => self.start(html, open),
            _ => {
                self.text(rest.get(..1).unwrap_or_default());
                open + 1
            }
        }
    }

    /// Reads a start tag; returns where to go on.
    fn start(&mut self, html: &'a str, open: usize) -> usize {
        let bytes = html.as_bytes();
        let name_end = open + 1 + name_length(bytes.get(open + 1..).unwrap_or_default());
        let tag = Tag::of(bytes.get(open + 1..name_end).unwrap_or_default());
        let Some(end) = tag_end(bytes, name_end) else {
            return html.len();
        };
        let raw = html.get(name_end..end).unwrap_or_default();
        self.imply_ends(tag);
        let closed = raw.ends_with('/') && (self.xml || tag == Tag::Other || tag == Tag::Svg);
        let index = self.push(Some(tag), raw);
        let after = end + 1;
        if tag.is_void() || closed {
            return after;
        }
        if tag.is_raw_text() {
            let name = html.get(open + 1..name_end).unwrap_or_default();
            let content_end = raw_text_end(html, after, name);
            if tag != Tag::Script && tag != Tag::Style {
                self.push_under(index, html.get(after..content_end).unwrap_or_default());
            }
            self.nodes[index].end = self.nodes.len();
            return html
                .get(content_end..)
                .and_then(|rest| rest.find('>'))
                .map_or(html.len(), |found| content_end + found + 1);
        }
        if self.open.len() < self.depth {
            self.open.push((index, tag));
            self.counts[tag as usize] += 1;
        } else {
            self.is_flattened = true;
        }
        after
    }

    fn text(&mut self, raw: &'a str) {
        if !raw.is_empty() {
            self.push(None, raw);
        }
    }

    fn push(&mut self, tag: Option<Tag>, raw: &'a str) -> usize {
        let index = self.nodes.len();
        let parent = self.open.last().map_or(0, |&(parent, _)| parent);
        self.nodes.push(Node { tag, raw, end: index + 1, parent, layout: false });
        if tag.is_some_and(|tag| {
            tag == Tag::Pre || tag == Tag::Table || tag == Tag::Dl || tag.heading_level().is_some()
        }) && self.counts[Tag::Table as usize] > 0
        {
            for &(open, tag) in &self.open {
                if tag == Tag::Table {
                    self.nodes[open].layout = true;
                }
            }
        }
        index
    }

    fn push_under(&mut self, parent: usize, raw: &'a str) {
        let index = self.nodes.len();
        self.nodes.push(Node { tag: None, raw, end: index + 1, parent, layout: false });
    }

    /// Ends what the start of `tag` ends by itself, such as a paragraph before a list.
    fn imply_ends(&mut self, tag: Tag) {
        use Tag::{
            Dd, Dl, Dt, Li, Menu, Ol, Optgroup, P, Select, Table, Tbody, Td, Tfoot, Th, Thead, Tr, Ul,
        };
        if tag.is_block() {
            self.close_above(P, |open| open.is_table_part() || matches!(open, Tag::Button | Tag::Object));
        }
        match tag {
            Li => self.close_above(Li, |open| matches!(open, Ul | Ol | Menu | Table)),
            Dt | Dd => {
                self.close_above(Dt, |open| matches!(open, Dl | Table));
                self.close_above(Dd, |open| matches!(open, Dl | Table));
            }
            Td | Th | Tr | Tbody | Thead | Tfoot => {
                self.close_above(Td, |open| open == Table);
                self.close_above(Th, |open| open == Table);
                if !matches!(tag, Td | Th) {
                    self.close_above(Tr, |open| open == Table);
                }
                if !matches!(tag, Td | Th | Tr) {
                    for group in [Tbody, Thead, Tfoot] {
                        self.close_above(group, |open| open == Table);
                    }
                }
            }
            Tag::Option | Optgroup => self.close_above(Tag::Option, |open| open == Select),
            _ if tag.heading_level().is_some() => {
                if let Some(&(_, top)) = self.open.last()
                    && top.heading_level().is_some()
                {
                    self.pop();
                }
            }
            _ => {}
        }
    }

    /// Ends the innermost open `tag` with all inside it, unless a `boundary` stands between.
    fn close_above(&mut self, tag: Tag, boundary: impl Fn(Tag) -> bool) {
        if self.counts[tag as usize] == 0 {
            return;
        }
        for position in (1..self.open.len()).rev() {
            let open = self.open[position].1;
            if open == tag {
                while self.open.len() > position {
                    self.pop();
                }
                return;
            }
            if boundary(open) {
                return;
            }
        }
    }

    /// An end tag: ends the innermost element of that name. Cells keep stray end tags of blocks in.
    fn close(&mut self, tag: Tag) {
        if tag.is_table_part() {
            self.close_above(tag, |open| open == Tag::Table && tag != Tag::Table);
        } else if tag.is_block() {
            self.close_above(tag, |open| matches!(open, Tag::Td | Tag::Th | Tag::Table));
        } else {
            // An inline element ends no block: its end tag was written too late.
            self.close_above(tag, |open| open.is_block() || open.is_table_part());
        }
    }

    fn pop(&mut self) {
        if let Some((index, tag)) = self.open.pop() {
            self.nodes[index].end = self.nodes.len();
            self.counts[tag as usize] -= 1;
        }
    }

    fn finish(mut self) -> Tree<'a> {
        while self.open.len() > 1 {
            self.pop();
        }
        self.nodes[0].end = self.nodes.len();
        Tree { nodes: self.nodes, is_flattened: self.is_flattened }
    }
}

fn name_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'>' | b'/')).count()
}

/// Where the start tag ends whose attributes begin at `from`: the index of its `>` outside quotes.
fn tag_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut quote = 0_u8;
    let mut before = b' ';
    for (offset, &byte) in bytes.get(from..)?.iter().enumerate() {
        if quote != 0 {
            if byte == quote {
                quote = 0;
                before = b' ';
            }
            continue;
        }
        match byte {
            b'>' => return Some(from + offset),
            // A quote counts only where a value begins; elsewhere it is a stray character.
            b'"' | b'\'' if before == b'=' => quote = byte,
            _ if !byte.is_ascii_whitespace() => before = byte,
            _ => {}
        }
    }
    None
}

/// Where the content of a raw text element ends: at its end tag in either case, else at the page's end.
fn raw_text_end(html: &str, from: usize, name: &str) -> usize {
    let mut at = from;
    while let Some(found) = html.get(at..).and_then(|rest| rest.find("</")) {
        let end = at + found;
        let tail = html.as_bytes().get(end + 2..end + 2 + name.len());
        if tail.is_some_and(|tail| tail.eq_ignore_ascii_case(name.as_bytes())) {
            return end;
        }
        at = end + 2;
    }
    html.len()
}
