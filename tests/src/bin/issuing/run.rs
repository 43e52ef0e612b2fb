//! What one measurement gave: time and CPU of a request.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// What came of one measurement.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// CPU of the server for one request.
    cpu: Duration,
    p50: Duration,
    p99: Duration,
    per_second: f64,
}

impl Run {
    /// Of each figure the median.
    pub(crate) fn median(runs: Vec<Self>) -> Self {
        let middle = |take: fn(&Self) -> Duration| {
            let mut all: Vec<Duration> = runs.iter().map(take).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let mut rates: Vec<f64> = runs.iter().map(|run| run.per_second).collect();
        rates.sort_by(f64::total_cmp);
        Self {
            cpu: middle(|run| run.cpu),
            p50: middle(|run| run.p50),
            p99: middle(|run| run.p99),
            per_second: rates.get(rates.len() / 2).copied().unwrap_or_default(),
        }
    }

    /// Of single times within `wall`.
    pub(crate) fn of(mut times: Vec<Duration>, cpu: Duration, wall: Duration) -> Result<Self, String> {
        times.sort_unstable();
        let last = times.len().checked_sub(1).ok_or("nothing was answered")?;
        let count = u32::try_from(times.len()).map_err(|error| error.to_string())?;
        let per_second = f64::from(count) / wall.as_secs_f64();
        Ok(Self { cpu: cpu / count, p50: times[last / 2], p99: times[last * 99 / 100], per_second })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu_us": self.cpu.as_secs_f64() * 1e6, "p50_ms": self.p50.as_secs_f64() * 1e3,
            "p99_ms": self.p99.as_secs_f64() * 1e3, "per_second": self.per_second,
        })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, p50, p99) = (self.cpu.as_secs_f64(), self.p50.as_secs_f64(), self.p99.as_secs_f64());
        write!(f, "{:.0} | {:.1} | {:.1} | {:.0}", cpu * 1e6, p50 * 1e3, p99 * 1e3, self.per_second)
    }
}
