//! Paragraphs and lists as Markdown: a list is collected until something else comes.

/// How deep the indentation of nested lists goes; further in all look alike.
const DEPTH_MAX: usize = 6;

/// The list that is being collected.
#[derive(Debug, Default)]
pub(super) struct Flow {
    text: String,
    links: u32,
    /// Indentations of the marks around the current item, outermost first.
    marks: Vec<usize>,
    /// Whether the next paragraph goes on the line of its term.
    defining: bool,
}

impl Flow {
    /// Whether a paragraph without a mark at this indentation stands in no list any more.
    pub(super) fn ended_by(&mut self, indent: usize) -> bool {
        while self.marks.pop_if(|last| indent <= *last).is_some() {}
        self.marks.is_empty()
    }

    /// Adds an item when there is a mark, else a paragraph of the item around it.
    pub(super) fn add(&mut self, indent: usize, mark: Option<&str>, text: &str, links: u32) {
        if let Some(mark) = mark {
            self.item(indent, ordered(mark));
        } else if self.defining {
            self.text.push_str(": ");
        } else {
            self.text.push_str(if self.text.is_empty() { "" } else { "\n\n" });
            self.pad(self.marks.len());
        }
        self.defining = false;
        self.text.push_str(text);
        self.links = self.links.saturating_add(links);
    }

    /// Adds a term; the paragraph further in defines it.
    pub(super) fn term(&mut self, indent: usize, term: &str, links: u32) {
        self.item(indent, "- ");
        self.text.push_str(term);
        self.links = self.links.saturating_add(links);
        self.defining = true;
    }

    /// The list so far. Its marks stay, so that it can go on after code.
    pub(super) fn take(&mut self) -> Option<(String, u32)> {
        self.defining = false;
        let text = std::mem::take(&mut self.text);
        let links = std::mem::take(&mut self.links);
        (!text.trim().is_empty()).then_some((text, links))
    }

    fn item(&mut self, indent: usize, mark: &str) {
        while self.marks.last().is_some_and(|&last| indent < last) {
            self.marks.pop();
        }
        if self.marks.last() != Some(&indent) {
            self.marks.push(indent);
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.pad(self.marks.len() - 1);
        self.text.push_str(mark);
    }

    fn pad(&mut self, depth: usize) {
        self.text.extend(std::iter::repeat_n("  ", depth.min(DEPTH_MAX)));
    }
}

/// The mark of an item in Markdown: its number, or a hyphen.
fn ordered(mark: &str) -> &str {
    let digits = mark.bytes().take_while(u8::is_ascii_digit).count();
    match mark.get(..digits + 2) {
        Some(number) if digits > 0 && number.ends_with(". ") => number,
        _ => "- ",
    }
}
