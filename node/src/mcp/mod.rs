//! The Model Context Protocol: the two tools for agents, at `/mcp` and over standard input and output.
//!
//! [`endpoint`] mounts rmcp's stateless service; every refusal leaves it as a JSON-RPC error, because
//! clients take any other body for a server of another time and fall back. [`Server`] is what the
//! protocol talks to; where answers come from is its [`Backend`]: this node's index, or another node.

mod local;
mod server;
mod span;
#[cfg(test)]
mod tests;
mod tool;

use std::sync::Arc;

use poem::endpoint::TowerCompatExt;
use poem::http::StatusCode;
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use serde_json::Value;
use twinmcp_storage::scope::Scope;

use self::local::Local;
pub(crate) use self::server::{Answer, Backend, Server};
pub(crate) use self::tool::Call;
use crate::api::{ApiError, Tools};
use crate::http::Identity;

/// Longest refusal of rmcp that is read to be put into our shape, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Reads one call of a tool: for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn fuzz_call(tool: &str, arguments: &serde_json::Map<String, Value>) {
    let _ = Call::parse(tool, arguments);
}

/// Reads the `_meta` of a call: for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn fuzz_meta(
    meta: serde_json::Map<String, Value>,
) -> (Option<crate::telemetry::TraceContext>, Option<rmcp::model::Implementation>) {
    let meta = rmcp::model::RequestMetaObject(rmcp::model::MetaObject(meta));
    (server::caller(&meta), meta.client_info())
}

/// What `/mcp` speaks to: the two tools, answered from this node's own index.
pub(crate) fn tools(tools: Tools) -> impl ServerHandler + Clone {
    Server::new(Local::new(tools))
}

/// The endpoint `/mcp`: POST only, no sessions, plain JSON answers, so no stream is left behind by a
/// client that goes away. Host and origin were checked by the front.
pub(crate) fn endpoint<H: ServerHandler + Clone>(
    handler: H,
    body_bytes_max: usize,
) -> impl Endpoint<Output = Response> + 'static {
    endpoint_of(handler, body_bytes_max, tool::scope_of)
}

/// The endpoint of a handler with tools that need what `scope_of` says by their names.
fn endpoint_of<H: ServerHandler + Clone>(
    handler: H,
    body_bytes_max: usize,
    scope_of: fn(&str) -> Option<Scope>,
) -> impl Endpoint<Output = Response> + 'static {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(body_bytes_max)
        .with_sse_keep_alive(None)
        .with_sse_retry(None)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    service
        .compat()
        .around(move |rpc, request| async move { answer(&*rpc, request, scope_of).await })
        .map_to_response()
}

async fn answer<E: Endpoint<Output = Response>>(
    rpc: &E,
    mut request: Request,
    scope_of: fn(&str) -> Option<Scope>,
) -> poem::Result<Response> {
    let identity = Identity::of(request.extensions());
    if request.method() != poem::http::Method::POST {
        identity.may(Scope::DocsRead)?;
        let message = "Only POST is answered here: the protocol is served without sessions and streams.";
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).into());
    }
    let body = request.take_body().into_bytes().await?;
    // Here and not in the tool, because clients learn from the HTTP answer what to ask their person for (403 and `WWW-Authenticate`).
    identity.may(needed(&body, scope_of))?;
    request.set_body(body.clone());
    let response = rpc.call(request).await.map(IntoResponse::into_response)?;
    let is_json = response.content_type().is_some_and(|kind| kind.starts_with("application/json"));
    if response.status().is_success() || is_json {
        return Ok(response);
    }
    Err(refusal(response, &body).await.into())
}

/// What a message's sender may do at least: what the tool needs that it calls, and else read documentation.
fn needed(body: &[u8], scope_of: fn(&str) -> Option<Scope>) -> Scope {
    #[derive(Deserialize)]
    struct Message {
        method: String,
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        name: String,
    }
    let call = serde_json::from_slice::<Message>(body).ok().filter(|message| message.method == "tools/call");
    call.and_then(|call| scope_of(&call.params.name)).unwrap_or(Scope::DocsRead)
}

/// What rmcp refused in plain text, in our words where the body tells more.
async fn refusal(response: Response, body: &[u8]) -> ApiError {
    let status = response.status();
    match serde_json::from_slice::<Value>(body) {
        Err(_) if status == StatusCode::UNSUPPORTED_MEDIA_TYPE && !body.is_empty() => {
            return ApiError::new(StatusCode::BAD_REQUEST, "parse_error", "The body is not JSON.");
        }
        Ok(Value::Array(_)) => {
            return ApiError::bad_request(
                "A body holds one message: batches were removed from the protocol.",
            );
        }
        _ => {}
    }
    let text = response.into_body().into_bytes_limit(REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let message = if text.is_empty() { status.to_string() } else { text };
    let code = match status {
        StatusCode::NOT_ACCEPTABLE => "not_acceptable",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => "validation_error",
        _ => "mcp_refused",
    };
    ApiError::new(status, code, message)
}
