//! Collects sections while a page is read, and keeps every bound of [`ParseLimits`].

use super::{Document, ParseLimits, Piece, Section};
use twinmcp_storage::bundle::Block;

/// Characters of a heading that are kept; signatures used as headings can be pages long.
const HEADING_CHARACTERS: usize = 200;
/// Anchors kept for one section; generators give up to four, and forged pages any number.
const ANCHORS: usize = 12;

/// The sections of a page so far.
#[derive(Debug)]
pub(super) struct Outline {
    sections: Vec<Section>,
    sections_left: usize,
    pieces_left: usize,
}

impl Outline {
    pub(super) fn new(limits: &ParseLimits) -> Self {
        Self { sections: Vec::new(), sections_left: limits.sections, pieces_left: limits.pieces }
    }

    /// Starts a section. Beyond the limit the heading becomes a line of the last section instead.
    pub(super) fn open(&mut self, level: u8, heading: &str, mut anchors: Vec<String>) {
        let heading = one_line(heading);
        if self.sections_left == 0 {
            return self.prose(heading, 0);
        }
        self.sections_left -= 1;
        let mut seen = 0;
        while seen < anchors.len() {
            let again = anchors[..seen].contains(&anchors[seen]);
            if again || anchors[seen].is_empty() || seen >= ANCHORS {
                anchors.remove(seen);
                if seen >= ANCHORS {
                    anchors.truncate(ANCHORS);
                }
            } else {
                seen += 1;
            }
        }
        self.sections.push(Section::new(level, heading, anchors));
    }

    /// Goes on with an earlier section after its entries, under the same heading and anchors.
    pub(super) fn resume(&mut self, index: usize) {
        if index + 1 == self.sections.len() || self.sections_left == 0 {
            return;
        }
        if let Some(earlier) = self.sections.get(index) {
            let again = Section::new(earlier.level, earlier.heading.clone(), earlier.anchors.clone());
            self.sections_left -= 1;
            self.sections.push(again);
        }
    }

    /// Adds a paragraph, list or table to the current section.
    pub(super) fn prose(&mut self, prose: String, link_bytes: u32) {
        if self.pieces_left > 0 && !prose.trim().is_empty() {
            self.pieces_left -= 1;
            self.current().push_prose(prose, link_bytes);
        }
    }

    /// Adds a code block to the current section.
    pub(super) fn code(&mut self, language: String, code: String) {
        if self.pieces_left > 0 && !code.trim().is_empty() {
            self.pieces_left -= 1;
            self.current().push_code(language, code);
        }
    }

    /// The section text goes to now; text before the first heading has one of level 0.
    pub(super) fn current(&mut self) -> &mut Section {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    /// Index and level of the current section, when there is one.
    pub(super) fn position(&self) -> Option<(usize, u8)> {
        self.sections.last().map(|section| (self.sections.len() - 1, section.level))
    }

    /// Gives the current section more anchors and a second signature, as for overloaded functions.
    pub(super) fn join(&mut self, anchors: Vec<String>, heading: &str, signature: bool) {
        let section = self.current();
        for anchor in anchors {
            if section.anchors.len() < ANCHORS && !section.anchors.contains(&anchor) {
                section.anchors.push(anchor);
            }
        }
        match section.pieces.last_mut() {
            Some(Piece { block: Block::Code { code, .. }, .. }) if signature => {
                code.push('\n');
                code.push_str(heading);
            }
            _ => section.heading = one_line(&format!("{}, {heading}", section.heading)),
        }
    }

    /// Level of a section that was started, 0 for none.
    pub(super) fn level_of(&self, index: usize) -> u8 {
        self.sections.get(index).map_or(0, |section| section.level)
    }

    /// Whether the page begins with a heading rather than with text.
    pub(super) fn opens_with_heading(&self) -> bool {
        let first = self.sections.first();
        first.is_some_and(|section| !section.heading.is_empty())
            || self.sections.iter().any(|section| section.level == 1)
    }

    /// Adds sections that were read by another parser, below the current one where they have no heading.
    pub(super) fn append(&mut self, sections: Vec<Section>) {
        for section in sections {
            if !section.heading.is_empty() {
                self.open(section.level.max(1), &section.heading, section.anchors);
            }
            for piece in section.pieces {
                if self.pieces_left > 0 {
                    self.pieces_left -= 1;
                    self.current().pieces.push(piece);
                }
            }
        }
    }

    pub(super) fn into_sections(self) -> Vec<Section> {
        self.sections
    }

    /// The page, named by `title`, else by its first level-1 heading, else by a heading that opens
    /// it, else by its path.
    pub(super) fn finish(self, path: &str, title: Option<String>) -> Document {
        let sections = self.into_sections();
        let title = title
            .map(|title| one_line(&title))
            .filter(|title| !title.is_empty())
            .or_else(|| {
                sections.iter().find(|section| section.level == 1).map(|section| section.heading.clone())
            })
            .filter(|title| !title.is_empty())
            .or_else(|| sections.first().map(|section| section.heading.clone()))
            .filter(|title| !title.is_empty())
            .unwrap_or_else(|| path.to_owned());
        Document { path: path.to_owned(), title, sections, repairs: Vec::new() }
    }
}

/// A heading as one line of bounded length, without invisible characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(HEADING_CHARACTERS));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(
            word.chars().filter(|character| !matches!(character, '\u{200b}' | '\u{feff}' | '\u{ad}')),
        );
        if line.len() > HEADING_CHARACTERS {
            break;
        }
    }
    if let Some((end, _)) = line.char_indices().nth(HEADING_CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }
    line.truncate(line.trim_end().len());
    line
}

/// The tag of a code block's language: lower case, one name for each language, empty for none.
pub(super) fn language(tag: &str) -> String {
    let tag = tag.split([',', ' ', '{', '\t', ':']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = match tag.as_str() {
        "python3" | "py" | "pycon" | "pycon3" | "ipython" | "ipython3" | "py3" => "python",
        "js" | "mjs" | "cjs" | "node" | "javascript" => "javascript",
        "ts" => "typescript",
        "rs" | "ignore" | "no_run" | "should_panic" | "compile_fail" | "edition2018" | "edition2021"
        | "edition2024" => "rust",
        "sh" | "shell" | "zsh" | "console" | "shell-session" | "shellsession" | "bash-session" => "bash",
        "yml" => "yaml",
        "rb" => "ruby",
        "golang" => "go",
        "c++" | "cxx" | "hpp" => "cpp",
        "c#" | "cs" => "csharp",
        "none" | "text" | "plaintext" | "plain" | "txt" | "default" | "nohighlight" | "no-highlight"
        | "literal" => "",
        other => other,
    };
    let sound =
        name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+#._-".contains(&byte));
    if sound { name.to_owned() } else { String::new() }
}
