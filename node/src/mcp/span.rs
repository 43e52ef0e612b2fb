//! The span of one call of a tool, by OpenTelemetry's conventions for the Model Context Protocol.
//!
//! Whose child it is: of the span that `_meta` names (SEP-414), also when the HTTP request has a `traceparent` of its own,
//! because one call may need several HTTP requests, and what the protocol says of itself is the same over every transport.
//! The span of the HTTP request is linked then. Without `_meta` it is the child of the HTTP request's span.

use opentelemetry::trace::{Status, TraceContextExt};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::TraceContext;

/// Begins the span of a call of `tool`, which has to be one of ours: its name is in the span's name.
pub(super) fn of_call(tool: &'static str, version: &'static str, caller: Option<&TraceContext>) -> Span {
    let span = tracing::info_span!(
        "mcp.call",
        otel.name = format!("tools/call {tool}"),
        otel.kind = "server",
        mcp.method.name = "tools/call",
        mcp.protocol.version = version,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = tool,
        "error.type" = Empty,
        trace_id = Empty,
        span_id = Empty,
    );
    let Some(caller) = caller else { return span };
    let around = Span::current().context().span().span_context().clone();
    // Fails only without an exporter; then the log lines alone tell the trace.
    let _ = span.set_parent(caller.remote());
    if around.is_valid() {
        span.add_link(around);
    }
    let own = span.context().span().span_context().clone();
    span.record("trace_id", caller.parent().trace_id().to_string());
    if own.is_valid() {
        span.record("span_id", own.span_id().to_string());
    }
    span
}

/// Notes how the call ended; `error` is the code of a failure.
pub(super) fn end(span: &Span, error: Option<&'static str>) {
    if let Some(code) = error {
        span.record("error.type", code);
        span.set_status(Status::error(code));
    }
}
