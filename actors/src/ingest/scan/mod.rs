//! Looks for text in documentation that speaks to a model instead of a reader ("indirect prompt
//! injection": Greshake et al. 2023, arXiv 2302.12173; OWASP LLM01).
//!
//! [`scan`] gives labels, and that is all: nothing is dropped or changed, and who reads an answer sees
//! what was found. Rules are made to be right when they speak rather than to find everything:
//! documentation *about* prompts quotes such sentences, so what stands in quotes or in code marks is a
//! mention and not a use, and marks of chat templates count only in running text.
//!
//! Invariant: pure and linear: one pass over the words of a snippet.

mod encoded;
mod marks;
mod phrases;
#[cfg(test)]
mod tests;
mod words;

use twinmcp_storage::bundle::{Block, Label, Labels, Snippet};

/// What is suspicious about a text that stands for itself, such as a rule for agents.
pub(super) fn of_text(prose: &str) -> Labels {
    let block = Block::Prose(prose.to_owned());
    let (anchors, heading_path) = (Vec::new(), Vec::new());
    scan(&Snippet { page: 0, anchors, heading_path, blocks: vec![block], tokens: 0, link_percent: 0 })
}

/// What is suspicious about a snippet.
pub(super) fn scan(snippet: &Snippet) -> Labels {
    let mut labels = Labels::NONE;
    for heading in &snippet.heading_path {
        text(heading, &mut labels);
    }
    for block in &snippet.blocks {
        match block {
            Block::Prose(prose) => {
                text(prose, &mut labels);
                marks::find(prose, &mut labels);
            }
            Block::Code { code, .. } => text(code, &mut labels),
        }
    }
    if marks::runs_what_it_fetches(snippet) && phrases::speaks_to_agent(snippet) {
        labels.insert(Label::RemoteCommand);
    }
    labels
}

/// Phrases, in clear and encoded.
fn text(text: &str, labels: &mut Labels) {
    labels.join(phrases::find(text));
    if encoded::decoded(text).any(|decoded| !phrases::find(&decoded).is_empty()) {
        labels.insert(Label::EncodedText);
    }
}
