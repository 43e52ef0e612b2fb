//! What the process uses: CPU, memory, descriptors, tasks; read from `/proc` when asked.

use opentelemetry::{KeyValue, global};
use tokio::runtime::Handle;

/// Ticks a second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux there is (`man 7 time`).
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

/// Registers the instruments; they read when metrics are collected.
pub(super) fn observe() {
    let meter = global::meter("twinmcp");
    meter
        .u64_observable_gauge("twinmcp.build.info")
        .with_description("Always 1; the labels tell the build.")
        .with_callback(|gauge| gauge.observe(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]))
        .build();
    meter
        .f64_observable_counter("process.cpu.seconds")
        .with_description("CPU time used, user and system.")
        .with_callback(|counter| {
            if let Some(stat) = Stat::read() {
                counter.observe(stat.cpu_seconds, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.resident.memory")
        .with_unit("By")
        .with_description("Memory in use.")
        .with_callback(|gauge| {
            if let Some(stat) = Stat::read() {
                gauge.observe(stat.resident_bytes, &[]);
            }
        })
        .build();
    meter
        .f64_observable_gauge("process.start.time")
        .with_unit("s")
        .with_description("When the process started, in Unix time.")
        .with_callback(|gauge| {
            if let (Some(stat), Some(boot)) = (Stat::read(), boot_time()) {
                gauge.observe(boot + stat.started_seconds, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.open.fds")
        .with_description("File descriptors in use.")
        .with_callback(|gauge| {
            if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
                gauge.observe(entries.count() as u64, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.max.fds")
        .with_description("File descriptors that may be in use.")
        .with_callback(|gauge| {
            if let Some(limit) = descriptor_limit() {
                gauge.observe(limit, &[]);
            }
        })
        .build();
    if let Ok(runtime) = Handle::try_current() {
        meter
            .u64_observable_gauge("tokio.runtime.alive_tasks")
            .with_description("Tasks of the runtime that have not ended.")
            .with_callback(move |gauge| gauge.observe(runtime.metrics().num_alive_tasks() as u64, &[]))
            .build();
    }
}

/// The parts of `/proc/self/stat` that are told.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    started_seconds: f64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Fields are counted after the name, which may hold spaces and brackets itself (`man 5 proc`).
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        #[expect(clippy::cast_precision_loss, reason = "ticks of a process stay far below 2^52")]
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        Some(Self {
            cpu_seconds: seconds(number(11)? + number(12)?),
            started_seconds: seconds(number(19)?),
            resident_bytes: number(21)? * PAGE_BYTES,
        })
    }
}

fn boot_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn descriptor_limit() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let text = format!("42 (a) b (c)) {}", fields.join(" "));
        let stat = Stat::parse(&text).unwrap();
        assert_eq!(stat, Stat { cpu_seconds: 0.29, started_seconds: 0.22, resident_bytes: 24 * PAGE_BYTES });
        assert_eq!(Stat::parse("nonsense"), None);
    }
}
