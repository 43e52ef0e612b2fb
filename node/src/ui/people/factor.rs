//! `/signin/factor`: the second step of a sign-in. What was shown in the first is in a cookie that nobody but the cluster can read.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{AccountsError, ChallengeAnswer, Factor, SmsAsked};

use super::super::parameter;
use super::sign_in::{again, policy};
use super::{Failed, Form, Frame, People, cookie, leading_on, see_other, set_cookie, with_form};
use crate::api::ApiError;
use crate::http::{address_of, session};

#[derive(Template)]
#[template(path = "people/factor.html")]
struct FactorPage {
    frame: Frame,
    return_to: String,
    /// Where somebody starts anew on the same way.
    begin: String,
    has_passkey: bool,
    has_totp: bool,
    /// The phone that a code can be sent to.
    sms: Option<SmsAsked>,
    /// Whether one was.
    is_sent: bool,
    has_backup_codes: bool,
    /// Whether a backup code was shown and was wrong.
    backup_failed: bool,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let return_to = session::local_path(parameter(&request, "return_to").as_deref());
    render(&people, &request, return_to, None)
}

pub(super) async fn submit(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let return_to = session::local_path(Some(form.field("return_to")));
    let factor = match form.field("factor") {
        "backup_code" => Factor::BackupCode,
        "sms" => Factor::Sms,
        _ => Factor::Totp,
    };
    let Some(ticket) = session::pending(request.headers()) else {
        return Ok(see_other(&again(&return_to), None));
    };
    let answer = ChallengeAnswer {
        ticket,
        factor,
        code: form.field("code"),
        address: address_of(&request),
        client: request.header("user-agent").unwrap_or_default(),
        replaces: session::secret(request.headers()),
    };
    match people.accounts.answer_challenge(answer).await {
        Ok(new) => {
            let mut response = see_other(&return_to, Some(cookie(&people, &new.secret)));
            set_cookie(&mut response, &session::waited());
            Ok(response)
        }
        Err(AccountsError::SignInExpired) => Ok(see_other(&again(&return_to), None)),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, return_to, Some((failed, factor)))
        }
    }
}

pub(super) fn render(
    people: &People,
    request: &Request,
    return_to: String,
    failed: Option<(Failed, Factor)>,
) -> Result<Response, ApiError> {
    let ticket = session::pending(request.headers()).unwrap_or_default();
    let factors = match people.accounts.challenged(ticket) {
        Ok(factors) => factors,
        Err(AccountsError::SignInExpired) => return Ok(see_other(&again(&return_to), None)),
        Err(error) => return Err(error.into()),
    };
    let sms = people.accounts.sms_asked(ticket)?;
    let policy = policy(&return_to);
    let (failed, at) = failed.map_or((None, None), |(failed, factor)| (Some(failed), Some(factor)));
    let page = with_form(people, request, failed, |frame| FactorPage {
        frame,
        begin: again(&return_to),
        return_to,
        has_passkey: factors.contains(&Factor::Passkey),
        has_totp: factors.contains(&Factor::Totp),
        is_sent: sms.as_ref().is_some_and(|sms| sms.is_sent),
        sms,
        has_backup_codes: factors.contains(&Factor::BackupCode),
        backup_failed: at == Some(Factor::BackupCode),
    })?;
    Ok(leading_on(page, policy))
}
