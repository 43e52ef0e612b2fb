//! Many clients asking as fast as they are answered, for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Response;

use crate::http::Connection;
use crate::process::Process;
use crate::target::Target;

/// Requests of one client in one measurement, at most.
const REQUESTS_MAX: usize = 200_000;

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The node's CPU time a request.
    pub(crate) cpu: Duration,
    pub(crate) requests: usize,
    /// Answers that were not 200.
    pub(crate) failed: usize,
    /// Mean length of an answer, in bytes.
    pub(crate) bytes: usize,
}

/// What one client saw: the time of each answer in microseconds, failures, bytes.
type Seen = (Vec<u32>, usize, usize);

/// Lets `clients` ask for `time`.
pub(crate) async fn measure(target: &Arc<Target>, clients: usize, time: Duration) -> Result<Run, String> {
    let mut ready = Vec::with_capacity(clients);
    for number in 0..clients {
        let mut client = Client::open(target).await?;
        client.ask(number).await?;
        ready.push(client);
    }
    let process = Process::of(target.pid);
    let (cpu, started) = (process.cpu()?, Instant::now());
    let asking: Vec<_> = ready
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(ask(client, number * 31, started + time)))
        .collect();
    let (mut times, mut failed, mut bytes) = (Vec::new(), 0, 0);
    for asked in asking {
        let seen = asked.await.map_err(|error| error.to_string())??;
        times.extend(seen.0);
        failed += seen.1;
        bytes += seen.2;
    }
    let (cpu, wall) = (process.cpu()?.saturating_sub(cpu), started.elapsed());
    let requests = times.len();
    if requests == 0 {
        return Err(format!("{} was not answered once in {time:?}", target.name));
    }
    times.sort_unstable();
    let at = |share: usize| Duration::from_micros(times[(requests * share / 1000).min(requests - 1)].into());
    let count = u32::try_from(requests).map_err(|error| error.to_string())?;
    Ok(Run {
        per_second: f64::from(count) / wall.as_secs_f64(),
        p50: at(500),
        p99: at(990),
        cpu: cpu / count,
        requests,
        failed,
        bytes: bytes / requests,
    })
}

/// Somebody who asks, over a connection that stays open.
struct Client {
    target: Arc<Target>,
    connection: Connection,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    async fn open(target: &Arc<Target>) -> Result<Self, String> {
        let mut connection = Connection::open(target.address).await?;
        let headers = target.headers(&mut connection).await?;
        Ok(Self { target: Arc::clone(target), connection, headers })
    }

    /// Asks the question of this number; behind the last comes the first again.
    async fn ask(&mut self, number: usize) -> Result<Response<Bytes>, String> {
        let asks = &self.target.asks;
        let (path, body) = &asks[number % asks.len()];
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, &**value)).collect();
        self.connection.send(path, &headers, body.clone()).await
    }
}

async fn ask(mut client: Client, first: usize, end: Instant) -> Result<Seen, String> {
    let (mut times, mut failed, mut bytes) = (Vec::new(), 0, 0);
    while times.len() < REQUESTS_MAX {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let answer = client.ask(first + times.len()).await?;
        times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        failed += usize::from(!client.target.is_answer(&answer));
        bytes += answer.body().len();
    }
    Ok((times, failed, bytes))
}
