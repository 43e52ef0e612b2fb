//! The trace somebody who calls is in, as W3C Trace Context and W3C Baggage write it: in headers of HTTP, or in `_meta` of a
//! request of the Model Context Protocol (SEP-414).
//!
//! [`TraceContext::of`] reads it. What is malformed is as if it were not there (Trace Context, 3.3.2 and 4.3): a caller that
//! writes a bad `traceparent` gets an answer, in a trace of its own.

use std::borrow::Cow;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use poem::http::{HeaderMap, HeaderName};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Longest `tracestate` that is read, in bytes: 32 members of the longest kind are no longer (Trace Context, 3.3.1).
const TRACESTATE_BYTES_MAX: usize = 32 * 514;
/// Longest `baggage` that is passed on, in bytes (Baggage, 3.3.2).
const BAGGAGE_BYTES_MAX: usize = 8192;

/// A span of somebody else under which ours belong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TraceContext {
    parent: SpanContext,
    baggage: Option<String>,
}

impl TraceContext {
    /// The context these values name. A bad `traceparent` makes it none, a bad `tracestate` or `baggage` is left out.
    pub(crate) fn of(
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        baggage: Option<&str>,
    ) -> Option<Self> {
        // Only visible ASCII is ever in a header, and `_meta` may hold anything; a tab stands between members.
        let is_state = |text: &&str| {
            text.len() <= TRACESTATE_BYTES_MAX && text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        };
        let state = tracestate.filter(is_state);
        let state = state.and_then(|text| text.parse().ok()).unwrap_or_default();
        let parent = parse(traceparent?, state)?;
        let is_passed_on = |text: &&str| {
            !text.is_empty()
                && text.len() <= BAGGAGE_BYTES_MAX
                && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        Some(Self { parent, baggage: baggage.filter(is_passed_on).map(str::to_owned) })
    }

    /// What the headers of a request say. Several `tracestate` are one list (Trace Context, 3.3.1).
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            let first = values.next()?;
            let more: Vec<&str> = values.collect();
            Some(if more.is_empty() {
                Cow::Borrowed(first)
            } else {
                format!("{first},{}", more.join(",")).into()
            })
        };
        let traceparent = text(&TRACEPARENT)?;
        Self::of(Some(&traceparent), text(&TRACESTATE).as_deref(), text(&BAGGAGE).as_deref())
    }

    /// The caller's span.
    pub(crate) fn parent(&self) -> &SpanContext {
        &self.parent
    }

    /// What a span of ours takes as its parent.
    pub(crate) fn remote(&self) -> Context {
        Context::new().with_remote_span_context(self.parent.clone())
    }

    /// The headers that hand it on to the next node.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static HeaderName, String)> {
        let (trace, span) = (self.parent.trace_id(), self.parent.span_id());
        let flags = self.parent.trace_flags().to_u8();
        let state = self.parent.trace_state().header();
        [
            Some((&TRACEPARENT, format!("00-{trace}-{span}-{flags:02x}"))),
            (!state.is_empty()).then_some((&TRACESTATE, state)),
            self.baggage.clone().map(|baggage| (&BAGGAGE, baggage)),
        ]
        .into_iter()
        .flatten()
    }
}

/// `00-<trace id>-<span id>-<flags>` (Trace Context, 3.2); later versions may add fields.
fn parse(text: &str, state: TraceState) -> Option<SpanContext> {
    let mut fields = text.trim().split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |field: &str, digits: usize| {
        field.len() == digits && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let lengths = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    if !lengths || version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_well_formed_parents_are_continued() {
        for (text, valid) in [
            (format!("00-{TRACE}-b7ad6b7169203331-00"), true),
            (format!("01-{TRACE}-b7ad6b7169203331-01-more"), true),
            (format!("00-{TRACE}-b7ad6b7169203331-01-more"), false),
            (format!("ff-{TRACE}-b7ad6b7169203331-01"), false),
            (format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), false),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            ("00-abc-def-01".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(TraceContext::of(Some(&text), None, None).is_some(), valid, "{text}");
        }
        assert_eq!(TraceContext::of(None, Some("a=b"), Some("a=b")), None);
    }

    #[test]
    fn a_bad_state_or_baggage_costs_only_itself() {
        let handed_on = |state: &str, baggage: &str| {
            let context = TraceContext::of(Some(PARENT), Some(state), Some(baggage)).unwrap();
            context.headers().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(handed_on("rojo=1, congo=t61", "user=a%20b"), [PARENT, "rojo=1,congo=t61", "user=a%20b"]);
        let long = "x".repeat(BAGGAGE_BYTES_MAX + 1);
        for (state, baggage) in [
            ("no list", "a=\u{e9}"),
            ("UPPER=1", "a=b\nc"),
            ("a=b=c", long.as_str()),
            ("a=b\nc", ""),
            ("a=\u{e9}", ""),
            ("", ""),
        ] {
            assert_eq!(handed_on(state, baggage), [PARENT], "{state} {baggage}");
        }
    }

    #[test]
    fn states_in_several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", PARENT.parse().unwrap());
        headers.append("tracestate", "rojo=1".parse().unwrap());
        headers.append("tracestate", "congo=2".parse().unwrap());
        let context = TraceContext::of_headers(&headers).unwrap();
        assert_eq!(context.parent().trace_state().header(), "rojo=1,congo=2");
    }
}
