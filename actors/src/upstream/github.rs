//! GitHub, which speaks OAuth 2.0 and tells who somebody is by its own API; also GitHub Enterprise, at an address of its own.

use oauth2::{AuthType, CsrfToken, PkceCodeChallenge, Scope};
use serde::Deserialize;
use serde_json::Value;

use super::claims::Person;
use super::exchange::{ExchangeError, Protocol};
use super::trip::{Left, code};
use super::{Provider, Upstream, UpstreamError};
use crate::oauth::Params;

/// Where everybody's is.
pub const GITHUB: &str = "https://github.com";
/// What is asked for where nothing else is configured.
const SCOPES: &[&str] = &["read:user", "user:email"];

/// `GET /user`.
#[derive(Deserialize)]
struct User {
    /// Theirs for ever; a login is given to others.
    id: u64,
    login: String,
    #[serde(default)]
    name: Option<String>,
}

/// Of `GET /user/emails`.
#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

fn read<T: serde::de::DeserializeOwned>(what: &'static str, told: Value) -> Result<T, ExchangeError> {
    serde_json::from_value(told).map_err(|source| ExchangeError::Form { what, source })
}

impl Upstream {
    fn github(&self, provider: &Provider) -> Result<Protocol, ExchangeError> {
        let at = |path: &str| format!("{}/login/oauth/{path}", provider.url);
        self.protocol(provider, (&at("authorize"), &at("access_token")), AuthType::RequestBody)
    }

    /// Where somebody signs in.
    pub(super) fn github_url(
        &self,
        provider: &Provider,
        state: &str,
        challenge: PkceCodeChallenge,
    ) -> Result<String, UpstreamError> {
        let protocol = self.github(provider)?;
        let configured = provider.scopes.iter().map(String::as_str);
        let scopes: Vec<&str> =
            if provider.scopes.is_empty() { SCOPES.to_vec() } else { configured.collect() };
        let (url, _) = protocol
            .authorize_url(|| CsrfToken::new(state.to_owned()))
            .add_scopes(scopes.into_iter().map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .url();
        Ok(url.into())
    }

    /// Who came back.
    pub(super) async fn github_person(
        &self,
        provider: &Provider,
        params: &Params,
        left: &Left,
    ) -> Result<Person, UpstreamError> {
        let tokens = self.redeem(&self.github(provider)?, code(params)?, &left.verifier).await?;
        let api = match provider.url.as_str() {
            GITHUB => "https://api.github.com".to_owned(),
            enterprise => format!("{enterprise}/api/v3"),
        };
        let user = self.told("for who somebody is", &format!("{api}/user"), &tokens).await?;
        let user: User = read("answer to who somebody is", user)?;
        let addresses = self.told("for addresses", &format!("{api}/user/emails"), &tokens).await?;
        let addresses: Vec<Address> = read("list of addresses", addresses)?;
        Ok(person(user, addresses))
    }
}

fn person(user: User, addresses: Vec<Address>) -> Person {
    let email = addresses.into_iter().find(|address| address.primary && address.verified);
    Person {
        subject: user.id.to_string(),
        name: Some(user.name.filter(|name| !name.trim().is_empty()).unwrap_or(user.login)),
        email: email.and_then(|address| address.email.parse().ok()),
        session: None,
    }
}

/// Who somebody is whose `/user` or whose list of addresses this is: see [`crate::fuzzing::provider`].
#[cfg(fuzzing)]
pub(super) fn fuzz_person(told: Value) -> Option<Person> {
    let user = read::<User>("answer to who somebody is", told.clone()).ok();
    let addresses = read::<Vec<Address>>("list of addresses", told).ok();
    let nobody = || User { id: 1, login: "ada".to_owned(), name: None };
    (user.is_some() || addresses.is_some())
        .then(|| person(user.unwrap_or_else(nobody), addresses.unwrap_or_default()))
}
