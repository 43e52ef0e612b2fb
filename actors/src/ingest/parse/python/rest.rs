//! The markup of docstrings as Markdown: doctests, literal blocks, directives, roles. Markdown passes through.

use super::docstring::{dedented, deeper, indent_of};

/// Text as Markdown.
pub(super) fn markdown(lines: &[&str]) -> String {
    let mut out = String::new();
    let mut at = 0;
    let mut fence: Option<&str> = None;
    while let Some(line) = lines.get(at) {
        let text = line.trim_start();
        let rest = lines.get(at + 1..).unwrap_or_default();
        at += 1;
        if let Some(mark) = fence {
            out.push_str(line);
            out.push('\n');
            if text.trim_end() == mark {
                fence = None;
            }
        } else if text.starts_with("```") || text.starts_with("~~~") {
            fence = text.get(..3);
            out.push_str(line);
            out.push('\n');
        } else if text.starts_with(">>>") {
            let taken = rest.iter().take_while(|line| !line.trim().is_empty()).count();
            let code = lines.get(at - 1..at + taken).unwrap_or_default();
            code_block(&mut out, "python", &dedented(code));
            at += taken;
        } else if let Some((name, argument)) = directive(text) {
            let taken = deeper(rest, indent_of(line));
            directive_block(&mut out, name, argument, &dedented(rest.get(..taken).unwrap_or_default()));
            at += taken;
        } else if text.starts_with(".. ") {
            // A comment or a target.
            at += deeper(rest, indent_of(line));
        } else if text.trim_end().ends_with("::") && deeper(rest, indent_of(line)) > 0 {
            let said = text.trim_end().trim_end_matches(':');
            if !said.is_empty() {
                out.push_str(&inline(said));
                out.push_str(":\n");
            }
            let taken = deeper(rest, indent_of(line));
            code_block(&mut out, "python", &dedented(rest.get(..taken).unwrap_or_default()));
            at += taken;
        } else {
            out.push_str(line.get(..indent_of(line)).unwrap_or_default());
            out.push_str(&inline(text));
            out.push('\n');
        }
    }
    out.trim_matches('\n').to_owned()
}

/// The body of an examples section: fences and doctests as they are, anything else that looks like it as code.
pub(super) fn example(lines: &[&str]) -> String {
    let marked = lines.iter().any(|line| {
        let text = line.trim_start();
        text.starts_with(">>>")
            || text.starts_with("```")
            || text.starts_with(".. ")
            || text.trim_end().ends_with("::")
    });
    let first = lines.iter().map(|line| line.trim()).find(|line| !line.is_empty()).unwrap_or_default();
    let is_code = ["import ", "from ", "with ", "async ", "def ", "class ", "@", "$ ", "for ", "#"]
        .iter()
        .any(|start| first.starts_with(start))
        || first.contains(" = ")
        || (first.contains('(') && first.ends_with([')', '(', '{', '[', ',']));
    if marked || !is_code {
        return markdown(lines);
    }
    let mut out = String::new();
    code_block(&mut out, "python", &dedented(lines));
    out
}

fn code_block(out: &mut String, language: &str, lines: &[&str]) {
    let code = lines.join("\n");
    let longest = code.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let marks = "`".repeat((longest + 1).max(3));
    out.push_str(&format!("\n{marks}{language}\n{}\n{marks}\n\n", code.trim_matches('\n')));
}

/// `.. name:: argument`
fn directive(text: &str) -> Option<(&str, &str)> {
    let (name, argument) = text.strip_prefix(".. ")?.split_once("::")?;
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte));
    plain.then(|| (name, argument.trim()))
}

fn directive_block(out: &mut String, name: &str, argument: &str, body: &[&str]) {
    // Options of a directive: `:linenos:`.
    let options = body.iter().take_while(|line| line.starts_with(':')).count();
    let body = body.get(options..).unwrap_or_default();
    let text = || markdown(body);
    let label = match name {
        "code-block" | "code" | "sourcecode" | "highlight" | "testcode" | "doctest" | "ipython"
        | "parsed-literal" => {
            let language = if argument.is_empty() { "python" } else { argument };
            let plain = language.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_#".contains(&byte));
            code_block(out, if plain { language } else { "" }, body);
            return;
        }
        "versionadded" => format!("New in version {argument}"),
        "versionchanged" => format!("Changed in version {argument}"),
        "deprecated" => format!("Deprecated since version {argument}"),
        "note" | "warning" | "tip" | "important" | "caution" | "hint" | "seealso" | "attention"
        | "danger" => {
            let mut label: String = name.chars().take(1).flat_map(char::to_uppercase).collect();
            label.push_str(name.get(1..).unwrap_or_default());
            let said = format!("{} {}", inline(argument), text());
            out.push_str(&format!("\n{}: {}\n\n", label.replace("Seealso", "See also"), said.trim()));
            return;
        }
        "image" | "figure" | "contents" | "toctree" | "index" | "currentmodule" | "module" | "plot"
        | "only" => return,
        _ => {
            out.push_str(&format!("\n{}\n\n", text()));
            return;
        }
    };
    let said = text();
    out.push_str(&if said.is_empty() { format!("\n{label}.\n\n") } else { format!("\n{label}: {said}\n\n") });
}

/// One line: literals, roles and links.
pub(super) fn inline(line: &str) -> String {
    if !line.contains('`') {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let (before, ticked) = rest.split_at(at);
        let marks = ticked.len() - ticked.trim_start_matches('`').len();
        let inner = ticked.get(marks..).unwrap_or_default();
        let close = "`".repeat(marks);
        let Some((text, after)) = inner.split_once(close.as_str()) else {
            out.push_str(rest);
            return out;
        };
        let (before, role) = role(before);
        out.push_str(before);
        let target =
            text.rsplit_once(" <").and_then(|(shown, target)| Some((shown, target.strip_suffix('>')?)));
        match (target, role) {
            (Some((shown, _)), true) => out.push_str(shown),
            (Some((shown, target)), false) if after.starts_with('_') => {
                out.push_str(&format!("[{shown}]({target})"));
            }
            (None, true) => {
                // `~a.b.C` shows its last part, `!x` makes no link.
                let name = match text.strip_prefix('~') {
                    Some(path) => path.rsplit('.').next().unwrap_or(path),
                    None => text.trim_start_matches('!'),
                };
                out.push_str(&format!("`{name}`"));
            }
            // A target elsewhere in the page: `text`_
            (None, false) if marks == 1 && after.starts_with('_') => out.push_str(text),
            _ if marks == 2 && !text.contains('`') => out.push_str(&format!("`{text}`")),
            _ => out.push_str(&format!("{close}{text}{close}")),
        }
        let after = if marks == 1 { after.trim_start_matches('_') } else { after };
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Splits `:py:class:` off the end of a text.
fn role(before: &str) -> (&str, bool) {
    let Some(inner) = before.strip_suffix(':') else { return (before, false) };
    let start = inner
        .rfind(|at: char| !(at.is_ascii_alphanumeric() || ":-_+.".contains(at)))
        .map_or(0, |at| at + inner[at..].chars().next().map_or(1, char::len_utf8));
    match inner.get(start..) {
        Some(name) if name.starts_with(':') && name.len() > 1 => (&before[..start], true),
        _ => (before, false),
    }
}
