//! What leaves the node about itself: log lines, traces, metrics. Nothing is sent anywhere unless
//! the operator names where.

mod exporting;
mod logs;
mod process;
mod trace_context;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::metrics::Gauge;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::{Encoder, Registry, TextEncoder};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Config;
use logs::JsonLines;
pub(crate) use trace_context::TraceContext;

/// Telemetry could not be set up or read.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter of the configuration does not parse.
    #[error("`telemetry.log` is no level and no filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Traces cannot be sent there.
    #[error("traces cannot be sent to `telemetry.otlp_endpoint`")]
    Otlp(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else in this process has set up logging.
    #[error("logging is set up already")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
    /// The registry of metrics could not be read.
    #[error("metrics could not be collected")]
    Scrape(#[source] prometheus::Error),
}

/// Keeps exporters alive; [`Telemetry::shut_down`] sends what is left.
#[derive(Debug, Default)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up log lines on standard error, and traces if the configuration says where to.
    /// Once a process.
    ///
    /// # Errors
    /// When the configuration names a filter or an endpoint that cannot be used.
    pub fn start(config: &Config) -> Result<Self, TelemetryError> {
        metrics();
        let filter = EnvFilter::try_new(&config.telemetry.log).map_err(TelemetryError::Filter)?;
        let lines = JsonLines::new(&config.node.name, &config.node.region, std::io::stderr);
        let traces = traces(config)?;
        let spans = traces.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("twinmcp"));
            layer.with_filter(tracing_subscriber::filter::LevelFilter::INFO)
        });
        tracing_subscriber::registry()
            .with(spans)
            .with(lines.with_filter(filter))
            .try_init()
            .map_err(TelemetryError::Installed)?;
        Ok(Self { traces })
    }

    /// Sends what is left.
    pub fn shut_down(&self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(error = %error, "the last traces were not sent");
        }
    }
}

fn traces(config: &Config) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let endpoint = &config.telemetry.otlp_endpoint;
    if endpoint.is_empty() {
        return Ok(None);
    }
    crate::tls::install();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(reqwest::Client::new())
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| TelemetryError::Otlp(error.into()))?;
    // The batch processor's thread has no runtime of its own, which the client needs.
    let processor = exporting::OnRuntime::new(exporter);
    let root = Sampler::TraceIdRatioBased(config.telemetry.otlp_share);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(processor)
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .with_resource(resource(config))
        .build();
    Ok(Some(provider))
}

fn resource(config: &Config) -> Resource {
    Resource::builder()
        .with_service_name("twinmcp")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", config.node.name.clone()),
            KeyValue::new("cloud.region", config.node.region.clone()),
        ])
        .build()
}

static METRICS: OnceLock<Option<Registry>> = OnceLock::new();

/// Installs the process's meter provider, once. Instruments made before this record nothing.
pub(crate) fn metrics() -> Option<&'static Registry> {
    METRICS
        .get_or_init(|| {
            let registry = Registry::new();
            let exporter = opentelemetry_prometheus::exporter()
                .with_registry(registry.clone())
                .scope_info_enabled(false)
                .build();
            match exporter {
                Ok(exporter) => {
                    global::set_meter_provider(SdkMeterProvider::builder().with_reader(exporter).build());
                    process::observe();
                    Some(registry)
                }
                Err(error) => {
                    tracing::error!(error = %error, "metrics are off");
                    None
                }
            }
        })
        .as_ref()
}

/// Everything measured so far, in Prometheus text format.
///
/// # Errors
/// When the registry cannot be read.
pub(crate) fn scrape() -> Result<String, TelemetryError> {
    let families = metrics().map(Registry::gather).unwrap_or_default();
    let mut text = Vec::with_capacity(64 * 1024);
    TextEncoder::new().encode(&families, &mut text).map_err(TelemetryError::Scrape)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether the node takes requests; tells it to probes and metrics.
#[derive(Debug)]
pub(crate) struct Readiness {
    ready: AtomicBool,
    draining: AtomicBool,
    stale: AtomicBool,
    gauge: Gauge<u64>,
}

impl Readiness {
    pub(crate) fn new() -> Self {
        let gauge = global::meter("twinmcp")
            .u64_gauge("twinmcp.ready")
            .with_description("Whether the node takes requests: 1 or 0.")
            .build();
        gauge.record(0, &[]);
        let [ready, draining, stale] = [const { AtomicBool::new(false) }; 3];
        Self { ready, draining, stale, gauge }
    }

    pub(crate) fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
        self.gauge.record(u64::from(self.is_ready()), &[]);
    }

    /// Takes no new work until it is undone, by an operator's wish.
    pub(crate) fn drain(&self, draining: bool) {
        self.draining.store(draining, Ordering::SeqCst);
        self.gauge.record(u64::from(self.is_ready()), &[]);
    }

    /// Whether the node has been cut off for so long that it does not know any more who may do harm.
    pub(crate) fn set_stale(&self, stale: bool) {
        self.stale.store(stale, Ordering::Relaxed);
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst) && !self.is_draining()
    }
}
