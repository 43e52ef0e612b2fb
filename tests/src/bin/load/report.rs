//! The figures, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::measure::Run;

const MEBIBYTE: f64 = 1_048_576.0;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) start_first: Duration,
    pub(crate) start_again: Duration,
    pub(crate) rss_empty: u64,
    pub(crate) rss_idle: u64,
    pub(crate) rss_busy: u64,
    pub(crate) indexed: Indexed,
    pub(crate) rows: Vec<Row>,
    pub(crate) more: Map<String, Value>,
}

/// What indexing the corpus cost.
#[derive(Debug, Default)]
pub(crate) struct Indexed {
    pub(crate) pages: u64,
    pub(crate) snippets: u64,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    pub(crate) rss_peak: u64,
}

/// One measurement of answers.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    pub(crate) indexing: bool,
    pub(crate) run: Run,
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes far below 2^52, shown rounded")]
fn number(count: u64) -> f64 {
    count as f64
}

impl Indexed {
    /// `count` for each second of the node's CPU.
    fn per_cpu_second(&self, count: u64) -> f64 {
        number(count) / self.cpu.as_secs_f64().max(0.01)
    }
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let indexed = &self.indexed;
        let _ = writeln!(text, "\nstart, first time      {:>9.0} ms", millis(self.start_first));
        let _ = writeln!(text, "start, with all data   {:>9.0} ms", millis(self.start_again));
        for (name, bytes) in [
            ("memory, empty", self.rss_empty),
            ("memory, idle", self.rss_idle),
            ("memory, after load", self.rss_busy),
            ("memory, indexing peak", indexed.rss_peak),
        ] {
            let _ = writeln!(text, "{name:<22} {:>9.1} MiB", number(bytes) / MEBIBYTE);
        }
        let _ = writeln!(
            text,
            "indexing               {:>9} pages, {} snippets in {:.1} s ({:.1} s of CPU)",
            indexed.pages,
            indexed.snippets,
            indexed.wall.as_secs_f64(),
            indexed.cpu.as_secs_f64()
        );
        let _ = writeln!(text, "pages per CPU-second   {:>9.0}", indexed.per_cpu_second(indexed.pages));
        let _ = writeln!(text, "snippets per CPU-second{:>9.0}\n", indexed.per_cpu_second(indexed.snippets));
        let _ = writeln!(
            text,
            "{:<11} {:<9} {:>7} {:>10} {:>9} {:>9} {:>12} {:>7} {:>8}",
            "what", "node", "clients", "req/s", "p50 ms", "p99 ms", "CPU ms/req", "failed", "bytes"
        );
        for Row { name, clients, indexing, run } in &self.rows {
            let state = if *indexing { "indexing" } else { "at rest" };
            let _ = writeln!(
                text,
                "{name:<11} {state:<9} {clients:>7} {:>10.0} {:>9.2} {:>9.2} {:>12.3} {:>7} {:>8}",
                run.per_second,
                millis(run.p50),
                millis(run.p99),
                millis(run.cpu),
                run.failed,
                run.bytes
            );
        }
        text.push_str("\nCPU is the node's; while indexing it includes the job's.\n");
        text
    }

    pub(crate) fn json(&self) -> Value {
        let indexed = &self.indexed;
        let row = |Row { name, clients, indexing, run }: &Row| {
            json!({
                "what": name, "clients": clients, "indexing": indexing, "requests": run.requests,
                "requests_per_second": run.per_second, "p50_ms": millis(run.p50), "p99_ms": millis(run.p99),
                "cpu_ms_per_request": millis(run.cpu), "failed": run.failed, "bytes_mean": run.bytes,
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let mut report = json!({
            "start_first_ms": millis(self.start_first),
            "start_again_ms": millis(self.start_again),
            "rss_empty_bytes": self.rss_empty,
            "rss_idle_bytes": self.rss_idle,
            "rss_after_load_bytes": self.rss_busy,
            "indexing": {
                "pages": indexed.pages, "snippets": indexed.snippets, "wall_s": indexed.wall.as_secs_f64(),
                "cpu_s": indexed.cpu.as_secs_f64(), "rss_peak_bytes": indexed.rss_peak,
                "pages_per_cpu_second": indexed.per_cpu_second(indexed.pages),
                "snippets_per_cpu_second": indexed.per_cpu_second(indexed.snippets),
            },
            "answers": rows,
        });
        for (name, value) in &self.more {
            report[name] = value.clone();
        }
        report
    }
}
