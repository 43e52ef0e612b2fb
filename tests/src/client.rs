//! A caller of a node's HTTP interface, anonymous or with a key.

use std::collections::VecDeque;

use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::secrets;
use crate::wait::{DEADLINE, eventually};

/// Asks one node.
#[derive(Debug, Clone)]
pub struct TestClient {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

/// What a node answered, read to the end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Header `name`, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in answer {self:?}"))
    }

    /// This answer, which must have `status`.
    ///
    /// # Panics
    /// When it has another; the body is told.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The stable code of an error, in whichever of the three shapes it came.
    pub fn code(&self) -> String {
        let body = self.json();
        let places = [&body["code"], &body["error"]["data"]["code"], &body["error"]];
        places.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl TestClient {
    /// Asks the node at `url` (without a path) with `key`, or anonymously.
    pub fn new(url: &str, key: Option<&str>) -> Self {
        // A second call finds the first one's provider, which is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build();
        Self {
            http: http.expect("these settings are always accepted"),
            url: url.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    /// The same node, asked by a caller that is shown redirects instead of following them.
    ///
    /// # Panics
    /// Never: these settings are always accepted.
    pub fn without_redirects(&self) -> Self {
        let stays = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).redirect(stays).build();
        Self { http: http.expect("these settings are always accepted"), ..self.clone() }
    }

    /// The same node, asked with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same node, asked without a key.
    pub fn anonymous(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// A request to be completed and handed to [`answer`](Self::answer).
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Panics
    /// When none comes.
    pub async fn answer(&self, request: RequestBuilder) -> Answer {
        self.try_answer(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// As [`answer`](Self::answer), for a node that may be gone.
    ///
    /// # Errors
    /// What the connection ended with.
    pub async fn try_answer(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let (http, request) = request.build_split();
        let request = request?;
        secrets::note_request(&request);
        let response = http.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await? };
        secrets::note_answer(&answer);
        Ok(answer)
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.request(Method::GET, path)).await
    }

    /// `GET path` with parameters, which are encoded here.
    pub async fn get_with(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        self.answer(self.request(Method::GET, &with_parameters(path, parameters))).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    /// `POST path` without a body.
    pub async fn post_empty(&self, path: &str) -> Answer {
        self.answer(self.request(Method::POST, path)).await
    }

    /// `PATCH path` with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.request(Method::PATCH, path).json(body)).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.answer(self.request(Method::DELETE, path)).await
    }

    /// Context7's `GET /api/v2/context`.
    pub async fn context(&self, library: &str, query: &str, more: &[(&str, &str)]) -> Answer {
        let parameters = [&[("libraryId", library), ("query", query)], more].concat();
        self.get_with("/api/v2/context", &parameters).await
    }

    /// Makes a key with `scopes`; its id and its secret.
    pub async fn create_key(&self, scopes: &[&str]) -> (String, String) {
        let body = serde_json::json!({ "name": "made by a test", "scopes": scopes });
        let made = self.post("/api/keys", &body).await.expect(201).json();
        let text = |value: &Value| value.as_str().expect("a new key has an id and a secret").to_owned();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }

    /// Sends an archive and starts a job from it; the job's id.
    pub async fn start_job(&self, library: &str, version: &str, name: &str, archive: Vec<u8>) -> String {
        let upload = self.request(Method::POST, "/api/jobs/uploads");
        let upload = upload.header("content-type", "application/octet-stream").body(archive);
        let hash = self.answer(upload).await.expect(201).json()["hash"].clone();
        let body = serde_json::json!({
            "library": library, "version": version, "upload": { "hash": hash, "name": name },
            "base_url": crate::docs::BASE_URL,
        });
        let job = self.post("/api/jobs", &body).await.expect(201).json();
        job["id"].as_str().expect("a job has an id").to_owned()
    }

    /// The job once it has ended, in whichever state.
    pub async fn ended_job(&self, id: &str) -> Value {
        eventually("the end of the job", async || {
            let job = self.get(&format!("/api/jobs/{id}")).await.expect(200).json();
            let ended = matches!(job["state"].as_str(), Some("done" | "failed" | "cancelled"));
            ended.then_some(job)
        })
        .await
    }

    /// Indexes `archive` and waits until the version answers.
    ///
    /// # Panics
    /// When the job does not succeed.
    pub async fn index(&self, library: &str, version: &str, name: &str, archive: Vec<u8>) -> Value {
        let id = self.start_job(library, version, name, archive).await;
        let job = self.ended_job(&id).await;
        assert_eq!(job["state"], "done", "{job}");
        job
    }

    /// Waits until `resolve` knows a library: names follow a published version within moments.
    pub async fn until_resolved(&self, name: &str, library: &str) -> Value {
        eventually("the library's name to be known", async || {
            let found =
                self.get_with("/api/v2/libs/search", &[("libraryName", name)]).await.expect(200).json();
            let results = found["results"].as_array().cloned().unwrap_or_default();
            results.into_iter().find(|found| found["id"] == library)
        })
        .await
    }

    /// Opens the stream of events at `path`.
    pub async fn events(&self, path: &str) -> Events {
        let request = self.request(Method::GET, path).header("accept", "text/event-stream");
        let response = request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        assert_eq!(response.status().as_u16(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{path}");
        Events { body: response.bytes_stream().boxed(), read: String::new(), waiting: VecDeque::new() }
    }
}

/// `path?name=value&…`, encoded as forms are.
pub fn with_parameters(path: &str, parameters: &[(&str, &str)]) -> String {
    let base = reqwest::Url::parse("http://node").expect("a constant URL");
    let mut url = base.join(path).expect("tests ask for valid paths");
    url.query_pairs_mut().extend_pairs(parameters);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// A form of fields with their names, the names of their files and their texts: its content type, and the form.
pub fn form(fields: &[(&str, Option<&str>, &str)]) -> (String, String) {
    let boundary = "a-line-that-no-field-has";
    let field = |(name, file, text): &(&str, Option<&str>, &str)| {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{text}\r\n")
    };
    let body = fields.iter().map(field).collect::<String>() + &format!("--{boundary}--\r\n");
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// Server-sent events as they come.
pub struct Events {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    read: String,
    waiting: VecDeque<(String, Value)>,
}

impl Events {
    /// Name and data of the next event; nothing once the stream has ended.
    ///
    /// # Panics
    /// When neither comes in time, or the data is not JSON.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let piece = tokio::time::timeout(DEADLINE, self.body.next());
            let piece = piece.await.unwrap_or_else(|_| panic!("no event within {DEADLINE:?}"))?;
            let piece = piece.unwrap_or_else(|error| panic!("the stream broke: {error:?}"));
            self.read.push_str(&String::from_utf8_lossy(&piece));
            while let Some((event, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    lines.map(str::trim).collect::<Vec<_>>().join("\n")
                };
                let (name, data) = (field("event"), field("data"));
                // Comments keep an idle stream open and say nothing.
                if !data.is_empty() {
                    let data =
                        serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error} in {data}"));
                    self.waiting.push_back((name, data));
                }
                self.read = rest.to_owned();
            }
        }
    }
}
