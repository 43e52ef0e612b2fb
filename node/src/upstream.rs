//! What the configuration says about other providers, with their secrets read from where they are kept.

use twinmcp_actors::upstream::{GITHUB, Kind, Provider, ProviderSecret};

use crate::config::{ProviderKind, UpstreamConfig};
use crate::outside_key::{self, KeyError};

/// The providers that people sign in with, in their order.
pub(crate) fn providers(config: &UpstreamConfig) -> Result<Vec<Provider>, KeyError> {
    let provider = |provider: &crate::config::ProviderConfig| {
        let printable = |text: &str| {
            let secret = text.trim_end_matches(['\r', '\n']);
            let is_secret = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
            is_secret.then(|| ProviderSecret::new(secret.to_owned()))
        };
        let setting = "upstream.providers.client_secret";
        let secret = outside_key::read(setting, &provider.client_secret_file, "", |_| None, printable)?;
        let title = if provider.title.is_empty() { &provider.name } else { &provider.title };
        Ok(Provider {
            name: provider.name.clone(),
            title: title.clone(),
            kind: match provider.kind {
                ProviderKind::Openid => Kind::OpenId,
                ProviderKind::Github => Kind::GitHub,
            },
            url: if provider.url.is_empty() { GITHUB.to_owned() } else { provider.url.clone() },
            client_id: provider.client_id.clone(),
            client_secret: secret.unwrap_or_default(),
            scopes: provider.scopes.clone(),
            sign_up: provider.sign_up,
        })
    };
    config.providers.iter().map(provider).collect()
}
