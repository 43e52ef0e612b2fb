//! A snippet as a page shows it.

use twinmcp_actors::search::FoundSnippet;
use twinmcp_storage::bundle::Block;

use super::library::is_web;
use super::markdown;

/// One passage of documentation.
pub(super) struct ShownSnippet {
    pub(super) title: String,
    /// Headings above the title, outermost first.
    pub(super) path: String,
    /// What the scan for text that speaks to a model found in it; empty for nearly all.
    pub(super) labels: String,
    pub(super) blocks: Vec<Shown>,
    pub(super) page: String,
    /// Where it stands in the original, if that is on the web.
    pub(super) url: Option<String>,
    pub(super) tokens: u32,
}

pub(super) enum Shown {
    /// HTML made by [`markdown::to_html`].
    Prose(String),
    Code {
        language: String,
        code: String,
    },
}

impl From<&FoundSnippet> for ShownSnippet {
    fn from(found: &FoundSnippet) -> Self {
        let snippet = &found.snippet;
        let shown = |block: &Block| match block {
            Block::Prose(prose) => Shown::Prose(markdown::to_html(prose, &found.page.url)),
            Block::Code { language, code } => Shown::Code { language: language.clone(), code: code.clone() },
        };
        let above = snippet.heading_path.split_last().map_or(&[][..], |(_, above)| above);
        let title = if snippet.title().is_empty() { &found.page.title } else { snippet.title() };
        Self {
            title: title.to_owned(),
            path: above.join(" › "),
            labels: found.labels.iter().map(|label| label.name()).collect::<Vec<_>>().join(", "),
            blocks: snippet.blocks.iter().map(shown).collect(),
            page: found.page.path.clone(),
            url: is_web(&found.url).then(|| found.url.clone()),
            tokens: snippet.tokens,
        }
    }
}
