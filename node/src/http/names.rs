//! Header fields that `http` has no names for. A name that is looked up as text is parsed each time.

use poem::http::HeaderName;

pub(super) static CLIENT_IDE: HeaderName = HeaderName::from_static("x-context7-client-ide");
pub(super) static DPOP: HeaderName = HeaderName::from_static("dpop");
pub(super) static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
pub(super) static RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
pub(super) static RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) static SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
pub(super) static SOURCE: HeaderName = HeaderName::from_static("x-context7-source");

/// Fields besides `Authorization` that may hold an API key, in the order they are looked at.
pub(super) static KEYS: [HeaderName; 5] = [
    HeaderName::from_static("context7-api-key"),
    HeaderName::from_static("x-context7-api-key"),
    HeaderName::from_static("context7_api_key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x_api_key"),
];
