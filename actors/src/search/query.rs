//! `query-docs`: one library's snippets that answer a question.

use std::sync::Arc;

use twinmcp_storage::bundle::{Bundle, Page, SnippetIndex};
use twinmcp_storage::catalogue;
use twinmcp_storage::ids::{AccountId, LibraryId, LibraryRef, Version};
use twinmcp_storage::libraries::{self, Library, VersionManifest, compare_versions};

use crate::embedding::{DocumentEmbedder, Embedder as _, StaticTable};

use super::elsewhere::{Question, Source};
use super::passages::{self, ServiceQuery};
use super::rank::{self, Ranked};
use super::{Docs, DocsQuery, FoundSnippet, QUERY_BYTES_MAX, SNIPPETS_MAX, Search, SearchError, TOKENS_MAX};

impl Search {
    /// The snippets of one library version that answer a question, best first.
    pub async fn docs(&self, query: DocsQuery<'_>) -> Result<Docs, SearchError> {
        let text = query.text.trim();
        if text.is_empty() {
            return Err(SearchError::EmptyQuery);
        }
        if text.len() > QUERY_BYTES_MAX {
            return Err(SearchError::QueryLength);
        }
        let (library, manifest) = self.version(query.viewer, query.library)?;
        let limits = (query.tokens_max.min(TOKENS_MAX), query.snippets_max.min(SNIPPETS_MAX));
        let source = self.source(&manifest, || asked(text, limits)).await?;
        self.activity.asked();
        let timer = self.metrics.query_started();
        let snippets = match source {
            Source::Here(bundle) => self.find(&bundle, text, limits, query.marks).await?,
            Source::Peer(reply) => reply.snippets().unwrap_or_default().1,
        };
        timer.done(snippets.len());
        if snippets.is_empty() {
            return Err(SearchError::NoSnippets { library: library.id, version: manifest.version });
        }
        Ok(Docs {
            library: library.id,
            title: library.facts.title,
            version: manifest.version,
            indexed_at: manifest.indexed_at,
            tokens: snippets.iter().map(|found| found.snippet.tokens).sum(),
            snippets,
            rules: library.facts.rules,
            source_url: library.facts.source_url,
        })
    }

    /// The version asked for, or the library's current one; never another.
    pub(super) fn version(
        &self,
        viewer: Option<&AccountId>,
        asked: &LibraryRef,
    ) -> Result<(Library, VersionManifest), SearchError> {
        let reader = self.cluster.reader();
        let id = &asked.library;
        let Some(library) = libraries::get(reader, id)? else { return Err(self.not_published(id)?) };
        if !library.is_shown_to(reader, viewer)? {
            return Err(self.not_indexed(id)?);
        }
        let Some(version) = asked.version.as_ref().or(library.current.as_ref()) else {
            return Err(self.not_published(id)?);
        };
        match libraries::manifest(reader, id, version)? {
            Some(manifest) => Ok((library, manifest)),
            None => Err(SearchError::VersionNotFound {
                library: id.clone(),
                version: version.clone(),
                available: self.available(id)?,
            }),
        }
    }

    fn available(&self, id: &LibraryId) -> Result<Vec<Version>, SearchError> {
        let manifests = libraries::versions(self.cluster.reader(), id)?;
        let mut versions: Vec<_> = manifests.into_iter().map(|manifest| manifest.version).collect();
        versions.sort_by(|one, other| compare_versions(other, one));
        Ok(versions)
    }

    fn not_published(&self, id: &LibraryId) -> Result<SearchError, SearchError> {
        let library = id.clone();
        if let Some(job) = self.jobs.open_job_for(id) {
            return Ok(SearchError::NotFinalized { library, job });
        }
        self.not_indexed(id)
    }

    /// As if nobody had ever indexed it.
    fn not_indexed(&self, id: &LibraryId) -> Result<SearchError, SearchError> {
        let library = id.clone();
        let is_known = catalogue::get(self.cluster.reader(), id)?.is_some();
        Ok(if is_known {
            SearchError::NotIndexed { library }
        } else {
            SearchError::LibraryNotFound { library }
        })
    }

    /// The snippets of an open bundle that answer `text`, as many as fit the tokens and the number given.
    pub(super) async fn find(
        &self,
        bundle: &Bundle,
        text: &str,
        (tokens_max, snippets_max): (u32, usize),
        marks: fn(&FoundSnippet) -> u32,
    ) -> Result<Vec<FoundSnippet>, SearchError> {
        let service = self.ask_service(bundle, text).await;
        let ranked =
            passages::ranked(bundle, self.embedder, service, text, |stage| self.metrics.stage(stage))?;
        let tokens = |index| bundle.facts(index).map_or(u32::MAX, |facts| facts.tokens);
        let chosen = rank::cut(&ranked, tokens_max, snippets_max, tokens);
        answered(bundle, &chosen, tokens_max, marks)
    }

    /// The question's vector by the embedding service, when the version has vectors of it, and it answers in time.
    async fn ask_service(&self, bundle: &Bundle, text: &str) -> Option<ServiceQuery> {
        let endpoint = self.endpoint.as_ref()?;
        bundle.second().filter(|second| second.embedder().id == endpoint.id())?;
        let _timer = self.metrics.stage("endpoint");
        let vector = endpoint.query(text).await?;
        Some(ServiceQuery {
            embedder: endpoint.id().to_owned(),
            vector,
            fusion_weight: endpoint.fusion_weight(),
        })
    }
}

/// The question as a peer is asked it.
fn asked(text: &str, (tokens_max, snippets_max): (u32, usize)) -> Question {
    let snippets_max = u32::try_from(snippets_max).unwrap_or(u32::MAX);
    Question::Docs { text: text.to_owned(), tokens_max, snippets_max }
}

/// The snippets chosen, as far as they fit with their marks.
fn answered(
    bundle: &Bundle,
    chosen: &[Ranked],
    tokens_max: u32,
    marks: fn(&FoundSnippet) -> u32,
) -> Result<Vec<FoundSnippet>, SearchError> {
    let mut reader = Reader::new(bundle);
    let mut snippets = Vec::with_capacity(chosen.len());
    let mut spent = 0_u32;
    for ranked in chosen {
        let found = reader.found(ranked.snippet, ranked.score)?;
        spent = spent.saturating_add(found.snippet.tokens).saturating_add(marks(&found));
        if spent > tokens_max && !snippets.is_empty() {
            break;
        }
        snippets.push(found);
    }
    Ok(snippets)
}

/// Reads snippets, and each of their pages once.
pub(super) struct Reader<'a> {
    bundle: &'a Bundle,
    pages: Vec<(u32, Arc<Page>)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bundle: &'a Bundle) -> Self {
        Self { bundle, pages: Vec::new() }
    }

    /// A snippet with its page and its links.
    pub(super) fn found(&mut self, index: SnippetIndex, score: f32) -> Result<FoundSnippet, SearchError> {
        let snippet = self.bundle.snippet(index)?;
        let page = self.page(snippet.page)?;
        let url = match snippet.anchors.first() {
            Some(anchor) if !page.url.is_empty() => [&page.url, "#", anchor].concat(),
            _ => page.url.clone(),
        };
        let facts = self.bundle.facts(index)?;
        let count = || u32::try_from(StaticTable::builtin().count_tokens(&url)).unwrap_or(u32::MAX);
        let url_tokens = self.bundle.link_tokens(index, count);
        Ok(FoundSnippet { id: facts.id, labels: facts.labels, score, snippet, page, url, url_tokens })
    }

    fn page(&mut self, index: u32) -> Result<Arc<Page>, SearchError> {
        if let Some((_, page)) = self.pages.iter().find(|(known, _)| *known == index) {
            return Ok(Arc::clone(page));
        }
        let page = Arc::new(self.bundle.page(index)?);
        self.pages.push((index, Arc::clone(&page)));
        Ok(page)
    }
}
