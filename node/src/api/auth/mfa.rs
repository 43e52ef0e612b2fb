//! Second factors over HTTP: the second step of a sign-in, and what somebody has to show in it.

use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use twinmcp_actors::Accounts;
use twinmcp_actors::accounts::{AccountsError, ChallengeAnswer, FactorAdded};

use super::super::Tag;
use super::super::body::JsonBody;
use super::super::error::ApiError;
use super::mfa_shapes::{BackupCodesRecord, ChallengeBody, ConfirmTotpBody, FactorsRecord, TotpOfferRecord};
use super::{Began, Taken};
use crate::http::{Enrolling, Session, address_of, session};
use crate::qr;

#[derive(ApiResponse)]
pub(crate) enum Offered {
    /// An app that may be added, shown this once.
    #[oai(status = 200)]
    Totp(
        Json<TotpOfferRecord>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum Added {
    /// It is a factor from now on.
    #[oai(status = 200)]
    Factor(
        Json<BackupCodesRecord>,
        /// The session's cookie, whose secret is another now.
        #[oai(header = "Set-Cookie")]
        String,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl Added {
    pub(super) fn new(accounts: &Accounts, added: FactorAdded) -> Self {
        let life_s = accounts.config().session_life_ms / 1_000;
        let codes = BackupCodesRecord { backup_codes: added.backup_codes };
        Self::Factor(Json(codes), session::begin(&added.secret, life_s), "no-store".to_owned())
    }
}

#[derive(ApiResponse)]
pub(crate) enum Codes {
    /// The codes, shown this once.
    #[oai(status = 200)]
    Made(
        Json<BackupCodesRecord>,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// `/api/auth/mfa`.
pub(crate) struct MfaApi {
    pub(crate) accounts: Accounts,
}

#[OpenApi(prefix_path = "/api/auth/mfa", tag = "Tag::People")]
impl MfaApi {
    /// Shows a second factor to go on with a sign-in.
    ///
    /// The cookie that `POST /api/auth/sign-in` set goes with it. 403 `wrong_code` also for one that was used; 429 `too_many_attempts` after too
    /// many of those; 401 `sign_in_expired` when it took too long.
    #[oai(path = "/challenge", method = "post", operation_id = "answer_challenge")]
    async fn challenge(&self, request: &Request, asked: JsonBody<ChallengeBody>) -> Result<Began, ApiError> {
        session::same_site(request)?;
        let answer = ChallengeAnswer {
            ticket: session::pending(request.headers()).ok_or(AccountsError::SignInExpired)?,
            factor: asked.factor.into(),
            code: &asked.code,
            address: address_of(request),
            client: request.header("user-agent").unwrap_or_default(),
            replaces: session::secret(request.headers()),
        };
        Began::session(&self.accounts, &self.accounts.answer_challenge(answer).await?)
    }

    /// Tells which second factors you have.
    ///
    /// Never their secrets.
    #[oai(path = "/", method = "get", operation_id = "get_factors")]
    async fn factors(&self, caller: Enrolling) -> Result<Json<FactorsRecord>, ApiError> {
        Ok(Json(FactorsRecord::from(&self.accounts.factors(&caller.0.account)?)))
    }

    /// Offers an authenticator app.
    ///
    /// It is no factor before `POST /api/auth/mfa/totp/confirm` has shown a code of it. 401 `insufficient_user_authentication` when you signed in
    /// too long ago: sign in once more. 409 `factor_exists` when there is one.
    #[oai(path = "/totp", method = "post", operation_id = "offer_totp")]
    async fn offer_totp(&self, caller: Enrolling) -> Result<Offered, ApiError> {
        let offer = self.accounts.offer_totp(&caller.0).await?;
        let svg = qr::svg(&offer.uri)?;
        Ok(Offered::Totp(Json(TotpOfferRecord::new(offer, svg)), "no-store".to_owned()))
    }

    /// Adds the authenticator app that was offered.
    ///
    /// With the first factor come ten backup codes; every other session ends, and what programs were allowed. The session goes on under
    /// another secret.
    #[oai(path = "/totp/confirm", method = "post", operation_id = "confirm_totp")]
    async fn confirm_totp(
        &self,
        caller: Enrolling,
        request: &Request,
        asked: JsonBody<ConfirmTotpBody>,
    ) -> Result<Added, ApiError> {
        let address = address_of(request);
        let added = self.accounts.confirm_totp(&caller.0, &asked.ticket, &asked.code, address).await?;
        Ok(Added::new(&self.accounts, added))
    }

    /// Removes the authenticator app.
    ///
    /// With the last factor go the backup codes. 401 `insufficient_user_authentication` when you signed in too long ago; 409 `factor_required` where
    /// this service asks for a factor.
    #[oai(path = "/totp", method = "delete", operation_id = "remove_totp")]
    async fn remove_totp(&self, caller: Session) -> Result<Taken, ApiError> {
        self.accounts.remove_totp(&caller.0).await?;
        Ok(Taken::Done)
    }

    /// Makes backup codes in place of those there are.
    ///
    /// Ten, each good once. 401 `insufficient_user_authentication` when you signed in too long ago.
    #[oai(path = "/backup-codes", method = "post", operation_id = "make_backup_codes")]
    async fn make_backup_codes(&self, caller: Session) -> Result<Codes, ApiError> {
        let codes = self.accounts.make_backup_codes(&caller.0).await?;
        Ok(Codes::Made(Json(BackupCodesRecord { backup_codes: Some(codes) }), "no-store".to_owned()))
    }
}
