//! The two tools' answers in Context7's text forms, for agents and for `/api/v2/context`.
//!
//! Snippets stand in rank order, separated by 32 dashes; the last one ends with the line that says
//! which version answered and when it was indexed, so that the number and the shape of the blocks
//! stay as Context7's clients know them.

use std::borrow::Cow;
use std::fmt::Write;

use twinmcp_actors::embedding::{Embedder, StaticTable};
use twinmcp_actors::search::{Docs, FoundSnippet, LibraryMatch, LibrarySummary};
use twinmcp_storage::bundle::Block;
use twinmcp_storage::clock::Timestamp;

/// Between two snippets.
pub(crate) const SNIPPET_SEPARATOR: &str = "--------------------------------";
/// Between two headings of a title.
const TITLE_SEPARATOR: &str = " > ";
/// Between two libraries.
const LIBRARY_SEPARATOR: &str = "----------";
/// Tokens of the marks around a snippet, and of a fence.
const MARK_TOKENS: u32 = 6;
const FENCE_TOKENS: u32 = 2;

/// Tokens of what is written around a snippet: its link, marks and labels cost tokens too.
pub(crate) fn marks(found: &FoundSnippet) -> u32 {
    let blocks = u32::try_from(found.snippet.blocks.len()).unwrap_or(u32::MAX);
    let marks =
        found.url_tokens.saturating_add(MARK_TOKENS).saturating_add(blocks.saturating_mul(FENCE_TOKENS));
    if found.labels.is_empty() {
        return marks;
    }
    let line = StaticTable::builtin().count_tokens(&labels(found).join(", "));
    marks.saturating_add(u32::try_from(line).unwrap_or(u32::MAX)).saturating_add(MARK_TOKENS)
}

/// Answer of `query-docs`.
pub(crate) fn docs_text(docs: &Docs) -> String {
    let mut text = String::with_capacity(docs.snippets.iter().map(text_bytes).sum());
    for (index, found) in docs.snippets.iter().enumerate() {
        if index > 0 {
            text.push_str("\n\n");
            text.push_str(SNIPPET_SEPARATOR);
            text.push_str("\n\n");
        }
        write_snippet(&mut text, found);
    }
    let (version, date) = (&docs.version, date(docs.indexed_at));
    let _ = writeln!(text, "\n\nVersion: {version} of {} · indexed {date}", docs.library);
    text
}

/// About what a snippet takes in the text, so that it need not be moved as it grows.
fn text_bytes(found: &FoundSnippet) -> usize {
    let headings: usize = found.snippet.heading_path.iter().map(|heading| heading.len() + 3).sum();
    let blocks = found.snippet.blocks.iter().map(|block| match block {
        Block::Prose(prose) => prose.len() + 2,
        Block::Code { language, code } => code.len() + language.len() + 10,
    });
    headings + found.url.len() + blocks.sum::<usize>() + 64
}

fn write_snippet(text: &mut String, found: &FoundSnippet) {
    text.push_str("### ");
    match found.snippet.heading_path.split_first() {
        None => text.push_str(&found.page.title),
        Some((first, others)) => {
            text.push_str(first);
            others.iter().for_each(|heading| text.extend([TITLE_SEPARATOR, heading]));
        }
    }
    text.extend(["\n\nSource: ", &found.url]);
    if !found.labels.is_empty() {
        let _ = write!(text, "\nLabels: {}", labels(found).join(", "));
    }
    for block in &found.snippet.blocks {
        text.push_str("\n\n");
        match block {
            Block::Prose(prose) => text.push_str(prose.trim()),
            Block::Code { language, code } => {
                let fence = fence_for(code);
                text.extend([&*fence, language, "\n", code.trim_end_matches('\n'), "\n", &*fence]);
            }
        }
    }
}

/// What the scan at indexing found suspicious about a passage, by name: a fact about it, not an instruction.
pub(crate) fn labels(found: &FoundSnippet) -> Vec<String> {
    found.labels.iter().map(|label| label.name().to_owned()).collect()
}

/// The headings from the page down to the snippet: a section's own heading alone often says little.
pub(crate) fn title(found: &FoundSnippet) -> String {
    if found.snippet.heading_path.is_empty() {
        found.page.title.clone()
    } else {
        found.snippet.heading_path.join(TITLE_SEPARATOR)
    }
}

/// A fence longer than any run of backticks in the code (CommonMark 0.31, 4.5).
fn fence_for(code: &str) -> Cow<'static, str> {
    // Most code has none.
    if !code.contains('`') {
        return Cow::Borrowed("```");
    }
    let mut longest = 0;
    let mut run = 0;
    for byte in code.bytes() {
        run = if byte == b'`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    Cow::Owned("`".repeat(3.max(longest + 1)))
}

/// The day of a moment, e.g. `2026-11-23`.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Answer of `resolve-library-id`.
pub(crate) fn libraries_text(matches: &[LibraryMatch]) -> String {
    if matches.is_empty() {
        return "No libraries found matching the provided name.".to_owned();
    }
    let mut text = "Available Libraries:\n\n".to_owned();
    for (index, found) in matches.iter().enumerate() {
        if index > 0 {
            let _ = write!(text, "\n{LIBRARY_SEPARATOR}\n");
        }
        write_library(&mut text, &found.library);
    }
    text
}

fn write_library(text: &mut String, library: &LibrarySummary) {
    let description = one_line(&library.description);
    let _ = write!(
        text,
        "- Title: {}\n- Context7-compatible library ID: {}\n- Description: {description}",
        one_line(&library.title),
        library.id
    );
    if library.current.is_some() {
        let _ = write!(text, "\n- Code Snippets: {}", library.snippets);
    }
    let _ = write!(text, "\n- Source Reputation: {}", reputation(library.trust_tenths));
    if !library.versions.is_empty() {
        let versions: Vec<&str> = library.versions.iter().map(|version| version.as_str()).collect();
        let _ = write!(text, "\n- Versions: {}", versions.join(", "));
    }
    if let Some(source) = &library.source_url {
        let _ = write!(text, "\n- Source: {}", one_line(source));
    }
}

/// What stands in one line of the form must not begin another.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Context7's words for how far a source is trusted, 0 to 100 tenths of a point.
fn reputation(trust_tenths: Option<u8>) -> &'static str {
    match trust_tenths {
        Some(70..) => "High",
        Some(40..) => "Medium",
        Some(_) => "Low",
        None => "Unknown",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use twinmcp_storage::bundle::{Label, Labels, Page, Snippet, SnippetId};

    use super::*;

    pub(crate) fn found(heading_path: &[&str], blocks: Vec<Block>) -> FoundSnippet {
        let snippet = Snippet {
            page: 0,
            anchors: vec!["json.dumps".to_owned()],
            heading_path: heading_path.iter().map(|heading| (*heading).to_owned()).collect(),
            blocks,
            tokens: 40,
            link_percent: 0,
        };
        FoundSnippet {
            id: SnippetId(0xaa),
            score: 1.0,
            snippet,
            page: Arc::new(Page {
                path: "library/json.html".to_owned(),
                url: "https://docs.example.com/library/json.html".to_owned(),
                title: "json".to_owned(),
            }),
            url: "https://docs.example.com/library/json.html#json.dumps".to_owned(),
            url_tokens: 20,
            labels: Labels::NONE,
        }
    }

    pub(crate) fn docs() -> Docs {
        let code = Block::Code { language: "python".to_owned(), code: "json.dumps({})\n".to_owned() };
        let prose = |text: &str| Block::Prose(text.to_owned());
        Docs {
            library: "/python/cpython".parse().unwrap(),
            title: "Python".to_owned(),
            version: "v3.11".parse().unwrap(),
            indexed_at: Timestamp::from_millis(1_700_000_000_000),
            snippets: vec![
                found(&["json", "json.dumps"], vec![prose("Serializes an object."), code]),
                found(&["json", "Notes"], vec![prose("Keys are strings.")]),
            ],
            tokens: 80,
            rules: vec!["Prefer json.dumps.".to_owned()],
            source_url: Some("https://github.com/python/cpython".to_owned()),
        }
    }

    pub(crate) fn library() -> LibrarySummary {
        LibrarySummary {
            id: "/python/cpython".parse().unwrap(),
            title: "Python".to_owned(),
            description: "The Python language\nand library.".to_owned(),
            source_url: Some("https://github.com/python/cpython".to_owned()),
            trust_tenths: Some(85),
            current: Some("v3.12".parse().unwrap()),
            versions: vec!["v3.12".parse().unwrap(), "v3.11".parse().unwrap()],
            snippets: 4321,
            tokens: 900_000,
            pages: 500,
            updated_at: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    #[test]
    fn snippets_stand_in_rank_order_between_32_dashes_and_the_version_ends_the_last() {
        let expected = "### json > json.dumps\n\nSource: https://docs.example.com/library/json.html#json.dumps\n\n\
            Serializes an object.\n\n```python\njson.dumps({})\n```\n\n--------------------------------\n\n\
            ### json > Notes\n\nSource: https://docs.example.com/library/json.html#json.dumps\n\n\
            Keys are strings.\n\nVersion: v3.11 of /python/cpython · indexed 2023-11-14\n";
        assert_eq!(docs_text(&docs()), expected);
    }

    #[test]
    fn a_labelled_passage_says_so_below_its_source_and_changes_no_other() {
        let plain = docs_text(&docs());
        let mut labelled = docs();
        labelled.snippets[1].labels = [Label::HiddenText, Label::InstructionOverride].into_iter().collect();
        let text = docs_text(&labelled);
        let line = "\nLabels: instruction_override, hidden_text";
        assert_eq!(text.matches("Labels:").count(), 1);
        assert_eq!(text.replace(line, ""), plain);
        assert!(text.contains(&format!("json.html#json.dumps{line}\n\nKeys are strings.")), "{text}");
    }

    #[test]
    fn a_fence_is_longer_than_any_in_the_code() {
        assert_eq!(fence_for("plain"), "```");
        assert_eq!(fence_for("a ``` b"), "````");
    }

    #[test]
    fn libraries_are_listed_line_by_line_as_clients_know_them() {
        let one = LibraryMatch { library: Arc::new(library()), score: 1.0, reasons: Vec::new() };
        let bare = LibrarySummary {
            source_url: None,
            trust_tenths: None,
            current: None,
            versions: Vec::new(),
            ..library()
        };
        let other = LibraryMatch { library: Arc::new(bare), score: 0.5, reasons: Vec::new() };
        let expected = "Available Libraries:\n\n- Title: Python\n\
            - Context7-compatible library ID: /python/cpython\n\
            - Description: The Python language and library.\n- Code Snippets: 4321\n\
            - Source Reputation: High\n- Versions: v3.12, v3.11\n- Source: https://github.com/python/cpython\n\
            ----------\n- Title: Python\n- Context7-compatible library ID: /python/cpython\n\
            - Description: The Python language and library.\n- Source Reputation: Unknown";
        assert_eq!(libraries_text(&[one, other]), expected);
        assert_eq!(libraries_text(&[]), "No libraries found matching the provided name.");
    }

    #[test]
    fn reputation_has_the_bounds_of_the_contract() {
        let words = [None, Some(0), Some(39), Some(40), Some(69), Some(70), Some(100)].map(reputation);
        assert_eq!(words, ["Unknown", "Low", "Low", "Medium", "Medium", "High", "High"]);
    }

    #[test]
    fn marks_are_the_link_the_separator_fences_and_labels() {
        let docs = docs();
        let [code, prose] = [&docs.snippets[0], &docs.snippets[1]].map(marks);
        assert_eq!(code, prose + FENCE_TOKENS);
        assert_eq!(prose, 20 + MARK_TOKENS + FENCE_TOKENS);
        let labelled =
            FoundSnippet { labels: [Label::HiddenText].into_iter().collect(), ..docs.snippets[1].clone() };
        assert!(marks(&labelled) > prose + MARK_TOKENS);
    }
}
