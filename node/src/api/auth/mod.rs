//! People over HTTP: sign-up, sign-in, sessions, passwords, and the end of an account.
//!
//! What is asked without a session answers the same whoever is named. What has a session is taken from this
//! service's own pages, and from programs, never from another site's page.

mod failure;
mod mfa;
mod mfa_shapes;
mod passkeys;
mod shapes;
mod sms;
mod upstream;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use twinmcp_actors::Accounts;
use twinmcp_actors::accounts::{AccountsError, LinkUse, NewSession, SignInRequest, SignInStep, SignedIn};
use twinmcp_actors::upstream::Visit;
use twinmcp_storage::accounts::Which;

pub(crate) use self::failure::TEXT_NOT_SENT;
pub(crate) use self::mfa::MfaApi;
use self::mfa_shapes::ChallengeRecord;
pub(crate) use self::passkeys::PasskeysApi;
pub(crate) use self::shapes::PersonRecord;
use self::shapes::{
    ChangeEmailBody, ChangeNameBody, ChangePasswordBody, ConfirmBody, EmailBody, ExportRecord, LinkBody,
    SessionList, SessionRecord, SignInBody, SignUpBody, SignedInRecord,
};
pub(crate) use self::sms::SmsApi;
pub(crate) use self::upstream::UpstreamApi;
use super::Tag;
use super::body::JsonBody;
use super::error::ApiError;
use super::failures::parse_id;
use crate::http::{Enrolling, Session, address_of, session};

#[derive(ApiResponse)]
pub(crate) enum Began {
    /// They are signed in; the cookie holds the session.
    #[oai(status = 200)]
    Session(
        Json<SignedInRecord>,
        /// The session's cookie `__Host-twinmcp`: `Secure`, `HttpOnly`, `SameSite=Lax`.
        #[oai(header = "Set-Cookie")]
        String,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// Where the first step of a sign-in leads to.
#[derive(ApiResponse)]
#[expect(clippy::large_enum_variant, reason = "an answer is made once and moved to the client")]
pub(crate) enum FirstStep {
    /// They are signed in; the cookie holds the session.
    #[oai(status = 200)]
    Session(
        Json<SignedInRecord>,
        /// The session's cookie `__Host-twinmcp`: `Secure`, `HttpOnly`, `SameSite=Lax`.
        #[oai(header = "Set-Cookie")]
        String,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The password was right, and a second factor is needed: go on with `POST /api/auth/mfa/challenge`.
    #[oai(status = 202)]
    Challenge(
        Json<ChallengeRecord>,
        /// The cookie `__Host-twinmcp-pending`, which goes back with the factor.
        #[oai(header = "Set-Cookie")]
        String,
        /// Always `no-store`.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl Began {
    fn session(accounts: &Accounts, new: &NewSession) -> Result<Self, ApiError> {
        let person = accounts.person(&new.session.account)?.ok_or(AccountsError::NotFound)?;
        let told = SignedInRecord {
            account: PersonRecord::from(&person),
            session: SessionRecord::new(&new.session, true),
        };
        let life_s = accounts.config().session_life_ms / 1_000;
        Ok(Self::Session(Json(told), session::begin(&new.secret, life_s), "no-store".to_owned()))
    }
}

impl From<Began> for FirstStep {
    fn from(Began::Session(told, cookie, cache): Began) -> Self {
        Self::Session(told, cookie, cache)
    }
}

#[derive(ApiResponse)]
pub(crate) enum Ended {
    /// It has ended.
    #[oai(status = 204)]
    Done(
        /// Takes the session's cookie back.
        #[oai(header = "Set-Cookie")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(crate) enum Taken {
    /// It was done, or will be.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
pub(crate) enum PasswordChanged {
    /// It was changed.
    #[oai(status = 204)]
    Done(
        /// The session's cookie `__Host-twinmcp`, whose secret is another now; where a second factor has to be shown first,
        /// `__Host-twinmcp-pending`, which goes back with it.
        #[oai(header = "Set-Cookie")]
        String,
    ),
}

/// `/api/auth`.
pub(crate) struct AuthApi {
    pub(crate) accounts: Accounts,
}

#[OpenApi(prefix_path = "/api/auth", tag = "Tag::People")]
impl AuthApi {
    /// Asks for an account.
    ///
    /// Sends a letter with a link, whose holder chooses a password; to an address that has an account, one that says so. The
    /// answer is the same for both. 403 `sign_up_closed` where accounts are made by invitation.
    #[oai(path = "/sign-up", method = "post", operation_id = "sign_up")]
    async fn sign_up(&self, request: &Request, asked: JsonBody<SignUpBody>) -> Result<Taken, ApiError> {
        session::same_site(request)?;
        self.accounts.sign_up(&asked.email, &asked.name).await?;
        Ok(Taken::Done)
    }

    /// Uses a link of a letter.
    ///
    /// Makes the account of an invitation or a sign-up, or puts a confirmed e-mail address in force. Each link works once.
    #[oai(path = "/verify", method = "post", operation_id = "use_link")]
    async fn verify(&self, request: &Request, asked: JsonBody<LinkBody>) -> Result<Taken, ApiError> {
        session::same_site(request)?;
        self.use_link(&asked).await
    }

    /// Asks for a link to another password.
    ///
    /// Sends a letter, if somebody has the address; the answer is the same for everybody.
    #[oai(path = "/reset/request", method = "post", operation_id = "request_password_reset")]
    async fn request_reset(&self, request: &Request, asked: JsonBody<EmailBody>) -> Result<Taken, ApiError> {
        session::same_site(request)?;
        self.accounts.request_reset(&asked.email).await?;
        Ok(Taken::Done)
    }

    /// Chooses another password with the link of a letter.
    ///
    /// Ends every session and every other link of the account.
    #[oai(path = "/reset", method = "post", operation_id = "reset_password")]
    async fn reset(&self, request: &Request, asked: JsonBody<LinkBody>) -> Result<Taken, ApiError> {
        session::same_site(request)?;
        self.use_link(&asked).await
    }

    /// Signs in.
    ///
    /// With a second factor the answer is 202 and no session yet. 401 `wrong_credentials` whatever of it is wrong; 429 `too_many_attempts` after too many of those, also for the right password.
    #[oai(path = "/sign-in", method = "post", operation_id = "sign_in")]
    async fn sign_in(&self, request: &Request, asked: JsonBody<SignInBody>) -> Result<FirstStep, ApiError> {
        session::same_site(request)?;
        let step = self
            .accounts
            .sign_in(SignInRequest {
                email: &asked.email,
                password: &asked.password,
                address: address_of(request),
                client: request.header("user-agent").unwrap_or_default(),
                replaces: session::secret(request.headers()),
            })
            .await?;
        match step {
            SignInStep::Session(new) => Ok(Began::session(&self.accounts, &new)?.into()),
            SignInStep::Challenge(challenge) => {
                let cookie = session::wait(&challenge.ticket, challenge.life_s);
                let told = Json(ChallengeRecord::from(&challenge));
                Ok(FirstStep::Challenge(told, cookie, "no-store".to_owned()))
            }
        }
    }

    /// Signs out.
    ///
    /// Ends the session that asks: here at once, on every other node within the replication bound.
    #[oai(path = "/sign-out", method = "post", operation_id = "sign_out")]
    async fn sign_out(&self, caller: Enrolling) -> Result<Ended, ApiError> {
        let which = Which::One(caller.0.session);
        self.accounts.end_sessions(&caller.0.account, which).await?;
        Ok(Ended::Done(session::end()))
    }

    /// Tells who is signed in.
    ///
    /// Reads this node's own state.
    #[oai(path = "/session", method = "get", operation_id = "get_session")]
    async fn session(&self, caller: Session) -> Result<Json<SignedInRecord>, ApiError> {
        let person = self.accounts.person(&caller.0.account)?.ok_or(AccountsError::NotFound)?;
        let mut sessions = self.records(&caller.0)?;
        sessions.retain(|(_, is_current)| *is_current);
        let (session, _) = sessions.pop().ok_or(AccountsError::NotFound)?;
        Ok(Json(SignedInRecord { account: PersonRecord::from(&person), session }))
    }

    /// Lists your sessions.
    ///
    /// The newest first; at most 20, of which one more ends the oldest.
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions")]
    async fn list(&self, caller: Session) -> Result<Json<SessionList>, ApiError> {
        let sessions = self.records(&caller.0)?.into_iter().map(|(record, _)| record).collect();
        Ok(Json(SessionList { sessions }))
    }

    /// Ends one of your sessions.
    ///
    /// Here at once, on every other node within the replication bound.
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end(
        &self,
        caller: Session,
        /// The session's id.
        #[oai(example = "id_example")]
        id: Path<String>,
    ) -> Result<Taken, ApiError> {
        let id = parse_id(&id)?;
        self.accounts.end_sessions(&caller.0.account, Which::One(id)).await?;
        Ok(Taken::Done)
    }

    /// Ends all of your sessions.
    ///
    /// The one that asks too.
    #[oai(path = "/sessions", method = "delete", operation_id = "end_all_sessions")]
    async fn end_all(&self, caller: Session) -> Result<Ended, ApiError> {
        self.accounts.end_sessions(&caller.0.account, Which::All).await?;
        Ok(Ended::Done(session::end()))
    }

    /// Changes your password.
    ///
    /// Ends every other session and every link that was sent before; a letter tells of it. This session goes on under another secret; whoever
    /// has a second factor shows it once more, as after `POST /api/auth/sign-in`, with `POST /api/auth/mfa/challenge`. Without a password
    /// there is none to show, and 401 `insufficient_user_authentication` when you signed in too long ago.
    #[oai(path = "/password", method = "post", operation_id = "change_password")]
    async fn change_password(
        &self,
        caller: Session,
        request: &Request,
        asked: JsonBody<ChangePasswordBody>,
    ) -> Result<PasswordChanged, ApiError> {
        let visit = Visit {
            address: address_of(request),
            client: request.header("user-agent").unwrap_or_default(),
            replaces: session::secret(request.headers()),
        };
        let step = self.accounts.change_password(&caller.0, &asked.current, &asked.new, visit).await?;
        Ok(PasswordChanged::Done(match step {
            SignInStep::Session(new) => {
                session::begin(&new.secret, self.accounts.config().session_life_ms / 1_000)
            }
            SignInStep::Challenge(challenge) => session::wait(&challenge.ticket, challenge.life_s),
        }))
    }

    /// Asks for another e-mail address.
    ///
    /// Sends a link there; the address is yours once it is opened, and a letter tells the one before. Without a password there is none to
    /// show, and 401 `insufficient_user_authentication` when you signed in too long ago.
    #[oai(path = "/email", method = "post", operation_id = "change_email")]
    async fn change_email(
        &self,
        caller: Session,
        request: &Request,
        asked: JsonBody<ChangeEmailBody>,
    ) -> Result<Taken, ApiError> {
        let address = address_of(request);
        self.accounts.change_email(&caller.0, &asked.password, &asked.email, address).await?;
        Ok(Taken::Done)
    }

    /// Changes your name.
    ///
    /// What people call you; it opens nothing.
    #[oai(path = "/account", method = "patch", operation_id = "change_name")]
    async fn rename(&self, caller: Session, asked: JsonBody<ChangeNameBody>) -> Result<Taken, ApiError> {
        self.accounts.rename(&caller.0.account, &asked.name).await?;
        Ok(Taken::Done)
    }

    /// Exports everything that is kept of your account.
    ///
    /// Secrets aside: nobody can show them again.
    #[oai(path = "/account", method = "get", operation_id = "export_account")]
    async fn export(&self, caller: Session) -> Result<Json<ExportRecord>, ApiError> {
        Ok(Json(ExportRecord::from(&self.accounts.export(&caller.0.account).await?)))
    }

    /// Deletes your account.
    ///
    /// Needs the password once more; without one, 401 `insufficient_user_authentication` when you signed in too long ago. Its keys and sessions end with it. 409 `owns_libraries` as long as it owns libraries.
    #[oai(path = "/account/delete", method = "post", operation_id = "delete_account")]
    async fn delete(
        &self,
        caller: Session,
        request: &Request,
        asked: JsonBody<ConfirmBody>,
    ) -> Result<Ended, ApiError> {
        self.accounts.delete(&caller.0, &asked.password, address_of(request)).await?;
        Ok(Ended::Done(session::end()))
    }
}

impl AuthApi {
    async fn use_link(&self, asked: &LinkBody) -> Result<Taken, ApiError> {
        let LinkBody { token, password, name } = asked;
        let used = LinkUse { token, password: password.as_deref(), name: name.as_deref() };
        self.accounts.use_link(used).await?;
        Ok(Taken::Done)
    }

    /// The sessions of whoever asks, and which of them it is.
    fn records(&self, caller: &SignedIn) -> Result<Vec<(SessionRecord, bool)>, ApiError> {
        let sessions = self.accounts.sessions(&caller.account)?;
        let record = |session: &twinmcp_storage::accounts::Session| {
            let is_current = session.id == caller.session;
            (SessionRecord::new(session, is_current), is_current)
        };
        Ok(sessions.iter().map(record).collect())
    }
}

fn id_example() -> String {
    "ses_01jdcq0vz3k8w6m5r2t9y4x7ab".to_owned()
}
