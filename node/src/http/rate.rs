//! Rate limits as callers see them: headers on every answer of a limited path, 429 beyond.

use std::net::IpAddr;

use poem::Response;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use twinmcp_actors::usage::{Decision, LimitKey};
use twinmcp_storage::clock::Timestamp;

use super::caller::Caller;
use super::names;
use crate::api::ApiError;

/// Where programs come with credentials of their own, which are looked at only after the request was counted: tokens and what they are
/// worth. Not where anybody may have something kept without any: registrations and device codes count like other anonymous requests,
/// and so do [strangers'](is_strangers) pushed requests, besides.
const OAUTH: &[&str] =
    &["/api/oauth/token", "/api/oauth/device/token", "/api/oauth/introspect", "/api/oauth/revoke", PUSH];

/// Where a client sends a request ahead, which is kept for its person.
const PUSH: &str = "/api/oauth/par";

/// Who a request is counted for.
pub(super) fn counted(path: &str, caller: Option<&Caller>, address: IpAddr) -> LimitKey {
    match caller {
        Some(caller) => LimitKey::Key(caller.id()),
        None if OAUTH.contains(&path) => LimitKey::Oauth(address),
        None => LimitKey::Address(address),
    }
}

/// Whether a request has something kept for a client that shows no credentials, which anybody can say to be. Only its body tells,
/// so it is counted again once that is there; who shows credentials that are wrong has nothing kept.
pub(super) fn is_strangers(path: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let is_credential = |name: &str| matches!(name, "client_secret" | "client_assertion");
    path == PUSH
        && !headers.contains_key(header::AUTHORIZATION)
        && !form_urlencoded::parse(body).any(|(name, value)| is_credential(&name) && !value.is_empty())
}

/// The refusal of a request over its limit, in words that say which limit it was.
pub(super) fn refusal(who: &LimitKey, decision: &Decision) -> ApiError {
    let seconds = seconds(decision.retry_after.unwrap_or(decision.reset)).max(1);
    let message = match who {
        LimitKey::Address(_) => format!(
            "This address has made too many requests without an API key. \
             Try again in {seconds} s, or send a key: it has a higher limit of its own."
        ),
        LimitKey::Oauth(_) => {
            format!(
                "This address has asked for too many tokens, or about too many. Try again in {seconds} s."
            )
        }
        LimitKey::Key(_) => {
            format!(
                "Too many requests were made with this API key, or by this account. Try again in {seconds} s."
            )
        }
    };
    let limited_by = match who {
        LimitKey::Address(_) | LimitKey::Oauth(_) => "address",
        LimitKey::Key(_) => "api_key",
    };
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
        .with("limited_by", limited_by)
        .retry_after(seconds)
}

/// `RateLimit-Limit`, `-Remaining` and `-Reset`, the last in Unix time.
pub(super) fn tell(response: &mut Response, decision: &Decision, now: Timestamp) {
    let headers = response.headers_mut();
    headers.insert(names::RATE_LIMIT.clone(), HeaderValue::from(decision.limit));
    headers.insert(names::RATE_REMAINING.clone(), HeaderValue::from(decision.remaining));
    headers.insert(names::RATE_RESET.clone(), HeaderValue::from(now.as_secs() + seconds(decision.reset)));
}

fn seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_a_strangers_unless_it_shows_credentials() {
        let (none, mut basic) = (HeaderMap::new(), HeaderMap::new());
        basic.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
        for (headers, body, is_strangers_push) in [
            (&none, "client_id=a&scope=docs:read", true),
            (&none, "", true),
            (&none, "client_id=a&client_secret=&x_client_secret=s", true),
            (&none, "client_id=a&scope=client_secret%3Ds", true),
            (&none, "client_id=a&client_secret=s", false),
            (&none, "client%5Fassertion=x", false),
            (&basic, "", false),
        ] {
            assert_eq!(is_strangers(PUSH, headers, body.as_bytes()), is_strangers_push, "{body}");
            assert!(!is_strangers("/api/oauth/token", headers, body.as_bytes()), "nothing is kept there");
        }
    }
}
