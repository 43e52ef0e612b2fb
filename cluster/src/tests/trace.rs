//! A request's trace reaches to where its command is applied.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tracing::{Instrument, info_span, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::{Machine, account, config};

/// Names of spans, each with its parent's.
#[derive(Clone, Default)]
struct Parents(Arc<Mutex<ParentsByName>>);

type ParentsByName = HashMap<&'static str, Vec<Option<&'static str>>>;

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Parents {
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        self.0.lock().unwrap().entry(span.name()).or_default().push(parent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_command_is_part_of_the_trace_of_the_request_that_proposed_it() {
    let parents = Parents::default();
    // For the whole process: spans of the apply are made on another thread.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(parents.clone())).unwrap();
    let cluster = Machine::new().start(config()).await.unwrap();
    cluster.propose(account(1)).instrument(info_span!("request")).await.unwrap();
    cluster.shutdown().await.unwrap();
    let parents = parents.0.lock().unwrap();
    assert!(parents["consensus.propose"].contains(&Some("request")));
    assert!(parents["consensus.apply"].contains(&Some("consensus.propose")));
}
