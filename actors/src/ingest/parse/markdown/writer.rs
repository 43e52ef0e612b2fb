//! Turns the events of the Markdown parser into sections.

use crate::ingest::parse::{
    ParseLimits, html,
    outline::{Outline, language},
    prose::Prose,
    slug::Slugs,
};
use pulldown_cmark::{BlockQuoteKind, CodeBlockKind, CowStr, Event, HeadingLevel, Tag, TagEnd};

/// Indentation of nested lists stops growing here.
const LIST_DEPTH: usize = 8;

/// The state of one page.
pub(super) struct Writer<'o, 'l> {
    outline: &'o mut Outline,
    limits: &'l ParseLimits,
    slugs: Slugs,
    prose: Prose,
    /// Next number of each open list, `None` for bullets.
    lists: Vec<Option<u64>>,
    /// Ids of HTML anchors that wait for a heading.
    pending: Vec<String>,
    heading: Option<(u8, Option<String>)>,
    code: Option<(String, String)>,
    html: Option<String>,
    row: Vec<String>,
    rows: String,
    links: u32,
    table_links: u32,
    images: u32,
    /// The text that follows stands behind a list marker or the title of a note.
    glue: bool,
    code_tags: u32,
}

impl<'o, 'l> Writer<'o, 'l> {
    pub(super) fn new(outline: &'o mut Outline, limits: &'l ParseLimits) -> Self {
        Self {
            outline,
            limits,
            slugs: Slugs::default(),
            prose: Prose::default(),
            lists: Vec::new(),
            pending: Vec::new(),
            heading: None,
            code: None,
            html: None,
            row: Vec::new(),
            rows: String::new(),
            links: 0,
            table_links: 0,
            images: 0,
            glue: false,
            code_tags: 0,
        }
    }

    pub(super) fn finish(mut self) {
        self.flush();
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => self.inline_code(&code),
            Event::Html(html) => match &mut self.html {
                Some(block) => block.push_str(&html),
                None => self.html_block(&html),
            },
            Event::InlineHtml(html) => self.inline_html(&html),
            Event::SoftBreak => self.prose.push("\n", false),
            Event::HardBreak => self.prose.line(self.indent()),
            Event::TaskListMarker(done) => self.prose.push_raw(if done { "[x] " } else { "[ ] " }),
            Event::InlineMath(math) | Event::DisplayMath(math) => self.inline_code(&math),
            Event::Rule | Event::FootnoteReference(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, id, .. } => {
                self.flush();
                self.heading = Some((number(level), id.map(CowStr::into_string)));
            }
            Tag::CodeBlock(kind) => {
                self.flush();
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
            }
            Tag::HtmlBlock => self.html = Some(String::new()),
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.line();
                }
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::BlockQuote(Some(kind)) => {
                self.line();
                self.prose.push_raw(note(kind));
                self.glue = true;
            }
            Tag::Paragraph | Tag::BlockQuote(None) | Tag::FootnoteDefinition(_) => self.line(),
            Tag::Table(_) => self.flush(),
            Tag::Link { .. } => self.links += 1,
            Tag::Image { .. } => self.images += 1,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.close_heading(),
            TagEnd::CodeBlock => {
                if let Some((language, mut code)) = self.code.take() {
                    code.truncate(code.trim_end().len());
                    let blank = code.len() - code.trim_start_matches('\n').len();
                    code.drain(..blank);
                    self.outline.code(language, code);
                    self.pending.clear();
                }
            }
            TagEnd::HtmlBlock => {
                let html = self.html.take().unwrap_or_default();
                self.html_block(&html);
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.line();
            }
            TagEnd::Item | TagEnd::Paragraph | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition => {
                self.line()
            }
            TagEnd::TableCell => {
                let (cell, links) = self.prose.take();
                self.table_links = self.table_links.saturating_add(links);
                self.row.push(if cell.contains('|') { cell.replace('|', "\\|") } else { cell });
            }
            TagEnd::TableHead => {
                self.close_row();
                let columns = self.rows.lines().last().map_or(0, |row| row.matches(" |").count());
                self.rows.push('|');
                self.rows.push_str(&" --- |".repeat(columns));
                self.rows.push('\n');
            }
            TagEnd::TableRow => self.close_row(),
            TagEnd::Table => {
                let mut rows = std::mem::take(&mut self.rows);
                rows.truncate(rows.trim_end().len());
                self.outline.prose(rows, std::mem::take(&mut self.table_links));
                self.pending.clear();
            }
            TagEnd::Link => self.links = self.links.saturating_sub(1),
            TagEnd::Image => self.images = self.images.saturating_sub(1),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, code)) = &mut self.code {
            code.push_str(text);
        } else if let Some(html) = &mut self.html {
            html.push_str(text);
        } else if self.images == 0 {
            self.prose.push(text, self.links > 0);
            if self.heading.is_none() && !text.trim().is_empty() {
                self.pending.clear();
            }
        }
    }

    fn inline_code(&mut self, code: &str) {
        if self.heading.is_some() {
            self.prose.push(code, self.links > 0);
        } else if self.images == 0 {
            self.prose.tick();
            self.prose.push(code, self.links > 0);
            self.prose.tick();
            self.pending.clear();
        }
    }

    /// Anchors are kept, line breaks and code are followed, other tags mean nothing here.
    fn inline_html(&mut self, html: &str) {
        let lower = html.get(..8.min(html.len())).unwrap_or(html).to_ascii_lowercase();
        if lower.starts_with("<br") {
            if self.heading.is_none() {
                self.prose.line(self.indent());
            }
        } else if lower.starts_with("<code>") || lower.starts_with("<kbd>") {
            if self.heading.is_none() && self.code_tags == 0 {
                self.prose.tick();
            }
            self.code_tags += 1;
        } else if (lower.starts_with("</code") || lower.starts_with("</kbd")) && self.code_tags > 0 {
            self.code_tags -= 1;
            if self.heading.is_none() && self.code_tags == 0 {
                self.prose.tick();
            }
        } else if lower.starts_with("<a ") || lower.starts_with("<span ") {
            let (_, anchors) = html::fragment(html, self.limits);
            self.pending.extend(anchors);
        }
    }

    /// A block of HTML is read by the HTML parser; headings and anchors in it count.
    fn html_block(&mut self, html: &str) {
        if html.trim_start().starts_with("<!--")
            && html.trim_end().ends_with("-->")
            && html.matches("<!--").count() == 1
        {
            return;
        }
        self.flush();
        let (mut sections, anchors) = html::fragment(html, self.limits);
        for section in &mut sections {
            if !section.heading.is_empty() && section.anchors.is_empty() {
                section.anchors = vec![self.slugs.anchor(&section.heading)];
            }
        }
        if !sections.is_empty() {
            self.pending.clear();
        }
        self.outline.append(sections);
        self.pending.extend(anchors);
        self.pending.truncate(16);
    }

    fn close_heading(&mut self) {
        let Some((level, id)) = self.heading.take() else {
            return;
        };
        let (heading, _) = self.prose.take();
        self.code_tags = 0;
        let mut anchors = Vec::with_capacity(2);
        match id {
            Some(id) => {
                self.slugs.take(&id);
                anchors.push(id);
            }
            None => anchors.push(self.slugs.anchor(&heading)),
        }
        anchors.append(&mut self.pending);
        if heading.is_empty() {
            return;
        }
        self.outline.open(level, &heading, anchors);
    }

    fn close_row(&mut self) {
        if self.row.iter().any(|cell| !cell.is_empty()) {
            self.rows.push_str("| ");
            self.rows.push_str(&self.row.join(" | "));
            self.rows.push_str(" |\n");
        }
        self.row.clear();
    }

    fn item(&mut self) {
        let depth = self.lists.len().clamp(1, LIST_DEPTH);
        self.glue = false;
        self.prose.line((depth - 1) * 2);
        match self.lists.last_mut() {
            Some(Some(next)) => {
                let marker = format!("{next}. ");
                *next = next.saturating_add(1);
                self.prose.push_raw(&marker);
            }
            _ => self.prose.push_raw("- "),
        }
        self.glue = true;
    }

    fn indent(&self) -> usize {
        self.lists.len().min(LIST_DEPTH) * 2
    }

    fn line(&mut self) {
        if self.glue && !self.prose.is_blank() {
            self.glue = false;
        } else if self.lists.is_empty() {
            self.flush();
        } else {
            self.prose.line(self.indent());
        }
    }

    fn flush(&mut self) {
        self.glue = false;
        let (text, links) = self.prose.take();
        self.outline.prose(text, links);
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn note(kind: BlockQuoteKind) -> &'static str {
    match kind {
        BlockQuoteKind::Note => "Note: ",
        BlockQuoteKind::Tip => "Tip: ",
        BlockQuoteKind::Important => "Important: ",
        BlockQuoteKind::Warning => "Warning: ",
        BlockQuoteKind::Caution => "Caution: ",
    }
}
