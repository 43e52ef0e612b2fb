//! Answers from this node's own index.

use poem::http::request::Parts;
use rmcp::model::Extensions;

use super::server::{Answer, Backend};
use super::tool::Call;
use crate::api::{ApiError, Tools, docs_text, libraries_text};
use crate::http::Identity;

#[derive(Clone)]
pub(super) struct Local {
    tools: Tools,
}

impl Local {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools }
    }

    async fn answer(&self, call: Call, extensions: &Extensions) -> Result<String, ApiError> {
        identity(extensions).reader()?;
        match call {
            Call::Resolve { name, query } => Ok(libraries_text(&self.tools.resolve(&name, &query)?)),
            Call::Query { library, query, tokens } => {
                Ok(docs_text(&self.tools.docs(&library, &query, tokens).await?))
            }
        }
    }
}

/// Who calls: what the front put into the HTTP request, which rmcp carries along.
pub(super) fn identity(extensions: &Extensions) -> Identity {
    let nobody = Identity { caller: None, anonymous_reads: false };
    extensions.get::<Parts>().map_or(nobody, |parts| Identity::of(&parts.extensions))
}

impl Backend for Local {
    async fn call(&self, call: Call, extensions: &Extensions) -> Answer {
        match self.answer(call, extensions).await {
            Ok(text) => Answer { text, error: None },
            Err(error) => Answer { text: error.to_string(), error: Some(error.code()) },
        }
    }
}
