//! Passkeys over HTTP: added, removed, and shown to sign in, as the second step or as the only one.
//!
//! What devices are asked and answer has the shapes of WebAuthn (Level 3, 5.1.8 and 5.1.9), bytes as base64url.

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::{Value, json};
use twinmcp_actors::Accounts;
use twinmcp_actors::accounts::{AccountsError, PasskeyAnswer, PasskeyQuestion};

use super::super::Tag;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::mfa::Added;
use super::{Began, Taken};
use crate::http::{Enrolling, Session, address_of, session};

/// A question to a device.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct PasskeyQuestionRecord {
    /// Options for `navigator.credentials`.
    options: Any<Value>,
    /// Goes back with the answer.
    ticket: String,
    /// How long it is good, in seconds.
    expires_in: u64,
}

impl Example for PasskeyQuestionRecord {
    fn example() -> Self {
        let options = json!({ "challenge": "dGhlIGNoYWxsZW5nZQ", "rpId": "docs.example.com" });
        Self { options: Any(options), ticket: "ticket".to_owned(), expires_in: 300 }
    }
}

/// For whom a sign-in is.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct PasskeyAskBody {
    /// Whether the password was shown before, in this browser; otherwise whoever has a passkey is asked.
    #[oai(default)]
    second_step: bool,
}

impl Example for PasskeyAskBody {
    fn example() -> Self {
        Self { second_step: false }
    }
}

/// What a device answered.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct PasskeyAnswerBody {
    /// What came with the question.
    #[oai(validator(max_length = 16384))]
    ticket: String,
    /// What `navigator.credentials.get` returned.
    credential: Any<Value>,
}

impl Example for PasskeyAnswerBody {
    fn example() -> Self {
        Self { ticket: "ticket".to_owned(), credential: Any(json!({ "id": "a2V5", "type": "public-key" })) }
    }
}

/// A passkey that a device has made.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct NewPasskeyBody {
    /// What came with the offer.
    #[oai(validator(max_length = 16384))]
    ticket: String,
    /// What you call it.
    #[oai(validator(max_length = 64))]
    name: String,
    /// What `navigator.credentials.create` returned.
    credential: Any<Value>,
}

impl Example for NewPasskeyBody {
    fn example() -> Self {
        let credential = Any(json!({ "id": "a2V5", "type": "public-key" }));
        Self { ticket: "ticket".to_owned(), name: "laptop".to_owned(), credential }
    }
}

#[derive(ApiResponse)]
pub(crate) enum AskedDevice {
    /// What the device is asked.
    #[oai(status = 200)]
    Question(
        Json<PasskeyQuestionRecord>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl From<PasskeyQuestion> for AskedDevice {
    fn from(question: PasskeyQuestion) -> Self {
        let PasskeyQuestion { options, ticket, life_s } = question;
        let record = PasskeyQuestionRecord { options: Any(options), ticket, expires_in: life_s };
        Self::Question(Json(record), "no-store".to_owned())
    }
}

/// `/api/auth/passkeys`.
pub(crate) struct PasskeysApi {
    pub(crate) accounts: Accounts,
}

#[OpenApi(prefix_path = "/api/auth/passkeys", tag = "Tag::People")]
impl PasskeysApi {
    /// Asks for a passkey to sign in.
    ///
    /// Without a password it asks whoever has one, and says nothing about who has. 409 `passkeys_unavailable` where the service has no name that devices
    /// could know it by.
    #[oai(path = "/question", method = "post", operation_id = "ask_passkey")]
    async fn ask(&self, request: &Request, asked: JsonBody<PasskeyAskBody>) -> Result<AskedDevice, ApiError> {
        session::same_site(request)?;
        if !asked.second_step {
            return Ok(self.accounts.ask_anybody().await?.into());
        }
        let pending = session::pending(request.headers()).ok_or(AccountsError::SignInExpired)?;
        Ok(self.accounts.ask_passkey(pending)?.into())
    }

    /// Signs in by what a device answered.
    ///
    /// 403 `wrong_passkey` also for an answer that was given before; 401 `sign_in_expired` when it took too long.
    #[oai(path = "/answer", method = "post", operation_id = "answer_passkey")]
    async fn answer(&self, request: &Request, asked: JsonBody<PasskeyAnswerBody>) -> Result<Began, ApiError> {
        session::same_site(request)?;
        let JsonBody(PasskeyAnswerBody { ticket, credential: Any(credential) }) = asked;
        let answer = PasskeyAnswer {
            ticket: &ticket,
            pending: session::pending(request.headers()),
            credential,
            address: address_of(request),
            client: request.header("user-agent").unwrap_or_default(),
            replaces: session::secret(request.headers()),
        };
        Began::session(&self.accounts, &self.accounts.answer_passkey(answer).await?)
    }

    /// Offers to add a passkey.
    ///
    /// 401 `insufficient_user_authentication` when you signed in too long ago.
    #[oai(path = "/offer", method = "post", operation_id = "offer_passkey")]
    async fn offer(&self, caller: Enrolling) -> Result<AskedDevice, ApiError> {
        Ok(self.accounts.offer_passkey(&caller.0).await?.into())
    }

    /// Adds the passkey that a device has made.
    ///
    /// With the first factor come ten backup codes, as for an authenticator app. 403 `wrong_passkey`; 409 `factor_exists` when it is there already, or
    /// `too_many_factors`.
    #[oai(path = "/", method = "post", operation_id = "add_passkey")]
    async fn add(&self, caller: Enrolling, asked: JsonBody<NewPasskeyBody>) -> Result<Added, ApiError> {
        let JsonBody(NewPasskeyBody { ticket, name, credential: Any(credential) }) = asked;
        let added = self.accounts.confirm_passkey(&caller.0, &ticket, &name, credential).await?;
        Ok(Added::new(&self.accounts, added))
    }

    /// Removes a passkey.
    ///
    /// 409 `factor_required` for the last factor where this service asks for one.
    #[oai(path = "/:id", method = "delete", operation_id = "remove_passkey")]
    async fn remove(
        &self,
        caller: Session,
        /// Its id, as `GET /api/auth/mfa` lists it.
        #[oai(example = "path_example")]
        id: Path<String>,
    ) -> Result<Taken, ApiError> {
        self.accounts.remove_passkey(&caller.0, &id).await?;
        Ok(Taken::Done)
    }
}

fn path_example() -> String {
    "0f1e2d3c4b5a6978".to_owned()
}
