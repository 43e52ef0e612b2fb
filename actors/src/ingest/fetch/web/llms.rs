//! `llms.txt` (llmstxt.org): a site's own list of what a model should read; and `llms-full.txt`, all
//! of it in one file.

use pulldown_cmark::{Event, Parser, Tag};
use url::Url;

use super::scope::{is_asset, listed};

/// Links of one list.
const LINKS_MAX: usize = 50_000;
/// A file with less is a placeholder.
const FULL_BYTES_MIN: usize = 200;

/// The pages that the list at `at` names, in its order. Of a page that is there as `x` and as `x.md`,
/// the Markdown.
pub(super) fn links(at: &Url, text: &str) -> Vec<Url> {
    let mut pages: Vec<Url> = Vec::new();
    for event in Parser::new(text) {
        let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
        let Ok(url) = listed(at, &dest_url) else { continue };
        if pages.len() >= LINKS_MAX {
            break;
        }
        if matches!(url.scheme(), "http" | "https") && !is_asset(&url) {
            pages.push(url);
        }
    }
    let mut seen = std::collections::HashSet::new();
    let markdown: std::collections::HashSet<String> =
        pages.iter().filter_map(|page| page.as_str().strip_suffix(".md").map(str::to_owned)).collect();
    pages.retain(|page| !markdown.contains(page.as_str().trim_end_matches('/')) && seen.insert(page.clone()));
    pages
}

/// One page of a `llms-full.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FullPage {
    /// Where it is published, when the file says so.
    pub(super) url: Option<Url>,
    pub(super) text: String,
}

/// The pages of the file at `at`: where each begins with its title and a line `Source: https://…`, as
/// several generators write it, that is its address; else the file is one page. The last of `pages_max` with an
/// address holds what would be further ones.
pub(super) fn full_pages(at: &Url, text: &str, pages_max: usize) -> Vec<FullPage> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let source = |line: &str| line.trim().strip_prefix("Source:").and_then(|url| listed(at, url).ok());
    // The places where a title is followed by a source.
    let starts: Vec<(usize, Url)> = lines
        .iter()
        .zip(lines.iter().skip(1))
        .enumerate()
        .filter(|(_, (title, _))| title.starts_with("# "))
        .filter_map(|(index, (_, line))| Some((index, source(line)?)))
        .filter(|(_, url)| url.origin() == at.origin())
        .take(pages_max)
        .collect();
    let Some((first, _)) = starts.first() else {
        return vec![FullPage { url: None, text: text.to_owned() }];
    };
    let join = |from: usize, to: usize| lines.get(from..to).unwrap_or_default().concat();
    let mut pages = Vec::new();
    let preface = join(0, *first);
    if !preface.trim().is_empty() {
        pages.push(FullPage { url: None, text: preface });
    }
    let ends = starts.iter().skip(1).map(|(index, _)| *index).chain([lines.len()]);
    for ((from, url), to) in starts.iter().zip(ends) {
        // The line with the source is no text of the page.
        let text = join(*from, from + 1) + &join(from + 2, to);
        pages.push(FullPage { url: Some(url.clone()), text });
    }
    pages
}

/// Whether a text can be a whole documentation.
pub(super) fn is_full(text: &str) -> bool {
    text.len() >= FULL_BYTES_MIN
}

/// Whether a URL names such a list.
pub(super) fn is_list(url: &Url) -> bool {
    url.path().rsplit('/').next() == Some("llms.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Url {
        "https://a.example/docs/llms.txt".parse().unwrap()
    }

    #[test]
    fn a_list_names_its_pages_once_and_as_markdown_where_there_is_both() {
        let text = "# A\n\n> What it is.\n\n## Docs\n\n- [One](https://a.example/docs/one): first\n\
            - [One](https://a.example/docs/one.md)\n- [Two](two)\n- [Two again](two#part)\n- [Logo](/logo.png)\n\
            - [Mail](mailto:me@a.example)\n\n## Optional\n\n- [Far](https://b.example/x.md)\n";
        let found: Vec<String> = links(&at(), text).iter().map(Url::to_string).collect();
        assert_eq!(
            found,
            ["https://a.example/docs/one.md", "https://a.example/docs/two", "https://b.example/x.md"]
        );
    }

    #[test]
    fn a_full_file_is_cut_where_it_names_sources() {
        let text = "# A\n\nAll of it.\n\n# One\nSource: https://a.example/docs/one\n\nText of one.\n\n# Inner\n\nx\n\
            # Two\nSource: /docs/two\nText of two.\n# Foreign\nSource: https://b.example/\n";
        let pages = full_pages(&at(), text, 9);
        let told: Vec<(Option<&str>, &str)> =
            pages.iter().map(|page| (page.url.as_ref().map(Url::as_str), page.text.as_str())).collect();
        assert_eq!(
            told,
            [
                (None, "# A\n\nAll of it.\n\n"),
                (Some("https://a.example/docs/one"), "# One\n\nText of one.\n\n# Inner\n\nx\n"),
                (
                    Some("https://a.example/docs/two"),
                    "# Two\nText of two.\n# Foreign\nSource: https://b.example/\n"
                ),
            ]
        );
        assert_eq!(full_pages(&at(), "# A\n\ntext\n", 9).len(), 1);
        assert_eq!(full_pages(&at(), &"# \nSource:\n".repeat(1_000), 9).len(), 9);
        assert!(is_full(&"x".repeat(200)) && !is_full("# A"));
        assert!(is_list(&at()) && !is_list(&"https://a.example/llms-full.txt".parse().unwrap()));
    }
}
