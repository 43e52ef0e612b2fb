//! Providers that speak OpenID Connect (Core, 3.1).

use oauth2::{AuthType, CsrfToken, PkceCodeChallenge, Scope, TokenResponse};

use super::claims::{ClaimError, Claims, Expected, Person, UserInfo};
use super::exchange::{ExchangeError, Protocol};
use super::metadata::Metadata;
use super::trip::{Left, code};
use super::{Provider, Upstream, UpstreamError};
use crate::jose;
use crate::oauth::Params;

/// What is asked for where nothing else is configured.
const SCOPES: &[&str] = &["openid", "profile", "email"];

impl Upstream {
    fn openid(&self, provider: &Provider, metadata: &Metadata) -> Result<Protocol, ExchangeError> {
        let methods = metadata.token_endpoint_auth_methods_supported.as_ref();
        let has_basic =
            methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let auth = if has_basic { AuthType::BasicAuth } else { AuthType::RequestBody };
        self.protocol(provider, (&metadata.authorization_endpoint, &metadata.token_endpoint), auth)
    }

    /// Where somebody signs in.
    pub(super) async fn openid_url(
        &self,
        provider: &Provider,
        (state, nonce): (&str, &str),
        challenge: PkceCodeChallenge,
        anew: bool,
    ) -> Result<String, UpstreamError> {
        let metadata = self.0.documents.of(&provider.url).await?;
        let protocol = self.openid(provider, &metadata)?;
        let configured = provider.scopes.iter().map(String::as_str);
        let scopes: Vec<&str> =
            if provider.scopes.is_empty() { SCOPES.to_vec() } else { configured.collect() };
        let mut request = protocol
            .authorize_url(|| CsrfToken::new(state.to_owned()))
            .add_scopes(scopes.into_iter().map(|scope| Scope::new(scope.to_owned())))
            .add_extra_param("nonce", nonce)
            .set_pkce_challenge(challenge);
        if anew {
            request = request.add_extra_param("prompt", "login");
        }
        let (url, _) = request.url();
        Ok(url.into())
    }

    /// Who came back.
    pub(super) async fn openid_person(
        &self,
        provider: &Provider,
        params: &Params,
        left: &Left,
    ) -> Result<Person, UpstreamError> {
        let metadata = self.0.documents.of(&provider.url).await?;
        // Before the code is shown to anybody: it may be another provider's, who wants it from us (RFC 9207, 2.4; RFC 9700, 4.4).
        match params.get("iss") {
            Some(issuer) if issuer != provider.url => return Err(UpstreamError::MixedUp),
            None if metadata.authorization_response_iss_parameter_supported => {
                return Err(UpstreamError::MixedUp);
            }
            _ => {}
        }
        let tokens = self.redeem(&self.openid(provider, &metadata)?, code(params)?, &left.verifier).await?;
        let text = tokens.extra_fields().id_token.as_deref().ok_or(ClaimError::Missing)?;
        let read = jose::read(text, jose::ALGORITHMS).map_err(ClaimError::Jwt)?;
        let key = self.0.key_sets.find(&metadata.jwks_uri, read.kid.as_deref(), read.algorithm).await;
        let key = key.map_err(ClaimError::Key)?;
        let claims: Claims = read.verified(&key).map_err(ClaimError::Jwt)?;
        claims.check(&Expected {
            issuer: &provider.url,
            client: &provider.client_id,
            nonce: &left.nonce,
            access_token: tokens.access_token().secret(),
            algorithm: read.algorithm,
            now: self.0.clock.now(),
        })?;
        let mut person = claims.person();
        if person.email.is_none()
            && let Some(url) = &metadata.userinfo_endpoint
        {
            let told = self.told("for who somebody is", url, &tokens).await?;
            let told: UserInfo = serde_json::from_value(told)
                .map_err(|source| ExchangeError::Form { what: "answer to who somebody is", source })?;
            person.complete(told)?;
        }
        Ok(person)
    }
}
