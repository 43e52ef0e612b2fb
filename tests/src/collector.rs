//! A collector of traces on loopback: takes what a node sends by OTLP over HTTP, as bytes of the real wire.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::secrets;

/// Longest batch that is read, in bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
    listener: JoinHandle<()>,
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
    fn drop(&mut self) {
        self.listener.abort();
        if !std::thread::panicking() {
            secrets::are_not_in("the traces", &format!("{:#?}", self.spans()));
        }
    }
}

impl Collector {
    /// Listens on any port.
    ///
    /// # Panics
    /// When the machine has no loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has loopback");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = Arc::clone(&spans);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&taken)));
            }
        });
        Self { port, spans, listener }
    }

    /// What `telemetry.otlp_endpoint` is to name.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    /// Every span so far. A node sends the last ones when it stops.
    pub fn spans(&self) -> Vec<Collected> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().map(Collected::of).collect()
    }
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

/// Takes batches for as long as the node sends them on one connection.
async fn serve(stream: TcpStream, taken: Arc<Mutex<Vec<Span>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut body_bytes = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
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
            return Ok(());
        }
        let mut body = vec![0; body_bytes];
        stream.read_exact(&mut body).await?;
        let batch = ExportTraceServiceRequest::decode(&*body).map_err(std::io::Error::other)?;
        let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans);
        taken.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await?;
    }
}
