//! Log lines: one JSON object a line, with the ids of the request it belongs to.

use std::fmt;
use std::io::Write;
use std::sync::Mutex;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use twinmcp_storage::clock::{Clock, SystemClock};

/// Fields that are not shown even when somebody logs them by mistake.
const SECRET_WORDS: &[&str] = &["secret", "password", "token", "authorization", "cookie", "api_key_value"];
const HIDDEN: &str = "***";

/// Writes one JSON object for each event: `ts`, `level`, `target`, `msg`, the ids, `node`, `region`,
/// and the fields of the event over those of its spans.
pub(super) struct JsonLines<W> {
    node: String,
    region: String,
    writer: W,
    /// A line is written whole, also when two threads log at once.
    turn: Mutex<()>,
}

impl<W> JsonLines<W> {
    pub(super) fn new(node: &str, region: &str, writer: W) -> Self {
        Self { node: node.to_owned(), region: region.to_owned(), writer, turn: Mutex::new(()) }
    }
}

/// A span's fields, kept until its events are written.
#[derive(Default)]
struct SpanFields(Map<String, Value>);

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let is_count = value.is_number() || value.is_boolean();
        let hidden = !is_count && SECRET_WORDS.iter().any(|word| name.contains(word));
        self.0.insert(name.to_owned(), if hidden { HIDDEN.into() } else { value });
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = SpanFields::default();
        attributes.record(&mut Fields(&mut fields.0));
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(&mut Fields(&mut fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(known) = span.extensions().get::<SpanFields>() {
                fields.extend(known.0.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut Fields(&mut fields));

        let mut line = Map::new();
        line.insert("ts".to_owned(), SystemClock.now().to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().to_lowercase().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        line.insert("msg".to_owned(), fields.remove("message").unwrap_or_default());
        line.insert("node".to_owned(), self.node.as_str().into());
        line.insert("region".to_owned(), self.region.as_str().into());
        for (name, value) in fields {
            line.entry(name).or_insert(value);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        let _turn = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A log that cannot be written has nobody left to be told.
        let _ = self.writer.make_writer().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let kept = lines.clone();
        let layer = JsonLines::new("node-7", "eu", move || lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_one_json_object_with_the_ids_of_its_request() {
        let lines = logged(|| {
            let span =
                tracing::info_span!("http.request", trace_id = tracing::field::Empty, request_id = "r1");
            span.record("trace_id", "t1");
            span.in_scope(|| {
                tracing::info_span!("search.query").in_scope(|| tracing::warn!(hits = 3, "few \"hits\""))
            });
        });
        let line = &lines[0];
        assert_eq!((line["level"].as_str(), line["msg"].as_str()), (Some("warn"), Some("few \"hits\"")));
        assert_eq!((line["trace_id"].as_str(), line["request_id"].as_str()), (Some("t1"), Some("r1")));
        assert_eq!((line["node"].as_str(), line["region"].as_str()), (Some("node-7"), Some("eu")));
        assert_eq!(line["hits"], 3);
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn fields_named_like_secrets_are_hidden_and_counts_are_not() {
        let lines = logged(|| {
            tracing::info!(api_secret = "tmcp_x", authorization = "Bearer tmcp_x", tokens = 12, "x")
        });
        assert!(!lines[0].to_string().contains("tmcp_x"), "{}", lines[0]);
        assert_eq!(lines[0]["tokens"], 12);
    }
}
