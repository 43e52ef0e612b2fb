//! A line of running text: blanks collapsed, link text counted, inline code in backticks.

/// Text that grows word by word.
#[derive(Debug, Default)]
pub(super) struct Prose {
    text: String,
    link_bytes: u32,
    space: bool,
    code: bool,
}

impl Prose {
    /// Adds text; runs of white space become one blank, none stands at the start of a line.
    pub(super) fn push(&mut self, raw: &str, in_link: bool) {
        let before = self.text.len();
        let mut first = true;
        for word in raw.split_whitespace() {
            if (!first || self.space || raw.starts_with(char::is_whitespace)) && !self.at_line_start() {
                self.text.push(' ');
            }
            self.text.push_str(word);
            first = false;
            self.space = false;
        }
        if raw.ends_with(char::is_whitespace) {
            self.space = true;
        }
        if in_link {
            self.link_bytes =
                self.link_bytes.saturating_add(u32::try_from(self.text.len() - before).unwrap_or(u32::MAX));
        }
    }

    /// Adds text as it stands, e.g. a list marker.
    pub(super) fn push_raw(&mut self, raw: &str) {
        self.text.push_str(raw);
        self.space = false;
    }

    /// Opens or closes inline code. A blank that waits is written before the opening tick.
    pub(super) fn tick(&mut self) {
        if self.code && self.text.ends_with('`') && !self.space {
            // Nothing stood between the ticks.
            self.text.pop();
        } else {
            if !self.code && self.space && !self.at_line_start() {
                self.text.push(' ');
                self.space = false;
            }
            self.text.push('`');
        }
        self.code = !self.code;
    }

    /// Goes to a new line that begins with `indent` blanks, unless one was begun already.
    pub(super) fn line(&mut self, indent: usize) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        if !self.text.is_empty() || indent > 0 {
            self.text.extend(std::iter::repeat_n(' ', indent));
        }
        self.space = false;
    }

    /// Whether nothing but blanks was written.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Hands out the text and the bytes of it that were link text, and starts anew.
    pub(super) fn take(&mut self) -> (String, u32) {
        let code = self.code;
        if code {
            self.tick();
        }
        let mut text = std::mem::take(&mut self.text);
        text.truncate(text.trim_end().len());
        let links = std::mem::take(&mut self.link_bytes);
        self.space = false;
        if code {
            self.tick();
        }
        (text, links)
    }

    fn at_line_start(&self) -> bool {
        self.text.is_empty() || self.text.ends_with([' ', '\n']) || (self.code && self.text.ends_with('`'))
    }
}

#[cfg(test)]
mod tests {
    use super::Prose;

    #[test]
    fn white_space_collapses_and_link_text_is_counted() {
        let mut prose = Prose::default();
        prose.push("  See\n the ", false);
        prose.push("guide", true);
        prose.push(" , then\tgo. ", false);
        assert_eq!(prose.take(), ("See the guide , then go.".to_owned(), 6));
    }

    #[test]
    fn inline_code_stands_in_ticks_and_empty_code_leaves_none() {
        let mut prose = Prose::default();
        prose.push("call ", false);
        prose.tick();
        prose.push("f( x )", false);
        prose.tick();
        prose.push(" or", false);
        prose.tick();
        prose.tick();
        assert_eq!(prose.take().0, "call `f( x )` or");
    }
}
