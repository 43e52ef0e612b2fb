//! The two tools as typed JSON, with scores, reasons, links and anchors.

use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use twinmcp_actors::search::{FoundSnippet, LibraryMatch};
use twinmcp_storage::bundle::Block;

use super::super::Tag;
use super::super::answer;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::super::tools::Tools;
use super::state;
use crate::http::Reader;

/// Arguments of `resolve-library-id`.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct ResolveRequest {
    /// Name to look for.
    #[oai(validator(min_length = 1, max_length = 500))]
    library_name: String,
    /// What the library is needed for.
    #[oai(default, validator(max_length = 500))]
    query: String,
}

impl Example for ResolveRequest {
    fn example() -> Self {
        Self { library_name: "python".to_owned(), query: "serialize an object to JSON".to_owned() }
    }
}

/// A library that matches, and why.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct ResolvedLibrary {
    /// What `libraryId` takes.
    id: String,
    /// Name for people.
    title: String,
    /// One or two sentences.
    description: String,
    /// How well it matches; only comparable within one answer.
    score: f32,
    /// Why it is in the answer.
    reasons: Vec<String>,
    /// `finalized`: it answers; `initial`: its first index is not there yet.
    state: String,
    /// The version that answers when none is named.
    #[oai(skip_serializing_if_is_none)]
    current_version: Option<String>,
    /// Versions that answer, the newest first.
    versions: Vec<String>,
    /// Snippets of the current version.
    snippets: u32,
    /// Tokens of the current version.
    tokens: u64,
    /// Pages of the current version.
    pages: u32,
    /// How far the operator trusts the source, 0 to 10.
    #[oai(skip_serializing_if_is_none)]
    trust: Option<f64>,
    /// Where its source lives.
    #[oai(skip_serializing_if_is_none)]
    source_url: Option<String>,
    /// When the library last changed, RFC 3339.
    updated_at: String,
}

impl From<&LibraryMatch> for ResolvedLibrary {
    fn from(found: &LibraryMatch) -> Self {
        let library = &found.library;
        Self {
            id: library.id.to_string(),
            title: library.title.clone(),
            description: library.description.clone(),
            score: found.score,
            reasons: found.reasons.iter().map(ToString::to_string).collect(),
            state: state(library).to_owned(),
            current_version: library.current.as_ref().map(ToString::to_string),
            versions: library.versions.iter().map(ToString::to_string).collect(),
            snippets: library.snippets,
            tokens: library.tokens,
            pages: library.pages,
            trust: library.trust_tenths.map(|tenths| f64::from(tenths) / 10.0),
            source_url: library.source_url.clone(),
            updated_at: library.updated_at.to_string(),
        }
    }
}

impl Example for ResolvedLibrary {
    fn example() -> Self {
        Self {
            id: "/python/cpython".to_owned(),
            title: "Python".to_owned(),
            description: "The Python programming language and its standard library.".to_owned(),
            score: 0.97,
            reasons: vec!["exact title".to_owned(), "6621 snippets indexed".to_owned()],
            state: "finalized".to_owned(),
            current_version: Some("v3.12".to_owned()),
            versions: vec!["v3.12".to_owned(), "v3.11".to_owned()],
            snippets: 6_621,
            tokens: 1_204_331,
            pages: 493,
            trust: Some(9.0),
            source_url: Some("https://github.com/python/cpython".to_owned()),
            updated_at: "2026-11-23T12:46:10.123Z".to_owned(),
        }
    }
}

/// Answer of `resolve-library-id`.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct Resolved {
    /// Libraries that match, best first.
    libraries: Vec<ResolvedLibrary>,
    /// The same as an agent reads it.
    text: String,
}

impl Example for Resolved {
    fn example() -> Self {
        let text = "Available Libraries:\n\n- Title: Python\n- Context7-compatible library ID: /python/cpython\n\
                    - Description: The Python programming language and its standard library.\n\
                    - Code Snippets: 6621\n- Source Reputation: High\n- Versions: v3.12, v3.11";
        Self { libraries: vec![ResolvedLibrary::example()], text: text.to_owned() }
    }
}

/// Arguments of `query-docs`.
#[derive(Debug, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct QueryRequest {
    /// Library, with or without a version: `/org/name`, `/org/name/v1.2` or `/org/name@v1.2`.
    #[oai(validator(min_length = 1, max_length = 500))]
    library_id: String,
    /// The question.
    #[oai(validator(min_length = 1, max_length = 500))]
    query: String,
    /// Most tokens the answer may have; the node has a default and a maximum.
    #[oai(default, validator(minimum(value = "1")))]
    tokens: Option<u32>,
}

impl Example for QueryRequest {
    fn example() -> Self {
        Self {
            library_id: "/python/cpython/v3.11".to_owned(),
            query: "serialize an object to JSON".to_owned(),
            tokens: Some(3000),
        }
    }
}

/// One stretch of a snippet.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct SnippetBlock {
    /// `prose` (Markdown) or `code`.
    kind: String,
    /// Language tag of code, where the documentation names one.
    #[oai(skip_serializing_if_is_none)]
    language: Option<String>,
    /// The text or the code.
    text: String,
}

impl From<&Block> for SnippetBlock {
    fn from(block: &Block) -> Self {
        match block {
            Block::Prose(prose) => Self { kind: "prose".to_owned(), language: None, text: prose.clone() },
            Block::Code { language, code } => Self {
                kind: "code".to_owned(),
                language: (!language.is_empty()).then(|| language.clone()),
                text: code.clone(),
            },
        }
    }
}

impl Example for SnippetBlock {
    fn example() -> Self {
        let text = "json.dumps({\"a\": 1})".to_owned();
        Self { kind: "code".to_owned(), language: Some("python".to_owned()), text }
    }
}

/// A passage that answers.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct RankedSnippet {
    /// Stable across builds of the same version.
    id: String,
    /// How well it answers; only comparable within one answer.
    score: f32,
    /// Headings from the page down to the snippet.
    heading_path: Vec<String>,
    /// Link to page and anchor.
    url: String,
    /// Title of the page.
    page_title: String,
    /// Where the page lies inside its source.
    page_path: String,
    /// Link to the page.
    page_url: String,
    /// Anchors the snippet covers, in the order of the page.
    anchors: Vec<String>,
    /// Prose and code in the order of the page.
    blocks: Vec<SnippetBlock>,
    /// Tokens of headings and blocks.
    tokens: u32,
    /// What the scan at indexing found suspicious; mostly nothing. `instruction_override`, `role_marker`,
    /// `tool_call`, `exfiltration`, `remote_command`, `concealment`, `hidden_text` or `encoded_text`.
    labels: Vec<String>,
}

impl From<&FoundSnippet> for RankedSnippet {
    fn from(found: &FoundSnippet) -> Self {
        Self {
            id: found.id.to_string(),
            score: found.score,
            heading_path: found.snippet.heading_path.clone(),
            url: found.url.clone(),
            page_title: found.page.title.clone(),
            page_path: found.page.path.clone(),
            page_url: found.page.url.clone(),
            anchors: found.snippet.anchors.clone(),
            blocks: found.snippet.blocks.iter().map(SnippetBlock::from).collect(),
            tokens: found.snippet.tokens,
            labels: answer::labels(found),
        }
    }
}

impl Example for RankedSnippet {
    fn example() -> Self {
        Self {
            id: "9f86d081884c7d65".to_owned(),
            score: 0.91,
            heading_path: vec!["json".to_owned(), "json.dumps".to_owned()],
            url: "https://docs.example.com/library/json.html#json.dumps".to_owned(),
            page_title: "json: JSON encoder and decoder".to_owned(),
            page_path: "library/json.html".to_owned(),
            page_url: "https://docs.example.com/library/json.html".to_owned(),
            anchors: vec!["json.dumps".to_owned()],
            blocks: vec![SnippetBlock::example()],
            tokens: 96,
            labels: Vec::new(),
        }
    }
}

/// Answer of `query-docs`.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Answer {
    /// The library that answers.
    library_id: String,
    /// The version that answers.
    version: String,
    /// When that version was indexed, RFC 3339.
    indexed_at: String,
    /// Where the library's source lives.
    #[oai(skip_serializing_if_is_none)]
    source_url: Option<String>,
    /// Passages in rank order.
    snippets: Vec<RankedSnippet>,
    /// Tokens of all passages.
    tokens: u32,
    /// Hints for agents that the library's own `context7.json` states.
    rules: Vec<String>,
    /// The same as an agent reads it.
    text: String,
}

impl Example for Answer {
    fn example() -> Self {
        Self {
            library_id: "/python/cpython".to_owned(),
            version: "v3.11".to_owned(),
            indexed_at: "2026-11-23T12:46:10.123Z".to_owned(),
            source_url: Some("https://github.com/python/cpython".to_owned()),
            snippets: vec![RankedSnippet::example()],
            tokens: 96,
            rules: Vec::new(),
            text:
                "### json > json.dumps\n\nSource: https://docs.example.com/library/json.html#json.dumps\n\n\
                   ```python\njson.dumps({\"a\": 1})\n```\n\n\
                   Version: v3.11 of /python/cpython · indexed 2026-11-23\n"
                    .to_owned(),
        }
    }
}

/// The two tools as typed JSON.
pub(crate) struct ToolsApi {
    pub(crate) tools: Tools,
}

#[OpenApi(prefix_path = "/api/mcp", tag = "Tag::Tools")]
impl ToolsApi {
    /// Finds libraries by name and says why.
    ///
    /// The tool `resolve-library-id` as typed JSON, with scores and reasons.
    #[oai(path = "/resolve-library-id", method = "post", operation_id = "resolve_library_id")]
    async fn resolve(
        &self,
        reader: Reader,
        asked: JsonBody<ResolveRequest>,
    ) -> Result<Json<Resolved>, ApiError> {
        let matches = self.tools.resolve(&asked.library_name, &asked.query, &reader)?;
        let text = answer::libraries_text(&matches);
        Ok(Json(Resolved { libraries: matches.iter().map(ResolvedLibrary::from).collect(), text }))
    }

    /// Answers a question from a library's documentation.
    ///
    /// The tool `query-docs` as typed JSON: passages in rank order, with scores, links and anchors.
    #[oai(path = "/query-docs", method = "post", operation_id = "query_docs")]
    async fn query(&self, reader: Reader, asked: JsonBody<QueryRequest>) -> Result<Json<Answer>, ApiError> {
        let docs = self.tools.docs(&asked.library_id, &asked.query, asked.tokens, &reader).await?;
        let text = answer::docs_text(&docs);
        Ok(Json(Answer {
            library_id: docs.library.to_string(),
            version: docs.version.to_string(),
            indexed_at: docs.indexed_at.to_string(),
            source_url: docs.source_url.clone(),
            snippets: docs.snippets.iter().map(RankedSnippet::from).collect(),
            tokens: docs.tokens,
            rules: docs.rules.clone(),
            text,
        }))
    }
}
