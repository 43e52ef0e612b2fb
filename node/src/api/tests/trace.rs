//! One request is one trace: from the endpoint through the actor to where its command is applied.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tracing::{Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::TestNode;

/// For each name of a span, the names of the spans around every one of that name, innermost first.
#[derive(Clone, Default)]
struct Around(Arc<Mutex<HashMap<&'static str, Vec<Chain>>>>);

type Chain = Vec<&'static str>;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Around {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let around = span.scope().skip(1).map(|span| span.name()).collect();
        self.0.lock().unwrap().entry(span.name()).or_default().push(around);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_one_trace_from_the_endpoint_through_the_actor_to_apply() {
    let around = Around::default();
    // For the whole process: an actor and the apply run on threads of their own.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(around.clone())).unwrap();
    let node = TestNode::start().await;
    let asked = json!({ "name": "laptop", "scopes": ["docs:read"] });
    let (status, key) = node.owner(Method::POST, "/api/keys", Some(asked)).await;
    assert_eq!(status, StatusCode::CREATED, "{key}");
    node.node.stop().await.unwrap();

    let around = around.0.lock().unwrap();
    let chain = |name: &str, through: &[&str]| {
        around[name].iter().any(|spans| {
            let mut spans = spans.iter();
            through.iter().all(|wanted| spans.any(|span| span == wanted))
        })
    };
    assert!(chain("api_keys.create", &["http.request"]), "{:?}", around["api_keys.create"]);
    let path = ["consensus.propose", "api_keys.create", "http.request"];
    assert!(chain("consensus.apply", &path), "{:?}", around["consensus.apply"]);
}
