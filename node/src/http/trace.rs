//! The id of a request, which is also the id of its trace.
//!
//! A W3C `traceparent` is continued, else a trace begins here. With traces switched on the exporter
//! makes the ids, without it this file does, so that log lines always carry one.

use opentelemetry::trace::{SpanId, TraceContextExt, TraceId};
use poem::http::HeaderMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use twinmcp_storage::clock::Entropy;

use crate::telemetry::TraceContext;

/// The span of one request and its id.
pub(crate) struct Trace {
    pub(crate) span: Span,
    /// 32 hex digits.
    pub(crate) id: String,
}

impl Trace {
    /// Begins the span of a request, under the caller's trace when it names one.
    pub(crate) fn begin(headers: &HeaderMap, method: &str, entropy: &dyn Entropy) -> Self {
        let span = tracing::info_span!(
            "http.request",
            otel.kind = "server",
            http.request.method = method,
            http.route = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
            trace_id = tracing::field::Empty,
            span_id = tracing::field::Empty,
            request_id = tracing::field::Empty,
        );
        let caller = TraceContext::of_headers(headers);
        if let Some(caller) = &caller {
            // Fails only without an exporter; then the ids below are all there is.
            let _ = span.set_parent(caller.remote());
        }
        let exported = span.context().span().span_context().clone();
        let (trace_id, span_id) = if exported.is_valid() {
            (exported.trace_id(), exported.span_id())
        } else {
            let mut random = [0_u8; 24];
            if entropy.fill(&mut random).is_err() {
                random[0] = 1;
            }
            let (trace, own) = random.split_at(16);
            let trace = trace.try_into().map_or(TraceId::INVALID, TraceId::from_bytes);
            let own = own.try_into().map_or(SpanId::INVALID, SpanId::from_bytes);
            (caller.map_or(trace, |caller| caller.parent().trace_id()), own)
        };
        let id = trace_id.to_string();
        span.record("trace_id", &id);
        span.record("span_id", span_id.to_string());
        span.record("request_id", &id);
        Self { span, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinmcp_storage::clock::SystemEntropy;

    #[test]
    fn a_trace_of_the_caller_is_continued() {
        let mut headers = HeaderMap::new();
        let value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", value.parse().unwrap());
        let trace = Trace::begin(&headers, "GET", &SystemEntropy);
        assert_eq!(trace.id, "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_request_without_a_trace_gets_a_new_id_each_time() {
        let one = Trace::begin(&HeaderMap::new(), "GET", &SystemEntropy).id;
        let other = Trace::begin(&HeaderMap::new(), "GET", &SystemEntropy).id;
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
