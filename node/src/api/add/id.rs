//! From a URL to the id of a library, as Context7 names them.

use reqwest::Url;
use twinmcp_storage::ids::{LIBRARY_ID_BYTES_MAX, LibraryId};

use super::super::error::ApiError;

/// Bytes of an id that a URL gives, at most; the rest of a long one is cut.
const NAME_BYTES_MAX: usize = 100;

/// A URL somebody wants added.
pub(super) struct AddedUrl {
    field: &'static str,
    url: Url,
}

impl AddedUrl {
    /// The URL in `field` of a request: http or https, of a host, without credentials.
    pub(super) fn parse(field: &'static str, text: &str) -> Result<Self, ApiError> {
        let wrong = |reason: &str| ApiError::bad_request(format!("`{field}` {reason}."));
        let url = Url::parse(text).map_err(|_| wrong("must be a URL, e.g. https://github.com/acme/kiln"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("must be an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not carry credentials"));
        }
        Ok(Self { field, url })
    }

    pub(super) fn host(&self) -> &str {
        let host = self.url.host_str().unwrap_or_default();
        host.strip_prefix("www.").unwrap_or(host)
    }

    /// `/owner/name` of a repository: the last two parts of its path.
    pub(super) fn repository(&self) -> Result<LibraryId, ApiError> {
        let parts: Vec<&str> = self.url.path().split('/').filter(|part| !part.is_empty()).collect();
        let [.., owner, name] = parts.as_slice() else {
            let message = format!("`{}` must name a repository: https://host/owner/name.", self.field);
            return Err(ApiError::bad_request(message));
        };
        self.id(owner, name.strip_suffix(".git").unwrap_or(name))
    }

    /// `/owner/host_and_path` of anything else: `https://docs.example.com/guide/` is `docs_example_com_guide`.
    pub(super) fn document(&self, owner: &str) -> Result<LibraryId, ApiError> {
        self.id(owner, &slug(self.host().chars().chain(self.url.path().chars())))
    }

    fn id(&self, owner: &str, name: &str) -> Result<LibraryId, ApiError> {
        format!("/{owner}/{name}").parse().map_err(|error| {
            let message = format!("`{}` gives no library id: {error}.", self.field);
            ApiError::bad_request(message)
        })
    }
}

/// The name of a library from letters of any kind: `Kiln API` is `kiln_api`; empty when none of them can be in a name.
pub(super) fn slug(letters: impl Iterator<Item = char>) -> String {
    let mut name = String::new();
    for letter in letters {
        match letter {
            _ if name.len() >= NAME_BYTES_MAX.min(LIBRARY_ID_BYTES_MAX) => break,
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => name.push(letter.to_ascii_lowercase()),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.trim_end_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_the_id_that_context7_gives_it() {
        let repository =
            |url: &str| AddedUrl::parse("url", url).unwrap().repository().map(|id| id.to_string());
        assert_eq!(repository("https://github.com/vercel/next.js").unwrap(), "/vercel/next.js");
        assert_eq!(repository("https://gitlab.com/group/sub/name.git/").unwrap(), "/sub/name");
        assert!(repository("https://github.com/vercel").is_err());
        let document =
            |url: &str| AddedUrl::parse("url", url).unwrap().document("websites").unwrap().to_string();
        assert_eq!(document("https://react.dev"), "/websites/react_dev");
        assert_eq!(
            document("https://www.docs.example.com:8080/a//Guide/?x=1#y"),
            "/websites/docs_example_com_a_guide"
        );
        assert!(document(&format!("https://example.com/{}", "x".repeat(500))).len() < 120);
    }

    #[test]
    fn what_is_no_public_address_is_refused() {
        for url in [
            "",
            "github.com/a/b",
            "ssh://git@github.com/a/b",
            "https://token@github.com/a/b",
            "file:///etc/passwd",
        ] {
            assert!(AddedUrl::parse("url", url).is_err(), "{url}");
        }
    }
}
