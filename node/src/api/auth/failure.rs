//! What went wrong with an account, as it is answered.

use poem::http::StatusCode;
use twinmcp_actors::accounts::{AccountsError, HashingError};

use super::super::error::{ApiError, sentence};

/// The carrier of text messages did not take one. Pages say so where the person is, since they may show something else.
pub(crate) const TEXT_NOT_SENT: &str = "text_not_sent";
/// Seconds after which to have another message sent.
const TEXT_RETRY_S: u64 = 10;

impl From<AccountsError> for ApiError {
    fn from(error: AccountsError) -> Self {
        let told = sentence(&error.to_string());
        let refused = |status, code| Self::new(status, code, told.clone());
        match error {
            AccountsError::NameLength | AccountsError::Email(_) => Self::bad_request(told),
            AccountsError::Password(_) | AccountsError::PasswordMissing => {
                refused(StatusCode::BAD_REQUEST, "password_refused")
            }
            AccountsError::LinkRefused => refused(StatusCode::FORBIDDEN, "link_refused"),
            AccountsError::WrongCredentials => refused(StatusCode::UNAUTHORIZED, "wrong_credentials"),
            AccountsError::WrongPassword => refused(StatusCode::FORBIDDEN, "wrong_password"),
            AccountsError::WrongCode => refused(StatusCode::FORBIDDEN, "wrong_code"),
            AccountsError::SignInExpired => refused(StatusCode::UNAUTHORIZED, "sign_in_expired"),
            AccountsError::OfferRefused => refused(StatusCode::FORBIDDEN, "offer_refused"),
            AccountsError::NotFresh { max_age_s } => {
                refused(StatusCode::UNAUTHORIZED, "insufficient_user_authentication")
                    .with("max_age", max_age_s)
            }
            AccountsError::WrongPasskey => refused(StatusCode::FORBIDDEN, "wrong_passkey"),
            AccountsError::NoPasskeysHere => refused(StatusCode::CONFLICT, "passkeys_unavailable"),
            AccountsError::PasskeyName => refused(StatusCode::BAD_REQUEST, "invalid_name"),
            AccountsError::TooManyFactors => refused(StatusCode::CONFLICT, "too_many_factors"),
            AccountsError::FactorThere => refused(StatusCode::CONFLICT, "factor_exists"),
            AccountsError::FactorRequired => refused(StatusCode::CONFLICT, "factor_required"),
            AccountsError::NoFactor => refused(StatusCode::NOT_FOUND, "factor_not_found"),
            AccountsError::StrongerNeeded => refused(StatusCode::FORBIDDEN, "stronger_factor_needed"),
            AccountsError::NoSmsHere => refused(StatusCode::CONFLICT, "sms_unavailable"),
            AccountsError::Number(_) => refused(StatusCode::BAD_REQUEST, "invalid_number"),
            AccountsError::TooManyTexts { retry_after_s } => {
                refused(StatusCode::TOO_MANY_REQUESTS, "too_many_texts").retry_after(retry_after_s)
            }
            AccountsError::TextNotSent => {
                refused(StatusCode::SERVICE_UNAVAILABLE, TEXT_NOT_SENT).retry_after(TEXT_RETRY_S)
            }
            AccountsError::NotReady => {
                refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable").retry_after(1)
            }
            AccountsError::SignUpClosed => refused(StatusCode::FORBIDDEN, "sign_up_closed"),
            AccountsError::EmailTaken => refused(StatusCode::CONFLICT, "email_taken"),
            AccountsError::Changed => refused(StatusCode::CONFLICT, "changed_meanwhile"),
            AccountsError::OwnsLibraries { count } => {
                refused(StatusCode::CONFLICT, "owns_libraries").with("libraries", count)
            }
            AccountsError::LastOwner => refused(StatusCode::CONFLICT, "last_owner"),
            AccountsError::NotFound => refused(StatusCode::NOT_FOUND, "account_not_found"),
            AccountsError::Locked { retry_after_s } => {
                refused(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts").retry_after(retry_after_s)
            }
            AccountsError::TooManyLetters | AccountsError::Hashing(HashingError::Full) => {
                refused(StatusCode::TOO_MANY_REQUESTS, "too_many_sign_ins").retry_after(1)
            }
            AccountsError::Busy(unanswered) => unanswered.into(),
            AccountsError::Replicate(cause) => cause.into(),
            AccountsError::Storage(cause) => cause.into(),
            error @ (AccountsError::Hashing(_) | AccountsError::Entropy(_)) => Self::internal(error),
        }
    }
}
