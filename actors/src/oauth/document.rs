//! Clients whose id is the URL of their metadata (draft-ietf-oauth-client-id-metadata-document): nobody has to register them, and
//! whoever publishes the document answers for them.
//!
//! A stranger chooses what is fetched, so it passes the guard of all such requests, and is small, quick and not redirected. Who names
//! what never answers holds back nobody but their own network.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use twinmcp_cluster::Behalf;
use twinmcp_storage::clock::{Clock, Timestamp};
use twinmcp_storage::oauth::client::{Client, ID_BYTES_MAX, Owner};

use super::client::{self, PERSONAL_SCOPES};
use super::credentials;
use super::error::{ErrorCode, Refused};
use super::register;
use crate::outbound::{self, Outbound, Request, StatusCode, header};
use crate::usage::network_of;

/// Largest document, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 5 * 1024;
/// How long one may take.
const TIME_MAX: Duration = Duration::from_secs(3);
/// How long one is believed without looking again, in milliseconds; a refusal is, too, for a tenth of that.
const KEPT_MS: u64 = 10 * 60 * 1000;
/// Documents kept.
const KEPT_MAX: usize = 1_000;
/// Documents fetched at once. Each takes little: a connection, and [`DOCUMENT_BYTES_MAX`].
const FETCHES_MAX: usize = 32;
/// Those of them that one network may have asked for. It is not the host that is counted: under a name of their own anybody has as
/// many hosts as they like.
const FETCHES_OF_NETWORK_MAX: usize = 2;

type Known = (Timestamp, Result<Arc<Client>, Refused>);

/// Finds such clients.
pub(super) struct Documents {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    known: Cache<String, Known>,
    fetches: Fetches,
}

/// The networks for which documents are being fetched; none for the node's own sake.
#[derive(Default)]
struct Fetches(Mutex<Vec<Option<IpAddr>>>);

/// One of them, until it is dropped.
struct Fetch<'a> {
    all: &'a Fetches,
    network: Option<IpAddr>,
}

impl Fetches {
    /// A place for a fetch that somebody at `address` asks for.
    fn begin(&self, address: Option<IpAddr>) -> Result<Fetch<'_>, Refused> {
        let busy = |why: &str| Err(Refused::new(ErrorCode::TemporarilyUnavailable, why));
        let network = address.map(network_of);
        let mut going_on = self.lock();
        let of_network = going_on.iter().filter(|other| network.is_some() && **other == network).count();
        if of_network >= FETCHES_OF_NETWORK_MAX {
            return busy(
                "Your network has asked for as many documents of clients as are fetched for one at once. Try again in a moment.",
            );
        }
        if going_on.len() >= FETCHES_MAX {
            return busy("Too many documents of clients are being fetched. Try again in a moment.");
        }
        going_on.push(network);
        Ok(Fetch { all: self, network })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<IpAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        let mut going_on = self.all.lock();
        if let Some(at) = going_on.iter().position(|network| *network == self.network) {
            going_on.swap_remove(at);
        }
    }
}

/// Whether an id says where the client's metadata is.
pub(super) fn is_url(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

impl Documents {
    pub(super) fn new(outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock, known: Cache::new(KEPT_MAX), fetches: Fetches::default() }
    }

    /// The client whose metadata is at `id`.
    pub(super) async fn client(&self, id: &str) -> Result<Arc<Client>, Refused> {
        if let Some((until, known)) = self.known.get(id)
            && self.clock.now() < until
        {
            return known;
        }
        check_url(id)?;
        let _fetch = self.fetches.begin(Behalf::current().address())?;
        let fetched = match tokio::time::timeout(TIME_MAX, self.fetch(id)).await {
            Ok(fetched) => fetched.map(Arc::new),
            Err(_) => Err(refused(id, format!("did not come within {} seconds", TIME_MAX.as_secs()))),
        };
        let kept_ms = if fetched.is_ok() { KEPT_MS } else { KEPT_MS / 10 };
        self.known.insert(id.to_owned(), (self.clock.now().plus_millis(kept_ms), fetched.clone()));
        fetched
    }

    async fn fetch(&self, id: &str) -> Result<Client, Refused> {
        let failed = |error: outbound::OutboundError| {
            tracing::info!(error = &error as &dyn std::error::Error, "a client's document was not fetched");
            refused(id, "could not be fetched")
        };
        let url = self.outbound.check(id).map_err(failed)?;
        let mut request = Request { body_bytes_max: DOCUMENT_BYTES_MAX, ..Request::get(url) };
        request.headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
        let response = self.outbound.send(request).await.map_err(failed)?;
        if response.status != StatusCode::OK {
            return Err(refused(
                id,
                format!("was answered with status {}, not 200", response.status.as_u16()),
            ));
        }
        let kind = response
            .header(&header::CONTENT_TYPE)
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            return Err(refused(id, "is not said to be JSON"));
        }
        let body = response.body.read().await.map_err(failed)?;
        let client = read(id, &body)?;
        credentials::check_reachable(&client, &self.outbound)?;
        Ok(client)
    }
}

fn refused(id: &str, why: impl std::fmt::Display) -> Refused {
    Refused::new(ErrorCode::InvalidClient, format!("The client's document at '{id}' {why}."))
}

/// An https URL with a path, written as simply as it can be, so that there is one spelling of a client. Plain http is for development: the
/// guard lets it through only where the operator allowed it.
fn check_url(id: &str) -> Result<(), Refused> {
    let wrong = |why: &str| Err(refused(id, format!("has a URL that {why}")));
    if id.len() > ID_BYTES_MAX {
        return wrong("is too long");
    }
    let Ok(url) = url::Url::parse(id) else { return wrong("is none") };
    if url.as_str() != id
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return wrong("names a user or a fragment, or could be written more simply");
    }
    let is_local = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() != "https" && !is_local {
        return wrong("is not https");
    }
    if url.path() == "/" {
        return wrong("has no path");
    }
    Ok(())
}

/// The client that a document describes.
fn read(id: &str, body: &[u8]) -> Result<Client, Refused> {
    let Ok(metadata) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Err(refused(id, "is not JSON"));
    };
    if metadata["client_id"] != id {
        return Err(refused(id, "names another client_id"));
    }
    let has = |name: &str| !metadata[name].is_null();
    if has("client_secret") || has("client_secret_expires_at") {
        return Err(refused(id, "holds a secret, which everybody can read"));
    }
    let method = metadata["token_endpoint_auth_method"].as_str().unwrap_or("none");
    // A shared secret has nobody to share it with (draft-ietf-oauth-client-id-metadata-document, 4.1).
    if !matches!(method, "none" | "private_key_jwt") {
        return Err(refused(
            id,
            format!("asks for the authentication method '{method}'; it may ask for none or private_key_jwt"),
        ));
    }
    let method = method.to_owned();
    let mut metadata = metadata;
    metadata["token_endpoint_auth_method"] = method.into();
    let client = register::read(&metadata, id.to_owned(), Owner::Publisher, "", PERSONAL_SCOPES)?;
    client::check(&client)?;
    Ok(client)
}

/// Reads a document: see [`crate::fuzzing::client_metadata`].
#[cfg(fuzzing)]
pub(super) fn fuzz_read(id: &str, body: &[u8]) {
    use twinmcp_storage::oauth::client::Authentication;

    if let (Ok(()), Ok(client)) = (check_url(id), read(id, body)) {
        let is_public =
            matches!(client.authentication, Authentication::None | Authentication::PrivateKeyJwt(_));
        assert!(client.id == id && is_public, "{client:?}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::AsyncWriteExt;
    use twinmcp_storage::audit::Actor;
    use twinmcp_storage::clock::SystemClock;

    use super::*;
    use crate::outbound::OutboundConfig;
    use crate::outbound::tests::{Server, outbound};

    const ID: &str = "https://app.example/client.json";

    /// What somebody at `address` is told of the client at `id`.
    async fn told(documents: &Documents, address: [u8; 4], id: &str) -> Result<Arc<Client>, ErrorCode> {
        let behalf = Behalf::of(Actor::Nobody, address.into(), "0af7");
        Box::pin(behalf.scope(documents.client(id))).await.map_err(|refused| refused.code)
    }

    #[tokio::test]
    async fn who_names_what_never_answers_holds_back_their_own_network_alone() {
        let server = Server::start(|head, mut stream| async move {
            if head.starts_with("GET /slow") {
                return std::future::pending().await;
            }
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let id = format!("http://{host}/client.json");
            let document = json!({ "client_id": id, "client_name": "App", "redirect_uris": [ID] });
            let document = document.to_string();
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
            stream.write_all(format!("{head} {}\r\n\r\n{document}", document.len()).as_bytes()).await
        })
        .await;
        let config = OutboundConfig { allowed_hosts: vec!["localhost".into()], ..OutboundConfig::default() };
        let documents = Arc::new(Documents::new(outbound(config), Arc::new(SystemClock)));
        let at = |path: &str| {
            let mut url = server.url(path);
            url.set_host(Some("localhost")).unwrap();
            url.to_string()
        };
        let (stranger, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let slow = [at("/slow/1"), at("/slow/2")].map(|id| {
            let documents = Arc::clone(&documents);
            tokio::spawn(async move { told(&documents, stranger, &id).await.map(drop) })
        });
        while documents.fetches.lock().len() < slow.len() {
            tokio::task::yield_now().await;
        }
        let good = at("/client.json");
        assert_eq!(
            told(&documents, stranger, &good).await.unwrap_err(),
            ErrorCode::TemporarilyUnavailable,
            "a third for the same network"
        );
        assert_eq!(told(&documents, other, &good).await.unwrap().id, good);
        assert_eq!(told(&documents, stranger, &good).await.unwrap().id, good, "what is known is not fetched");
        for fetch in slow {
            fetch.abort();
            assert!(fetch.await.is_err_and(|ended| ended.is_cancelled()), "it was still waited for");
        }
        let ended = told(&documents, stranger, &at("/none")).await.unwrap_err();
        assert_eq!(ended, ErrorCode::InvalidClient, "it was fetched, and names another client");
    }

    #[test]
    fn so_many_documents_are_fetched_at_once_and_no_more() {
        let fetches = Fetches::default();
        let network = |number: u8| Some(IpAddr::from([192, 0, 2, number]));
        let mut all: Vec<_> = (0..32).map(|number| fetches.begin(network(number / 2)).unwrap()).collect();
        assert!(fetches.begin(network(100)).is_err());
        assert!(fetches.begin(None).is_err());
        all.pop();
        let own = fetches.begin(None).unwrap();
        assert!(fetches.begin(network(15)).is_err(), "there are 32 again");
        drop((all, own));
        // A host of IPv6 has a /64 to choose addresses from; the node itself is no network.
        let v6 = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let _two = [fetches.begin(v6("2001:db8::1")).unwrap(), fetches.begin(v6("2001:db8::2")).unwrap()];
        assert!(fetches.begin(v6("2001:db8::3")).is_err());
        assert!(fetches.begin(v6("2001:db8:0:1::3")).is_ok());
        let _own: Vec<_> = (0..5).map(|_| fetches.begin(None).unwrap()).collect();
    }

    #[test]
    fn case_070_there_is_one_spelling_of_a_clients_url() {
        assert!(check_url(ID).is_ok());
        for id in [
            "https://app.example",
            "https://app.example/",
            "https://app.example/a/../client.json",
            "https://app.example/./client.json",
            "https://APP.example/client.json",
            "https://app.example:443/client.json",
            "https://user@app.example/client.json",
            "https://app.example/client.json#f",
            "http://app.example/client.json",
            "https://",
            &format!("https://app.example/{}", "x".repeat(600)),
        ] {
            assert!(check_url(id).is_err(), "{id}");
        }
    }

    #[test]
    fn case_070_a_document_describes_the_client_that_it_is_the_document_of() {
        let document = json!({
            "client_id": ID,
            "client_name": "App",
            "redirect_uris": ["http://127.0.0.1/cb", "https://app.example/cb"],
        });
        let with = |name: &str, value: serde_json::Value| {
            let mut changed = document.clone();
            changed[name] = value;
            read(ID, changed.to_string().as_bytes())
        };
        let client = read(ID, document.to_string().as_bytes()).unwrap();
        assert_eq!((client.id.as_str(), client.is_confidential(), client.trusted), (ID, false, false));
        for (name, value) in [
            ("client_id", json!("https://app.example/other.json")),
            ("client_id", json!(7)),
            ("client_secret", json!("s")),
            ("token_endpoint_auth_method", json!("client_secret_basic")),
            ("token_endpoint_auth_method", json!("client_secret_jwt")),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
            ("redirect_uris", json!(["javascript:alert(1)"])),
            ("redirect_uris", json!([])),
            ("redirect_uris", json!("https://app.example/cb")),
            ("client_name", json!("x".repeat(300))),
            ("grant_types", json!(["client_credentials"])),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
        for body in [&b"{"[..], b"[]", b"null", b"\xff"] {
            assert!(read(ID, body).is_err());
        }
    }
}
