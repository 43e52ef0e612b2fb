//! What the front counts: requests, errors and durations by route, refusals by reason.

use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};
use poem::http::{HeaderMap, Method};

use super::names;

/// Bounds of the HTTP duration histogram in seconds, by OpenTelemetry's conventions.
const DURATION_BOUNDS_S: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Why a request went no further than the front, or a connection no further than the listener.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rejected {
    RateLimit,
    BodyTooLarge,
    BodyTooSlow,
    UrlTooLong,
    HeadTooLarge,
    HeadTimeout,
    SendTimeout,
    Malformed,
    Overload,
    Connections,
    Accept,
    Host,
    Origin,
}

impl Rejected {
    fn label(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::UrlTooLong => "url_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::SendTimeout => "send_timeout",
            Self::Malformed => "malformed",
            Self::Overload => "overload",
            Self::Connections => "connections",
            Self::Accept => "accept",
            Self::Host => "host",
            Self::Origin => "origin",
        }
    }
}

fn rejections() -> Counter<u64> {
    global::meter("twinmcp")
        .u64_counter("twinmcp.http.rejected")
        .with_description("Requests that went no further than the front, and connections that were refused.")
        .build()
}

/// What the listener counts.
pub(super) struct Connections {
    open: UpDownCounter<i64>,
    rejected: Counter<u64>,
}

impl Connections {
    pub(super) fn new() -> Self {
        let open = global::meter("twinmcp")
            .i64_up_down_counter("twinmcp.http.connections")
            .with_description("Connections that are open.")
            .build();
        Self { open, rejected: rejections() }
    }

    /// Counts a connection as open until the guard is dropped.
    pub(super) fn open(&self) -> Open {
        self.open.add(1, &[]);
        Open(self.open.clone())
    }

    pub(super) fn rejected(&self, reason: Rejected) {
        self.rejected.add(1, &[KeyValue::new("reason", reason.label())]);
    }
}

/// A connection that is open.
pub(super) struct Open(UpDownCounter<i64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

pub(super) struct Metrics {
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
    rejected: Counter<u64>,
    decisions: Counter<u64>,
    clients: Counter<u64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = global::meter("twinmcp");
        Self {
            duration: meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Time from a request's head to its answer's head.")
                .with_boundaries(DURATION_BOUNDS_S.to_vec())
                .build(),
            active: meter
                .i64_up_down_counter("http.server.active_requests")
                .with_description("Requests in progress.")
                .build(),
            rejected: rejections(),
            decisions: meter
                .u64_counter("twinmcp.usage.ratelimit.decisions")
                .with_description("Decisions of the rate limits.")
                .build(),
            clients: meter
                .u64_counter("twinmcp.usage.requests")
                .with_description("Requests to the tools, by the client they name.")
                .build(),
        }
    }

    /// Counts a request as active until the guard is dropped.
    pub(super) fn begin(&self, method: &Method) -> Active<'_> {
        let method = KeyValue::new("http.request.method", method_label(method));
        self.active.add(1, std::slice::from_ref(&method));
        Active { metrics: self, method, started: Instant::now() }
    }

    pub(super) fn rejected(&self, reason: Rejected) {
        self.rejected.add(1, &[KeyValue::new("reason", reason.label())]);
    }

    pub(super) fn decided(&self, scope: &'static str, allowed: bool) {
        let decision = if allowed { "allowed" } else { "refused" };
        self.decisions.add(1, &[KeyValue::new("scope", scope), KeyValue::new("decision", decision)]);
    }

    pub(super) fn client(&self, headers: &HeaderMap) {
        self.clients.add(1, &[KeyValue::new("client", client_label(headers))]);
    }
}

/// A request in progress.
pub(super) struct Active<'a> {
    metrics: &'a Metrics,
    method: KeyValue,
    started: Instant,
}

impl Active<'_> {
    /// Records the end of the request; `error` is the code of a failure.
    pub(super) fn end(self, route: &str, status: u16, error: Option<&'static str>) -> f64 {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut labels = vec![
            self.method.clone(),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("url.scheme", "http"),
        ];
        if let Some(code) = error {
            labels.push(KeyValue::new("error.type", code));
        }
        self.metrics.duration.record(seconds, &labels);
        seconds
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.metrics.active.add(-1, std::slice::from_ref(&self.method));
    }
}

/// The method, from the closed list of OpenTelemetry's conventions.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// What the client says it is, from a closed list.
fn client_label(headers: &HeaderMap) -> &'static str {
    let Some(source) = headers.get(&names::SOURCE) else {
        return "none";
    };
    match source.as_bytes() {
        b"mcp-server" => "mcp-server",
        b"cli" => "cli",
        b"twinmcp-cli" => "twinmcp-cli",
        b"twinmcp-mcp" => "twinmcp-mcp",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_closed_lists() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
        let mut headers = HeaderMap::new();
        assert_eq!(client_label(&headers), "none");
        headers.insert("x-context7-source", "cli".parse().unwrap());
        assert_eq!(client_label(&headers), "cli");
        headers.insert("x-context7-source", "4bf92f3577b34da6".parse().unwrap());
        assert_eq!(client_label(&headers), "other");
    }
}
