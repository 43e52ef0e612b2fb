//! Keys that sign tokens, for operators: they follow each other by themselves, and one that leaked is revoked here.

use poem::http::StatusCode;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::Oauth;
use twinmcp_storage::oauth::signing_key::SigningKey;
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::error::ApiError;
use crate::http::Caller;

/// A key that signs tokens.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct SigningKeyView {
    /// Its name, `kid`.
    kid: String,
    /// What it signs with.
    algorithm: String,
    /// From when on it signs, RFC 3339.
    signs_from: String,
    /// Until when its tokens are verified, RFC 3339.
    verifies_until: String,
    /// Since when nothing of it is believed, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    revoked_at: Option<String>,
}

impl From<SigningKey> for SigningKeyView {
    fn from(key: SigningKey) -> Self {
        Self {
            kid: key.kid,
            algorithm: key.algorithm.to_string(),
            signs_from: key.signs_from.to_string(),
            verifies_until: key.verifies_until.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

impl Example for SigningKeyView {
    fn example() -> Self {
        Self {
            kid: "1795437970-9f3a61c2".to_owned(),
            algorithm: "RS256".to_owned(),
            signs_from: "2026-11-23T12:46:10.123Z".to_owned(),
            verifies_until: "2027-05-22T13:46:10.123Z".to_owned(),
            revoked_at: None,
        }
    }
}

/// The keys, by name.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct SigningKeyList {
    /// Those that sign, that will, that did, and revoked ones.
    keys: Vec<SigningKeyView>,
}

impl Example for SigningKeyList {
    fn example() -> Self {
        Self { keys: vec![SigningKeyView::example()] }
    }
}

#[derive(ApiResponse)]
pub(crate) enum KeyRevoked {
    /// Nothing of it is believed any more.
    #[oai(status = 204)]
    Done,
}

/// `/api/signing-keys`.
pub(crate) struct SigningKeysApi {
    pub(crate) oauth: Oauth,
}

#[OpenApi(prefix_path = "/api/signing-keys", tag = "Tag::Oauth")]
impl SigningKeysApi {
    /// Lists the keys that sign tokens.
    ///
    /// Needs `admin`.
    #[oai(path = "/", method = "get", operation_id = "list_signing_keys")]
    async fn list(&self, caller: Caller) -> Result<Json<SigningKeyList>, ApiError> {
        caller.may(Scope::Admin)?;
        let keys = self.oauth.signing_keys()?;
        Ok(Json(SigningKeyList { keys: keys.into_iter().map(SigningKeyView::from).collect() }))
    }

    /// Revokes a key that signs tokens.
    ///
    /// Every token of it is refused: here at once, on every other node within the replication bound. Another key takes its place by
    /// itself. Needs `admin`.
    #[oai(path = "/:kid", method = "delete", operation_id = "revoke_signing_key")]
    async fn revoke(
        &self,
        caller: Caller,
        /// The key's name.
        #[oai(example = "example_kid")]
        kid: Path<String>,
    ) -> Result<KeyRevoked, ApiError> {
        caller.may(Scope::Admin)?;
        if self.oauth.revoke_key(&kid).await? {
            return Ok(KeyRevoked::Done);
        }
        let message = format!("There is no signing key `{}`, or it was revoked before.", kid.0);
        Err(ApiError::new(StatusCode::NOT_FOUND, "signing_key_not_found", message))
    }
}

fn example_kid() -> String {
    SigningKeyView::example().kid
}
