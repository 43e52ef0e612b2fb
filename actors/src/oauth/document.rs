//! Clients whose id is the URL of their metadata (draft-ietf-oauth-client-id-metadata-document): nobody has to register them, and
//! whoever publishes the document answers for them.
//!
//! A stranger chooses what is fetched, so it passes the guard of all such requests, and is small, quick and not redirected.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use twinmcp_storage::clock::{Clock, Timestamp};
use twinmcp_storage::oauth::client::{Client, ID_BYTES_MAX, Owner};

use super::client::{self, PERSONAL_SCOPES};
use super::credentials;
use super::error::{ErrorCode, Refused};
use super::register;
use crate::outbound::{self, Outbound, Request, StatusCode, header};

/// Largest document, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 5 * 1024;
/// How long one may take.
const TIME_MAX: Duration = Duration::from_secs(3);
/// How long one is believed without looking again, in milliseconds; a refusal is, too, for a tenth of that.
const KEPT_MS: u64 = 10 * 60 * 1000;
/// Documents kept.
const KEPT_MAX: usize = 1_000;
/// Documents fetched at once.
const FETCHES_MAX: usize = 8;

type Known = (Timestamp, Result<Arc<Client>, Refused>);

/// Finds such clients.
pub(super) struct Documents {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    known: Cache<String, Known>,
    fetches: Semaphore,
}

/// Whether an id says where the client's metadata is.
pub(super) fn is_url(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

impl Documents {
    pub(super) fn new(outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock, known: Cache::new(KEPT_MAX), fetches: Semaphore::new(FETCHES_MAX) }
    }

    /// The client whose metadata is at `id`.
    pub(super) async fn client(&self, id: &str) -> Result<Arc<Client>, Refused> {
        if let Some((until, known)) = self.known.get(id)
            && self.clock.now() < until
        {
            return known;
        }
        check_url(id)?;
        let busy = || {
            Refused::new(
                ErrorCode::TemporarilyUnavailable,
                "Too many documents of clients are being fetched.",
            )
        };
        let _fetch = self.fetches.try_acquire().map_err(|_| busy())?;
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

    use super::*;

    const ID: &str = "https://app.example/client.json";

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
