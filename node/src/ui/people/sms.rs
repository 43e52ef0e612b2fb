//! `/mfa/sms` and `/signin/factor/sms`: a phone that codes are sent to, added and removed, and a code sent in the second step of a sign-in.
//!
//! A code is sent when its form is, and by no page that is only looked at.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{AccountsError, CodeSent, Factor, SmsOffer};

use super::mfa::{done, factor_added, refused, signed_in};
use super::sign_in::again;
use super::{Failed, Form, Frame, People, factor, on_the_way, see_other, with_form, with_return};
use crate::api::ApiError;
use crate::http::{address_of, session};

#[derive(Template)]
#[template(path = "people/sms.html")]
struct SmsPage {
    frame: Frame,
    onward: String,
    ticket: String,
}

pub(super) async fn offer(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    let form = Form::read(&mut request).await?;
    match people.accounts.offer_sms(&signed_in, form.field("number"), address_of(&request)).await {
        Ok(SmsOffer { ticket, .. }) => sms_page(&people, &request, ticket, None),
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

pub(super) async fn confirm(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    let form = Form::read(&mut request).await?;
    let (ticket, code) = (form.field("ticket"), form.field("code"));
    match people.accounts.confirm_sms(&signed_in, ticket, code, address_of(&request)).await {
        Ok(added) => factor_added(&people, &request, added),
        Err(error @ (AccountsError::WrongCode | AccountsError::Locked { .. })) => {
            sms_page(&people, &request, ticket.to_owned(), Some(Failed::of(error)?))
        }
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

pub(super) async fn remove(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    Form::read(&mut request).await?;
    match people.accounts.remove_sms(&signed_in).await {
        Ok(()) => Ok(done(&request)),
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

/// Sends a code to whoever goes on with a sign-in.
pub(super) async fn send(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let return_to = session::local_path(Some(form.field("return_to")));
    let Some(ticket) = session::pending(request.headers()) else {
        return Ok(see_other(&again(&return_to), None));
    };
    match people.accounts.send_code(ticket, address_of(&request)).await {
        Ok(CodeSent { ticket, life_s, .. }) => {
            let page = with_return("/signin/factor", &return_to);
            Ok(see_other(&page, Some(session::wait(&ticket, life_s))))
        }
        Err(AccountsError::SignInExpired) => Ok(see_other(&again(&return_to), None)),
        Err(error) => {
            let failed = Failed::of(error)?;
            factor::render(&people, &request, return_to, Some((failed, Factor::Sms)))
        }
    }
}

fn sms_page(
    people: &People,
    request: &Request,
    ticket: String,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let onward = on_the_way("", request);
    with_form(people, request, failed, |frame| SmsPage { frame, onward, ticket })
}
