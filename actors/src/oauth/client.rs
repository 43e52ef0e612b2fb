//! Who asks: how a client shows that it is who it says (RFC 6749, 2.3), and what facts a client may have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::oauth::client::{
    Authentication, Client, GrantType, NAME_BYTES_MAX, REDIRECT_URIS_MAX, URI_BYTES_MAX,
};
use twinmcp_storage::scope::Scope;

use super::assertion::{self, ASSERTION_TYPE};
use super::error::{ErrorCode, Refused};
use super::params::Params;
use super::redirect;

/// What a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its name only.
    Name(String),
    /// A secret.
    Secret { id: String, secret: String },
    /// Something it signed.
    Assertion { id: String, text: String },
}

impl Shown {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Name(id) | Self::Secret { id, .. } | Self::Assertion { id, .. } => id,
        }
    }

    /// What a request shows, in the header `Authorization` or in its body, and in one way only (RFC 6749, 2.3.1; RFC 7521, 4.2).
    pub(super) fn of(params: &Params, authorization: Option<&str>) -> Result<Self, Refused> {
        let named = params.get("client_id");
        let in_body = params.get("client_secret");
        if let Some(text) = params.get("client_assertion") {
            if authorization.is_some() || in_body.is_some() {
                return Err(Refused::request("Send an assertion or the client's secret, not both."));
            }
            if params.need("client_assertion_type")? != ASSERTION_TYPE {
                return Err(Refused::request(format!("'client_assertion_type' must be {ASSERTION_TYPE}.")));
            }
            let id = assertion::subject(text).ok_or_else(Refused::client)?;
            if named.is_some_and(|named| named != id) {
                return Err(Refused::request("The assertion and 'client_id' name two clients."));
            }
            return Ok(Self::Assertion { id, text: text.to_owned() });
        }
        match (authorization, in_body) {
            (Some(_), Some(_)) => {
                Err(Refused::request("Send the client's secret in the header or in the body, not in both."))
            }
            (Some(header), None) => {
                let (id, secret) = basic(header).ok_or_else(Refused::client)?;
                if named.is_some_and(|named| named != id) {
                    return Err(Refused::request("The header and 'client_id' name two clients."));
                }
                Ok(Self::Secret { id, secret })
            }
            (None, Some(secret)) => {
                Ok(Self::Secret { id: params.need("client_id")?.to_owned(), secret: secret.to_owned() })
            }
            (None, None) => Ok(Self::Name(named.ok_or_else(Refused::client)?.to_owned())),
        }
    }

    /// Whether what is shown is right for the client; of one that is not there, nothing is, and finding that out takes as long.
    pub(super) fn fits(&self, client: Option<&Client>) -> bool {
        let expected = client.map(|client| &client.authentication);
        match (self, expected) {
            (Self::Secret { secret, .. }, Some(Authentication::Secret(hash))) => {
                SecretHash::of(secret) == *hash
            }
            (Self::Secret { secret, .. }, _) => {
                std::hint::black_box(SecretHash::of(secret));
                false
            }
            (Self::Name(_), Some(Authentication::None)) => true,
            // An assertion is not compared but taken: see `assertion`.
            (Self::Name(_) | Self::Assertion { .. }, _) => false,
        }
    }
}

/// Name and secret of `Basic`, each form-encoded before (RFC 6749, 2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // As nearly everybody sends it: nothing in it had to be encoded.
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let pair = format!("x={}", text.replace('&', "%26").replace('=', "%3D"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Scopes a client gets that does not say which it wants.
pub(super) const USUAL_SCOPES: &[Scope] =
    &[Scope::DocsRead, Scope::Chat, Scope::OpenId, Scope::Profile, Scope::Email, Scope::OfflineAccess];

/// Scopes that a client may have which nobody has looked at: what people decide for themselves.
pub(super) const PERSONAL_SCOPES: &[Scope] = &[
    Scope::DocsRead,
    Scope::Chat,
    Scope::LibrariesWrite,
    Scope::JobsWrite,
    Scope::KeysWrite,
    Scope::Account,
    Scope::AnalyticsRead,
    Scope::OpenId,
    Scope::Profile,
    Scope::Email,
    Scope::OfflineAccess,
];

/// Checks facts that a client says of itself, or that its owner says (RFC 7591, 2).
pub(super) fn check(client: &Client) -> Result<(), Refused> {
    let refused = |why: String| Err(Refused::new(ErrorCode::InvalidClientMetadata, why));
    if client.name.is_empty()
        || client.name.len() > NAME_BYTES_MAX
        || client.name.chars().any(char::is_control)
    {
        return refused(format!("'client_name' has 1 to {NAME_BYTES_MAX} bytes and no control characters."));
    }
    let has = |grant| client.grants.contains(&grant);
    if client.grants.is_empty() {
        return refused("'grant_types' has at least one.".to_owned());
    }
    if has(GrantType::ClientCredentials) && !client.is_confidential() {
        return refused("'grant_types': client_credentials is for clients with credentials.".to_owned());
    }
    let lists = [
        ("redirect_uris", client.redirect_uris.as_slice()),
        ("post_logout_redirect_uris", client.post_logout_redirect_uris.as_slice()),
    ];
    for (name, uris) in lists.into_iter().chain([("client_uri", client.uri.as_slice())]) {
        if let Some(long) = uris.iter().find(|uri| uri.len() > URI_BYTES_MAX) {
            let len = long.len();
            return refused(format!(
                "A URI in '{name}' has at most {URI_BYTES_MAX} bytes, and one has {len}."
            ));
        }
        if uris.len() > REDIRECT_URIS_MAX {
            return refused(format!("'{name}' has at most {REDIRECT_URIS_MAX} URIs."));
        }
    }
    if has(GrantType::AuthorizationCode) && client.redirect_uris.is_empty() {
        let description = "A client that sends people here needs 'redirect_uris'.";
        return Err(Refused::new(ErrorCode::InvalidRedirectUri, description));
    }
    for (name, uris) in lists {
        for uri in uris {
            redirect::check(uri)
                .map_err(|it| Refused::new(it.code, format!("'{name}': {}", it.description)))?;
        }
    }
    if let Some(uri) = &client.uri
        && !(uri.starts_with("https://") && url::Url::parse(uri).is_ok())
    {
        return refused("'client_uri' is no https URL.".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str, header: Option<&str>) -> Result<Shown, ErrorCode> {
        Shown::of(&Params::parse(body).unwrap(), header).map_err(|refused| refused.code)
    }

    #[test]
    fn a_client_shows_who_it_is_in_one_way() {
        let secret =
            |id: &str, secret: &str| Ok(Shown::Secret { id: id.to_owned(), secret: secret.to_owned() });
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(of("client_id=a", None), Ok(Shown::Name("a".to_owned())));
        assert_eq!(of("client_id=a&client_secret=s", None), secret("a", "s"));
        assert_eq!(of("", Some(&basic("a:s"))), secret("a", "s"));
        assert_eq!(of("client_id=a", Some(&basic("a%20b:s%3A%2B+"))), Err(ErrorCode::InvalidRequest));
        assert_eq!(of("", Some(&basic("a%20b:s%3A%2B+"))), secret("a b", "s:+ "));
        assert_eq!(of("client_secret=s", Some(&basic("a:s"))), Err(ErrorCode::InvalidRequest));
        assert_eq!(of("", None), Err(ErrorCode::InvalidClient));
        for header in ["Basic", "Basic !!!", "Bearer x", "", "Basic YQ=="] {
            assert_eq!(of("", Some(header)), Err(ErrorCode::InvalidClient), "{header}");
        }
    }
}
