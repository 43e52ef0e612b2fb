//! The block of metadata that static site generators read at the start of a page.

/// What is used of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FrontMatter {
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
}

/// Splits the metadata (`---` YAML or `+++` TOML) off the text; a text without has it untouched.
pub(super) fn split(text: &str) -> (FrontMatter, &str) {
    let body = text.trim_start_matches(['\n', '\u{feff}']);
    let Some(fence) = ["---", "+++"].into_iter().find(|fence| {
        body.strip_prefix(fence)
            .is_some_and(|rest| rest.split('\n').next().is_some_and(|line| line.trim().is_empty()))
    }) else {
        return (FrontMatter::default(), text);
    };
    let mut front = FrontMatter::default();
    let mut at = body.find('\n').map_or(body.len(), |end| end + 1);
    let start = at;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let line = rest.split('\n').next().unwrap_or_default();
        at = (at + line.len() + 1).min(body.len());
        if line.trim_end() == fence || (fence == "---" && line.trim_end() == "...") {
            return (front, body.get(at..).unwrap_or_default());
        }
        // A rule at the top of a page without metadata: its next line is prose, not a key.
        if at == start + line.len() + 1 && !line.trim().is_empty() && !is_key(line) {
            break;
        }
        field(line, &mut front);
    }
    (FrontMatter::default(), text)
}

fn is_key(line: &str) -> bool {
    let name = line.split([':', '=']).next().unwrap_or_default().trim_end();
    let named = !name.is_empty() && name.len() < line.trim_end().len();
    line.starts_with('#')
        || (named && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.\"'[] ".contains(&byte)))
}

fn field(line: &str, front: &mut FrontMatter) {
    let Some((key, value)) = line.split_once([':', '=']) else {
        return;
    };
    let slot = match key.trim_end() {
        "title" => &mut front.title,
        "description" | "summary" => &mut front.description,
        _ => return,
    };
    let value = unquoted(value.trim());
    if !value.is_empty() && slot.is_none() {
        *slot = Some(value);
    }
}

/// A scalar without its quotes; block scalars, lists and references are left out.
fn unquoted(value: &str) -> String {
    if value.starts_with(['|', '>', '[', '{', '&', '*']) {
        return String::new();
    }
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            let mut out = String::new();
            let mut characters = inner.chars().peekable();
            while let Some(character) = characters.next() {
                match character {
                    '\\' if quote == '"' => out.extend(characters.next()),
                    _ if character == quote && quote == '\'' && characters.peek() == Some(&quote) => {
                        characters.next();
                        out.push(quote);
                    }
                    _ if character == quote => break,
                    _ => out.push(character),
                }
            }
            return out;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn title_and_description_are_read_and_the_block_is_gone() {
        for (text, title, body) in [
            ("---\ntitle: Hooks # yes\nslug: /x\n---\n# Hi\n", Some("Hooks"), "# Hi\n"),
            ("---\nid: a\ntitle: \"He said \\\"hi\\\": ok\"\n---\nx", Some("He said \"hi\": ok"), "x"),
            ("+++\ntitle = 'It''s'\n[extra]\nx = 1\n+++\nbody", Some("It's"), "body"),
            ("---\n---\nbody", None, "body"),
            ("---\ntitle: |\n  long\n---\nb", None, "b"),
        ] {
            let (front, rest) = split(text);
            assert_eq!((front.title.as_deref(), rest), (title, body), "{text}");
        }
    }

    #[test]
    fn a_rule_is_no_front_matter() {
        for text in
            ["---\n\nSome text\n\n---\nmore", "---\nnever closed: true\n", "text\n---\ntitle: x\n---\n"]
        {
            assert_eq!(split(text).0.title, None, "{text}");
            if text.starts_with("---\nnever") {
                assert_eq!(split(text).1, text);
            }
        }
    }
}
