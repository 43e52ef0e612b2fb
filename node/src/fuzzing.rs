//! What is private and reads outside input, for the fuzz targets; not part of an ordinary build.

use poem::http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::{fuzz_headers, fuzz_origin};
use crate::mcp::fuzz_call;

/// Reads lines of `name: value` as the headers of a request.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    fuzz_headers(&headers);
}

/// Reads one call of a tool.
pub fn mcp_call(tool: &str, arguments: &serde_json::Map<String, serde_json::Value>) {
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
