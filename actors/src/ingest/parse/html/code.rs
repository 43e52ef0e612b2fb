//! Code blocks: the text as it stands, and the language out of the many places generators put it.

use super::{entity, site, tag::Tag, tree::Tree};
use crate::ingest::parse::outline::language;

/// Languages that stand as a class of their own, without a prefix.
const BARE: &[&str] = &[
    "rust",
    "python",
    "javascript",
    "typescript",
    "java",
    "kotlin",
    "scala",
    "go",
    "c",
    "cpp",
    "csharp",
    "ruby",
    "php",
    "swift",
    "bash",
    "sh",
    "shell",
    "console",
    "sql",
    "json",
    "yaml",
    "toml",
    "xml",
    "html",
    "css",
    "haskell",
    "elixir",
    "erlang",
    "lua",
    "perl",
    "r",
    "dart",
    "zig",
    "ini",
    "diff",
    "makefile",
    "dockerfile",
    "js",
    "ts",
    "jsx",
    "tsx",
    "py",
    "rb",
    "julia",
    "clojure",
    "ocaml",
    "nix",
    "graphql",
    "protobuf",
    "powershell",
];

/// The code inside a `pre`, without the blank line that generators put first and the last line end.
pub(super) fn text(tree: &Tree<'_>, index: usize) -> String {
    let end = tree.nodes.get(index).map_or(index, |node| node.end);
    let mut code = String::new();
    let mut at = index + 1;
    // Docusaurus and Shiki put each line into an element of its own.
    let mut line_break = false;
    while let Some(node) = tree.nodes.get(at).filter(|_| at < end) {
        match node.tag {
            None => {
                let text = entity::decode(node.raw);
                if line_break && !text.is_empty() {
                    line_break = false;
                    if !code.is_empty() && !code.ends_with('\n') && !text.starts_with('\n') {
                        code.push('\n');
                    }
                }
                code.push_str(&text);
            }
            Some(Tag::Br) => {
                if !code.ends_with('\n')
                    || tree.nodes.get(at - 1).is_none_or(|node| node.tag == Some(Tag::Br))
                {
                    code.push('\n');
                }
            }
            Some(tag) if !node.raw.is_empty() && site::is_furniture(tree, at, tag, false) => {
                at = node.end;
                continue;
            }
            Some(Tag::Div | Tag::Li | Tag::P) => line_break = true,
            Some(_) => line_break |= tree.has_class(at, "token-line"),
        }
        at += 1;
    }
    let mut code = if code.contains('\u{a0}') { code.replace('\u{a0}', " ") } else { code };
    code.truncate(code.trim_end().len());
    let skip = code.len() - code.trim_start_matches('\n').len();
    if skip > 0 {
        code.drain(..skip);
    }
    code
}

/// The language of a `pre`: its own class, that of the `code` in it, or that of what stands around.
pub(super) fn tag_of(tree: &Tree<'_>, index: usize) -> String {
    let inner = tree.elements(index + 1, (index + 4).min(tree.nodes.get(index).map_or(0, |node| node.end)));
    let mut around = Vec::with_capacity(6);
    around.push(index);
    around.extend(inner.filter(|&(_, tag)| tag == Tag::Code).map(|(inner, _)| inner).take(1));
    let mut at = index;
    for _ in 0..3 {
        let parent = tree.nodes.get(at).map_or(0, |node| node.parent);
        // A table cell or a list item around says nothing about the code in it.
        if parent == at
            || tree
                .nodes
                .get(parent)
                .is_none_or(|node| node.tag != Some(Tag::Div) && node.tag != Some(Tag::Figure))
        {
            break;
        }
        around.push(parent);
        at = parent;
    }
    for (step, element) in around.iter().enumerate() {
        for attribute in ["data-lang", "data-language", "lang"] {
            let value = tree.attribute(*element, attribute);
            if !value.is_empty() && attribute != "lang" {
                return language(&value);
            }
        }
        let classes = tree.attribute(*element, "class");
        let prefixed = classes.split_ascii_whitespace().find_map(|class| {
            ["language-", "lang-", "highlight-source-", "highlight-", "brush:"]
                .iter()
                .find_map(|prefix| class.strip_prefix(prefix))
        });
        if let Some(name) = prefixed {
            if name == "default" && is_highlighted(tree, index) {
                // Sphinx: the default is Python, and it falls back to plain text without colours.
                return "python".to_owned();
            }
            return language(name);
        }
        if step < 2
            && let Some(name) = classes.split_ascii_whitespace().find(|class| BARE.contains(class))
        {
            return language(name);
        }
    }
    String::new()
}

fn is_highlighted(tree: &Tree<'_>, index: usize) -> bool {
    let end = tree.nodes.get(index).map_or(index, |node| node.end);
    tree.elements(index + 1, end)
        .any(|(element, tag)| tag == Tag::Span && !tree.attribute(element, "class").is_empty())
}
