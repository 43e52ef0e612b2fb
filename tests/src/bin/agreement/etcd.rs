//! Three nodes of etcd on loopback, asked over gRPC: one HTTP/2 connection a client, as its own benchmark does.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use twinmcp_tests::eventually;

use crate::VALUE_BYTES;
use crate::drive::{self, Client, Run};

/// The nodes, and the folder that dies with them.
pub(crate) struct Nodes {
    nodes: Vec<Option<Child>>,
    ports: Vec<(u16, u16)>,
    folder: TempDir,
}

impl Nodes {
    pub(crate) async fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut ports = Vec::new();
        for _ in 0..3 {
            ports.push((free_port()?, free_port()?));
        }
        let mut nodes = Self { nodes: vec![None, None, None], ports, folder };
        for node in 0..3 {
            nodes.run(node)?;
        }
        nodes.leader().await?;
        Ok(nodes)
    }

    fn run(&mut self, node: usize) -> Result<(), String> {
        let peer = |(number, (_, port)): (usize, &(u16, u16))| format!("n{number}=http://127.0.0.1:{port}");
        let all = self.ports.iter().enumerate().map(peer).collect::<Vec<_>>().join(",");
        let (client, peer) = self.ports[node];
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.args(["--name", &format!("n{node}"), "--initial-cluster", &all]);
        command.arg("--data-dir").arg(self.folder.path().join(node.to_string()));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let spawned = spawned
            .map_err(|error| format!("cannot start `etcd`: {error}; Debian: apt-get install etcd-server"))?;
        self.nodes[node] = Some(spawned);
        Ok(())
    }

    /// The node that leads, once all that run answer.
    async fn leader(&self) -> Result<usize, String> {
        let http = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
        let found = eventually("a leader of etcd", async || {
            let mut leaders = Vec::new();
            for (node, (client, _)) in self.ports.iter().enumerate() {
                let url = format!("http://127.0.0.1:{client}/v3/maintenance/status");
                let answer: Value = http.post(url).json(&json!({})).send().await.ok()?.json().await.ok()?;
                if answer["leader"].is_string() && answer["leader"] == answer["header"]["member_id"] {
                    leaders.push(node);
                }
            }
            leaders.first().copied()
        });
        Ok(found.await)
    }

    /// Clients spread evenly over the nodes.
    pub(crate) async fn writes(&self, clients: usize, time: Duration) -> Result<Run, String> {
        let mut writers = Vec::new();
        for client in 0..clients {
            writers.push(Putter::open(self.ports[client % 3].0, client).await?);
        }
        drive::writes(writers, time).await
    }

    /// Kills the leader while two clients of each other node write; the longest gap.
    pub(crate) async fn failover(&mut self) -> Result<Duration, String> {
        let leader = self.leader().await?;
        let mut writers = Vec::new();
        for client in (0..6).filter(|client| client % 3 != leader) {
            writers.push(Putter::open(self.ports[client % 3].0, client).await?);
        }
        let gap = drive::gap(writers, async || {
            let Some(mut node) = self.nodes[leader].take() else { return Ok(()) };
            node.kill().and_then(|()| node.wait()).map(drop).map_err(|error| error.to_string())
        })
        .await?;
        self.run(leader)?;
        self.leader().await?;
        Ok(gap)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| error.to_string())
}

/// Puts a value under a key of its own, again and again.
struct Putter {
    sender: SendRequest<Full<Bytes>>,
    uri: String,
    message: Bytes,
}

impl Putter {
    async fn open(port: u16, client: usize) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let connected = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = connected.map_err(|error| error.to_string())?;
        tokio::spawn(async move { drop(connection.await) });
        let uri = format!("http://127.0.0.1:{port}/etcdserverpb.KV/Put");
        Ok(Self { sender, uri, message: put_request(&format!("client/{client:08}")) })
    }
}

/// A `PutRequest` (key is field 1, value field 2) as gRPC frames it: not compressed, length, message.
fn put_request(key: &str) -> Bytes {
    let mut message = BytesMut::new();
    for (tag, bytes) in [(0x0a, key.as_bytes()), (0x12, &[7; VALUE_BYTES])] {
        message.put_u8(tag);
        prost::encoding::encode_varint(bytes.len() as u64, &mut message);
        message.put_slice(bytes);
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

impl Client for Putter {
    async fn write(&mut self) -> Result<(), String> {
        let request =
            Request::post(&self.uri).header("content-type", "application/grpc").header("te", "trailers");
        let request = request.body(Full::new(self.message.clone())).map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let answer = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let told = answer.headers().get("grpc-status").cloned();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        let trailers = body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned());
        match told.or(trailers) {
            Some(status) if status == "0" => Ok(()),
            status => Err(format!("etcd answered with gRPC status {status:?}")),
        }
    }
}
