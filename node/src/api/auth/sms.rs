//! Codes by text message over HTTP: a phone added, sent a code, and removed.

use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use twinmcp_actors::Accounts;
use twinmcp_actors::accounts::{CodeSent, SmsOffer};

use super::super::Tag;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::Taken;
use super::mfa::Added;
use crate::http::{Enrolling, Session, address_of, session};

/// A phone that is to be added.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct OfferSmsBody {
    /// Its number, with `+` and the country. Blanks, dashes and brackets do not matter.
    #[oai(validator(max_length = 64))]
    number: String,
}

impl Example for OfferSmsBody {
    fn example() -> Self {
        Self { number: "+43 660 1234567".to_owned() }
    }
}

/// A phone that may be added.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct SmsOfferRecord {
    /// The last two digits of the number that the code went to.
    to: String,
    /// Goes back with the code.
    ticket: String,
    /// How long it is good, in seconds.
    expires_in: u64,
}

impl Example for SmsOfferRecord {
    fn example() -> Self {
        Self { to: "…67".to_owned(), ticket: "ticket".to_owned(), expires_in: 300 }
    }
}

/// The code that a phone was sent.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct ConfirmSmsBody {
    /// What came with the offer.
    #[oai(validator(max_length = 4096))]
    ticket: String,
    /// The code. Blanks do not matter.
    #[oai(validator(max_length = 64))]
    code: String,
}

impl Example for ConfirmSmsBody {
    fn example() -> Self {
        Self { ticket: "ticket".to_owned(), code: "123456".to_owned() }
    }
}

/// A code that is on its way.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct CodeSentRecord {
    /// The last two digits of the number that it went to.
    to: String,
    /// How long it is good, in seconds.
    expires_in: u64,
}

impl Example for CodeSentRecord {
    fn example() -> Self {
        Self { to: "…67".to_owned(), expires_in: 300 }
    }
}

#[derive(ApiResponse)]
pub(crate) enum PhoneOffered {
    /// A code is on its way to the phone.
    #[oai(status = 200)]
    Sms(
        Json<SmsOfferRecord>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum Sent {
    /// A code is on its way.
    #[oai(status = 200)]
    Code(
        Json<CodeSentRecord>,
        /// The cookie `__Host-twinmcp-pending`, which goes back with the code in place of the one before.
        #[oai(header = "Set-Cookie")]
        String,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// `/api/auth/mfa`, as far as it is about phones.
pub(crate) struct SmsApi {
    pub(crate) accounts: Accounts,
}

#[OpenApi(prefix_path = "/api/auth/mfa", tag = "Tag::People")]
impl SmsApi {
    /// Sends a code to your phone to go on with a sign-in.
    ///
    /// Nothing is sent before you ask. The cookie that `POST /api/auth/sign-in` set goes with it, and another one comes back: the code is good in this
    /// sign-in alone, for `POST /api/auth/mfa/challenge` with `factor` `sms`. 429 `too_many_texts` after too many messages; 503 `text_not_sent` when
    /// the carrier does not take it; 409 `sms_unavailable` where this service sends none.
    #[oai(path = "/challenge/sms", method = "post", operation_id = "send_code")]
    async fn send(&self, request: &Request) -> Result<Sent, ApiError> {
        session::same_site(request)?;
        let pending = session::pending(request.headers()).unwrap_or_default();
        let CodeSent { to, ticket, life_s } = self.accounts.send_code(pending, address_of(request)).await?;
        let told = Json(CodeSentRecord { to, expires_in: life_s });
        Ok(Sent::Code(told, session::wait(&ticket, life_s), "no-store".to_owned()))
    }

    /// Sends a code to a phone that you want to add.
    ///
    /// It is no factor before `POST /api/auth/mfa/sms/confirm` has shown the code. An account has one phone: 409 `factor_exists`. 400 `invalid_number`;
    /// 401 `insufficient_user_authentication` when you signed in too long ago; 403 `stronger_factor_needed` when you did with a text message and have
    /// something stronger; 429 `too_many_texts`; 503 `text_not_sent`; 409 `sms_unavailable` where this service sends none.
    #[oai(path = "/sms", method = "post", operation_id = "offer_sms")]
    async fn offer(
        &self,
        caller: Enrolling,
        request: &Request,
        asked: JsonBody<OfferSmsBody>,
    ) -> Result<PhoneOffered, ApiError> {
        let offered = self.accounts.offer_sms(&caller.0, &asked.number, address_of(request)).await?;
        let SmsOffer { to, ticket, life_s } = offered;
        let told = SmsOfferRecord { to, ticket, expires_in: life_s };
        Ok(PhoneOffered::Sms(Json(told), "no-store".to_owned()))
    }

    /// Adds the phone that a code was sent to.
    ///
    /// With the first factor come ten backup codes, as for an authenticator app. 403 `wrong_code`; 403 `offer_refused` when it took too long.
    #[oai(path = "/sms/confirm", method = "post", operation_id = "confirm_sms")]
    async fn confirm(
        &self,
        caller: Enrolling,
        request: &Request,
        asked: JsonBody<ConfirmSmsBody>,
    ) -> Result<Added, ApiError> {
        let address = address_of(request);
        let added = self.accounts.confirm_sms(&caller.0, &asked.ticket, &asked.code, address).await?;
        Ok(Added::new(&self.accounts, added))
    }

    /// Removes your phone.
    ///
    /// With the last factor go the backup codes. 401 `insufficient_user_authentication` when you signed in too long ago; 409 `factor_required` where
    /// this service asks for a factor.
    #[oai(path = "/sms", method = "delete", operation_id = "remove_sms")]
    async fn remove(&self, caller: Session) -> Result<Taken, ApiError> {
        self.accounts.remove_sms(&caller.0).await?;
        Ok(Taken::Done)
    }
}
