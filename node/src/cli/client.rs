//! How the client verbs talk to a node.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use twinmcp_cluster::RouteVerifier;

use super::CliError;
use super::bases::Bases;
use crate::http::LOG_INDEX;
use crate::telemetry::TraceContext;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Difference of two answers that nobody notices, in milliseconds.
const PROBE_STEP_MS: u128 = 10;
/// Nodes that are looked at.
const PROBES_MAX: usize = 16;
/// Paths below which a POST only asks.
const READS: &str = "/api/mcp/";
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which node, and who asks.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientArgs {
    /// URL of the node; several with commas between them, of which the next is asked when one fails
    #[arg(long, env = "TWINMCP_URL", default_value = "http://127.0.0.1:3000", value_name = "URL")]
    pub(super) url: String,
    /// API key; anonymous when there is none
    #[arg(long = "key", env = "TWINMCP_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(super) key: Option<String>,
}

/// A node, as seen from outside.
#[derive(Debug, Clone)]
pub(super) struct Node {
    client: Client,
    bases: Arc<Bases>,
    key: Option<String>,
    /// What this program is to the node's metrics.
    source: &'static str,
    /// The cluster whose lists of nodes are believed.
    cluster: Arc<Mutex<RouteVerifier>>,
    /// The greatest log index that was told; 0 before the first.
    log_index: Arc<AtomicU64>,
}

/// What `/api/route` answers, as far as it is signed.
#[derive(Deserialize)]
struct Listed {
    jws: String,
    #[serde(default)]
    succession: Vec<String>,
}

impl Node {
    pub(super) fn new(args: &ClientArgs, source: &'static str) -> Result<Self, CliError> {
        let wrong = |reason: String| CliError::Usage(format!("--url: {reason}"));
        let bases = Bases::parse(&args.url).map_err(wrong)?;
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("twinmcp/", env!("CARGO_PKG_VERSION")));
        if bases.are_local() {
            // A proxy would look for the node on its own machine.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| CliError::failed(&error))?;
        let key = args.key.clone().filter(|key| !key.is_empty());
        let (bases, cluster, log_index) = (Arc::new(bases), Arc::default(), Arc::default());
        Ok(Self { client, bases, key, source, cluster, log_index })
    }

    /// A request to `path`, with the key.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, CliError> {
        let joined = format!("{}{path}", self.bases.current().as_str().trim_end_matches('/'));
        let url = Url::parse(&joined).map_err(|error| CliError::Usage(format!("--url: {error}")))?;
        let mut request = self.client.request(method, url).header("x-context7-source", self.source);
        let seen = self.log_index.load(Ordering::Relaxed);
        if seen > 0 {
            request = request.header(&LOG_INDEX, seen);
        }
        Ok(match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.read(self.request(Method::GET, path)?.timeout(REQUEST_TIMEOUT)).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, CliError> {
        self.read(self.request(Method::POST, path)?.timeout(REQUEST_TIMEOUT).json(body)).await
    }

    /// As [`post`](Self::post), in the trace of somebody else.
    pub(super) async fn post_in<T: DeserializeOwned>(
        &self,
        trace: Option<&TraceContext>,
        path: &str,
        body: &Value,
    ) -> Result<T, CliError> {
        let request = self.request(Method::POST, path)?.timeout(REQUEST_TIMEOUT).json(body);
        let headers = trace.into_iter().flat_map(TraceContext::headers);
        self.read(headers.fold(request, |request, (name, value)| request.header(name, value))).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, CliError> {
        self.read(self.request(Method::PATCH, path)?.timeout(REQUEST_TIMEOUT).json(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), CliError> {
        self.send(self.request(Method::DELETE, path)?.timeout(REQUEST_TIMEOUT)).await.map(|_| ())
    }

    /// Sends a request and reads a JSON answer.
    pub(super) async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CliError> {
        let response = self.send(request).await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            CliError::Failed(format!(
                "{} answered something that is not of this version: {error}",
                self.bases.current()
            ))
        })
    }

    /// Sends a request; an answer that is no success becomes an error in the node's own words.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = self.execute(request).await.map_err(|error| self.unreachable(&error))?;
        let told = response.headers().get(&LOG_INDEX).and_then(|index| index.to_str().ok()?.parse().ok());
        self.log_index.fetch_max(told.unwrap_or_default(), Ordering::Relaxed);
        let status = response.status();
        if status.is_success() && status != reqwest::StatusCode::ACCEPTED {
            return Ok(response);
        }
        let body = self.body(response).await?;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = said["detail"].as_str().or(said["message"].as_str()).map(str::to_owned);
        let text = text.unwrap_or_else(|| format!("{} answered {status}", self.bases.current()));
        Err(CliError::Failed(text))
    }

    /// Sends a request to the current node, and to the next ones as long as that cannot do anything twice: nobody was
    /// reached, or nothing is changed by asking.
    async fn execute(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let mut request = request.build()?;
        let is_read = request.method() == Method::GET || request.url().path().contains(READS);
        for _ in 1..self.bases.count() {
            let Some(mut next) = request.try_clone() else { break };
            let answered = self.client.execute(request).await;
            let moves_on = match &answered {
                Ok(response) => is_read && response.status() == StatusCode::SERVICE_UNAVAILABLE,
                Err(error) => error.is_connect() || is_read,
            };
            match moves_on.then(|| self.bases.move_on(next.url())).flatten() {
                Some(url) => *next.url_mut() = url,
                None => return answered,
            }
            request = next;
        }
        self.client.execute(request).await
    }

    /// Asks the cluster for its nodes, looks which of them answer, and asks the nearest from now on. A node alone, or of
    /// another version, changes nothing; nor does a list that the cluster of the first one has not signed.
    pub(super) async fn look_around(&self) {
        let Ok(request) = self.request(Method::GET, "/api/route") else { return };
        let Ok(listed) = self.read::<Listed>(request.timeout(PROBE_TIMEOUT)).await else { return };
        let verified = {
            let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
            cluster.verify(&listed.jws, &listed.succession)
        };
        let route = verified.and_then(|route| serde_json::from_slice::<Value>(&route).ok());
        let Some(route) = route else { return };
        let nodes = route["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let urls = nodes.iter().filter_map(|node| Url::parse(node["url"].as_str()?).ok());
        self.bases.replace(self.near(urls).await);
    }

    /// Of several nodes that the user named, asks the nearest that answers.
    pub(super) async fn choose(&self) {
        let told = self.bases.all();
        if told.len() > 1 {
            self.bases.replace(self.near(told.into_iter()).await);
        }
    }

    /// Those that are ready, the nearest first.
    async fn near(&self, urls: impl Iterator<Item = Url>) -> Vec<Url> {
        let probed = futures_util::future::join_all(urls.take(PROBES_MAX).map(|url| self.probe(url))).await;
        near_first(probed.into_iter().flatten().collect())
    }

    /// How long a node takes to say that it is ready; nothing for one that is not.
    async fn probe(&self, url: Url) -> Option<(Duration, Url)> {
        let asked = format!("{}/api/health/ready", url.as_str().trim_end_matches('/'));
        let began = Instant::now();
        let answer = self.client.get(asked).timeout(PROBE_TIMEOUT).send().await.ok()?;
        answer.status().is_success().then(|| (began.elapsed(), url))
    }

    /// Writes what is at `path` to a file, which gets its name when it is whole and `check` finds it good; tells its bytes, and what was
    /// found.
    pub(super) async fn download<T: Send + 'static>(
        &self,
        path: &str,
        target: &Path,
        check: impl FnOnce(&Path) -> Result<T, CliError> + Send + 'static,
    ) -> Result<(u64, T), CliError> {
        let mut answer = self.send(self.request(Method::GET, path)?).await?;
        let partial = target.with_extension("partial");
        let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", partial.display()));
        let mut file = tokio::fs::File::create(&partial).await.map_err(failed)?;
        let mut bytes = 0_u64;
        while let Some(piece) = answer.chunk().await.map_err(|error| CliError::failed(&error))? {
            bytes += piece.len() as u64;
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        let written = partial.clone();
        let checked = tokio::task::spawn_blocking(move || check(&written)).await;
        let found = checked.map_err(|error| CliError::failed(&error))??;
        tokio::fs::rename(&partial, target).await.map_err(failed)?;
        Ok((bytes, found))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, CliError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(CliError::Failed(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        // The innermost cause is what a person can act on.
        while let Some(error) = cause {
            reason = error.to_string();
            cause = error.source();
        }
        CliError::Unreachable { url: self.bases.current().to_string(), reason }
    }
}

/// By how long each took to answer. Of those that are equally near the list has the better one first.
fn near_first(mut answered: Vec<(Duration, Url)>) -> Vec<Url> {
    answered.sort_by_key(|(time, _)| time.as_millis() / PROBE_STEP_MS);
    answered.into_iter().map(|(_, url)| url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_answers_a_moment_sooner_does_not_overrule_the_list() {
        let answered = [("http://busy", 21), ("http://first", 14), ("http://second", 11), ("http://far", 90)];
        let answered = answered.map(|(url, ms)| (Duration::from_millis(ms), url.parse().unwrap()));
        let order: Vec<_> =
            near_first(answered.into()).iter().map(|url| url.host_str().unwrap().to_owned()).collect();
        assert_eq!(order, ["first", "second", "busy", "far"]);
    }
}
