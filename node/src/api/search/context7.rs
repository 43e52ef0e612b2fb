//! Context7's REST v2, to the byte where its clients look.

use poem_openapi::param::Query;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent};
use twinmcp_actors::search::{Docs, FoundSnippet, LibrarySummary};
use twinmcp_storage::bundle::Block;

use super::super::Tag;
use super::super::answer;
use super::super::error::ApiError;
use super::super::problem::Context7Error;
use super::super::tools::Tools;
use super::state;
use crate::http::Reader;

/// A library as Context7 describes it; -1 stands for unknown.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Context7Library {
    /// What `libraryId` takes.
    id: String,
    /// Name for people.
    title: String,
    /// One or two sentences.
    description: String,
    /// Branch the documentation was read from; empty when it came from no repository.
    branch: String,
    /// When the library last changed, RFC 3339.
    last_update_date: String,
    /// `finalized`: it answers; `initial`: it is known by name, and its documentation is not indexed yet.
    state: String,
    /// Tokens of the current version.
    total_tokens: i64,
    /// Snippets of the current version.
    total_snippets: i64,
    /// Stars of the repository; always -1.
    stars: i64,
    /// How far the operator trusts the source, 0 to 10.
    trust_score: f64,
    /// Measured quality of answers, 0 to 100; always -1.
    benchmark_score: f64,
    /// Versions that answer, the newest first; of a library that is not indexed, those it is known to have.
    versions: Vec<String>,
    /// Where its source lives.
    #[oai(skip_serializing_if_is_none)]
    source: Option<String>,
}

impl From<&LibrarySummary> for Context7Library {
    fn from(library: &LibrarySummary) -> Self {
        let known = |number: u64| match library.current {
            Some(_) => i64::try_from(number).unwrap_or(i64::MAX),
            None => -1,
        };
        Self {
            id: library.id.to_string(),
            title: library.title.clone(),
            description: library.description.clone(),
            branch: String::new(),
            last_update_date: library.updated_at.to_string(),
            state: state(library).to_owned(),
            total_tokens: known(library.tokens),
            total_snippets: known(library.snippets.into()),
            stars: -1,
            trust_score: library.trust_tenths.map_or(-1.0, |tenths| f64::from(tenths) / 10.0),
            benchmark_score: -1.0,
            versions: library.versions.iter().map(ToString::to_string).collect(),
            source: library.source_url.clone(),
        }
    }
}

impl Example for Context7Library {
    fn example() -> Self {
        Self {
            id: "/python/cpython".to_owned(),
            title: "Python".to_owned(),
            description: "The Python programming language and its standard library.".to_owned(),
            branch: String::new(),
            last_update_date: "2026-11-23T12:46:10.123Z".to_owned(),
            state: "finalized".to_owned(),
            total_tokens: 1_204_331,
            total_snippets: 6_621,
            stars: -1,
            trust_score: 9.0,
            benchmark_score: -1.0,
            versions: vec!["v3.12".to_owned(), "v3.11".to_owned()],
            source: Some("https://github.com/python/cpython".to_owned()),
        }
    }
}

/// Libraries that match, best first.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Context7Search {
    /// The libraries; empty when none matches.
    results: Vec<Context7Library>,
    /// Whether a policy kept libraries out of the answer; always false.
    search_filter_applied: bool,
}

impl Example for Context7Search {
    fn example() -> Self {
        Self { results: vec![Context7Library::example()], search_filter_applied: false }
    }
}

/// One code block.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct Code {
    /// Language tag; empty when the documentation names none.
    language: String,
    /// The code.
    code: String,
}

impl Example for Code {
    fn example() -> Self {
        Self { language: "python".to_owned(), code: "json.dumps({\"a\": 1})".to_owned() }
    }
}

/// A snippet with code.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct CodeSnippet {
    /// Headings down to the snippet.
    code_title: String,
    /// The text around the code.
    code_description: String,
    /// Language of the first code block.
    code_language: String,
    /// Tokens of the snippet.
    code_tokens: u32,
    /// Link to page and anchor.
    code_id: String,
    /// Title of the page.
    page_title: String,
    /// The code blocks, in the order of the page.
    code_list: Vec<Code>,
    /// What the scan at indexing found suspicious, where it found something: `instruction_override`,
    /// `role_marker`, `tool_call`, `exfiltration`, `remote_command`, `concealment`, `hidden_text` or
    /// `encoded_text`. Our extension.
    #[oai(skip_serializing_if_is_none)]
    labels: Option<Vec<String>>,
}

impl Example for CodeSnippet {
    fn example() -> Self {
        Self {
            code_title: "json > json.dumps".to_owned(),
            code_description: "Serializes an object to a JSON string.".to_owned(),
            code_language: "python".to_owned(),
            code_tokens: 96,
            code_id: "https://docs.example.com/library/json.html#json.dumps".to_owned(),
            page_title: "json: JSON encoder and decoder".to_owned(),
            code_list: vec![Code::example()],
            labels: None,
        }
    }
}

/// A snippet without code.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct InfoSnippet {
    /// Link to page and anchor.
    page_id: String,
    /// Headings down to the snippet.
    breadcrumb: String,
    /// The text.
    content: String,
    /// Tokens of the snippet.
    content_tokens: u32,
    /// As in `codeSnippets`. Our extension.
    #[oai(skip_serializing_if_is_none)]
    labels: Option<Vec<String>>,
}

impl Example for InfoSnippet {
    fn example() -> Self {
        Self {
            page_id: "https://docs.example.com/library/json.html#notes".to_owned(),
            breadcrumb: "json > Notes".to_owned(),
            content: "Keys of objects are always strings.".to_owned(),
            content_tokens: 41,
            labels: None,
        }
    }
}

/// Hints for agents about a library.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Rules {
    /// The operator's, for every library.
    global: Vec<String>,
    /// The library's own, from its `context7.json`.
    library_own: Vec<String>,
    /// A team's.
    library_team: Vec<String>,
}

impl Example for Rules {
    fn example() -> Self {
        Self {
            global: Vec::new(),
            library_own: vec!["Use the `json` module, not `simplejson`.".to_owned()],
            library_team: Vec::new(),
        }
    }
}

/// Snippets that answer a question, code and text apart, each in rank order.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Context7Docs {
    /// Snippets with code.
    code_snippets: Vec<CodeSnippet>,
    /// Snippets without code.
    info_snippets: Vec<InfoSnippet>,
    /// Hints for agents, where the library has some.
    #[oai(skip_serializing_if_is_none)]
    rules: Option<Rules>,
}

impl Example for Context7Docs {
    fn example() -> Self {
        Self {
            code_snippets: vec![CodeSnippet::example()],
            info_snippets: vec![InfoSnippet::example()],
            rules: Some(Rules::example()),
        }
    }
}

impl From<&Docs> for Context7Docs {
    fn from(docs: &Docs) -> Self {
        let (code, info): (Vec<&FoundSnippet>, Vec<&FoundSnippet>) =
            docs.snippets.iter().partition(|found| found.snippet.has_code());
        let rules = (!docs.rules.is_empty()).then(|| Rules {
            global: Vec::new(),
            library_own: docs.rules.clone(),
            library_team: Vec::new(),
        });
        Self {
            code_snippets: code.into_iter().map(CodeSnippet::from).collect(),
            info_snippets: info.into_iter().map(InfoSnippet::from).collect(),
            rules,
        }
    }
}

impl From<&FoundSnippet> for CodeSnippet {
    fn from(found: &FoundSnippet) -> Self {
        let code_list: Vec<Code> = found
            .snippet
            .blocks
            .iter()
            .filter_map(|block| match block {
                Block::Code { language, code } => {
                    Some(Code { language: language.clone(), code: code.clone() })
                }
                Block::Prose(_) => None,
            })
            .collect();
        Self {
            code_title: answer::title(found),
            code_description: prose(found),
            code_language: code_list.first().map(|code| code.language.clone()).unwrap_or_default(),
            code_tokens: found.snippet.tokens,
            code_id: found.url.clone(),
            page_title: found.page.title.clone(),
            code_list,
            labels: labels(found),
        }
    }
}

impl From<&FoundSnippet> for InfoSnippet {
    fn from(found: &FoundSnippet) -> Self {
        Self {
            page_id: found.url.clone(),
            breadcrumb: answer::title(found),
            content: prose(found),
            content_tokens: found.snippet.tokens,
            labels: labels(found),
        }
    }
}

/// Unlabelled snippets have Context7's fields alone.
fn labels(found: &FoundSnippet) -> Option<Vec<String>> {
    (!found.labels.is_empty()).then(|| answer::labels(found))
}

fn prose(found: &FoundSnippet) -> String {
    let blocks = found.snippet.blocks.iter();
    let prose: Vec<&str> = blocks
        .filter_map(|block| match block {
            Block::Prose(prose) => Some(prose.trim()),
            Block::Code { .. } => None,
        })
        .collect();
    prose.join("\n\n")
}

#[derive(ResponseContent)]
pub(crate) enum DocsContent {
    #[oai(content_type = "text/plain; charset=utf-8")]
    Text(PlainText<String>),
    #[oai(content_type = "application/json")]
    Json(Json<Context7Docs>),
}

#[derive(ApiResponse)]
pub(crate) enum DocsAnswer {
    /// The snippets, as text or JSON.
    #[oai(status = 200)]
    Found(
        DocsContent,
        /// Version that answered.
        #[oai(header = "X-TwinMCP-Version")]
        String,
        /// When that version was indexed, RFC 3339.
        #[oai(header = "X-TwinMCP-Indexed-At")]
        String,
    ),
}

/// Context7's REST v2.
pub(crate) struct Context7Api {
    pub(crate) tools: Tools,
}

#[OpenApi(prefix_path = "/api/v2", tag = "Tag::Context7")]
impl Context7Api {
    /// Finds libraries by name.
    ///
    /// Names, aliases and descriptions are searched, forgiving typing errors; the best match comes first.
    /// Compatible with Context7's `GET /v2/libs/search`.
    #[oai(path = "/libs/search", method = "get", operation_id = "context7_search_libraries")]
    async fn search(
        &self,
        reader: Reader,
        /// Name to look for, 1 to 500 characters.
        #[oai(name = "libraryName", example = "library_name_example")]
        library_name: Query<Option<String>>,
        /// What the library is needed for, up to 500 characters; helps to choose among equals.
        #[oai(example = "query_example")]
        query: Query<Option<String>>,
        /// Accepted for compatibility; every search is fast.
        #[oai(example = "fast_example")]
        fast: Query<Option<String>>,
    ) -> Result<Json<Context7Search>, Context7Error> {
        check_flag(fast.0.as_deref())?;
        let name = library_name.0.unwrap_or_default();
        let matches = self.tools.resolve(&name, query.0.as_deref().unwrap_or_default(), &reader)?;
        let results = matches.iter().map(|found| Context7Library::from(&*found.library)).collect();
        Ok(Json(Context7Search { results, search_filter_applied: false }))
    }

    /// Answers a question from a library's documentation.
    ///
    /// The snippets come in rank order, cut to `tokens`. As text (the default) they are separated by a line of
    /// 32 dashes, and the last one ends with the version and the date of the index; both also stand in headers.
    /// Compatible with Context7's `GET /v2/context`.
    #[oai(path = "/context", method = "get", operation_id = "context7_get_context")]
    async fn context(
        &self,
        reader: Reader,
        /// Library, with or without a version: `/org/name`, `/org/name/v1.2` or `/org/name@v1.2`.
        #[oai(name = "libraryId", example = "library_id_example")]
        library_id: Query<Option<String>>,
        /// The question, 1 to 500 characters.
        #[oai(example = "query_example")]
        query: Query<Option<String>>,
        /// `txt` (the default) or `json`.
        #[oai(name = "type", example = "type_example")]
        kind: Query<Option<String>>,
        /// Most tokens the answer may have; the node has a default and a maximum. Our extension.
        #[oai(example = "tokens_example")]
        tokens: Query<Option<u32>>,
        /// Accepted for compatibility; every search is fast.
        #[oai(example = "fast_example")]
        fast: Query<Option<String>>,
    ) -> Result<DocsAnswer, Context7Error> {
        check_flag(fast.0.as_deref())?;
        let as_json = match kind.0.as_deref() {
            None | Some("" | "txt") => false,
            Some("json") => true,
            Some(_) => return Err(ApiError::bad_request("`type` must be `txt` or `json`.").into()),
        };
        let (id, query) = (library_id.0.unwrap_or_default(), query.0.unwrap_or_default());
        let docs = self.tools.docs(&id, &query, tokens.0, &reader).await?;
        let content = if as_json {
            DocsContent::Json(Json(Context7Docs::from(&docs)))
        } else {
            DocsContent::Text(PlainText(answer::docs_text(&docs)))
        };
        Ok(DocsAnswer::Found(content, docs.version.to_string(), docs.indexed_at.to_string()))
    }
}

fn check_flag(value: Option<&str>) -> Result<(), ApiError> {
    match value {
        None | Some("" | "true" | "false") => Ok(()),
        Some(_) => Err(ApiError::bad_request("`fast` must be `true` or `false`.")),
    }
}

fn library_name_example() -> Option<String> {
    Some("python".to_owned())
}

fn query_example() -> Option<String> {
    Some("serialize an object to JSON".to_owned())
}

fn library_id_example() -> Option<String> {
    Some("/python/cpython".to_owned())
}

fn type_example() -> Option<String> {
    Some("json".to_owned())
}

fn tokens_example() -> Option<u32> {
    Some(3000)
}

fn fast_example() -> Option<String> {
    Some("true".to_owned())
}
