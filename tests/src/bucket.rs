//! A store on loopback that speaks the protocol of S3: `s3s-fs`, which keeps objects as files in a folder.
//!
//! It checks signatures, and can go away and come back at the same address.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::node::{NodeSetup, free_port};

/// The bucket.
pub const BUCKET: &str = "docs";
/// What names of bundles begin with.
const PREFIX: &str = "twinmcp/bundles";
const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";

/// A store with one bucket.
pub struct TestBucket {
    folder: TempDir,
    address: SocketAddr,
    service: S3Service,
    /// Method and path of what was asked for.
    requests: Arc<Mutex<Vec<String>>>,
    serving: Option<JoinHandle<()>>,
}

impl TestBucket {
    /// A store that is up, with an empty bucket.
    ///
    /// # Panics
    /// When the machine has no temporary folder, or no free port.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("the machine has a temporary folder");
        for (name, text) in [("access", ACCESS_KEY), ("secret", SECRET_KEY)] {
            fs::write(folder.path().join(name), text).expect("a temporary folder takes files");
        }
        let objects = folder.path().join("objects");
        fs::create_dir_all(objects.join(BUCKET)).expect("a temporary folder takes folders");
        let mut service = S3ServiceBuilder::new(FileSystem::new(&objects).expect("the folder is there"));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut bucket =
            Self { folder, address, service: service.build(), requests: Arc::default(), serving: None };
        bucket.up().await;
        bucket
    }

    /// A node that keeps its bundles there too.
    #[must_use]
    pub fn used_by(&self, setup: NodeSetup) -> NodeSetup {
        setup
            .with("bucket", "endpoint", format!("http://{}", self.address))
            .with("bucket", "name", BUCKET)
            .with("bucket", "prefix", PREFIX)
            .with("bucket", "access_key_file", self.folder.path().join("access").display())
            .with("bucket", "secret_key_file", self.folder.path().join("secret").display())
    }

    /// The secret key, which nobody may ever read anywhere.
    pub fn secret(&self) -> &'static str {
        SECRET_KEY
    }

    /// Answers from now on.
    ///
    /// # Panics
    /// When somebody else has taken its port.
    pub async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the store's port is its own");
        let (service, requests) = (self.service.clone(), Arc::clone(&self.requests));
        self.serving = Some(tokio::spawn(async move {
            // Closed with the listener.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (service, requests) = (service.clone(), Arc::clone(&requests));
                let answer = service_fn(move |request: hyper::Request<Incoming>| {
                    let asked = format!("{} {}", request.method(), request.uri().path());
                    requests.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
                    let service = service.clone();
                    async move { service.call(request.map(s3s::Body::from)).await }
                });
                connections.spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    // A connection that breaks is the client's affair.
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        }));
    }

    /// Refuses connections from now on, and closes those that are open.
    pub async fn down(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// How often a bundle was put there, whether at once or in parts.
    pub fn puts(&self, bundle: &str) -> usize {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        // In parts: the request that begins and the one that ends.
        let of_bundle = requests.iter().filter(|asked| asked.ends_with(&format!("{bundle}.bundle")));
        let (mut puts, mut posts) = (0, 0);
        for asked in of_bundle {
            puts += usize::from(asked.starts_with("PUT "));
            posts += usize::from(asked.starts_with("POST "));
        }
        if posts > 0 { posts / 2 } else { puts }
    }

    /// Names of the bundles there.
    pub fn bundles(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in entries(&self.prefix()) {
            let files = entries(&folder).into_iter();
            let bundles = files.filter(|path| path.extension().is_some_and(|kind| kind == "bundle"));
            names.extend(bundles.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())));
        }
        names.sort();
        names
    }

    /// The file that is a bundle there.
    pub fn file(&self, bundle: &str) -> PathBuf {
        self.prefix().join(&bundle[..2]).join(format!("{bundle}.bundle"))
    }

    /// The folder below which bundles lie.
    pub fn prefix(&self) -> PathBuf {
        self.folder.path().join("objects").join(BUCKET).join(PREFIX)
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

impl Drop for TestBucket {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}
