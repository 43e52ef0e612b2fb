//! Traces as a collector gets them: one call of a tool lies under the span of whoever asked, over every transport.

use serde_json::{Value, json};
use twinmcp_tests::collector::{Collected, Collector};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{NodeSetup, TestClient, TestNode};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const OTHER_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_PARENT: &str = "00f067aa0ba902b7";
const CALL: &str = "tools/call query-docs";
const REQUEST: &str = "http.request";

fn traceparent(trace: &str, parent: &str) -> String {
    format!("00-{trace}-{parent}-01")
}

fn question(meta: &Value) -> Value {
    json!({
        "name": "query-docs", "arguments": { "libraryId": "/acme/kiln", "query": QUESTIONS[0].text }, "_meta": meta,
    })
}

async fn node(collector: &Collector) -> TestNode {
    let setup = NodeSetup::default().with("telemetry", "otlp_endpoint", collector.endpoint());
    let node = setup.start().await;
    node.client().index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    node
}

/// Calls the tool, with a header where there is one; the id of the request, which is the trace of its HTTP span.
async fn call(client: &TestClient, header: Option<&str>, meta: &Value) -> String {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": question(meta) });
    let mut request = super::mcp::post(client).header("mcp-protocol-version", "2025-11-25");
    if let Some(header) = header {
        request = request.header("traceparent", header);
    }
    let answer = client.answer(request.json(&body)).await.expect(200);
    assert!(answer.text.contains(QUESTIONS[0].says), "{}", answer.text);
    answer.header("x-request-id").to_owned()
}

/// The spans of this name in this trace.
fn in_trace<'a>(spans: &'a [Collected], trace: &str, name: &str) -> Vec<&'a Collected> {
    spans.iter().filter(|span| span.trace == trace && span.name == name).collect()
}

/// The one span of this name in this trace.
#[track_caller]
fn only<'a>(spans: &'a [Collected], trace: &str, name: &str) -> &'a Collected {
    let found = in_trace(spans, trace, name);
    assert_eq!(found.len(), 1, "{name} in {trace}: {found:#?}");
    found[0]
}

#[tokio::test]
async fn a_call_over_http_is_the_child_of_the_span_in_its_meta_and_linked_to_its_request() {
    let collector = Collector::start();
    let mut node = node(&collector).await;
    let client = node.client();
    let meta = json!({
        "traceparent": traceparent(TRACE, PARENT), "tracestate": "rojo=1,congo=t61", "baggage": "user=secret-name",
    });
    let alone = call(&client, None, &meta).await;
    let header = traceparent(OTHER_TRACE, OTHER_PARENT);
    let other = json!({ "traceparent": traceparent(&TRACE.replace('0', "1"), PARENT) });
    assert_eq!(call(&client, Some(&header), &other).await, OTHER_TRACE);
    let third = OTHER_TRACE.replace('4', "5");
    assert_eq!(call(&client, Some(&traceparent(&third, OTHER_PARENT)), &json!({})).await, third);
    assert!(node.stop().await.success(), "{}", node.log());

    let spans = collector.spans();
    // Nothing in the headers: the request has a trace of its own, which the call's span links to.
    let called = only(&spans, TRACE, CALL);
    assert_eq!((called.parent.as_str(), called.state.as_str()), (PARENT, "rojo=1,congo=t61"));
    assert_eq!(called.links.iter().map(|(trace, _)| trace).collect::<Vec<_>>(), [&alone]);
    assert_eq!(only(&spans, &alone, REQUEST).parent, "");
    // Both: each is the child of what its own layer says.
    let called = only(&spans, &TRACE.replace('0', "1"), CALL);
    assert_eq!(called.parent, PARENT);
    assert_eq!(called.links[0].0, OTHER_TRACE);
    assert_eq!(only(&spans, OTHER_TRACE, REQUEST).parent, OTHER_PARENT);
    // Only a header: one trace, from the request down to the call.
    let request = only(&spans, &third, REQUEST);
    assert_eq!(request.parent, OTHER_PARENT);
    let mut above = only(&spans, &third, CALL);
    while above.id != request.id {
        let parent = spans.iter().find(|span| span.trace == third && span.id == above.parent);
        above = parent.unwrap_or_else(|| panic!("{above:?} lies under nothing of {spans:#?}"));
    }
    // What a caller says of its users is handed on, and never kept.
    assert!(!format!("{spans:?}{}", node.log()).contains("secret-name"));
}

#[tokio::test]
async fn a_malformed_trace_context_is_as_if_it_were_not_there() {
    let collector = Collector::start();
    let mut node = node(&collector).await;
    let client = node.client();
    let good = traceparent(TRACE, PARENT);
    let bad = [
        json!({ "traceparent": 7 }),
        json!({ "traceparent": { "trace": TRACE } }),
        json!({ "traceparent": "00-abc-def-01" }),
        json!({ "traceparent": traceparent(&TRACE.to_uppercase(), PARENT) }),
        json!({ "traceparent": traceparent(TRACE, &"0".repeat(16)) }),
        json!({ "traceparent": format!("{good}-more") }),
        json!({ "tracestate": "rojo=1", "baggage": "a=b" }),
    ];
    for meta in &bad {
        let id = call(&client, Some("no trace at all"), meta).await;
        assert_ne!(id, TRACE, "{meta}");
    }
    // A bad state or baggage costs only itself.
    call(&client, None, &json!({ "traceparent": good, "tracestate": "UPPER=1", "baggage": [1] })).await;
    assert!(node.stop().await.success(), "{}", node.log());

    let spans = collector.spans();
    let called = only(&spans, TRACE, CALL);
    assert_eq!((called.parent.as_str(), called.state.as_str()), (PARENT, ""));
    let own: Vec<_> = spans.iter().filter(|span| span.name == CALL && span.trace != TRACE).collect();
    assert_eq!(own.len(), bad.len(), "{spans:#?}");
    assert!(own.iter().all(|span| !in_trace(&spans, &span.trace, REQUEST).is_empty()), "{spans:#?}");
}

#[tokio::test]
async fn the_relay_hands_on_the_trace_that_its_client_is_in() {
    let collector = Collector::start();
    let mut node = node(&collector).await;
    let ask = |id, meta: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": question(&meta) });
    let mut messages = super::stdio::handshake().to_vec();
    let baggage = "user=secret-name";
    let state = "rojo=1";
    messages.push(ask(
        2,
        json!({ "traceparent": traceparent(TRACE, PARENT), "tracestate": state, "baggage": baggage }),
    ));
    messages.push(ask(3, json!({ "traceparent": "00-abc-def-01", "tracestate": "a=b" })));
    messages.push(ask(
        4,
        json!({ "traceparent": traceparent(OTHER_TRACE, OTHER_PARENT), "baggage": "a=b\r\nx: y" }),
    ));
    let (answers, _) = super::stdio::relay(&node.cli(), &messages).await;
    for id in [2, 3, 4] {
        let answer = super::stdio::by_id(&answers, id).to_string();
        assert!(answer.contains(QUESTIONS[0].says), "{answer}");
    }
    assert!(node.stop().await.success(), "{}", node.log());

    let spans = collector.spans();
    let request = only(&spans, TRACE, REQUEST);
    assert_eq!((request.parent.as_str(), request.state.as_str()), (PARENT, state));
    assert_eq!(only(&spans, OTHER_TRACE, REQUEST).parent, OTHER_PARENT);
    let route = ("http.route".to_owned(), "/api/mcp/query-docs".to_owned());
    let asked = spans.iter().filter(|span| span.name == REQUEST && span.texts.contains(&route));
    assert_eq!(asked.count(), 3, "{spans:#?}");
}

#[tokio::test]
async fn what_a_node_of_any_story_does_is_seen_by_who_looks_for_secrets() {
    let mut node = TestNode::empty().await;
    node.client().get("/api/libraries").await.expect(200);
    assert!(node.stop().await.success());
    assert!(node.spans_sent() > 0);
}
