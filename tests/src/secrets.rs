//! Nothing that opens something is written by a node, in any test: what callers send and are given is noted here by its name, and looked for
//! in the log and in the traces of each node once it has ended.
//!
//! Invariant: no secret is in what is told of a finding.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aho_corasick::AhoCorasick;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use serde_json::Value;

use crate::client::Answer;
use crate::overheard;

/// Shorter ones stand in many a text by accident.
const CHARS_MIN: usize = 8;

/// Digits of a code that an app, a message or a text shows. In a text they stand by accident, in quotes or behind the name of a code they do not.
const DIGITS: usize = 6;

/// What a longer one begins with tells it from all others; the search takes memory for each byte that is looked for, and a test sends a
/// password of two megabytes.
const BYTES_LOOKED_FOR_MAX: usize = 256;

/// Fields of JSON and of forms whose value opens something.
const FIELDS: &[&str] = &[
    "access_token",
    "api_key",
    "assertion",
    "backup_codes",
    "client_assertion",
    "client_secret",
    "code_verifier",
    "current",
    "device_code",
    "form_token",
    "id_token",
    "id_token_hint",
    "logout_token",
    "new",
    "otpauth_url",
    "password",
    "refresh_token",
    "registration_access_token",
    "request_uri",
    "secret",
    "ticket",
    "token",
    "user_code",
];

/// The name of a code, in forms and in the query of an address; in JSON it is that of an error.
const CODE: &str = "code";

/// What a field named `secret` says where it names one of the cluster's, rather than being it.
const NAMES: &[&str] = &["authority", "key"];

/// What our cookies are called.
const COOKIES: &str = "__Host-twinmcp";

/// Those of them that open nothing: they say where somebody was going, and what was changed last.
const HARMLESS_COOKIES: &[&str] = &["__Host-twinmcp-onward", "__Host-twinmcp-log-index"];

/// Each by what it is.
static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<String, String>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on `secret`, a `what`, may be in no log and in no trace.
pub(crate) fn note(what: &str, secret: &str) {
    let mut known = known();
    let mut add = |text: &str| {
        known.entry(text.to_owned()).or_insert_with(|| what.to_owned());
    };
    if secret.len() == DIGITS && secret.bytes().all(|byte| byte.is_ascii_digit()) {
        // As a value of JSON, of JSON inside a text, and of a form.
        [format!("\"{secret}\""), format!("\"{secret}\\"), format!("{what}={secret}")]
            .iter()
            .for_each(|text| add(text));
    } else if secret.len() >= CHARS_MIN && !NAMES.contains(&secret) {
        add(&secret[..secret.floor_char_boundary(BYTES_LOOKED_FOR_MAX)]);
    }
}

/// Notes what a caller sends.
pub(crate) fn note_request(request: &reqwest::Request) {
    let headers = request.headers();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some((scheme, credentials)) = header(AUTHORIZATION.as_str()).split_once(' ') {
        note(scheme, credentials);
    }
    note("x-api-key", header("x-api-key"));
    note("dpop", header("dpop"));
    header(COOKIE.as_str()).split("; ").for_each(note_cookie);
    let Some(body) = request.body().and_then(reqwest::Body::as_bytes) else { return };
    match header(CONTENT_TYPE.as_str()) {
        "application/json" => note_json(body),
        "application/x-www-form-urlencoded" => note_form(&String::from_utf8_lossy(body)),
        _ => {}
    }
}

/// Notes what a caller is given.
pub(crate) fn note_answer(answer: &Answer) {
    set(&answer.headers).for_each(note_cookie);
    if let Some((_, query)) = answer.header(LOCATION.as_str()).split_once('?') {
        note_form(query);
    }
    note_json(answer.text.as_bytes());
}

fn set(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.filter_map(|line| line.split(';').next())
}

fn note_cookie(pair: &str) {
    let opens = |name: &str| name.starts_with(COOKIES) && !HARMLESS_COOKIES.contains(&name);
    if let Some((name, value)) = pair.split_once('=').filter(|(name, _)| opens(name)) {
        note(name, value);
    }
}

fn note_form(form: &str) {
    let Ok(form) = reqwest::Url::parse(&format!("form:?{form}")) else { return };
    for (name, value) in form.query_pairs() {
        if name == CODE || FIELDS.contains(&&*name) {
            note(&name, &value);
        }
    }
}

fn note_json(text: &[u8]) {
    if let Ok(value) = serde_json::from_slice(text) {
        note_value("", &value);
    }
}

fn note_value(name: &str, value: &Value) {
    match value {
        Value::String(text) if FIELDS.contains(&name) || is_code(name, text) => note(name, text),
        Value::Array(values) => values.iter().for_each(|value| note_value(name, value)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| note_value(name, value)),
        _ => {}
    }
}

/// Whether a field of JSON is a code of digits, and not the name of an error.
fn is_code(name: &str, text: &str) -> bool {
    name == CODE && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Notes what stands in the bytes of a connection, requests or answers one after the other.
pub(crate) fn note_wire(text: &str) {
    for line in text.lines() {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => {
                let (scheme, credentials) = value.split_once(' ').unwrap_or_default();
                note(scheme, credentials);
            }
            name @ ("x-api-key" | "dpop") => note(name, value),
            "cookie" => value.split("; ").for_each(note_cookie),
            "set-cookie" => value.split(';').take(1).for_each(note_cookie),
            _ => {}
        }
    }
    for name in FIELDS.iter().chain(&[CODE]) {
        for (at, _) in text.match_indices(name) {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            if before.ends_with('"') && after.starts_with("\":") {
                let mut values = serde_json::Deserializer::from_str(&after[2..]).into_iter();
                values.next().and_then(Result::ok).iter().for_each(|value| note_value(name, value));
            } else if before.ends_with(['?', '&', '\n']) && after.starts_with('=') {
                let end = after.find(|end: char| end == '&' || end.is_whitespace()).unwrap_or(after.len());
                note_form(&text[at..at + name.len() + end]);
            }
        }
    }
}

/// # Panics
/// When one of `texts` holds something that was noted; told are its name and what stands before it in its line.
#[track_caller]
pub(crate) fn are_not_in(place: &str, texts: impl IntoIterator<Item = impl AsRef<str>>) {
    overheard::note();
    let known = known().clone();
    let finder = AhoCorasick::new(known.keys()).expect("tests know few secrets");
    for text in texts {
        let text = text.as_ref();
        let Some(found) = finder.find(text) else { continue };
        let line = text[..found.start()].rsplit('\n').next().unwrap_or_default();
        let what = known.values().nth(found.pattern().as_usize()).map(String::as_str).unwrap_or_default();
        panic!("{place} holds a {what} behind: {line}");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use reqwest::Method;

    use super::{Answer, HeaderMap, are_not_in, known, note_answer, note_request, note_wire};
    use crate::client::TestClient;

    const LOG: &str = "first line\n{\"msg\":\"seen ";

    /// What is told when a log holds `secret`.
    fn told_of(secret: &str) -> Option<String> {
        let text = format!("{LOG}{secret}\"}}");
        let panic = catch_unwind(|| are_not_in("the log", [&text])).err()?;
        panic.downcast_ref::<String>().cloned()
    }

    #[test]
    fn whatever_callers_send_or_are_given_is_found_and_not_told() {
        let client = TestClient::new("http://127.0.0.1", None);
        let long = "sent in two megabytes ü".repeat(100_000);
        let sent = client.request(Method::POST, "/").header("authorization", "Bearer sent-as-bearer");
        let sent = sent.header("cookie", "other=other-cookie; __Host-twinmcp=sent-as-cookie");
        let json = sent.try_clone().expect("it has no body").json(&serde_json::json!({
            "client": { "client_secret": "sent-in-json" }, "code": "named_error", "password": long,
        }));
        note_request(&json.build().expect("it is a request"));
        let form = sent
            .header("content-type", "application/x-www-form-urlencoded")
            .body("code=sent%2Bin%2Bform&scope=in-a-scope");
        note_request(&form.build().expect("it is a request"));
        let mut headers = HeaderMap::new();
        let set = "__Host-twinmcp-pending=given-as-cookie; Secure";
        headers.append("set-cookie", set.parse().expect("it is a header"));
        let onward = "__Host-twinmcp-onward=/where/to; Secure";
        headers.append("set-cookie", onward.parse().expect("it is a header"));
        headers.insert(
            "location",
            "https://a.example/cb?code=given-in-address".parse().expect("it is a header"),
        );
        let text = r#"{ "secret": "authority", "backup_codes": ["given-in-list"] }"#.to_owned();
        note_answer(&Answer { status: 200, headers, text });

        let secrets = [
            "sent-as-bearer",
            "sent-as-cookie",
            "sent-in-json",
            "sent+in+form",
            "given-as-cookie",
            "given-in-address",
            "given-in-list",
            &long,
        ];
        for secret in secrets {
            let told = told_of(secret).unwrap_or_else(|| panic!("{secret} was not found"));
            assert!(told.contains("behind: {\"msg\":\"seen ") && !told.contains(secret), "{told}");
        }
        for harmless in ["other-cookie", "named_error", "in-a-scope", "authority", "/where/to"] {
            assert_eq!(told_of(harmless), None, "{harmless}");
        }
        assert_eq!(known().len(), secrets.len());

        let requests = "POST /par?request_uri=urn:said-in-address&x=1 HTTP/1.1\r\nAuthorization: Basic said-as-basic\r\n\
            content-length: 28\r\n\r\ncode=said-first&code=271828\r\nGET / HTTP/1.1\r\ncookie: __Host-twinmcp=said-as-cookie\r\n\r\n\
            {\"backup_codes\": [\"said-in-list\"], \"code\":\"314159\", \"password\":\"said \\\"in\\\" quotes\"}";
        note_wire(requests);
        let secrets = [
            "urn:said-in-address",
            "said-as-basic",
            "said-first",
            "said-as-cookie",
            "said-in-list",
            "said \"in\" quotes",
            "code=271828",
            "\"code\":\"314159\"",
            "{\\\"code\\\":\\\"314159\\\"}",
        ];
        for secret in secrets {
            let told = told_of(secret).unwrap_or_else(|| panic!("{secret} was not found"));
            assert!(told.contains("behind: {\"msg\":\"seen "), "{told}");
        }
        for harmless in ["314159", "elapsed=271828", "1314159.271828"] {
            assert_eq!(told_of(harmless), None, "{harmless}");
        }
    }
}
