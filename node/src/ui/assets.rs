//! The sheet, the script and the picture of the pages, inside the binary.

use std::sync::LazyLock;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};

use crate::api::ApiError;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    /// Of the bytes, so that a browser fetches a new build's and keeps the same build's (RFC 9110, 8.8.3).
    entity_tag: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let asset = |name, content_type, bytes: &'static [u8]| {
        let entity_tag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..16]);
        Asset { name, content_type, bytes, entity_tag }
    };
    [
        asset("style.css", "text/css; charset=utf-8", include_bytes!("../../ui/assets/style.css")),
        asset("live.js", "text/javascript; charset=utf-8", include_bytes!("../../ui/assets/live.js")),
        asset("passkey.js", "text/javascript; charset=utf-8", include_bytes!("../../ui/assets/passkey.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../ui/assets/icon.svg")),
    ]
});

/// Whether a path is an asset's, which costs nothing and is not counted by the rate limits.
pub(crate) fn is_asset(path: &str) -> bool {
    path.starts_with("/assets/")
}

/// One asset, or 304 to a browser that has it.
pub(super) fn answer(request: Request) -> poem::Result<Response> {
    let name = request.path_params::<String>().unwrap_or_default();
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Err(ApiError::not_found("not_found", "There is no such file.").into());
    };
    let known = request.header(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&asset.entity_tag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.bytes.with_content_type(asset.content_type).into_response()
    };
    let headers = response.headers_mut();
    // Revalidated each time: a few hundred bytes, and a new build shows at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&asset.entity_tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use poem::{Endpoint, Route};

    use super::*;

    #[tokio::test]
    async fn a_browser_that_has_the_sheet_is_told_so() {
        let app = Route::new().at("/assets/:name", poem::endpoint::make_sync(answer));
        let ask = |tag: Option<HeaderValue>| {
            let mut request = Request::builder().uri_str("/assets/style.css");
            if let Some(tag) = tag {
                request = request.header(header::IF_NONE_MATCH, tag);
            }
            app.get_response(request.finish())
        };
        let first = ask(None).await;
        assert_eq!(
            (first.status(), &first.headers()["content-type"]),
            (StatusCode::OK, &HeaderValue::from_static("text/css; charset=utf-8"))
        );
        let again = ask(first.headers().get(header::ETAG).cloned()).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let missing = app.get_response(Request::builder().uri_str("/assets/secret.key").finish()).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
}
