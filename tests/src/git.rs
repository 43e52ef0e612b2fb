//! A git server on loopback: `git http-backend`, which is what real servers run, behind a small CGI host.
//!
//! The tests of `actors` use this file too, so that a repository is one thing for the whole project.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A repository at `folder`, to be filled commit by commit.
#[derive(Debug)]
pub struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Makes an empty one.
    pub fn create(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a temporary folder takes folders");
        let repository = Self { folder: folder.to_owned() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes files and commits everything.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(&self.folder)).expect("folders can be made");
            std::fs::write(path, text).expect("files can be written");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in it; what it prints.
    ///
    /// # Panics
    /// When git fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgSign=false"]);
        command.args(arguments).current_dir(&self.folder);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = command.output().expect("the machine has git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Serves the repositories of a folder.
#[derive(Debug)]
pub struct GitServer {
    port: u16,
    requests: Arc<AtomicUsize>,
    listener: JoinHandle<()>,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl GitServer {
    /// Serves what lies below `root`.
    ///
    /// # Panics
    /// When the machine has no loopback.
    pub async fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has loopback");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (requests, root) = (Arc::new(AtomicUsize::new(0)), root.to_owned());
        let counted = Arc::clone(&requests);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, root.clone()));
            }
        });
        Self { port, requests, listener }
    }

    /// The address of a repository.
    pub fn url(&self, repository: &str) -> String {
        format!("http://127.0.0.1:{}/{repository}", self.port)
    }

    /// Connections so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// One request by the rules of CGI (RFC 3875), one connection a request.
async fn serve(stream: TcpStream, root: PathBuf) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut headers) = (String::new(), Vec::new());
    stream.read_line(&mut request).await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut body = Vec::new();
    if header("transfer-encoding") == "chunked" {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; length + 2];
            stream.read_exact(&mut chunk).await?;
            body.extend(chunk.get(..length).unwrap_or_default());
            if length == 0 {
                break;
            }
        }
    } else {
        body.resize(header("content-length").parse().unwrap_or(0), 0);
        stream.read_exact(&mut body).await?;
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = tokio::process::Command::new("git");
    backend.arg("http-backend").kill_on_drop(true);
    backend.env("GIT_PROJECT_ROOT", &root).env("GIT_HTTP_EXPORT_ALL", "1");
    backend
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    backend.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
    backend.env("CONTENT_TYPE", header("content-type")).env("CONTENT_LENGTH", body.len().to_string());
    backend.env("HTTP_CONTENT_ENCODING", header("content-encoding"));
    backend.env("GIT_PROTOCOL", header("git-protocol"));
    backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut backend = backend.spawn()?;
    let mut stdin = backend.stdin.take().ok_or_else(|| std::io::Error::other("stdin is a pipe"))?;
    let feed = async move {
        // A program that has heard enough may close its input.
        let _ = stdin.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feed, backend.wait_with_output());
    let output = output?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(output.get(..end).unwrap_or_default()).into_owned();
    let body = output.get(end + 4..).unwrap_or_default();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}
