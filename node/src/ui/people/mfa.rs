//! `/mfa`: second factors, added and removed. Open also to who has to add one before anything else.
//!
//! What is shown once (the secret, backup codes) is in the answer to one request and in no other page.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{
    AccountsError, FactorAdded, FactorsView, PasskeyView, SignedIn, SmsView, TotpOffer,
};

use super::super::parameter;
use super::sign_in::again;
use super::{
    Failed, Form, Frame, People, cookie, led_from, minute, on_the_way, see_other, set_cookie, with_form,
    with_return,
};
use crate::api::ApiError;
use crate::http::{Enrolling, address_of};
use crate::qr;

#[derive(Template)]
#[template(path = "people/mfa.html")]
struct MfaPage {
    frame: Frame,
    /// What goes behind the path of each form and link of the page, so that the person is still led on after it.
    onward: String,
    /// Whether there is nothing else to do before.
    is_limited: bool,
    /// Whether somebody was led here, by the policy or by a program that asks for more than a password.
    is_asked: bool,
    is_done: bool,
    factors: FactorsView,
    passkeys: Vec<PasskeyLine>,
    /// Where somebody goes on from here.
    go_on: String,
    /// Where they are once a passkey is added that comes without backup codes.
    added: String,
    /// Whether they were led here by the way to something else.
    is_led: bool,
    totp: Option<(String, String)>,
    phone: Option<PhoneLine>,
    codes_made: Option<String>,
}

struct PhoneLine {
    to: String,
    added: String,
    used: String,
}

impl PhoneLine {
    fn new(view: &SmsView) -> Self {
        let SmsView { to, added_at, used_at } = view;
        Self { to: to.clone(), added: minute(*added_at), used: minute(*used_at) }
    }
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
    onward: String,
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

/// Where somebody goes on who was led here from nowhere.
const SETTINGS: &str = "/settings";
/// The factors, with a word that something was done.
const DONE: &str = "/mfa?done=1";

/// Who asks; somebody who is not signed in is sent to do so.
#[expect(clippy::result_large_err, reason = "it is the answer itself")]
pub(super) fn signed_in(request: &Request) -> Result<SignedIn, Response> {
    let sign_in = || see_other(&with_return("/signin", &on_the_way("/mfa", request)), None);
    Enrolling::of(request).cloned().ok_or_else(sign_in)
}

/// The factors, once one of them was changed.
pub(super) fn done(request: &Request) -> Response {
    let page = led_from(request).map(|return_to| format!("{}&done=1", with_return("/mfa", &return_to)));
    see_other(page.as_deref().unwrap_or(DONE), None)
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
    match people.accounts.offer_totp(&signed_in).await {
        Ok(TotpOffer { secret, uri, ticket, .. }) => {
            let shown = Some((secret, qr::svg(&uri)?));
            totp_page(&people, &request, ticket, shown, None)
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
    let (ticket, code) = (form.field("ticket"), form.field("code"));
    match people.accounts.confirm_totp(&signed_in, ticket, code, address_of(&request)).await {
        Ok(added) => factor_added(&people, &request, added),
        Err(error @ (AccountsError::WrongCode | AccountsError::Locked { .. })) => {
            let failed = Some(Failed::of(error)?);
            totp_page(&people, &request, ticket.to_owned(), None, failed)
        }
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa/totp"),
    }
}

/// What follows a factor that was added: backup codes with the first, or where the person was going.
pub(super) fn factor_added(
    people: &People,
    request: &Request,
    added: FactorAdded,
) -> Result<Response, ApiError> {
    let mut response = match (added.backup_codes, led_from(request)) {
        (Some(codes), return_to) => {
            let return_to = return_to.unwrap_or_else(|| SETTINGS.to_owned());
            codes_page(people, request, return_to, true, codes)?
        }
        (None, Some(return_to)) => see_other(&return_to, None),
        (None, None) => done(request),
    };
    set_cookie(&mut response, &cookie(people, &added.secret));
    Ok(response)
}

pub(super) async fn remove_totp(people: People, mut request: Request) -> Result<Response, ApiError> {
    let signed_in = match signed_in(&request) {
        Ok(signed_in) => signed_in,
        Err(response) => return Ok(response),
    };
    Form::read(&mut request).await?;
    match people.accounts.remove_totp(&signed_in).await {
        Ok(()) => Ok(done(&request)),
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
        Ok(()) => Ok(done(&request)),
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
        Ok(codes) => codes_page(&people, &request, on_the_way("/mfa", &request), false, codes),
        Err(error) => refused(&people, &request, &signed_in, error, "/mfa"),
    }
}

/// What was refused: who signed in too long ago signs in once more on the way to `path`, others are told on the page.
pub(super) fn refused(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    error: AccountsError,
    path: &str,
) -> Result<Response, ApiError> {
    if matches!(error, AccountsError::NotFresh { .. }) {
        return Ok(see_other(&again(&on_the_way(path, request)), None));
    }
    render(people, request, signed_in, Some(Failed::of(error)?))
}

fn render(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let (led_from, onward) = (led_from(request), on_the_way("", request));
    let factors = people.accounts.factors(&signed_in.account)?;
    with_form(people, request, failed, |frame| MfaPage {
        frame,
        onward,
        is_limited: signed_in.lacks_factor,
        is_asked: signed_in.lacks_factor || led_from.is_some(),
        is_led: led_from.is_some(),
        added: led_from.clone().unwrap_or_else(|| DONE.to_owned()),
        is_done: parameter(request, "done").is_some(),
        passkeys: factors.passkeys.iter().map(PasskeyLine::new).collect(),
        go_on: led_from.unwrap_or_else(|| SETTINGS.to_owned()),
        totp: factors.totp.map(|(added, used)| (minute(added), minute(used))),
        phone: factors.sms.as_ref().map(PhoneLine::new),
        codes_made: factors.backup_codes_made_at.map(minute),
        factors,
    })
}

fn totp_page(
    people: &People,
    request: &Request,
    ticket: String,
    shown: Option<(String, String)>,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let onward = on_the_way("", request);
    with_form(people, request, failed, |frame| TotpPage { frame, onward, ticket, shown })
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
