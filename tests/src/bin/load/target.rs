//! Who is asked, and what: the node, or a peer that has the same documentation.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use reqwest::Url;
use serde_json::json;
use twinmcp_tests::{TestNode, with_parameters};

use crate::http::Connection;

/// The revision of MCP that the peer speaks.
const PEER_REVISION: &str = "2025-06-18";
/// Snippets that the peer answers with when nobody says how many.
const PEER_SNIPPETS: u32 = 5;

/// A path, and what is sent to it.
pub(crate) type Ask = (String, Option<Bytes>);

/// What is asked of whom.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// Whose CPU time is told.
    pub(crate) pid: u32,
    pub(crate) asks: Vec<Ask>,
    who: Who,
}

enum Who {
    /// With the header `Authorization`.
    Node(String),
    /// Grounded Docs, over its MCP endpoint at this path.
    Peer(String),
}

impl Target {
    /// `query-docs` with each of `questions` in turn.
    pub(crate) fn docs(node: &TestNode, library: &str, questions: &[String]) -> Self {
        let path = |question: &String| {
            with_parameters("/api/v2/context", &[("libraryId", library), ("query", question)])
        };
        Self::node("query-docs", node, questions.iter().map(path))
    }

    /// `resolve-library-id` with each of `asked` in turn: a name, and what it is wanted for.
    pub(crate) fn resolve(node: &TestNode, asked: &[(String, String)]) -> Self {
        let path = |(name, query): &(String, String)| {
            let parameters = [("libraryName", &**name), ("query", &**query)];
            with_parameters("/api/v2/libs/search", &parameters[..if query.is_empty() { 1 } else { 2 }])
        };
        Self::node("resolve", node, asked.iter().map(path))
    }

    fn node(name: &'static str, node: &TestNode, paths: impl Iterator<Item = String>) -> Self {
        let address = node.url().strip_prefix("http://").and_then(|address| address.parse().ok());
        let address = address.expect("a node answers at an address");
        let who = Who::Node(format!("Bearer {}", node.key()));
        Self { name, address, pid: node.pid(), asks: paths.map(|path| (path, None)).collect(), who }
    }

    /// `search_docs` of a peer that runs as process `pid` and has the documentation as `library`.
    pub(crate) fn peer(url: &Url, pid: u32, library: &str, questions: &[String]) -> Result<Self, String> {
        let addresses = url.socket_addrs(|| None).map_err(|error| format!("{url}: {error}"))?;
        let address = *addresses.first().ok_or_else(|| format!("{url} has no address"))?;
        let call = |question: &String| {
            let arguments = json!({ "library": library, "query": question, "limit": PEER_SNIPPETS });
            let parameters = json!({ "name": "search_docs", "arguments": arguments });
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters });
            (url.path().to_owned(), Some(Bytes::from(call.to_string())))
        };
        let (asks, who) = (questions.iter().map(call).collect(), Who::Peer(url.path().to_owned()));
        Ok(Self { name: "peer", address, pid, asks, who })
    }

    /// What each request over this connection says of itself.
    pub(crate) async fn headers(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<(&'static str, String)>, String> {
        match &self.who {
            Who::Node(authorization) => Ok(vec![("authorization", authorization.clone())]),
            Who::Peer(path) => session(connection, path).await,
        }
    }

    /// Whether it was answered, and not told why not.
    pub(crate) fn is_answer(&self, answer: &Response<Bytes>) -> bool {
        let failed = matches!(self.who, Who::Peer(_)) && contains(answer.body(), b"\"isError\":true");
        answer.status() == StatusCode::OK && !failed
    }
}

/// Begins a session of MCP, for peers that keep one.
async fn session(connection: &mut Connection, path: &str) -> Result<Vec<(&'static str, String)>, String> {
    let kinds = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let client = json!({ "name": "load", "version": "1" });
    let parameters = json!({ "protocolVersion": PEER_REVISION, "capabilities": {}, "clientInfo": client });
    let begin = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": parameters });
    let answer = connection.send(path, &kinds, Some(begin.to_string().into())).await?;
    if answer.status() != StatusCode::OK {
        let said = String::from_utf8_lossy(answer.body()).into_owned();
        return Err(format!("the peer refused to begin a session: {}: {said}", answer.status()));
    }
    let mut headers: Vec<_> = kinds.map(|(name, value)| (name, value.to_owned())).into();
    headers.push(("mcp-protocol-version", PEER_REVISION.to_owned()));
    if let Some(id) = answer.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()) {
        headers.push(("mcp-session-id", id.to_owned()));
    }
    Ok(headers)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
