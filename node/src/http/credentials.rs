//! Where a request carries its API key: as a bearer token, or in one of the headers Context7's
//! clients use, with or without the word `Bearer`.

use poem::http::{HeaderMap, header};

use super::names;

/// What a request says about who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// Nothing: the caller is anonymous.
    None,
    /// A secret to be checked.
    Secret(&'a str),
    /// An access token that comes with a proof (RFC 9449, 7.1).
    Bound(&'a str),
    /// Something that cannot be a key. Never the same as nothing.
    Unusable,
}

impl<'a> Credentials<'a> {
    /// The first header that is there decides; a bad one is not made good by another.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let value = value.to_str().unwrap_or_default();
            let bound = || after("dpop", value).map(Self::Bound);
            return after("bearer", value).map(Self::Secret).or_else(bound).unwrap_or(Self::Unusable);
        }
        let value = names::KEYS.iter().find_map(|name| headers.get(name));
        let Some(value) = value else { return Self::None };
        let key = value.to_str().ok().map(|text| after("bearer", text).unwrap_or(text.trim()));
        key.filter(|key| !key.is_empty() && !key.contains(' ')).map_or(Self::Unusable, Self::Secret)
    }
}

/// The token after a scheme, whose case does not matter (RFC 9110, 11.1).
fn after<'a>(wanted: &str, value: &'a str) -> Option<&'a str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(wanted) && !token.is_empty() && !token.contains(' ')).then_some(token)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderName;

    use super::*;

    fn of(name: &str, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        match Credentials::of(&headers) {
            Credentials::Secret(secret) => secret.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_found_in_every_header_that_clients_use() {
        assert_eq!(of("authorization", "Bearer tmcp_x"), "tmcp_x");
        assert_eq!(of("authorization", "bearer  tmcp_x"), "tmcp_x");
        assert_eq!(of("authorization", "DPoP a.b.c"), "Bound(\"a.b.c\")");
        for name in names::KEYS.iter().map(HeaderName::as_str) {
            assert_eq!(of(name, "tmcp_x"), "tmcp_x", "{name}");
            assert_eq!(of(name, "Bearer tmcp_x"), "tmcp_x", "{name}");
        }
        assert_eq!(Credentials::of(&HeaderMap::new()), Credentials::None);
    }

    #[test]
    fn what_is_there_but_is_no_key_is_never_taken_for_nothing() {
        for value in ["", "Basic dXNlcg==", "tmcp_x", "Bearer", "Bearer ", "Bearer a b"] {
            assert_eq!(of("authorization", value), "Unusable", "{value}");
        }
        for value in ["", " ", "two words", "Bearer a b"] {
            assert_eq!(of("x-api-key", value), "Unusable", "{value}");
        }
    }

    #[test]
    fn a_bad_authorization_is_not_made_good_by_another_header() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Basic x".parse().unwrap());
        headers.insert("x-api-key", "tmcp_x".parse().unwrap());
        assert_eq!(Credentials::of(&headers), Credentials::Unusable);
    }
}
