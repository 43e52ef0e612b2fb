//! Answers from this node's own index.

use poem::http::request::Parts;
use rmcp::model::{Extensions, Implementation};
use twinmcp_actors::usage::{Asker, Client};

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
        let identity = identity(extensions);
        // The endpoint has read the message for this before; this is what the call was taken for.
        identity.may(call.scope())?;
        let reader = identity.reader()?;
        let asker = asker(reader.asker, extensions);
        let reader = reader.counted_as(asker);
        match call {
            Call::Resolve { name, query } => Ok(libraries_text(&self.tools.resolve(&name, &query, &reader)?)),
            Call::Query { library, query, tokens } => {
                Ok(docs_text(&self.tools.docs(&library, &query, tokens, &reader).await?))
            }
        }
    }
}

/// Who calls: what the front put into the HTTP request, which rmcp carries along.
pub(super) fn identity(extensions: &Extensions) -> Identity {
    extensions.get::<Parts>().map_or_else(Identity::nobody, |parts| Identity::of(&parts.extensions))
}

/// Who asks: the program that a request of the protocol names says more than a header.
fn asker(asker: Asker, extensions: &Extensions) -> Asker {
    let named = extensions.get::<Implementation>().map(|client| Client::of(&client.name));
    named.filter(|client| *client != Client::OTHER).map_or(asker, |client| asker.with_client(client))
}

impl Backend for Local {
    async fn call(&self, call: Call, extensions: &Extensions) -> Answer {
        match self.answer(call, extensions).await {
            Ok(text) => Answer { text, error: None },
            Err(error) => Answer { text: error.to_string(), error: Some(error.code()) },
        }
    }
}
