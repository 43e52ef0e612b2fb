//! What a request brings: ids, addresses, headers, traces, tool calls; what is signed for nodes; and the configuration file.

use serde_json::Value;
use twinmcp::Config;
use twinmcp_cluster::{JoinToken, RouteVerifier};
use twinmcp_storage::accounts::Email;
use twinmcp_storage::ids::{LibraryId, LibraryRef, Version};

pub(crate) fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(library) = text.parse::<LibraryId>() {
        assert_eq!(format!("/{}/{}", library.owner(), library.name()), library.as_str());
    }
    if let Ok(library) = text.parse::<LibraryRef>() {
        assert_eq!(library.to_string().parse::<LibraryRef>().ok(), Some(library));
    }
    let _ = text.parse::<Version>();
    if let Ok(email) = text.parse::<Email>() {
        assert_eq!(email.to_string().parse::<Email>().ok(), Some(email));
    }
    let _ = (text.parse::<JoinToken>(), RouteVerifier::default().verify(&text, &[text.to_string()]));
    twinmcp_actors::fuzzing::key(&text);
}

/// Lines of `name: value`, as the guard of hosts and origins and the reader of keys see them.
pub(crate) fn headers(data: &[u8]) {
    twinmcp::fuzzing::headers(data);
}

/// Lines of `name: value`, or the `_meta` of a call, as they tell the trace that a caller is in.
pub(crate) fn trace_context(data: &[u8]) {
    twinmcp::fuzzing::trace_context(data);
}

/// The name of a tool, a line break, its arguments as JSON.
pub(crate) fn mcp_call(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some((tool, arguments)) = text.split_once('\n') else { return };
    if let Ok(Value::Object(arguments)) = serde_json::from_str(arguments) {
        twinmcp::fuzzing::mcp_call(tool, &arguments);
    }
}

pub(crate) fn config(data: &[u8]) {
    let _ = Config::parse(&String::from_utf8_lossy(data), std::iter::empty());
}

pub(crate) fn dns_question(data: &[u8]) {
    twinmcp::fuzzing::dns_question(data);
}

/// Documentation as a page of this node shows it.
pub(crate) fn rendered(data: &[u8]) {
    twinmcp::fuzzing::page(&String::from_utf8_lossy(data));
}
