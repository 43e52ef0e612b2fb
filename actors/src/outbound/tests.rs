//! The guard against real servers on loopback, which tests reach by a name that is allowed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, SyncInstrument};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server that answers each connection as `answer` says, given the head of the request.
pub(crate) struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start<F, W>(answer: F) -> Self
    where
        F: Fn(String, TcpStream) -> W + Send + Sync + 'static,
        W: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                // The client may hang up in the middle; that is what is tested.
                tokio::spawn(answer(String::from_utf8(head).unwrap(), stream));
            }
        });
        Self { port, requests }
    }

    /// A server that answers with `bytes` and closes.
    async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Arc::new(bytes.into());
        Self::start(move |_, mut stream| {
            let bytes = Arc::clone(&bytes);
            async move { stream.write_all(&bytes).await }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://site.test:{}{path}", self.port).parse().unwrap()
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// `site.test` and `rebound.test` are loopback, `public.test` is not.
struct TestResolver;

impl Resolver for TestResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let public = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
        let found = match host.trim_end_matches('.') {
            "site.test" | "inside.test" | "localhost" => Ok(vec![loopback]),
            "public.test" => Ok(vec![public]),
            "mixed.test" => Ok(vec![public, loopback]),
            "nothing.test" => Ok(Vec::new()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Box::pin(async move { found })
    }
}

pub(crate) fn config() -> OutboundConfig {
    OutboundConfig { allowed_hosts: vec!["site.test".into()], ..OutboundConfig::default() }
}

pub(crate) fn outbound(config: OutboundConfig) -> Outbound {
    Outbound::new(config, Arc::new(TestResolver)).unwrap()
}

/// What the counter of refusals was told, by reason.
#[derive(Default)]
pub(crate) struct Counted(Mutex<BTreeMap<String, u64>>);

impl SyncInstrument<u64> for Counted {
    fn measure(&self, measurement: u64, attributes: &[KeyValue]) {
        let reason = attributes.iter().find(|attribute| attribute.key.as_str() == "reason").unwrap();
        *self.0.lock().unwrap().entry(reason.value.to_string()).or_default() += measurement;
    }
}

impl Counted {
    /// What was counted since the last time.
    pub(crate) fn take(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().collect()
    }
}

/// As [`outbound`], with what it counts.
pub(crate) fn counted(config: OutboundConfig) -> (Outbound, Arc<Counted>) {
    let (mut outbound, counted) = (outbound(config), Arc::new(Counted::default()));
    let refusals = Counter::new(Arc::clone(&counted) as Arc<dyn SyncInstrument<u64> + Send + Sync>);
    Arc::get_mut(&mut outbound.0).unwrap().metrics = Metrics { refusals };
    (outbound, counted)
}

async fn read(outbound: &Outbound, url: Url) -> Result<Vec<u8>, OutboundError> {
    outbound.follow(Request::get(url)).await?.body.read().await
}

async fn reason(outbound: &Outbound, url: Url) -> &'static str {
    match read(outbound, url.clone()).await {
        Ok(body) => panic!("{url} answered {} bytes", body.len()),
        Err(error) => error.reason(),
    }
}

#[tokio::test]
async fn an_allowed_server_answers_and_is_told_who_asks() {
    let server = Server::start(|head, mut stream| async move {
        let body = format!("asked: {head}");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await
    })
    .await;
    let contact = OutboundConfig { contact_url: "https://ops.example/bot".into(), ..config() };
    let body = String::from_utf8(read(&outbound(contact), server.url("/a")).await.unwrap()).unwrap();
    assert!(body.starts_with("asked: GET /a HTTP/1.1\r\n"), "{body}");
    let agent = format!("user-agent: TwinMCP/{} (+https://ops.example/bot)\r\n", env!("CARGO_PKG_VERSION"));
    assert!(body.contains(&agent), "{body}");
    assert!(body.contains("accept-encoding: gzip\r\n"), "{body}");
}

#[test]
fn a_url_is_checked_before_anybody_is_asked() {
    let outbound = outbound(OutboundConfig::default());
    for (url, reason) in [
        ("ftp://public.test/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:6379/_", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("//public.test/", "url"),
        ("public.test", "url"),
        ("https://", "url"),
        ("https://me:secret@public.test/", "userinfo"),
        ("https://me@public.test/", "userinfo"),
        // Spellings of addresses that are not public.
        ("http://127.0.0.1/", "address"),
        ("http://127.0.0.1./", "address"),
        ("http://127.1/", "address"),
        ("http://0x7f.1/", "address"),
        ("http://0x7f000001/", "address"),
        ("http://2130706433/", "address"),
        ("http://017700000001/", "address"),
        ("http://0/", "address"),
        ("http://①②⑦.0.0.1/", "address"),
        ("http://169.254.169.254/latest/meta-data/", "address"),
        ("http://[::1]/", "address"),
        ("http://[::ffff:7f00:1]/", "address"),
        ("http://[::ffff:127.0.0.1]/", "address"),
        ("http://[64:ff9b::7f00:1]/", "address"),
        ("http://[2002:7f00:1::]/", "address"),
        ("http://[fe80::1]/", "address"),
        ("http://10.0.0.1:8080/", "address"),
    ] {
        assert_eq!(outbound.check(url).map_err(|error| error.reason()).unwrap_err(), reason, "{url}");
    }
    assert_eq!(outbound.check(&format!("https://a/{}", "x".repeat(5000))).unwrap_err().reason(), "url");
    for url in ["https://public.test/", "http://public.test:8080/a?b#c", "https://9.9.9.9/"] {
        outbound.check(url).unwrap();
    }
    let secret = outbound.check("https://me:hunter2@public.test/").unwrap_err().to_string();
    assert!(!secret.contains("hunter2"), "{secret}");
}

#[tokio::test]
async fn whoever_is_refused_is_counted_once_by_reason_also_at_the_door() {
    let server = Server::start(|head, mut stream| async move {
        let answer = match head.split(' ').nth(1) {
            Some("/circle") => redirect("/circle").into_bytes(),
            Some("/large") => b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n".to_vec(),
            Some("/bomb") => packed(&gzip(&vec![0; 4 << 20]), "gzip"),
            Some("/cut") => packed(b"no gzip at all", "gzip"),
            Some("/brotli") => packed(b"x", "br"),
            Some("/inside") => redirect("http://169.254.169.254/").into_bytes(),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        };
        stream.write_all(&answer).await
    })
    .await;
    let (outbound, counted) = counted(config());
    for (url, reason) in [
        ("http://169.254.169.254/latest/meta-data/", "address"),
        ("https://me:secret@public.test/", "userinfo"),
        ("ftp://public.test/", "scheme"),
        ("public.test", "url"),
    ] {
        outbound.check(url).unwrap_err();
        assert_eq!(counted.take(), [(reason.to_owned(), 1)], "{url}");
    }
    for (path, reason) in [
        ("/circle", "redirects"),
        ("/large", "body_bytes"),
        ("/bomb", "unpacked_ratio"),
        ("/cut", "damaged"),
        ("/brotli", "encoding"),
        ("/inside", "address"),
    ] {
        let url = outbound.check(server.url(path).as_str()).unwrap();
        read(&outbound, url).await.unwrap_err();
        assert_eq!(counted.take(), [(reason.to_owned(), 1)], "{path}");
    }
    let url = outbound.check(server.url("/").as_str()).unwrap();
    assert_eq!(read(&outbound, url).await.unwrap(), b"ok");
    assert_eq!(counted.take(), []);
}

#[tokio::test]
async fn a_body_that_is_too_large_says_whose_limit_that_is() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
    let outbound = outbound(config());
    for (bytes_max, says) in [
        (
            u64::MAX,
            "has more than 16777216 bytes, the most that are read; split it, or raise `outbound.body_bytes_max`",
        ),
        (5, "has more than 5 bytes, the most that are read; whoever runs it has to make it shorter"),
    ] {
        let request = Request { body_bytes_max: bytes_max, ..Request::get(server.url("/")) };
        let sentence = outbound.send(request).await.unwrap_err().to_string();
        assert!(sentence.ends_with(says), "{sentence}");
    }
}

#[test]
fn http_can_be_forbidden() {
    let outbound = outbound(OutboundConfig { allow_http: false, ..OutboundConfig::default() });
    assert_eq!(outbound.check("http://public.test/").unwrap_err().reason(), "plain_http");
    outbound.check("https://public.test/").unwrap();
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_with_what_to_do() {
    let server = Server::saying("HTTP/1.1 200 OK\r\n\r\nsecret").await;
    let outbound = outbound(config());
    for host in ["inside.test", "localhost", "localhost.", "mixed.test"] {
        let url: Url = format!("http://{host}:{}/", server.port).parse().unwrap();
        let error = read(&outbound, url).await.unwrap_err();
        assert_eq!(error.reason(), "address", "{host}: {error}");
        assert!(error.to_string().contains("`outbound.allowed_hosts`"), "{error}");
    }
    for host in ["nothing.test", "nobody.test"] {
        let url: Url = format!("http://{host}:{}/", server.port).parse().unwrap();
        assert_eq!(reason(&outbound, url).await, "unknown_host", "{host}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn the_operator_allows_hosts_and_networks() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let network = |text: &str| vec![text.parse().unwrap()];
    let networks =
        outbound(OutboundConfig { allowed_networks: network("127.0.0.0/8"), ..Default::default() });
    let address = outbound(OutboundConfig { allowed_networks: network("127.0.0.1"), ..Default::default() });
    for outbound in [&networks, &address] {
        for host in ["inside.test", "127.0.0.1", "2130706433"] {
            let url: Url = format!("http://{host}:{}/", server.port).parse().unwrap();
            assert_eq!(read(outbound, url).await.unwrap(), b"ok", "{host}");
        }
    }
    assert_eq!(networks.check("http://10.0.0.1/").unwrap_err().reason(), "address");
    assert!("10.0.0.0/33".parse::<Network>().is_err() && "intranet".parse::<Network>().is_err());
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_address_is_refused() {
    let target = Server::saying("HTTP/1.1 200 OK\r\n\r\nsecret").await;
    for to in [
        format!("http://127.0.0.1:{}/", target.port),
        format!("http://inside.test:{}/", target.port),
        format!("//0x7f.1:{}/", target.port),
        format!("http://[::ffff:127.0.0.1]:{}/", target.port),
    ] {
        let server = Server::saying(redirect(&to)).await;
        assert_eq!(reason(&outbound(config()), server.url("/")).await, "address", "{to}");
    }
    let server = Server::saying(redirect("file:///etc/passwd")).await;
    assert_eq!(reason(&outbound(config()), server.url("/")).await, "scheme");
    assert_eq!(target.requests(), 0);
}

#[tokio::test]
async fn redirects_are_followed_until_they_circle() {
    let server = Server::start(|head, mut stream| async move {
        let answer = match head.split(' ').nth(1) {
            Some("/1") => redirect("/2"),
            Some("/2") => redirect("/end"),
            Some("/a") => redirect("/b"),
            Some("/b") => redirect("/a"),
            Some("/end") => "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend".into(),
            // Never the same place twice.
            path => redirect(&format!("{}x", path.unwrap_or_default())),
        };
        stream.write_all(answer.as_bytes()).await
    })
    .await;
    let outbound = outbound(config());
    assert_eq!(read(&outbound, server.url("/1")).await.unwrap(), b"end");
    assert_eq!(reason(&outbound, server.url("/a")).await, "redirects");
    assert_eq!(reason(&outbound, server.url("/y")).await, "redirects");
}

/// Says that the name is public when it is asked first, loopback ever after.
struct Rebinding(AtomicUsize);

impl Resolver for Rebinding {
    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { Ipv4Addr::new(9, 9, 9, 9) } else { Ipv4Addr::LOCALHOST };
        Box::pin(async move { Ok(vec![IpAddr::V4(address)]) })
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_where_it_is_used() {
    let server = Server::saying("HTTP/1.1 200 OK\r\n\r\nsecret").await;
    let outbound =
        Outbound::new(OutboundConfig::default(), Arc::new(Rebinding(AtomicUsize::new(0)))).unwrap();
    assert!(outbound.guard().addresses("rebound.test").await.is_ok(), "public at first");
    let url: Url = format!("http://rebound.test:{}/", server.port).parse().unwrap();
    assert_eq!(reason(&outbound, url).await, "address");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_body_ends_at_its_limit_however_it_is_told() {
    let limits = OutboundConfig { body_bytes_max: 100_000, ..config() };
    let told = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\nbeginning").await;
    assert_eq!(reason(&outbound(limits.clone()), told.url("/")).await, "body_bytes");
    let endless = Server::start(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        loop {
            stream.write_all(b"1000\r\n").await?;
            stream.write_all(&[b'x'; 0x1000]).await?;
            stream.write_all(b"\r\n").await?;
        }
    })
    .await;
    assert_eq!(reason(&outbound(limits.clone()), endless.url("/")).await, "body_bytes");
    // One request may ask for less.
    let request = Request { body_bytes_max: 5, ..Request::get(endless.url("/")) };
    let body = outbound(limits).send(request).await.unwrap().body;
    assert!(matches!(body.read().await, Err(OutboundError::BodyTooLarge { limit: 5, .. })));
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_given_up() {
    let server = Server::start(|head, mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbeginning").await?;
        if head.starts_with("GET /trickle") {
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        std::future::pending().await
    })
    .await;
    let limits = OutboundConfig { idle_timeout: Duration::from_millis(50), ..config() };
    assert_eq!(reason(&outbound(limits), server.url("/stall")).await, "slow");
    let limits = OutboundConfig { slow_grace: Duration::from_millis(50), ..config() };
    let limits = OutboundConfig { bytes_per_second_min: 1 << 30, ..limits };
    assert_eq!(reason(&outbound(limits), server.url("/trickle")).await, "slow");
    let limits = OutboundConfig { request_timeout: Duration::from_millis(50), ..config() };
    assert_eq!(reason(&outbound(limits), server.url("/stall")).await, "deadline");
}

#[tokio::test]
async fn a_server_that_says_nothing_or_nonsense_is_given_up() {
    let silent = Server::start(|_, stream| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let limits = OutboundConfig { request_timeout: Duration::from_millis(50), ..config() };
    assert_eq!(reason(&outbound(limits), silent.url("/")).await, "deadline");
    let nonsense = Server::saying("SSH-2.0-OpenSSH\r\n").await;
    assert_eq!(reason(&outbound(config()), nonsense.url("/")).await, "broken");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody: Url = format!("http://site.test:{port}/").parse().unwrap();
    let error = read(&outbound(config()), nobody).await.unwrap_err();
    assert_eq!(error.reason(), "connect");
    assert!(error.is_passing());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(body: &[u8], encoding: &str) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn compressed_bodies_are_unpacked_within_limits() {
    let text = "documentation ".repeat(10_000);
    let server = Server::saying(packed(&gzip(text.as_bytes()), "gzip")).await;
    assert_eq!(read(&outbound(config()), server.url("/")).await.unwrap(), text.as_bytes());
    let limits = OutboundConfig { body_bytes_max: 100_000, ..config() };
    assert_eq!(reason(&outbound(limits), server.url("/")).await, "body_bytes");

    let bomb = Server::saying(packed(&gzip(&vec![0; 64 << 20]), "gzip")).await;
    let limits = OutboundConfig { body_bytes_max: 1 << 20, ..config() };
    assert_eq!(reason(&outbound(limits), bomb.url("/")).await, "body_bytes");
    let limits = OutboundConfig { body_bytes_max: 1 << 30, ..config() };
    assert_eq!(reason(&outbound(limits), bomb.url("/")).await, "unpacked_ratio");

    let mut cut = gzip(text.as_bytes());
    cut.truncate(cut.len() / 2);
    for (body, encoding, told) in [
        (cut, "gzip", "damaged"),
        (b"no gzip at all".to_vec(), "gzip", "damaged"),
        (b"x".to_vec(), "br", "encoding"),
        (gzip(b"x"), "gzip, gzip", "encoding"),
    ] {
        let server = Server::saying(packed(&body, encoding)).await;
        assert_eq!(reason(&outbound(config()), server.url("/")).await, told, "{encoding}");
    }
    // Many hosts send their page for what is not there so: its status is enough.
    let gone =
        Server::saying("HTTP/1.1 404 Not Found\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx").await;
    let (outbound_counted, counted) = counted(config());
    let answer = outbound_counted.follow(Request::get(gone.url("/"))).await.unwrap();
    assert_eq!((answer.status.as_u16(), counted.take()), (404, vec![]));
    let empty = Server::saying(packed(b"", "gzip")).await;
    assert_eq!(read(&outbound(config()), empty.url("/")).await.unwrap(), b"");
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let large = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-filler: 0123456789abcdef\r\n".repeat(3_000));
    let server = Server::saying(large).await;
    assert_eq!(reason(&outbound(config()), server.url("/")).await, "header_bytes");
    let endless = Server::start(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
        loop {
            stream.write_all(&b"x-filler: 0123456789abcdef\r\n".repeat(100)).await?;
        }
    })
    .await;
    let error = read(&outbound(config()), endless.url("/")).await.unwrap_err();
    assert_eq!(error.reason(), "header_bytes");
    assert!(error.to_string().contains("more than 65536 bytes or 4096 lines"), "{error}");
}
