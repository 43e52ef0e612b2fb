//! Many clients asking as fast as they are answered, for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twinmcp_tests::{TestNode, with_parameters};

use crate::http::Connection;
use crate::process::Process;

/// Requests of one client in one measurement, at most.
const REQUESTS_MAX: usize = 200_000;

/// What is asked.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    address: SocketAddr,
    /// The header `Authorization`.
    authorization: String,
    paths: Arc<Vec<String>>,
}

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

impl Target {
    /// `query-docs` with each of `questions` in turn.
    pub(crate) fn docs(node: &TestNode, library: &str, questions: &[String]) -> Self {
        let path = |question: &String| {
            with_parameters("/api/v2/context", &[("libraryId", library), ("query", question)])
        };
        Self::new("query-docs", node, questions.iter().map(path).collect())
    }

    /// `resolve-library-id` with each of `names` in turn.
    pub(crate) fn resolve(node: &TestNode, names: Vec<String>) -> Self {
        let path = |name: String| with_parameters("/api/v2/libs/search", &[("libraryName", &name)]);
        Self::new("resolve", node, names.into_iter().map(path).collect())
    }

    fn new(name: &'static str, node: &TestNode, paths: Vec<String>) -> Self {
        let address = node.url().strip_prefix("http://").and_then(|address| address.parse().ok());
        let address = address.expect("a node answers at an address");
        Self { name, address, authorization: format!("Bearer {}", node.key()), paths: Arc::new(paths) }
    }
}

/// What one client saw: the time of each answer in microseconds, failures, bytes.
type Seen = (Vec<u32>, usize, usize);

/// Lets `clients` ask for `time`; `pid` is the node's.
pub(crate) async fn measure(
    target: &Target,
    clients: usize,
    time: Duration,
    pid: u32,
) -> Result<Run, String> {
    let mut connections = Vec::with_capacity(clients);
    for number in 0..clients {
        let mut connection = Connection::open(target.address).await?;
        connection.send(path(target, number), &[("authorization", &target.authorization)], None).await?;
        connections.push(connection);
    }
    let process = Process::of(pid);
    let (cpu, started) = (process.cpu()?, Instant::now());
    let asking: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(number, connection)| {
            let (paths, authorization) = (Arc::clone(&target.paths), target.authorization.clone());
            tokio::spawn(ask(connection, paths, authorization, number * 31, started + time))
        })
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

fn path(target: &Target, number: usize) -> &str {
    &target.paths[number % target.paths.len()]
}

async fn ask(
    mut connection: Connection,
    paths: Arc<Vec<String>>,
    authorization: String,
    first: usize,
    end: Instant,
) -> Result<Seen, String> {
    let headers = [("authorization", &*authorization)];
    let (mut times, mut failed, mut bytes) = (Vec::new(), 0, 0);
    while times.len() < REQUESTS_MAX {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let path = &paths[(first + times.len()) % paths.len()];
        let (status, body) = connection.send(path, &headers, None).await?;
        times.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        failed += usize::from(status != hyper::StatusCode::OK);
        bytes += body.len();
    }
    Ok((times, failed, bytes))
}
