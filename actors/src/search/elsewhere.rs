//! Bundles that are not on this node: what is asked of them is answered by a peer that has them.
//!
//! A peer is sent the question, not the bundle, and answers with what it would have told its own client; the library's
//! name and facts are agreed state, which this node has itself. Meanwhile the bundle is fetched, if this node is to have
//! it, and whichever comes first answers. [`Search::answer_peer`] is the other side: it reads this node's disk and
//! asks nobody.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use twinmcp_storage::bundle::{Bundle, BundleError, BundleHash, Labels, Page, Snippet, SnippetId};
use twinmcp_storage::libraries::VersionManifest;
use twinmcp_storage::record::{self, Record};

use super::{FoundSnippet, QUERY_BYTES_MAX, SNIPPETS_MAX, Search, SearchError, TOKENS_MAX};
use crate::distribution::{Asked, Fetched, Fetching};
use crate::mending::Mending;

/// How long a question waits for a peer's answer, or for the bundle.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of a bundle, as peers send it to one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    /// The snippets that answer a question.
    Docs { text: String, tokens_max: u32, snippets_max: u32 },
    /// Snippets in the order of the bundle.
    Browse { from: u32, limit: u32 },
    /// How many snippets have each label.
    Labels,
}

impl Record for Question {
    const NAME: &'static str = "question about a bundle";
    const FORMAT: u8 = 1;
}

/// What a peer answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// To [`Question::Docs`] and [`Question::Browse`].
    Snippets {
        /// Snippets the bundle has in all.
        total: u32,
        /// Pages of those below, each once.
        pages: Vec<Page>,
        snippets: Vec<SentSnippet>,
    },
    /// To [`Question::Labels`].
    Labels(Vec<(Labels, u32)>),
}

impl Record for Reply {
    const NAME: &'static str = "answer from a bundle";
    const FORMAT: u8 = 1;
}

/// A [`FoundSnippet`] on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SentSnippet {
    id: SnippetId,
    score: f32,
    snippet: Snippet,
    /// Index into the reply's pages.
    page: u32,
    url: String,
    url_tokens: u32,
    labels: Labels,
}

impl Reply {
    fn of(total: u32, found: Vec<FoundSnippet>) -> Self {
        let mut pages: Vec<Arc<Page>> = Vec::new();
        let send = |found: FoundSnippet| {
            let FoundSnippet { id, score, snippet, page, url, url_tokens, labels } = found;
            let place = pages.iter().position(|known| Arc::ptr_eq(known, &page)).unwrap_or_else(|| {
                pages.push(page);
                pages.len() - 1
            });
            let page = u32::try_from(place).unwrap_or(u32::MAX);
            SentSnippet { id, score, snippet, page, url, url_tokens, labels }
        };
        let snippets = found.into_iter().map(send).collect();
        let pages = pages.into_iter().map(Arc::unwrap_or_clone).collect();
        Self::Snippets { total, pages, snippets }
    }

    /// The snippets, and how many the bundle has in all. None of another reply, and of one that names pages it lacks.
    pub(super) fn snippets(self) -> Option<(u32, Vec<FoundSnippet>)> {
        let Self::Snippets { total, pages, snippets } = self else { return None };
        let pages: Vec<Arc<Page>> = pages.into_iter().map(Arc::new).collect();
        let found = snippets.into_iter().map(|sent| {
            let SentSnippet { id, score, snippet, page, url, url_tokens, labels } = sent;
            let page = Arc::clone(pages.get(page as usize)?);
            Some(FoundSnippet { id, score, snippet, page, url, url_tokens, labels })
        });
        Some((total, found.collect::<Option<_>>()?))
    }

    /// Whether it is one to `question`; anything else comes from a peer that is out of order.
    fn answers(&self, question: &Question) -> bool {
        match self {
            Self::Snippets { pages, snippets, .. } => {
                !matches!(question, Question::Labels)
                    && snippets.len() <= SNIPPETS_MAX
                    && snippets.iter().all(|sent| (sent.page as usize) < pages.len())
            }
            Self::Labels(_) => matches!(question, Question::Labels),
        }
    }
}

/// Where an answer comes from.
pub(super) enum Source {
    /// The bundle is here.
    Here(Arc<Bundle>),
    /// A peer has answered.
    Peer(Reply),
}

impl Search {
    /// The version's bundle, or a peer's answer to `question` when it is not here.
    pub(super) async fn source(
        &self,
        manifest: &VersionManifest,
        question: impl FnOnce() -> Question,
    ) -> Result<Source, SearchError> {
        let hash: BundleHash = manifest.bundle.parse().map_err(|_| SearchError::Interrupted)?;
        if let Some(bundle) = self.bundles.get_open(hash) {
            return Ok(Source::Here(bundle));
        }
        match self.open(hash).await {
            Err(SearchError::Bundle(error)) if error.is_loss() => {
                self.elsewhere(manifest, hash, &error, question()).await
            }
            opened => opened.map(Source::Here),
        }
    }

    /// The bundle as it lies here; one that is not open yet is opened off the async threads.
    async fn open(&self, hash: BundleHash) -> Result<Arc<Bundle>, SearchError> {
        let bundles = Arc::clone(&self.bundles);
        let opened = tokio::task::spawn_blocking(move || bundles.open(hash)).await;
        Ok(opened.map_err(|_| SearchError::Interrupted)??)
    }

    /// A bundle that cannot be opened here is asked through a peer; one that nobody has is built again.
    async fn elsewhere(
        &self,
        manifest: &VersionManifest,
        hash: BundleHash,
        error: &BundleError,
        question: Question,
    ) -> Result<Source, SearchError> {
        if self.distribution.has_sources() {
            if !matches!(error, BundleError::Missing { .. }) {
                // Out of the way of the good one that comes.
                let bundles = Arc::clone(&self.bundles);
                let _ = tokio::task::spawn_blocking(move || bundles.set_aside(hash)).await;
            }
            let deadline = Instant::now() + PATIENCE;
            let fetching = self.distribution.wanted(manifest, hash);
            match tokio::time::timeout_at(deadline, self.through_peer(hash, &question, fetching)).await {
                Ok(Some(Through::Answered(reply))) => return Ok(Source::Peer(reply)),
                // Read here, unless it has gone again.
                Ok(Some(Through::Fetched)) => {
                    let opened = self.open(hash).await;
                    return opened.map(Source::Here).map_err(|_| on_its_way(manifest));
                }
                Ok(None) => {}
                Ok(Some(Through::Unanswered)) | Err(_) => {
                    self.metrics.through_peer("unanswered");
                    return Err(on_its_way(manifest));
                }
            }
        }
        tracing::warn!(error = error as &dyn std::error::Error, "an index bundle is lost");
        let loss = self.mending.lost(manifest, hash).await;
        // The job that builds it again may have ended meanwhile.
        self.open(hash).await.map(Source::Here).map_err(|_| SearchError::Lost(loss))
    }

    /// Asks peers while the bundle is fetched, if it is. `None` when nobody has it.
    async fn through_peer(
        &self,
        hash: BundleHash,
        question: &Question,
        mut fetching: Option<Fetching>,
    ) -> Option<Through> {
        let encoded = record::encode(question).ok()?;
        let read =
            |answer: &[u8]| record::decode(answer).ok().filter(|reply: &Reply| reply.answers(question));
        let asked = tokio::select! {
            asked = self.distribution.ask(hash, &encoded, read) => asked,
            () = here(fetching.as_mut()) => return Some(Through::Fetched),
        };
        match (asked, fetching) {
            (Asked::Answered(reply), _) => {
                self.metrics.through_peer("answered");
                Some(Through::Answered(reply))
            }
            // What nobody could answer may still come; and it may have arrived while they were asked.
            (_, Some(fetching)) => match fetching.ended().await {
                Fetched::Here => Some(Through::Fetched),
                Fetched::Nowhere => None,
                Fetched::Later => Some(Through::Unanswered),
            },
            (Asked::Nowhere, None) => None,
            (Asked::Unanswered, None) => Some(Through::Unanswered),
        }
    }

    /// Answers a peer's question from a bundle on this node's disk; `None` when it is not there. `marks` as in
    /// [`super::DocsQuery`].
    ///
    /// # Errors
    /// A question that is none, or too long; a bundle that cannot be read.
    pub async fn answer_peer(
        &self,
        hash: BundleHash,
        question: &[u8],
        marks: fn(&FoundSnippet) -> u32,
    ) -> Result<Option<Vec<u8>>, SearchError> {
        let question: Question = record::decode(question)?;
        let bundle = match self.bundles.get_open(hash) {
            Some(bundle) => bundle,
            None => match self.open(hash).await {
                Err(SearchError::Bundle(error)) if error.is_loss() => return Ok(None),
                opened => opened?,
            },
        };
        let reply = match question {
            Question::Docs { text, .. } if text.len() > QUERY_BYTES_MAX => {
                return Err(SearchError::QueryLength);
            }
            Question::Docs { text, tokens_max, snippets_max } => {
                let limits = (tokens_max.min(TOKENS_MAX), (snippets_max as usize).min(SNIPPETS_MAX));
                let found = self.find(&bundle, &text, limits, marks).await?;
                Reply::of(bundle.meta().snippets, found)
            }
            Question::Browse { from, limit } => {
                Reply::of(bundle.meta().snippets, super::browse::shown(&bundle, from, limit)?)
            }
            Question::Labels => {
                let counts = bundle.label_counts().into_iter();
                Reply::Labels(counts.map(|(label, count)| ([label].into_iter().collect(), count)).collect())
            }
        };
        Ok(Some(record::encode(&reply)?))
    }
}

/// How a bundle that is not here could be read.
enum Through {
    Answered(Reply),
    /// It is here now.
    Fetched,
    /// A peer that may have it did not answer.
    Unanswered,
}

/// Resolves once the bundle is here; never when it is not fetched, or the fetch fails.
async fn here(fetching: Option<&mut Fetching>) {
    match fetching {
        Some(fetching) if fetching.clone().ended().await == Fetched::Here => {}
        _ => std::future::pending().await,
    }
}

fn on_its_way(manifest: &VersionManifest) -> SearchError {
    SearchError::Lost(Mending::on_its_way(manifest))
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::bundle::{Block, Label};

    use super::*;

    fn found(page: &Arc<Page>, score: f32) -> FoundSnippet {
        let snippet = Snippet {
            page: 7,
            anchors: vec!["a".to_owned()],
            heading_path: vec!["Guide".to_owned()],
            blocks: vec![Block::Code { language: "rust".to_owned(), code: "fn main() {}".to_owned() }],
            tokens: 12,
            link_percent: 3,
        };
        let labels = [Label::HiddenText].into_iter().collect();
        let (id, url, url_tokens) = (SnippetId(0xfeed), "https://docs.example/g#a".to_owned(), 9);
        FoundSnippet { id, score, snippet, page: Arc::clone(page), url, url_tokens, labels }
    }

    #[test]
    fn what_a_peer_sends_is_what_it_found() {
        let page = |path: &str| {
            Arc::new(Page {
                path: path.to_owned(),
                url: format!("https://docs.example/{path}"),
                title: path.to_owned(),
            })
        };
        let (one, other) = (page("one"), page("other"));
        let sent = vec![found(&one, 1.0), found(&other, 0.1 + 0.2), found(&one, f32::MIN_POSITIVE)];
        let bytes = record::encode(&Reply::of(4_000, sent.clone())).unwrap();
        let reply: Reply = record::decode(&bytes).unwrap();
        let Reply::Snippets { pages, .. } = &reply else { panic!("{reply:?}") };
        assert_eq!(pages.len(), 2, "each page is sent once");
        let (total, came) = reply.snippets().unwrap();
        assert_eq!(total, 4_000);
        assert_eq!(format!("{came:?}"), format!("{sent:?}"));
        assert!(came.iter().zip(&sent).all(|(came, sent)| came.score.to_bits() == sent.score.to_bits()));
    }

    /// Nodes of two builds speak to one another during a rollout: these bytes stay.
    #[test]
    fn questions_are_sent_as_the_first_build_sent_them() {
        let docs = Question::Docs { text: "ab".to_owned(), tokens_max: 300, snippets_max: 5 };
        for (question, bytes) in [
            (docs, &[1, 0, 2, b'a', b'b', 0xac, 2, 5][..]),
            (Question::Browse { from: 1, limit: 2 }, &[1, 1, 1, 2]),
            (Question::Labels, &[1, 2]),
        ] {
            assert_eq!(record::encode(&question).unwrap(), bytes);
            assert_eq!(record::decode::<Question>(bytes).unwrap(), question);
        }
    }

    #[test]
    fn answers_are_sent_as_the_first_build_sent_them() {
        let page = Page { path: "p".to_owned(), url: "u".to_owned(), title: "t".to_owned() };
        let labels = [Label::HiddenText].into_iter().collect();
        for (reply, golden) in [
            (
                Reply::of(4_000, vec![found(&Arc::new(page), 1.0)]),
                "0100a01f0101700175017401edfd030000803f0701016101054775696465010104727573740c666e206d61696e2829207b7d0c03001868747470733a2f2f646f63732e6578616d706c652f6723610940",
            ),
            (Reply::Labels(vec![(labels, 3)]), "0101014003"),
        ] {
            let bytes = record::encode(&reply).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden);
            assert_eq!(record::decode::<Reply>(&bytes).unwrap(), reply);
        }
    }

    #[test]
    fn an_answer_to_something_else_or_with_pages_that_are_not_there_is_none() {
        let docs = Question::Docs { text: "x".to_owned(), tokens_max: 1, snippets_max: 1 };
        let page = Arc::new(Page { path: String::new(), url: String::new(), title: String::new() });
        let reply = Reply::of(1, vec![found(&page, 1.0)]);
        assert!(reply.answers(&docs) && !reply.answers(&Question::Labels));
        assert!(
            Reply::Labels(Vec::new()).answers(&Question::Labels) && !Reply::Labels(Vec::new()).answers(&docs)
        );
        let Reply::Snippets { total, snippets, .. } = reply else { unreachable!() };
        let broken = Reply::Snippets { total, pages: Vec::new(), snippets };
        assert!(!broken.answers(&docs) && broken.snippets().is_none());
    }
}
