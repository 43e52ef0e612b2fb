//! `/mfa`: second factors, added and removed. Open also to who has to add one before anything else.
//!
//! What is shown once (the secret, backup codes) is in the answer to one request and in no other page.

use askama::Template;
use poem::http::{HeaderValue, header};
use poem::{Request, Response};
use twinmcp_actors::accounts::{AccountsError, FactorsView, PasskeyView, SignedIn, TotpOffer};

use super::super::parameter;
use super::sign_in::{again, with_return};
use super::{Failed, Form, Frame, People, cookie, minute, see_other, with_form};
use crate::api::ApiError;
use crate::http::{Enrolling, address_of, session};
use crate::qr;

#[derive(Template)]
#[template(path = "people/mfa.html")]
struct MfaPage {
    frame: Frame,
    /// Where an app is added, on the way to where the person was going.
    totp_link: String,
    /// Whether there is nothing else to do before.
    is_limited: bool,
    /// Whether somebody was led here, by the policy or by a program that asks for more than a password.
    is_asked: bool,
    is_done: bool,
    factors: FactorsView,
    passkeys: Vec<PasskeyLine>,
    /// Where somebody goes on from here.
    return_to: String,
    totp: Option<(String, String)>,
    codes_made: Option<String>,
}

struct PasskeyLine {
    id: String,
    name: String,
    added: String,
    used: String,
}

impl PasskeyLine {
    fn new(view: &PasskeyView) -> Self {
        let PasskeyView { id, name, added_at, used_at } = view;
        Self { id: id.clone(), name: name.clone(), added: minute(*added_at), used: minute(*used_at) }
    }
}

#[derive(Template)]
#[template(path = "people/totp.html")]
struct TotpPage {
    frame: Frame,
    return_to: String,
    totp_link: String,
    ticket: String,
    /// Secret and picture; not again after a wrong code.
    shown: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "people/codes.html")]
struct CodesPage {
    frame: Frame,
    return_to: String,
    added: bool,
    codes: Vec<String>,
    /// The codes as a file, in a URL.
    file: String,
}

/// Who asks; somebody who is not signed in is sent to do so.
#[expect(clippy::result_large_err, reason = "it is the answer itself")]
fn signed_in(request: &Request) -> Result<SignedIn, Response> {
    Enrolling::of(request).cloned().ok_or_else(|| see_other("/signin?return_to=/mfa", None))
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    match signed_in(&request) {
        Ok(signed_in) => render(&people, &request, &signed_in, None),
        Err(response) => Ok(response),
    }
}

pub(super) async fn offer_totp(people: People, request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    let return_to = session::local_path(parameter(&request, "return_to").as_deref());
    match people.accounts.offer_totp(&signed_in).await {
        Ok(TotpOffer { secret, uri, ticket, .. }) => {
            let shown = Some((secret, qr::svg(&uri)?));
            totp_page(&people, &request, return_to, ticket, shown, None)
        }
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa/totp"),
    }
}

pub(super) async fn confirm_totp(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    let form = Form::read(&mut request).await?;
    let return_to = session::local_path(Some(form.field("return_to")));
    let (ticket, code) = (form.field("ticket"), form.field("code"));
    match people.accounts.confirm_totp(&signed_in, ticket, code, address_of(&request)).await {
        Ok(added) => {
            let cookie = cookie(&people, &added.secret);
            let mut response = match added.backup_codes {
                Some(codes) => codes_page(&people, &request, return_to, true, codes)?,
                None => see_other("/mfa?done=1", None),
            };
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Err(error @ (AccountsError::WrongCode | AccountsError::Locked { .. })) => {
            let failed = Some(Failed::of(error)?);
            totp_page(&people, &request, return_to, ticket.to_owned(), None, failed)
        }
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa/totp"),
    }
}

pub(super) async fn remove_totp(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    Form::read(&mut request).await?;
    match people.accounts.remove_totp(&signed_in).await {
        Ok(()) => Ok(see_other("/mfa?done=1", None)),
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

pub(super) async fn remove_passkey(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    let form = Form::read(&mut request).await?;
    match people.accounts.remove_passkey(&signed_in, form.field("id")).await {
        Ok(()) => Ok(see_other("/mfa?done=1", None)),
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

pub(super) async fn make_codes(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    Form::read(&mut request).await?;
    match people.accounts.make_backup_codes(&signed_in).await {
        Ok(codes) => codes_page(&people, &request, "/mfa".to_owned(), false, codes),
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

/// What was refused: who signed in too long ago signs in once more on the way to `path`, others are told on the page.
fn refused(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    error: AccountsError,
    path: &str,
) -> Result<Response, ApiError> {
    if matches!(error, AccountsError::NotFresh { .. }) {
        let return_to = session::local_path(parameter(request, "return_to").as_deref());
        return Ok(see_other(&again(&with_return(path, &return_to)), None));
    }
    render(people, request, signed_in, Some(Failed::of(error)?))
}

fn render(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let return_to = session::local_path(parameter(request, "return_to").as_deref());
    let factors = people.accounts.factors(&signed_in.account)?;
    with_form(people, request, failed, |frame| MfaPage {
        frame,
        totp_link: with_return("/mfa/totp", &return_to),
        is_limited: signed_in.lacks_factor,
        is_asked: signed_in.lacks_factor || parameter(request, "return_to").is_some(),
        is_done: parameter(request, "done").is_some(),
        passkeys: factors.passkeys.iter().map(PasskeyLine::new).collect(),
        return_to,
        totp: factors.totp.map(|(added, used)| (minute(added), minute(used))),
        codes_made: factors.backup_codes_made_at.map(minute),
        factors,
    })
}

fn totp_page(
    people: &People,
    request: &Request,
    return_to: String,
    ticket: String,
    shown: Option<(String, String)>,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let totp_link = with_return("/mfa/totp", &return_to);
    with_form(people, request, failed, |frame| TotpPage { frame, return_to, totp_link, ticket, shown })
}

fn codes_page(
    people: &People,
    request: &Request,
    return_to: String,
    added: bool,
    codes: Vec<String>,
) -> Result<Response, ApiError> {
    let mut text = "Backup codes of TwinMCP. Each is good once.\r\n\r\n".to_owned();
    for code in &codes {
        text.push_str(code);
        text.push_str("\r\n");
    }
    let file: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let file = format!("data:text/plain;charset=utf-8,{}", file.replace('+', "%20"));
    with_form(people, request, None, |frame| CodesPage { frame, return_to, added, codes, file })
}
