//! API keys over HTTP: make, list, revoke.

use poem::http::StatusCode;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::ApiKeys;
use twinmcp_actors::api_keys::NewApiKey;
use twinmcp_storage::api_keys::ApiKey;
use twinmcp_storage::clock::{Clock, Timestamp};
use twinmcp_storage::scope::Scope;

use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::parse_id;
use crate::http::Caller;

/// Longest life of a key with an end, in seconds: ten years.
const LIFE_S_MAX: u64 = 10 * 366 * 24 * 3600;

/// A key as it is listed: everything but its secret.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct KeyView {
    /// Its id.
    id: String,
    /// What its owner calls it.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// The last characters of the secret, to tell keys apart.
    hint: String,
    /// Whether it opens anything now.
    valid: bool,
    /// When it was made, RFC 3339.
    created_at: String,
    /// From when on it is refused, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    expires_at: Option<String>,
    /// Since when it is refused because somebody revoked it, RFC 3339.
    #[oai(skip_serializing_if_is_none)]
    revoked_at: Option<String>,
}

impl KeyView {
    fn new(key: &ApiKey, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            hint: key.hint.clone(),
            valid: key.is_valid(now),
            created_at: key.created_at.to_string(),
            expires_at: key.expires_at.map(|at| at.to_string()),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

impl Example for KeyView {
    fn example() -> Self {
        Self {
            id: "key_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned(),
            name: "editor".to_owned(),
            scopes: vec!["docs:read".to_owned()],
            hint: "x7ab".to_owned(),
            valid: true,
            created_at: "2026-11-23T12:46:10.123Z".to_owned(),
            expires_at: None,
            revoked_at: None,
        }
    }
}

/// Keys of the caller's account, the oldest first.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct KeyList {
    /// The keys in force, and the newest hundred of those that were revoked or have expired.
    keys: Vec<KeyView>,
}

impl KeyList {
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a ApiKey>, now: Timestamp) -> Self {
        Self { keys: keys.map(|key| KeyView::new(key, now)).collect() }
    }
}

impl Example for KeyList {
    fn example() -> Self {
        Self { keys: vec![KeyView::example()] }
    }
}

/// A key to be made.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct KeyRequest {
    /// What you call it, 1 to 100 bytes.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: String,
    /// What it may do: `docs:read`, `chat`, `libraries:write`, `jobs:write`, `keys:write`, `account`, `analytics:read`, `metrics:read`, `admin`;
    /// only what your own key may.
    #[oai(validator(min_items = 1, max_items = 20))]
    scopes: Vec<String>,
    /// After how many seconds it is refused; never when absent.
    #[oai(default, validator(minimum(value = "1"), maximum(value = "316224000")))]
    expires_in_s: Option<u64>,
}

impl Example for KeyRequest {
    fn example() -> Self {
        Self {
            name: "editor".to_owned(),
            scopes: vec!["docs:read".to_owned()],
            expires_in_s: Some(7_776_000),
        }
    }
}

impl KeyRequest {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The scopes asked for, as far as the caller has them.
    pub(super) fn scopes(&self, caller: &Caller) -> Result<Vec<Scope>, ApiError> {
        scopes_of_key(caller, self.scopes.iter().map(String::as_str))
    }

    /// When it is to end.
    pub(super) fn expires_at(&self, clock: &dyn Clock) -> Option<Timestamp> {
        self.expires_in_s.map(|seconds| clock.now().plus_millis(seconds.min(LIFE_S_MAX).saturating_mul(1000)))
    }
}

/// A new key with its secret, which is shown this once.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct NewKey {
    /// The key.
    key: KeyView,
    /// What to send as the bearer token. Keep it: nobody can show it again.
    secret: String,
}

impl Example for NewKey {
    fn example() -> Self {
        Self { key: KeyView::example(), secret: "tmcp_…".to_owned() }
    }
}

#[derive(ApiResponse)]
pub(crate) enum Created {
    /// The key was made.
    #[oai(status = 201)]
    Key(
        Json<NewKey>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl Created {
    /// A key that was made a moment ago.
    pub(super) fn new(new: &NewApiKey, now: Timestamp) -> Self {
        let body = NewKey { key: KeyView::new(&new.key, now), secret: new.secret.reveal().to_owned() };
        Self::Key(Json(body), "no-store".to_owned())
    }
}

#[derive(ApiResponse)]
pub(crate) enum Revoked {
    /// The key is refused from now on.
    #[oai(status = 204)]
    Done,
}

/// `/api/keys`.
pub(crate) struct ApiKeysApi {
    pub(crate) api_keys: ApiKeys,
    pub(crate) clock: std::sync::Arc<dyn Clock>,
}

#[OpenApi(prefix_path = "/api/keys", tag = "Tag::ApiKeys")]
impl ApiKeysApi {
    /// Makes an API key.
    ///
    /// The secret is in this answer and nowhere else. Needs `keys:write`; a key can give no scope it lacks itself.
    #[oai(path = "/", method = "post", operation_id = "create_api_key")]
    async fn create(&self, caller: Caller, asked: JsonBody<KeyRequest>) -> Result<Created, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let (scopes, expires_at) = (asked.scopes(&caller)?, asked.expires_at(&*self.clock));
        let new = self.api_keys.create(caller.account(), &asked.name, scopes, expires_at).await?;
        Ok(Created::new(&new, self.clock.now()))
    }

    /// Lists the keys of your account.
    ///
    /// Revoked and expired keys are listed too, secrets never. Needs `keys:write`.
    #[oai(path = "/", method = "get", operation_id = "list_api_keys")]
    async fn list(&self, caller: Caller) -> Result<Json<KeyList>, ApiError> {
        caller.may(Scope::KeysWrite)?;
        Ok(Json(KeyList::of(self.api_keys.list(caller.account())?.iter(), self.clock.now())))
    }

    /// Revokes an API key.
    ///
    /// Takes effect here before the answer is sent, on every other node within the replication bound.
    /// Needs `keys:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "revoke_api_key")]
    async fn revoke(
        &self,
        caller: Caller,
        /// The key's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<Revoked, ApiError> {
        caller.may(Scope::KeysWrite)?;
        let id = parse_id(&id)?;
        self.api_keys.revoke(caller.account(), &id).await?;
        Ok(Revoked::Done)
    }
}

pub(super) fn id_example() -> String {
    KeyView::example().id
}

/// The scopes that a key is to have, as far as the caller has them itself.
pub(crate) fn scopes_of_key<'a>(
    caller: &Caller,
    asked: impl Iterator<Item = &'a str>,
) -> Result<Vec<Scope>, ApiError> {
    let mut scopes = Vec::new();
    for text in asked {
        let scope: Scope = text
            .parse()
            .map_err(|error| ApiError::bad_request(super::error::sentence(&format!("`{text}`: {error}"))))?;
        if !scope.is_permission() {
            return Err(ApiError::bad_request(format!("`{scope}` is about a person, and no key has it.")));
        }
        if !caller.has(scope) {
            let message =
                format!("You lack the scope `{scope}` yourself, so you cannot give it to another key.");
            return Err(ApiError::new(StatusCode::FORBIDDEN, "insufficient_scope", message));
        }
        scopes.push(scope);
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_key;

    #[test]
    fn a_key_gives_only_scopes_it_has_itself() {
        let caller = Caller::new(test_key(&[Scope::KeysWrite, Scope::DocsRead]));
        let admin = Caller::new(test_key(&[Scope::Admin]));
        let scopes = |caller, name| scopes_of_key(caller, [name].into_iter());
        assert_eq!(scopes(&caller, "docs:read").unwrap(), [Scope::DocsRead]);
        assert_eq!(scopes(&caller, "admin").unwrap_err().code(), "insufficient_scope");
        for caller in [&caller, &admin] {
            for unknown in ["fly", "openid"] {
                assert_eq!(scopes(caller, unknown).unwrap_err().code(), "validation_error", "{unknown}");
            }
        }
        assert_eq!(scopes(&admin, "metrics:read").unwrap(), [Scope::MetricsRead]);
    }
}
