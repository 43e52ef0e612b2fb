//! One `[[upstream.providers]]`: a provider that people sign in with.

use std::path::PathBuf;

use serde::Deserialize;

/// Longest text of one key, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Scopes that are asked for.
const SCOPES_MAX: usize = 20;
/// Providers of one node.
const PROVIDERS_MAX: usize = 20;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// OpenID Connect, with discovery.
    #[default]
    Openid,
    /// GitHub's own.
    Github,
}

/// A provider that people sign in with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// What it is called in addresses.
    pub name: String,
    /// What people are shown; the name when empty.
    pub title: String,
    /// What it speaks.
    pub kind: ProviderKind,
    /// Its issuer, letter by letter; empty for GitHub itself.
    pub url: String,
    /// Who this service is there.
    pub client_id: String,
    /// File with the secret that shows it; empty for a client without one.
    pub client_secret_file: PathBuf,
    /// What is asked for; the usual when empty.
    pub scopes: Vec<String>,
    /// Whether whoever comes for the first time gets an account.
    pub sign_up: bool,
}

/// What is wrong with the providers, if something is.
pub(super) fn wrong(providers: &[ProviderConfig]) -> Option<String> {
    if providers.len() > PROVIDERS_MAX {
        return Some(format!("must name at most {PROVIDERS_MAX}"));
    }
    let mut names = std::collections::BTreeSet::new();
    providers.iter().find_map(|provider| {
        let why =
            provider.wrong().or_else(|| (!names.insert(&provider.name)).then_some("has the name of another"));
        why.map(|why| format!("the provider `{}` {why}", provider.name))
    })
}

impl ProviderConfig {
    fn wrong(&self) -> Option<&'static str> {
        let is_name = (1..=32).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        // `/upstream/link` is a page of its own.
        if !is_name || self.name == "link" {
            return Some("needs a `name` of 1 to 32 small letters, digits or `-`, other than `link`");
        }
        let fits = |text: &String| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
        if self.client_id.is_empty() || ![&self.client_id, &self.title, &self.url].into_iter().all(fits) {
            return Some("needs a `client_id`, and no text of more than 256 bytes");
        }
        let is_scope = |scope: &String| {
            !scope.is_empty() && fits(scope) && scope.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.scopes.len() > SCOPES_MAX || !self.scopes.iter().all(is_scope) {
            return Some("asks for more than 20 scopes, or for one that is none");
        }
        if self.kind == ProviderKind::Github {
            if self.client_secret_file.as_os_str().is_empty() {
                return Some("needs a `client_secret_file`: GitHub knows no client without a secret");
            }
            if self.url.is_empty() {
                return None;
            }
        }
        let url = reqwest::Url::parse(&self.url).ok().filter(|url| {
            let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            let is_plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
            is_plain && (url.scheme() == "https" || url.scheme() == "http" && is_local)
        });
        if url.is_none() {
            return Some("needs a `url` that is https, without user, query and fragment");
        }
        // An issuer is compared letter by letter, and some end in a slash; where GitHub is paths are put behind.
        let is_place = self.kind == ProviderKind::Github;
        (is_place && self.url.ends_with('/')).then_some("needs a `url` without a slash at its end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_could_never_be_asked_is_refused_at_the_start() {
        let good = ProviderConfig {
            name: "corp".into(),
            url: "https://id.example/realms/one".into(),
            client_id: "twinmcp".into(),
            ..ProviderConfig::default()
        };
        assert_eq!(wrong(std::slice::from_ref(&good)), None);
        let with = |change: &dyn Fn(&mut ProviderConfig)| {
            let mut provider = good.clone();
            change(&mut provider);
            wrong(&[provider])
        };
        for url in ["http://127.0.0.1:8080", "https://tenant.id.example/"] {
            assert_eq!(with(&|it| it.url = url.into()), None, "{url}");
        }
        for (what, change) in [
            ("no name", &(|it: &mut ProviderConfig| it.name.clear()) as &dyn Fn(&mut ProviderConfig)),
            ("a name with a slash", &|it| it.name = "a/b".into()),
            ("the name of a page", &|it| it.name = "link".into()),
            ("no client", &|it| it.client_id.clear()),
            ("no url", &|it| it.url.clear()),
            ("http", &|it| it.url = "http://id.example".into()),
            ("a slash", &|it| {
                it.kind = ProviderKind::Github;
                it.client_secret_file = "secret".into();
                it.url = "https://id.example/".into();
            }),
            ("a query", &|it| it.url = "https://id.example/?a".into()),
            ("a user", &|it| it.url = "https://me@id.example".into()),
            ("a scope", &|it| it.scopes = vec!["open id".into()]),
            ("GitHub without a secret", &|it| it.kind = ProviderKind::Github),
        ] {
            assert!(with(change).is_some(), "{what}");
        }
        assert!(wrong(&[good.clone(), good.clone()]).is_some(), "two of one name");
        assert!(wrong(&vec![good; 21]).is_some());
    }
}
