//! Many clients that write as fast as they are answered, for a while.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::VALUE_BYTES;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// A client of something that takes writes.
pub(crate) trait Client: Send + 'static {
    /// Writes once, and returns when it is acknowledged.
    fn write(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(crate) fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Lets `clients` write for `time`.
pub(crate) async fn writes<C: Client>(clients: Vec<C>, time: Duration) -> Result<Run, String> {
    let started = Instant::now();
    let writing = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let mut times = Vec::new();
            while started.elapsed() < time {
                let begun = Instant::now();
                client.write().await?;
                times.push(begun.elapsed());
            }
            Ok::<_, String>(times)
        })
    });
    let writing: Vec<_> = writing.collect();
    let mut times = Vec::new();
    for client in writing {
        times.extend(client.await.map_err(|error| error.to_string())??);
    }
    figures(times, started.elapsed())
}

/// What these times of single writes come to.
pub(crate) fn figures(mut times: Vec<Duration>, wall: Duration) -> Result<Run, String> {
    times.sort_unstable();
    let last = times.len().checked_sub(1).ok_or("nothing was written")?;
    let count = u32::try_from(times.len()).map_err(|error| error.to_string())?;
    Ok(Run {
        per_second: f64::from(count) / wall.as_secs_f64(),
        p50: times[last / 2],
        p99: times[last * 99 / 100],
    })
}

/// The longest time without an acknowledged write, while `clients` write and `kill` ends the leader. A write that
/// fails is tried again at once; only the clients of nodes that live are given.
pub(crate) async fn gap<C: Client>(
    clients: Vec<C>,
    kill: impl AsyncFnOnce() -> Result<(), String>,
) -> Result<Duration, String> {
    /// How long the clients write before and after the kill.
    const BEFORE: Duration = Duration::from_secs(1);
    const AFTER: Duration = Duration::from_secs(8);
    let started = Instant::now();
    let end = started + BEFORE + AFTER;
    let writing = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while Instant::now() < end {
                match client.write().await {
                    Ok(()) => acknowledged.push(Instant::now()),
                    // As a client that is told "not now" does.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            acknowledged
        })
    });
    let writing: Vec<_> = writing.collect();
    tokio::time::sleep(BEFORE).await;
    let killed = Instant::now();
    kill().await?;
    let mut acknowledged = Vec::new();
    for client in writing {
        acknowledged.extend(client.await.map_err(|error| error.to_string())?);
    }
    acknowledged.sort_unstable();
    let before = acknowledged.iter().rev().find(|at| **at < killed).copied().unwrap_or(killed);
    let mut points: Vec<Instant> = acknowledged.into_iter().filter(|at| *at >= before).collect();
    // Nobody answered until the end: the gap is at least that long.
    points.push(end.max(before));
    let gaps = points.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().ok_or_else(|| "nothing was written".to_owned())
}

/// What the disk gives: appends of one value to one file, each synced.
pub(crate) async fn syncs(time: Duration) -> Result<Run, String> {
    let syncs = move || -> std::io::Result<(Vec<Duration>, Duration)> {
        let folder = tempfile::tempdir()?;
        let mut file = File::create(folder.path().join("appended"))?;
        let (started, mut times) = (Instant::now(), Vec::new());
        while started.elapsed() < time {
            let begun = Instant::now();
            file.write_all(&[7; VALUE_BYTES])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        Ok((times, started.elapsed()))
    };
    let synced = tokio::task::spawn_blocking(syncs).await.map_err(|error| error.to_string())?;
    let (times, wall) = synced.map_err(|error| error.to_string())?;
    figures(times, wall)
}
