//! What is private and reads outside input, for the fuzz targets; not part of an ordinary build.

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::http::{fuzz_headers, fuzz_origin};
use crate::mcp::{fuzz_call, fuzz_meta};
use crate::telemetry::TraceContext;

/// Reads lines of `name: value` as the headers of a request.
pub fn headers(data: &[u8]) {
    fuzz_headers(&header_map(data));
}

/// Reads lines of `name: value`, or an object of JSON as the `_meta` of a call, for the trace that the caller is in.
pub fn trace_context(data: &[u8]) {
    if let Some(caller) = TraceContext::of_headers(&header_map(data)) {
        handed_on(&caller);
    }
    if let Ok(meta) = serde_json::from_slice::<Map<String, Value>>(data)
        && let (Some(caller), _) = fuzz_meta(meta)
    {
        handed_on(&caller);
    }
}

/// The next node reads what this one has read.
fn handed_on(caller: &TraceContext) {
    assert!(caller.parent().is_valid() && caller.parent().is_remote());
    let mut headers = HeaderMap::new();
    for (name, value) in caller.headers() {
        let value = HeaderValue::try_from(value);
        headers.append(name, value.unwrap_or_else(|error| panic!("{error}: {name} of {caller:?}")));
    }
    assert_eq!(TraceContext::of_headers(&headers).as_ref(), Some(caller));
}

fn header_map(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Reads one call of a tool.
pub fn mcp_call(tool: &str, arguments: &Map<String, Value>) {
    fuzz_call(tool, arguments);
}

/// Reads bytes as a question to the DNS, and answers it.
pub fn dns_question(bytes: &[u8]) {
    crate::dns::fuzzing::question(bytes);
}

/// Renders documentation for a page; nothing of it may become HTML that does something.
pub fn page(text: &str) {
    crate::ui::fuzz_markdown(text);
}

/// Reads text as a URL that somebody adds, and as an origin.
pub fn url(text: &str) {
    crate::api::fuzz_added(text);
    fuzz_origin(text);
}
