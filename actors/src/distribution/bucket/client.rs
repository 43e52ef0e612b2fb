//! The protocol of S3: the only module that names `object_store`.
//!
//! Requests go to the address that the operator has configured, like those of one node to another, and to no address that
//! a user could choose; so they do not pass the guard in `outbound`, which would refuse a store inside the
//! operator's own network. What is redirected loses its signature.

use std::ops::Range;
use std::path::Path as FilePath;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt,
    RetryConfig,
};
use tokio::io::AsyncReadExt;
use twinmcp_cluster::BundleBytes;
use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::clock::Timestamp;

use super::super::pace::Pace;
use super::config::BucketConfig;
use super::error::{BucketError, code, reason};

/// Bytes of one part of a bundle that is sent: the least that stores take.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Bytes read at once, and the step in which they are paced.
const PIECE_BYTES: usize = 256 * 1024;
/// Objects of one list that are looked at.
const OBJECTS_MAX: usize = 1_000_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Time of one request: a range at the slowest pace that can be configured, with all others at the same time.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// Times that a request is sent again at once; what fails then waits for the next round.
const RETRIES_MAX: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
/// Codes that speak of keys, or of the region that signatures are made for.
const KEYS_REFUSED: &[&str] = &[
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "NotSignedUp",
    "SignatureDoesNotMatch",
];
/// What the name of a bundle ends with, as on a node's disk.
const EXTENSION: &str = ".bundle";

/// A bundle in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) hash: BundleHash,
    pub(super) bytes: u64,
    /// When it was put there, by the store's clock.
    pub(super) put_at: Timestamp,
}

/// A bucket that can be asked.
pub(super) struct Client {
    s3: AmazonS3,
    prefix: Path,
    /// Bucket and endpoint, for sentences.
    place: String,
}

impl Client {
    /// Asks nobody yet.
    pub(super) fn new(config: &BucketConfig) -> Result<Self, BucketError> {
        // A second call finds the first one's provider, which is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let invalid = |reason: String| BucketError::Config { reason };
        let prefix = Path::parse(&config.prefix).map_err(|error| invalid(error.to_string()))?;
        let mut endpoint = config.endpoint.clone();
        if !config.path_style {
            let host = format!("{}.{}", config.name, endpoint.host_str().unwrap_or_default());
            let set = endpoint.set_host(Some(&host));
            set.map_err(|_| invalid("an endpoint that is an address needs `path_style = true`".to_owned()))?;
        }
        let options = ClientOptions::new()
            .with_allow_http(config.allow_http || BucketConfig::is_loopback(&config.endpoint))
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT);
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
        };
        let s3 = AmazonS3Builder::new()
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_bucket_name(&config.name)
            .with_region(&config.region)
            .with_access_key_id(config.access_key.reveal())
            .with_secret_access_key(config.secret_key.reveal())
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(options)
            .with_retry(retry)
            // Not every store knows how to delete several at once.
            .with_disable_bulk_delete(true)
            .build();
        let place = format!("bucket `{}` at {}", config.name, config.endpoint);
        Ok(Self { s3: s3.map_err(|error| invalid(reason(&error.to_string())))?, prefix, place })
    }

    /// Bucket and endpoint, for sentences.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// How large the bundle is there; `None` when it is not.
    pub(super) async fn size(&self, hash: BundleHash) -> Result<Option<u64>, BucketError> {
        self.found(self.s3.head(&self.key(hash)).await).map(|found| found.map(|found| found.size))
    }

    /// These bytes of a bundle; `None` when it is not there, or ends before them.
    pub(super) async fn range(
        &self,
        hash: BundleHash,
        range: Range<u64>,
    ) -> Result<Option<BundleBytes>, BucketError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = self.found(self.s3.get_opts(&self.key(hash), options).await)?;
        Ok(found.map(|found| {
            let total = found.meta.size;
            let bytes = found.into_stream().map(|piece| piece.map_err(std::io::Error::other));
            BundleBytes { total, bytes: bytes.boxed() }
        }))
    }

    /// Puts the bundle there that lies in `file`: at once, or in parts when it is large. What is not what its name says
    /// never becomes an object.
    pub(super) async fn put(
        &self,
        hash: BundleHash,
        file: &FilePath,
        pace: &Pace,
    ) -> Result<u64, BucketError> {
        let file = tokio::fs::File::open(file).await.map_err(BucketError::unreadable(hash))?;
        let mut parts = Parts { hash, file, pace, hasher: blake3::Hasher::new(), sent: 0 };
        let first = parts.next().await?;
        let key = self.key(hash);
        if first.len() < PART_BYTES {
            let bytes = parts.whole()?;
            self.s3.put(&key, first.into()).await.map_err(|error| self.error(&error))?;
            return Ok(bytes);
        }
        let mut upload = self.s3.put_multipart(&key).await.map_err(|error| self.error(&error))?;
        let put = self.put_parts(upload.as_mut(), first, parts).await;
        if put.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::debug!(%error, "parts of a bundle are left in the bucket");
        }
        put
    }

    async fn put_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        first: Bytes,
        mut parts: Parts<'_>,
    ) -> Result<u64, BucketError> {
        let mut part = first;
        while !part.is_empty() {
            upload.put_part(part.into()).await.map_err(|error| self.error(&error))?;
            part = parts.next().await?;
        }
        let bytes = parts.whole()?;
        upload.complete().await.map_err(|error| self.error(&error))?;
        Ok(bytes)
    }

    /// Hands every bundle there to `each`; what has another name than bundles have is passed over.
    pub(super) async fn list(&self, mut each: impl FnMut(Listed)) -> Result<(), BucketError> {
        let mut objects = self.s3.list(Some(&self.prefix));
        let mut seen = 0;
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| self.error(&error))?;
            seen += 1;
            if seen > OBJECTS_MAX {
                return Err(BucketError::TooMany { place: self.place.clone(), limit: OBJECTS_MAX });
            }
            let name = object.location.filename().and_then(|name| name.strip_suffix(EXTENSION));
            let hash = name.and_then(|name| name.parse().ok());
            if let Some(hash) = hash.filter(|hash| self.key(*hash) == object.location) {
                let millis = object.last_modified.timestamp_millis();
                let put_at = Timestamp::from_millis(millis.try_into().unwrap_or_default());
                each(Listed { hash, bytes: object.size, put_at });
            }
        }
        Ok(())
    }

    /// Removes the bundle; one that is not there is removed already.
    pub(super) async fn remove(&self, hash: BundleHash) -> Result<(), BucketError> {
        self.found(self.s3.delete(&self.key(hash)).await).map(drop)
    }

    /// The name of a bundle there: as below the folder of a node, so that one can be copied to the other.
    fn key(&self, hash: BundleHash) -> Path {
        let name = hash.to_string();
        self.prefix.clone().join(&name[..2]).join(format!("{name}{EXTENSION}"))
    }

    fn found<T>(&self, answer: Result<T, Error>) -> Result<Option<T>, BucketError> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) => match (&error, code(&error.to_string())) {
                // A bucket that is missing has that code; what is asked for without a body has none.
                (Error::NotFound { .. }, None | Some("NoSuchKey")) | (_, Some("InvalidRange")) => Ok(None),
                _ => Err(self.error(&error)),
            },
        }
    }

    /// The answer's code and no more of it: a store repeats what it was sent, the signature among it.
    fn error(&self, error: &Error) -> BucketError {
        let (place, text) = (self.place.clone(), error.to_string());
        match (error, code(&text)) {
            (_, Some("NoSuchBucket")) => BucketError::NoBucket { place },
            (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, code) => {
                let code = code.unwrap_or("no reason given").to_owned();
                BucketError::Refused { place, code }
            }
            // Stores differ in the status that goes with these.
            (_, Some(code)) if KEYS_REFUSED.contains(&code) => {
                BucketError::Refused { place, code: code.to_owned() }
            }
            (_, Some(code)) => BucketError::Answered { place, code: code.to_owned() },
            (_, None) => BucketError::Unreachable { place, reason: reason(&text) },
        }
    }
}

/// A bundle that is read in parts, and looked at on the way.
struct Parts<'a> {
    hash: BundleHash,
    file: tokio::fs::File,
    pace: &'a Pace,
    hasher: blake3::Hasher,
    sent: u64,
}

impl Parts<'_> {
    /// The next part; an empty one behind the last.
    async fn next(&mut self) -> Result<Bytes, BucketError> {
        let mut part = BytesMut::with_capacity(PART_BYTES);
        while part.len() < PART_BYTES {
            let (before, wanted) = (part.len(), PIECE_BYTES.min(PART_BYTES - part.len()));
            let mut piece = (&mut self.file).take(wanted as u64);
            let read = piece.read_buf(&mut part).await.map_err(BucketError::unreadable(self.hash))?;
            if read == 0 {
                break;
            }
            self.hasher.update(&part[before..]);
            self.pace.take(read).await;
        }
        self.sent += part.len() as u64;
        Ok(part.freeze())
    }

    /// How many bytes were read, if they are the bundle.
    fn whole(self) -> Result<u64, BucketError> {
        match BundleHash::from(*self.hasher.finalize().as_bytes()) == self.hash {
            true => Ok(self.sent),
            false => Err(BucketError::Damaged { hash: self.hash }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::signer::Signer;

    use super::super::config::BucketKey;
    use super::*;

    fn config() -> BucketConfig {
        BucketConfig {
            endpoint: "https://s3.example.com".parse().unwrap(),
            name: "docs".to_owned(),
            region: "eu-central-1".to_owned(),
            prefix: "a/b".to_owned(),
            access_key: BucketKey::new("access").unwrap(),
            secret_key: BucketKey::new("secret").unwrap(),
            path_style: true,
            allow_http: false,
            counts_as_copy: false,
        }
    }

    /// Where a bundle is asked for, without what is signed.
    async fn url(config: &BucketConfig, hash: BundleHash) -> String {
        let client = Client::new(config).unwrap();
        let key = client.key(hash);
        let signed = client.s3.signed_url("GET".parse().unwrap(), &key, Duration::from_secs(1));
        let mut url = signed.await.unwrap();
        url.set_query(None);
        url.into()
    }

    #[tokio::test]
    async fn the_bucket_stands_in_the_path_or_in_the_name_of_the_host() {
        let hash = BundleHash::of(b"");
        let name = hash.to_string();
        let (folder, config) = (&name[..2], config());
        let in_path = format!("https://s3.example.com/docs/a/b/{folder}/{name}.bundle");
        assert_eq!(url(&config, hash).await, in_path);
        let hosted = BucketConfig { path_style: false, prefix: String::new(), ..config.clone() };
        let in_host = format!("https://docs.s3.example.com/{folder}/{name}.bundle");
        assert_eq!(url(&hosted, hash).await, in_host);
        let address = BucketConfig { endpoint: "https://192.0.2.1".parse().unwrap(), ..hosted };
        assert!(matches!(Client::new(&address), Err(BucketError::Config { .. })));
    }
}
