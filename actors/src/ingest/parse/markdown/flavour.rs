//! Takes the dialects of site generators out of Markdown before it is parsed as CommonMark.
//!
//! MDX: import and export statements, components (their `title` and `label` stay as text), comments.
//! Docusaurus and VitePress: `:::` containers. MkDocs: `!!! note` and `=== "Tab"`, whose indented
//! content would be read as code. Jekyll and Hugo: lines that are only a template tag.
//!
//! Invariant: lines inside fences are only ever shifted left, by the indentation of what is around.

use std::borrow::Cow;

/// Bytes of one component's attributes that are looked through for a title.
const ATTRIBUTES: usize = 4096;

/// Bytes within which inline code ends; looking further would take time with the square of a line.
const INLINE_CODE: usize = 4096;

/// The text as CommonMark. `mdx` switches on what would be wrong in plain Markdown.
pub(super) fn plain(text: &str, mdx: bool) -> Cow<'_, str> {
    const SIGNS: [&str; 7] = [":::", "!!! ", "??? ", "???+ ", "=== \"", "{%", "{{"];
    if !mdx && !SIGNS.iter().any(|sign| text.contains(sign)) {
        return Cow::Borrowed(text);
    }
    let mut state = Flavour { mdx, ..Flavour::default() };
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        state.line(line, &mut out);
    }
    Cow::Owned(out)
}

#[derive(Default)]
struct Flavour {
    mdx: bool,
    /// The fence that is open: its character and length.
    fence: Option<(char, usize)>,
    /// Indentation of the MkDocs blocks that are open.
    blocks: Vec<usize>,
    /// Indentation of the content of the components that are open, once it is known.
    components: Vec<Option<usize>>,
    /// Attributes of a component whose tag goes on over lines.
    tag: Option<Tag>,
    /// Braces open in an import or export statement that goes on, and a comment that does.
    statement: Option<i32>,
    comment: bool,
    after_blank: bool,
    begun: bool,
}

#[derive(Default)]
struct Tag {
    text: String,
    braces: u32,
    quote: Option<char>,
}

impl Flavour {
    fn line(&mut self, line: &str, out: &mut String) {
        let blank = line.trim().is_empty();
        let indent = line.len() - line.trim_start_matches(' ').len();
        if self.fence.is_none() && !blank {
            while self.blocks.last().is_some_and(|&base| indent < base + 4) {
                self.blocks.pop();
            }
        }
        if let Some(innermost @ None) = self.components.last_mut()
            && !blank
        {
            *innermost = Some(indent);
        }
        let strip =
            (self.blocks.len() * 4).max(self.components.last().copied().flatten().unwrap_or(0)).min(indent);
        let shifted = line.get(strip..).unwrap_or(line);
        if self.in_fence(shifted) {
            out.push_str(shifted);
        } else {
            self.text_line(shifted, indent, blank, out);
        }
        self.after_blank = blank;
        self.begun |= !blank;
    }

    /// Follows fences; whether the line belongs to one.
    fn in_fence(&mut self, line: &str) -> bool {
        let trimmed = line.trim_start_matches([' ', '>', '\t']);
        let sign = trimmed.chars().next().filter(|sign| matches!(sign, '`' | '~'));
        let length =
            sign.map_or(0, |sign| trimmed.chars().take_while(|&character| character == sign).count());
        match (self.fence, sign) {
            (Some((open, opened)), Some(sign))
                if sign == open && length >= opened && trimmed.trim_end().len() == length =>
            {
                self.fence = None;
                true
            }
            (Some(_), _) => true,
            // A fence of ticks has no tick behind it, else it is inline code.
            (None, Some(sign))
                if length >= 3
                    && !(sign == '`' && trimmed.get(length..).is_some_and(|rest| rest.contains('`'))) =>
            {
                if self.tag.is_some() || self.comment || self.statement.is_some() {
                    return false;
                }
                self.fence = Some((sign, length));
                true
            }
            _ => false,
        }
    }

    fn text_line(&mut self, line: &str, indent: usize, blank: bool, out: &mut String) {
        let trimmed = line.trim();
        if let Some(title) = trimmed.strip_prefix(":::") {
            let title = title.trim_start_matches(':').trim();
            return heading_of_note(container_title(title), out);
        }
        if let Some(title) = mkdocs_title(trimmed) {
            self.blocks.push(indent);
            return heading_of_note(title, out);
        }
        if is_template_line(trimmed) {
            return out.push('\n');
        }
        if !self.mdx {
            return out.push_str(line);
        }
        if self.is_statement(line, blank) {
            return;
        }
        self.without_components(line, out);
    }

    /// Follows import and export statements; they end at a blank line outside braces.
    fn is_statement(&mut self, line: &str, blank: bool) -> bool {
        let begins =
            (line.starts_with("import ") || line.starts_with("export ")) && (self.after_blank || !self.begun);
        if self.statement.is_none() && !(begins && self.components.is_empty() && self.tag.is_none()) {
            return false;
        }
        let open = line.matches(['{', '(']).count() as i32;
        let closed = line.matches(['}', ')']).count() as i32;
        let depth = self.statement.unwrap_or(0).saturating_add(open - closed);
        self.statement = (!(blank && depth <= 0)).then_some(depth);
        true
    }

    /// Writes the line without component tags and comments.
    fn without_components(&mut self, line: &str, out: &mut String) {
        let mut rest = line;
        while !rest.is_empty() {
            if self.comment {
                let Some(end) = rest.find("*/") else {
                    return out.push('\n');
                };
                self.comment = false;
                rest = rest.get(end + 2..).unwrap_or_default().trim_start_matches('}');
                continue;
            }
            if self.tag.is_some() {
                rest = self.component(rest, out);
                continue;
            }
            let Some(at) = rest.find(['`', '<', '{']) else {
                return out.push_str(rest);
            };
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            rest = if let Some(ticks) = inline_code(from) {
                out.push_str(from.get(..ticks).unwrap_or_default());
                from.get(ticks..).unwrap_or_default()
            } else if let Some(comment) = from.strip_prefix("{/*") {
                self.comment = true;
                comment
            } else if let Some(fragment) = from.strip_prefix("</>").or_else(|| from.strip_prefix("<>")) {
                fragment
            } else if is_component(from) {
                self.tag = Some(Tag::default());
                from.get(1..).unwrap_or_default()
            } else {
                out.push_str(from.get(..1).unwrap_or_default());
                from.get(1..).unwrap_or_default()
            };
        }
    }

    /// Reads on in a component's tag; returns what stands behind it.
    fn component<'l>(&mut self, text: &'l str, out: &mut String) -> &'l str {
        let Some(tag) = self.tag.as_mut() else { return text };
        for (at, character) in text.char_indices() {
            match (tag.quote, character) {
                (Some(quote), _) if character == quote => tag.quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'' | '`') => tag.quote = Some(character),
                (None, '{') => tag.braces += 1,
                (None, '}') => tag.braces = tag.braces.saturating_sub(1),
                (None, '>') if tag.braces == 0 => {
                    let tag = self.tag.take().unwrap_or_default();
                    self.close_tag(&tag.text, out);
                    return text.get(at + 1..).unwrap_or_default();
                }
                _ => {}
            }
            if tag.text.len() < ATTRIBUTES {
                tag.text.push(character);
            }
        }
        ""
    }

    fn close_tag(&mut self, tag: &str, out: &mut String) {
        if tag.starts_with('/') {
            self.components.pop();
            return;
        }
        if let Some(title) = title_attribute(tag) {
            heading_of_note(title, out);
        }
        if !tag.trim_end().ends_with('/') {
            self.components.push(None);
        }
    }
}

/// Length of the inline code that begins `text`, ticks included.
fn inline_code(text: &str) -> Option<usize> {
    let ticks = text.bytes().take_while(|&byte| byte == b'`').count();
    if ticks == 0 {
        return None;
    }
    let fence = text.get(..ticks)?;
    let rest = text.get(ticks..)?;
    let near = rest.get(..rest.floor_char_boundary(INLINE_CODE))?;
    Some(near.find(fence).map_or(ticks, |end| end + 2 * ticks))
}

fn is_component(text: &str) -> bool {
    let name = text.strip_prefix("</").or_else(|| text.strip_prefix('<')).unwrap_or_default();
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'.').count() < 64
}

/// The `title` or `label` of a component, which a reader sees.
fn title_attribute(tag: &str) -> Option<&str> {
    ["title", "label", "header"].iter().find_map(|name| {
        let at = tag.match_indices(name).find(|(at, _)| {
            let before = tag.get(..*at).unwrap_or_default();
            before.ends_with(char::is_whitespace)
        })?;
        let value = tag.get(at.0 + name.len()..)?.trim_start().strip_prefix('=')?.trim_start();
        let value = value.strip_prefix('{').unwrap_or(value);
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value.get(1..)?.split(quote).next().filter(|value| !value.trim().is_empty())
    })
}

/// The words that are shown for `note My title` or `tip[My title]`; nothing for a closing line.
fn container_title(info: &str) -> &str {
    if let Some((_, title)) = info.split_once('[') {
        return title.trim_end_matches(']');
    }
    let (kind, title) = info.split_once(char::is_whitespace).unwrap_or((info, ""));
    let title = title.split('{').next().unwrap_or_default().trim();
    match kind {
        "code-group" | "tabs" | "details" if title.is_empty() => "",
        _ if title.is_empty() => kind.split('{').next().unwrap_or_default(),
        _ => title,
    }
}

/// The title of a MkDocs admonition or tab that begins on this line.
fn mkdocs_title(line: &str) -> Option<&str> {
    let info = ["!!! ", "???+ ", "??? ", "=== \""].iter().find_map(|sign| line.strip_prefix(sign))?;
    if line.starts_with("===") {
        return info.strip_suffix('"');
    }
    let (kind, title) = info.trim().split_once(' ').unwrap_or((info.trim(), ""));
    let word = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let quoted = title.is_empty() || title.contains('"');
    (word && quoted).then(|| title.split('"').nth(1).filter(|title| !title.is_empty()).unwrap_or(kind))
}

fn heading_of_note(title: &str, out: &mut String) {
    out.push_str("\n\n");
    if !title.is_empty() {
        let mut letters = title.chars();
        out.extend(letters.next().map(|first| first.to_uppercase().to_string()));
        out.push_str(letters.as_str());
        out.push_str(":\n\n");
    }
}

/// Lines that are nothing but a tag of Liquid, Jinja or Hugo.
fn is_template_line(line: &str) -> bool {
    let one = |open: &str, close: &str| {
        line.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|inner| !inner.contains(close))
    };
    one("{%", "%}") || one("{{<", ">}}") || one("{{%", "%}}")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn statements_and_components_of_mdx_go_and_their_titles_stay() {
        let mdx = "import Tabs from '@theme/Tabs';\nexport const x = {\n\n a: 1 };\n\n# Hi\n\n<Tabs values={[{a: '>'}]}>\n  <TabItem label=\"npm\">\n\n    ```bash\n    npm i <X>\n    ```\n\n  </TabItem>\n</Tabs>\n\nUse `<Foo>` {/* not\nthis */}and <Bar x={1}/> it.\n";
        let text = plain(mdx, true);
        assert!(!text.contains("import") && !text.contains("export") && !text.contains("Tab"), "{text}");
        assert!(text.contains("Npm:"), "{text}");
        assert!(text.contains("\n```bash\nnpm i <X>\n```\n"), "{text}");
        assert!(text.contains("Use `<Foo>`") && text.contains("and  it."), "{text}");
    }

    #[test]
    fn indented_content_of_admonitions_is_no_code() {
        let text = plain("!!! warning \"Take care\"\n    Text here.\n\n    - item\n\nafter\n", false);
        assert_eq!(text.trim(), "Take care:\n\nText here.\n\n- item\n\nafter");
        let text = plain(":::tip Use it\ntext\n:::\nafter", false);
        assert_eq!(text.trim(), "Use it:\n\ntext\n\n\nafter");
    }

    #[test]
    fn fences_are_left_as_they_are() {
        let markdown = "```md\n:::note\n{% raw %}\n!!! note\n```\n";
        assert_eq!(plain(markdown, false), markdown);
        assert_eq!(plain(markdown, true), markdown);
    }
}
