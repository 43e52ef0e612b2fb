//! A collector of traces on loopback: takes what a node sends by OTLP over HTTP, as bytes of the real wire.
//!
//! It has threads of its own, so that it takes the last spans also of a node whose end a test waits for without its runtime. What was sent
//! is kept in a file, as logs are, and looked through for secrets when the collector is dropped, all of it: names, attributes, events, links
//! and what a node says of itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, Read, Result, Seek, SeekFrom, Write};
use std::iter::once;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use crate::secrets;

/// Longest batch that is read, in bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long is waited for what a node that is gone has sent: it lies on this machine already.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    batches: Arc<Mutex<Batches>>,
    is_ending: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

/// What was sent, each batch behind its length.
#[derive(Debug)]
struct Batches {
    file: File,
    /// Why not all of it is there.
    lost: Option<Error>,
}

/// A span as a collector has it; ids are hex digits.
#[derive(Debug, Clone)]
pub struct Collected {
    /// What was done.
    pub name: String,
    /// The trace.
    pub trace: String,
    /// The span itself.
    pub id: String,
    /// The span it belongs under; empty for the first of a trace.
    pub parent: String,
    /// The list of vendors' notes.
    pub state: String,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    /// Attributes that are text.
    pub texts: Vec<(String, String)>,
}

impl Drop for Collector {
    /// Takes what is still on its way, which is all there will be once the node is gone, and looks it through.
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if thread::panicking() {
            return;
        }
        let (drained, drain) = mpsc::channel();
        if let Some(listener) = self.listener.take() {
            thread::spawn(move || drained.send(listener.join()));
        }
        assert!(drain.recv_timeout(DRAIN_DEADLINE).is_ok(), "a node still sends traces that is to be gone");
        secrets::are_not_in("a trace", self.texts());
    }
}

impl Collector {
    /// Listens on any port.
    ///
    /// # Panics
    /// When the machine has no loopback or no temporary folder.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the machine has loopback");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let file = tempfile::tempfile().expect("the machine has a temporary folder");
        let batches = Arc::new(Mutex::new(Batches { file, lost: None }));
        let is_ending = Arc::<AtomicBool>::default();
        let (kept, ends) = (Arc::clone(&batches), Arc::clone(&is_ending));
        let listener = thread::spawn(move || listen(&listener, &kept, &ends));
        Self { port, batches, is_ending, listener: Some(listener) }
    }

    /// What `telemetry.otlp_endpoint` is to name.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    /// Every span so far. A node sends the last ones when it stops.
    pub fn spans(&self) -> Vec<Collected> {
        let scopes = self.resources().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).map(|span| Collected::of(&span)).collect()
    }

    /// All that is written in the traces so far, a text for each span and each thing that made some.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.resources().flat_map(|resource| {
            let of = format!("{:?} {}", resource.resource, resource.schema_url);
            let scopes = resource.scope_spans.into_iter().flat_map(|scope| {
                let of = format!("{:?} {}", scope.scope, scope.schema_url);
                once(of).chain(scope.spans.into_iter().map(|span| format!("{span:?}")))
            });
            once(of).chain(scopes)
        })
    }

    /// # Panics
    /// When something of it was lost.
    fn resources(&self) -> impl Iterator<Item = ResourceSpans> {
        let mut batches = lock(&self.batches);
        assert!(batches.lost.is_none(), "not all traces were kept: {:?}", batches.lost);
        batches.file.seek(SeekFrom::Start(0)).expect("a temporary file can be read");
        let batches = std::iter::from_fn(move || {
            let mut length = [0; size_of::<u64>()];
            batches.file.read_exact(&mut length).ok()?;
            let mut batch = Vec::new();
            let whole =
                Read::by_ref(&mut batches.file).take(u64::from_le_bytes(length)).read_to_end(&mut batch);
            whole.expect("a temporary file can be read");
            Some(ExportTraceServiceRequest::decode(&*batch).expect("a node sends traces as OTLP has them"))
        });
        batches.flat_map(|batch| batch.resource_spans)
    }
}

impl Batches {
    fn keep(&mut self, batch: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::End(0))?;
        let length = u64::try_from(batch.len()).map_err(Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(batch)
    }
}

fn lock(batches: &Mutex<Batches>) -> MutexGuard<'_, Batches> {
    batches.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collected {
    fn of(span: &Span) -> Self {
        let text = |value: &Option<Value>| match value {
            Some(Value::StringValue(text)) => Some(text.clone()),
            _ => None,
        };
        let texts = span.attributes.iter().filter_map(|attribute| {
            let value = attribute.value.as_ref()?;
            Some((attribute.key.clone(), text(&value.value)?))
        });
        Self {
            name: span.name.clone(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            texts: texts.collect(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes connections until the collector ends, then those that wait, and returns when all are closed.
fn listen(listener: &TcpListener, batches: &Arc<Mutex<Batches>>, is_ending: &AtomicBool) {
    let mut connections = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        let batches = Arc::clone(batches);
        connections.push(thread::spawn(move || serve(stream, &batches)));
        if is_ending.load(Ordering::SeqCst) && listener.set_nonblocking(true).is_err() {
            break;
        }
    }
    for connection in connections {
        // A node that is killed breaks off in the middle.
        let _ = connection.join();
    }
}

/// Takes batches for as long as the node sends them on one connection.
fn serve(stream: TcpStream, batches: &Mutex<Batches>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut body_bytes = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(length) = line.strip_prefix("content-length:") {
                body_bytes = length.trim().parse().unwrap_or(BATCH_BYTES_MAX + 1);
            }
        }
        if body_bytes > BATCH_BYTES_MAX {
            lock(batches).lost = Some(Error::other("a batch is longer than is read"));
            return Ok(());
        }
        let mut body = vec![0; body_bytes];
        stream.read_exact(&mut body)?;
        let mut batches = lock(batches);
        if let Err(error) = batches.keep(&body) {
            batches.lost = Some(error);
            return Ok(());
        }
        drop(batches);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer.as_bytes())?;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Status};

    use super::*;

    const SECRET: &str = "tmcp_at_written-in-a-trace";

    fn text(value: &str) -> AnyValue {
        AnyValue { value: Some(Value::StringValue(value.to_owned())) }
    }

    fn attributes(value: AnyValue) -> Vec<KeyValue> {
        vec![KeyValue { key: "said".to_owned(), value: Some(value), ..KeyValue::default() }]
    }

    fn span(attributes: Vec<KeyValue>) -> Span {
        Span { name: "oauth.redeem".to_owned(), trace_id: vec![7; 16], attributes, ..Span::default() }
    }

    fn batch(spans: Vec<Span>, resource: &str, scope: &str) -> ExportTraceServiceRequest {
        let resource = Resource { attributes: attributes(text(resource)), ..Resource::default() };
        let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![spans] }
    }

    fn connected(collector: &Collector) -> TcpStream {
        TcpStream::connect(("127.0.0.1", collector.port)).unwrap()
    }

    fn send(mut node: &TcpStream, batch: &ExportTraceServiceRequest) {
        let body = batch.encode_to_vec();
        write!(node, "POST /v1/traces HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        node.write_all(&body).unwrap();
    }

    /// What is told at its end by a collector that was sent a harmless batch, and `batch` by a node that was gone before it had the answer.
    fn told_of(batch: &ExportTraceServiceRequest) -> Option<String> {
        let collector = Collector::start();
        let node = connected(&collector);
        send(&node, &harmless());
        let mut status = String::new();
        BufReader::new(&node).read_line(&mut status).unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK\r\n");
        send(&node, batch);
        drop(node);
        let told = catch_unwind(AssertUnwindSafe(|| drop(collector))).err()?;
        told.downcast_ref::<String>().cloned()
    }

    fn harmless() -> ExportTraceServiceRequest {
        batch(vec![span(attributes(text("nothing of anybody")))], "twinmcp", "twinmcp")
    }

    #[test]
    fn what_opens_something_is_found_wherever_it_stands_in_a_trace_and_is_not_told() {
        secrets::note("access token", SECRET);
        secrets::note("code", "314159");
        assert_eq!(told_of(&harmless()), None);
        let list = Value::ArrayValue(ArrayValue { values: vec![text(SECRET)] });
        let event = Event { attributes: attributes(text(SECRET)), ..Event::default() };
        let link = Link { attributes: attributes(text(SECRET)), ..Link::default() };
        let status = Status { message: format!("no {SECRET}"), ..Status::default() };
        let spans = [
            span(attributes(text(SECRET))),
            span(attributes(text(&format!("/cb?token={SECRET}&state=x")))),
            span(attributes(AnyValue { value: Some(list) })),
            span(attributes(text("314159"))),
            span(attributes(text(r#"{"code":"314159"}"#))),
            span(attributes(text("/cb?code=314159"))),
            Span { events: vec![event], ..span(Vec::new()) },
            Span { links: vec![link], ..span(Vec::new()) },
            Span { status: Some(status), ..span(Vec::new()) },
            Span { trace_state: SECRET.to_owned(), ..span(Vec::new()) },
            Span { name: SECRET.to_owned(), ..span(Vec::new()) },
        ];
        let batches = spans.map(|span| batch(vec![span], "twinmcp", "twinmcp")).into_iter();
        for batch in
            batches.chain([batch(Vec::new(), SECRET, "twinmcp"), batch(Vec::new(), "twinmcp", SECRET)])
        {
            let told = told_of(&batch).unwrap_or_else(|| panic!("nothing was found in {batch:?}"));
            assert!(told.starts_with("a trace holds a ") && !told.contains(SECRET), "{told}");
        }
    }

    #[test]
    fn a_batch_that_is_not_kept_is_told() {
        let collector = Collector::start();
        let head = format!("POST /v1/traces HTTP/1.1\r\nContent-Length: {}\r\n\r\n", BATCH_BYTES_MAX + 1);
        connected(&collector).write_all(head.as_bytes()).unwrap();
        let told = catch_unwind(AssertUnwindSafe(|| drop(collector))).unwrap_err();
        let told = told.downcast_ref::<String>().unwrap();
        assert!(told.contains("not all traces were kept"), "{told}");
    }
}
