//! One pass over the nodes of the main content, in document order, writing sections.

use super::{code, entity, entry, inline, site, table, tag::Tag, tree::Tree};
use crate::ingest::parse::{outline::Outline, prose::Prose};

/// Indentation of nested lists stops growing here.
const LIST_DEPTH: usize = 8;
/// Ids that wait for a heading; more than a few in a row lead nowhere.
const PENDING: usize = 16;

/// What has to be done when the pass leaves an element.
#[derive(Debug)]
enum Close {
    /// The paragraph, list item or other line ends.
    Line,
    /// A list ends.
    List,
    /// A definition list ends; text after it belongs to the section it stood in.
    Definitions { resume: Option<usize>, level: u8 },
}

/// A list that is open: its next number, 0 for bullets.
#[derive(Debug)]
struct List {
    number: usize,
}

/// The state of the pass.
pub(super) struct Walk<'t, 'a, 'o> {
    pub(super) tree: &'t Tree<'a>,
    pub(super) outline: &'o mut Outline,
    /// Whether the main content was not found, so that page headers are left out.
    in_body: bool,
    prose: Prose,
    lists: Vec<List>,
    frames: Vec<(usize, Close)>,
    /// Ids since the last text: they lead to what comes next.
    pub(super) pending: Vec<String>,
    code_end: usize,
    link_end: usize,
    /// Level of API entries while a definition list is open.
    pub(super) entry_level: Option<u8>,
    /// A section to go on with once more text comes.
    resume: Option<usize>,
    /// The next line goes on the one that was begun, as after the title of a note.
    glue: bool,
    /// The last node was a term that became a section, so that the next term may share it.
    pub(super) open_term: bool,
    /// The type a rustdoc page is about, for the names of its methods.
    pub(super) owner: String,
}

impl<'t, 'a, 'o> Walk<'t, 'a, 'o> {
    pub(super) fn new(tree: &'t Tree<'a>, outline: &'o mut Outline, in_body: bool) -> Self {
        Self {
            tree,
            outline,
            in_body,
            prose: Prose::default(),
            lists: Vec::new(),
            frames: Vec::new(),
            pending: Vec::new(),
            code_end: 0,
            link_end: 0,
            entry_level: None,
            resume: None,
            glue: false,
            open_term: false,
            owner: String::new(),
        }
    }

    /// Reads all inside `root`; returns the ids that led to nothing.
    pub(super) fn run(mut self, root: usize) -> Vec<String> {
        let end = self.tree.nodes.get(root).map_or(0, |node| node.end);
        let mut at = root + 1;
        while at < end {
            self.leave(at);
            at = self.node(at);
        }
        self.leave(end);
        self.leave_all();
        self.pending
    }

    /// Reads one node; returns the index to go on with, past what was read whole.
    fn node(&mut self, at: usize) -> usize {
        let tree = self.tree;
        let Some(node) = tree.nodes.get(at) else {
            return at + 1;
        };
        let Some(tag) = node.tag else {
            self.text(node.raw, at);
            return at + 1;
        };
        if site::is_furniture(tree, at, tag, self.in_body) {
            return node.end;
        }
        if let Some(next) = entry::special(self, at, tag) {
            return next;
        }
        inline::collect_id(tree, at, tag, &mut self.pending);
        if self.pending.len() > PENDING {
            self.pending.remove(0);
        }
        match tag {
            _ if tag.heading_level().is_some() => {
                self.heading(at, tag);
                return node.end;
            }
            Tag::Pre => {
                self.flush();
                self.resume_section();
                let code = code::text(tree, at);
                self.outline.code(code::tag_of(tree, at), code);
                self.content();
                return node.end;
            }
            Tag::Table if !node.layout => {
                self.flush();
                let (rows, links) = table::rows(tree, at);
                if !rows.is_empty() {
                    self.resume_section();
                    self.outline.prose(rows, links);
                    self.content();
                }
                return node.end;
            }
            Tag::Ul | Tag::Ol | Tag::Menu => self.list(at, tag),
            Tag::Li => self.item(at),
            Tag::Dl => self.definitions(at),
            Tag::Dt => return self.term(at),
            Tag::P if tree.has_class(at, "admonition-title") => {
                self.title_of_note(at);
                return node.end;
            }
            Tag::Dd => {
                self.line();
                self.frames.push((node.end, Close::Line));
            }
            Tag::Code | Tag::Tt | Tag::Kbd | Tag::Samp if self.code_end == 0 => {
                self.prose.tick();
                self.code_end = node.end;
            }
            Tag::A if at >= self.link_end && !tree.attribute(at, "href").is_empty() => {
                self.link_end = node.end
            }
            Tag::Br => self.prose.line(self.indent()),
            Tag::Td | Tag::Th | Tag::Tr => self.line(),
            _ if tag.is_block() => {
                self.line();
                self.frames.push((node.end, Close::Line));
            }
            _ => {}
        }
        at + 1
    }

    /// Closes everything that ends at or before `at`.
    fn leave(&mut self, at: usize) {
        if self.code_end != 0 && at >= self.code_end {
            self.prose.tick();
            self.code_end = 0;
        }
        while self.frames.last().is_some_and(|&(end, _)| end <= at) {
            self.leave_one();
        }
    }

    fn leave_all(&mut self) {
        while !self.frames.is_empty() {
            self.leave_one();
        }
        self.flush();
    }

    fn leave_one(&mut self) {
        match self.frames.pop() {
            Some((_, Close::Line)) => self.line(),
            Some((_, Close::List)) => {
                self.lists.pop();
                self.line();
            }
            Some((_, Close::Definitions { resume, level })) => {
                self.flush();
                self.open_term = false;
                self.entry_level = (level > 0).then_some(level);
                if let Some(section) = resume {
                    self.resume = Some(section);
                }
            }
            None => {}
        }
    }

    fn text(&mut self, raw: &str, at: usize) {
        let text = entity::decode(raw);
        self.prose.push(&text, at < self.link_end);
        if !text.trim().is_empty() {
            self.content();
        }
    }

    /// Something was written, so that earlier ids lead to it and not to what comes next.
    fn content(&mut self) {
        self.pending.clear();
        self.open_term = false;
    }

    fn indent(&self) -> usize {
        self.lists.len().min(LIST_DEPTH) * 2
    }

    /// Ends the line; outside lists that ends the paragraph.
    pub(super) fn line(&mut self) {
        if self.glue && !self.prose.is_blank() {
            self.glue = false;
            self.prose.push(" ", false);
        } else if self.lists.is_empty() {
            self.flush();
        } else {
            self.prose.line(self.indent());
        }
    }

    /// Hands what was written to the section it belongs to.
    pub(super) fn flush(&mut self) {
        self.glue = false;
        let (text, links) = self.prose.take();
        if !text.trim().is_empty() {
            self.resume_section();
            self.outline.prose(text, links);
        }
    }

    pub(super) fn resume_section(&mut self) {
        if let Some(section) = self.resume.take() {
            self.outline.resume(section);
        }
    }

    /// Starts a section; ids that wait lead to it.
    pub(super) fn open(&mut self, level: u8, heading: &str, anchors: Vec<String>) {
        self.flush();
        self.resume = None;
        self.outline.open(level, heading, anchors);
        self.pending.clear();
        self.open_term = false;
    }

    /// A short title that belongs to the paragraph after it, as in notes.
    fn title_of_note(&mut self, at: usize) {
        self.line();
        let line = inline::line(self.tree, at, true);
        self.prose.push(line.text.trim_end_matches(':'), false);
        self.prose.push_raw(": ");
        self.glue = true;
        self.content();
    }

    fn heading(&mut self, at: usize, tag: Tag) {
        let parent = self.tree.nodes.get(at).map_or(0, |node| node.parent);
        let classes = self.tree.attribute(parent, "class");
        let note = |class: &str| {
            matches!(class, "note" | "tip" | "warning" | "caution" | "important" | "admonition" | "alert")
        };
        if classes.split_ascii_whitespace().any(note) {
            return self.title_of_note(at);
        }
        let line = inline::line(self.tree, at, false);
        let anchors = self.anchors_of(&line);
        if line.text.is_empty() {
            self.pending = anchors;
            return;
        }
        self.open(tag.heading_level().unwrap_or(6), &line.text, anchors);
    }

    /// Ids that lead to a heading: where its permalink goes, its own, then those that waited.
    pub(super) fn anchors_of(&mut self, line: &inline::Line) -> Vec<String> {
        let mut anchors = Vec::with_capacity(4);
        let known = |target: &String| self.pending.contains(target) || line.anchors.contains(target);
        anchors.extend(line.permalink.iter().filter(|target| known(target)).cloned());
        anchors.extend(self.pending.drain(..).rev());
        anchors.extend(line.anchors.iter().cloned());
        anchors
    }

    fn list(&mut self, at: usize, tag: Tag) {
        if self.lists.is_empty() {
            self.line();
        }
        self.lists.push(List { number: usize::from(tag == Tag::Ol) });
        self.frames.push((self.tree.nodes.get(at).map_or(at, |node| node.end), Close::List));
    }

    fn item(&mut self, at: usize) {
        let end = self.tree.nodes.get(at).map_or(at, |node| node.end);
        let Some(list) = self.lists.last_mut() else {
            self.line();
            self.frames.push((end, Close::Line));
            return;
        };
        let marker = if list.number == 0 {
            "- ".to_owned()
        } else {
            list.number += 1;
            format!("{}. ", list.number - 1)
        };
        let indent = (self.lists.len().min(LIST_DEPTH) - 1) * 2;
        self.glue = false;
        self.prose.line(indent);
        self.prose.push_raw(&marker);
        // A paragraph that opens the item stands behind its marker.
        self.glue = true;
        self.frames.push((end, Close::Line));
    }

    /// A definition list: of API entries when its first term has an id, else written like a list.
    fn definitions(&mut self, at: usize) {
        let tree = self.tree;
        let end = tree.nodes.get(at).map_or(at, |node| node.end);
        let first = tree.elements(at + 1, end).find(|&(_, tag)| tag == Tag::Dt).map(|(term, _)| term);
        if first.is_none_or(|term| entry::anchors_in(tree, term).is_empty()) {
            return self.list(at, Tag::Ul);
        }
        self.line();
        self.flush();
        let section = self.resume.or_else(|| self.outline.position().map(|(index, _)| index));
        let before = self.entry_level.unwrap_or(0);
        let level = section.map_or(0, |section| self.outline.level_of(section));
        self.entry_level = Some(level.saturating_add(1));
        self.frames.push((end, Close::Definitions { resume: section, level: before }));
    }

    fn term(&mut self, at: usize) -> usize {
        let end = self.tree.nodes.get(at).map_or(at + 1, |node| node.end);
        match self.entry_level.filter(|_| self.lists.is_empty()) {
            Some(level) => {
                entry::term(self, at, level);
                end
            }
            None => {
                self.item(at);
                at + 1
            }
        }
    }
}
