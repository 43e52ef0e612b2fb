//! The two tools as agents see them: names, words, schemas; what a caller needs for each; and the arguments they may send,
//! with the other names that clients and prompt files still use.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};
use twinmcp_storage::scope::Scope;

/// The tool that answers questions.
pub(crate) const QUERY_DOCS: &str = "query-docs";
/// The tool that finds libraries.
pub(crate) const RESOLVE_LIBRARY_ID: &str = "resolve-library-id";
/// What `query-docs` was called until the end of 2025; still accepted, not listed.
const GET_LIBRARY_DOCS: &str = "get-library-docs";
/// What the old tool answered when it was asked about nothing in particular.
const NO_TOPIC: &str = "overview getting started";

const RESOLVE_DESCRIPTION: &str = "Finds the ID of a library whose documentation is indexed here, from its name.\n\n\
    Call this before `query-docs`, unless the user gave an ID of the form `/org/name` or `/org/name/version`.\n\n\
    Choose among the results by how exactly the name matches, what the description says, how many snippets there are \
    and the reputation of the source. When the user named a version that is listed, append it to the ID. If nothing \
    fits, say so instead of guessing.\n\n\
    Call it at most 3 times for one question. Put nothing confidential into the arguments.";

const QUERY_DESCRIPTION: &str = "Answers a question from the documentation of one library version, with examples \
    and links to the exact page.\n\n\
    Needs an ID from `resolve-library-id`, unless the user gave one: `/org/name`, or `/org/name/version` for an exact \
    version. The answer ends with the version it is from; do not present it as another version's.\n\n\
    Ask about one thing a call, in a full question. Call it at most 3 times for one question. Put nothing \
    confidential into the arguments.";

/// One tool: what agents see of it, and what its callers may do at least.
struct Definition {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    scope: Scope,
    schema: fn() -> Value,
}

/// All of them, by name.
const TOOLS: [&Definition; 2] = [&QUERY, &RESOLVE];

const QUERY: Definition = Definition {
    name: QUERY_DOCS,
    title: "Query Documentation",
    description: QUERY_DESCRIPTION,
    scope: Scope::DocsRead,
    schema: || {
        json!({
            "type": "object",
            "properties": {
                "libraryId": {
                    "type": "string",
                    "description": "Library ID, e.g. `/crates/tokio`, or with an exact version `/crates/tokio/1.48.0`."
                },
                "query": { "type": "string", "description": "What to find out, as a full question about one thing." },
                "tokens": { "type": "integer", "description": "Most tokens the answer may have; leave out for the default." }
            },
            "required": ["libraryId", "query"]
        })
    },
};

const RESOLVE: Definition = Definition {
    name: RESOLVE_LIBRARY_ID,
    title: "Resolve TwinMCP Library ID",
    description: RESOLVE_DESCRIPTION,
    scope: Scope::DocsRead,
    schema: || {
        json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "The user's question or task; helps to choose among equals." },
                "libraryName": { "type": "string", "description": "Name of the library to find, e.g. `tokio`." }
            },
            "required": ["query", "libraryName"]
        })
    },
};

/// The tools, by name.
pub(crate) fn list() -> Vec<Tool> {
    TOOLS.iter().map(|definition| definition.tool()).collect()
}

/// The tool of this name, also of an old one.
pub(crate) fn get(name: &str) -> Option<Tool> {
    Definition::find(name).map(Definition::tool)
}

/// What callers of the tool of this name may do at least.
pub(super) fn scope_of(name: &str) -> Option<Scope> {
    Definition::find(name).map(|definition| definition.scope)
}

impl Definition {
    fn find(name: &str) -> Option<&'static Self> {
        let name = if name == GET_LIBRARY_DOCS { QUERY_DOCS } else { name };
        TOOLS.into_iter().find(|definition| definition.name == name)
    }

    fn tool(&self) -> Tool {
        let schema = match (self.schema)() {
            Value::Object(schema) => schema,
            _ => JsonObject::new(),
        };
        let title = Some(self.title.to_owned());
        let annotations = ToolAnnotations::from_raw(title, Some(true), Some(false), Some(true), Some(true));
        Tool::new(self.name, self.description, Arc::new(schema))
            .with_title(self.title)
            .with_annotations(annotations)
    }
}

/// One call of a tool, with its arguments in their right names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Resolve { name: String, query: String },
    Query { library: String, query: String, tokens: Option<u32> },
}

impl Call {
    /// Reads a call; the error names the tool that is not there, or the argument that is missing or mistyped.
    pub(crate) fn parse(tool: &str, arguments: &JsonObject) -> Result<Self, ErrorData> {
        match tool {
            RESOLVE_LIBRARY_ID => Ok(Self::Resolve {
                name: required(tool, arguments, &["libraryName"])?,
                query: required(tool, arguments, &["query", "userQuery", "question"])?,
            }),
            QUERY_DOCS => Ok(Self::Query {
                library: library(tool, arguments)?,
                query: required(tool, arguments, &["query", "userQuery", "question"])?,
                tokens: tokens(tool, arguments)?,
            }),
            GET_LIBRARY_DOCS => Ok(Self::Query {
                library: library(tool, arguments)?,
                query: text(tool, arguments, &["query", "topic"])?.unwrap_or_else(|| NO_TOPIC.to_owned()),
                tokens: tokens(tool, arguments)?,
            }),
            _ => {
                let message =
                    format!("there is no tool `{tool}`; there are {QUERY_DOCS} and {RESOLVE_LIBRARY_ID}");
                Err(ErrorData::invalid_params(message, None))
            }
        }
    }

    /// The tool's name, for metrics.
    pub(crate) fn tool(&self) -> &'static str {
        self.definition().name
    }

    /// What the caller may do at least.
    pub(super) fn scope(&self) -> Scope {
        self.definition().scope
    }

    fn definition(&self) -> &'static Definition {
        match self {
            Self::Resolve { .. } => &RESOLVE,
            Self::Query { .. } => &QUERY,
        }
    }
}

fn library(tool: &str, arguments: &JsonObject) -> Result<String, ErrorData> {
    required(tool, arguments, &["libraryId", "context7CompatibleLibraryID", "libraryID", "libraryName"])
}

/// The first of `names` that is there: the right name first, then the others in their order.
fn required(tool: &str, arguments: &JsonObject, names: &[&str]) -> Result<String, ErrorData> {
    let missing = || {
        let name = names.first().copied().unwrap_or_default();
        ErrorData::invalid_params(format!("`{tool}` needs the argument `{name}`, a string"), None)
    };
    text(tool, arguments, names)?.ok_or_else(missing)
}

fn text(tool: &str, arguments: &JsonObject, names: &[&str]) -> Result<Option<String>, ErrorData> {
    let found = names.iter().find_map(|name| Some((name, arguments.get(*name)?)));
    match found {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text.clone())),
        Some((name, _)) => Err(ErrorData::invalid_params(
            format!("the argument `{name}` of `{tool}` must be a string"),
            None,
        )),
    }
}

/// A whole number, also as text, as some clients send every argument.
fn tokens(tool: &str, arguments: &JsonObject) -> Result<Option<u32>, ErrorData> {
    let number = match arguments.get("tokens") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64().or(number.as_f64().map(|number| number as u64)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let number = number.filter(|number| *number > 0).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let wrong = || {
        ErrorData::invalid_params(
            format!("the argument `tokens` of `{tool}` must be a whole number above 0"),
            None,
        )
    };
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tool: &str, arguments: Value) -> Result<Call, ErrorData> {
        let Value::Object(arguments) = arguments else { panic!("no object") };
        Call::parse(tool, &arguments)
    }

    fn query(library: &str, query: &str, tokens: Option<u32>) -> Call {
        Call::Query { library: library.to_owned(), query: query.to_owned(), tokens }
    }

    #[test]
    fn other_names_of_arguments_are_understood_and_the_right_one_wins() {
        for (tool, arguments, expected) in [
            (QUERY_DOCS, json!({ "libraryId": "/a/b", "query": "q" }), query("/a/b", "q", None)),
            (QUERY_DOCS, json!({ "libraryID": "/a/b", "question": "q" }), query("/a/b", "q", None)),
            (
                QUERY_DOCS,
                json!({ "context7CompatibleLibraryID": "/a/b", "userQuery": "q" }),
                query("/a/b", "q", None),
            ),
            (
                QUERY_DOCS,
                json!({ "libraryName": "/x/y", "libraryId": "/a/b", "query": "q" }),
                query("/a/b", "q", None),
            ),
            (
                QUERY_DOCS,
                json!({ "libraryId": "/a/b", "query": "q", "tokens": "900" }),
                query("/a/b", "q", Some(900)),
            ),
            (
                GET_LIBRARY_DOCS,
                json!({ "context7CompatibleLibraryID": "/a/b", "topic": "hooks", "page": 2 }),
                query("/a/b", "hooks", None),
            ),
            (
                GET_LIBRARY_DOCS,
                json!({ "context7CompatibleLibraryID": "/a/b" }),
                query("/a/b", NO_TOPIC, None),
            ),
        ] {
            assert_eq!(parse(tool, arguments.clone()).unwrap(), expected, "{arguments}");
        }
        let expected = Call::Resolve { name: "tokio".to_owned(), query: "q".to_owned() };
        assert_eq!(
            parse(RESOLVE_LIBRARY_ID, json!({ "libraryName": "tokio", "userQuery": "q" })).unwrap(),
            expected
        );
    }

    #[test]
    fn a_missing_or_mistyped_argument_is_named() {
        for (tool, arguments, named) in [
            (QUERY_DOCS, json!({ "query": "q" }), "`libraryId`"),
            (QUERY_DOCS, json!({ "libraryId": "/a/b" }), "`query`"),
            (QUERY_DOCS, json!({ "libraryId": 1, "query": "q" }), "`libraryId`"),
            (QUERY_DOCS, json!({ "libraryId": "/a/b", "query": "q", "tokens": -1 }), "`tokens`"),
            (RESOLVE_LIBRARY_ID, json!({ "query": "q" }), "`libraryName`"),
            ("fly", json!({}), "`fly`"),
        ] {
            let error = parse(tool, arguments.clone()).unwrap_err();
            assert!(error.message.contains(named), "{arguments}: {}", error.message);
        }
    }

    #[test]
    fn schemas_are_plain_objects_and_tools_say_that_they_only_read() {
        for tool in list() {
            assert_eq!(tool.input_schema["type"], "object");
            for property in tool.input_schema["properties"].as_object().unwrap().values() {
                assert!(matches!(property["type"].as_str(), Some("string" | "integer")), "{property}");
            }
            let annotations = tool.annotations.unwrap();
            assert_eq!(annotations.read_only_hint, Some(true));
            assert_eq!(annotations.destructive_hint, Some(false));
            assert_eq!(annotations.open_world_hint, Some(true));
            assert_eq!(annotations.idempotent_hint, Some(true));
        }
    }
}
