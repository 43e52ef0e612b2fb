//! Asking a provider: through the guard, small, quick, and never where it redirects to (the warning of the `oauth2` crate).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Provider, Upstream};
use crate::outbound::{HeaderValue, Method, OutboundError, Request, StatusCode, header};

/// Largest answer of a provider, in bytes.
pub(super) const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// How long one answer may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Why a provider gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// It could not be reached.
    #[error("the provider could not be reached")]
    Outbound(#[from] OutboundError),
    /// It did not answer in time.
    #[error("the provider did not answer within {} seconds", TIME_MAX.as_secs())]
    Deadline,
    /// It answered with another status.
    #[error("the provider answered {what} with status {status}")]
    Status {
        /// What it was asked for.
        what: &'static str,
        /// The status.
        status: u16,
    },
    /// Its metadata is not of the provider that was asked, or lacks something.
    #[error("the provider's metadata cannot be used: {0}")]
    Metadata(&'static str),
    /// It is no address.
    #[error("the provider's {0} is no address that can be used")]
    Address(&'static str),
    /// It gave no token for the code.
    #[error("the provider gave no token: {0}")]
    Token(String),
    /// What it says is no JSON of the right form.
    #[error("the provider's {what} is not what it should be")]
    Form {
        /// What it was asked for.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// What a provider of OpenID Connect gives beside an access token.
#[derive(Serialize, Deserialize)]
pub(super) struct IdToken {
    #[serde(default)]
    pub(super) id_token: Option<String>,
}

impl std::fmt::Debug for IdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl ExtraTokenFields for IdToken {}

pub(super) type Tokens = StandardTokenResponse<IdToken, BasicTokenType>;

pub(super) type Protocol = Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// What the `oauth2` crate sends its requests by. A closure would do, if the compiler saw that its future can be sent.
struct Guarded<'a>(&'a Upstream);

impl<'c> AsyncHttpClient<'c> for Guarded<'_> {
    type Error = ExchangeError;
    type Future = BoxFuture<'c, Result<HttpResponse, ExchangeError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.0.forward(request))
    }
}

impl Upstream {
    /// Who this service is at a provider whose endpoints are these.
    pub(super) fn protocol(
        &self,
        provider: &Provider,
        (authorize, token): (&str, &str),
        auth: AuthType,
    ) -> Result<Protocol, ExchangeError> {
        let callback = format!("{}/upstream/{}/callback", self.0.public_url, provider.name);
        let wrong = |what| move |_| ExchangeError::Address(what);
        let client = Client::new(ClientId::new(provider.client_id.clone()))
            .set_auth_uri(AuthUrl::new(authorize.to_owned()).map_err(wrong("authorization endpoint"))?)
            .set_token_uri(TokenUrl::new(token.to_owned()).map_err(wrong("token endpoint"))?)
            .set_redirect_uri(RedirectUrl::new(callback).map_err(wrong("callback"))?)
            .set_auth_type(auth);
        Ok(match provider.client_secret.reveal() {
            "" => client,
            secret => client.set_client_secret(ClientSecret::new(secret.to_owned())),
        })
    }

    /// The tokens that a code is good for.
    pub(super) async fn redeem(
        &self,
        protocol: &Protocol,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, ExchangeError> {
        let asked = protocol
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        asked.request_async(&Guarded(self)).await.map_err(|error| match error {
            oauth2::RequestTokenError::Request(error) => error,
            oauth2::RequestTokenError::ServerResponse(refused) => {
                ExchangeError::Token(refused.error().as_ref().to_owned())
            }
            // What was sent may hold a token, and is told to nobody.
            oauth2::RequestTokenError::Parse(..) => {
                ExchangeError::Token("its answer is no token response".to_owned())
            }
            oauth2::RequestTokenError::Other(_) => {
                ExchangeError::Token("its answer cannot be used".to_owned())
            }
        })
    }

    async fn forward(&self, request: HttpRequest) -> Result<HttpResponse, ExchangeError> {
        let (head, body) = request.into_parts();
        let url = self.0.outbound.check(&head.uri.to_string())?;
        let request = Request {
            method: head.method,
            url,
            headers: head.headers,
            body: Bytes::from(body),
            body_bytes_max: ANSWER_BYTES_MAX,
        };
        let asked = async {
            let response = self.0.outbound.send(request).await?;
            let (status, headers) = (response.status, response.headers.clone());
            let mut answer = HttpResponse::new(response.body.read().await?.to_vec());
            (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
            Ok(answer)
        };
        tokio::time::timeout(TIME_MAX, asked).await.map_err(|_| ExchangeError::Deadline)?
    }

    /// What a provider's API tells whoever has an access token.
    pub(super) async fn told(
        &self,
        what: &'static str,
        url: &str,
        tokens: &Tokens,
    ) -> Result<Value, ExchangeError> {
        let url = self.0.outbound.check(url)?;
        let mut request =
            Request { method: Method::GET, body_bytes_max: ANSWER_BYTES_MAX, ..Request::get(url) };
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let bearer = HeaderValue::try_from(format!("Bearer {}", tokens.access_token().secret()));
        let mut bearer = bearer.map_err(|_| ExchangeError::Token("its token is none".to_owned()))?;
        bearer.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, bearer);
        let asked = async {
            let response = self.0.outbound.send(request).await?;
            if response.status != StatusCode::OK {
                return Err(ExchangeError::Status { what, status: response.status.as_u16() });
            }
            Ok(response.body.read().await?)
        };
        let body = tokio::time::timeout(TIME_MAX, asked).await.map_err(|_| ExchangeError::Deadline)??;
        serde_json::from_slice(&body).map_err(|source| ExchangeError::Form { what, source })
    }
}
