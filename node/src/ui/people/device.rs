//! `/device`: where a person types the code that a program without a browser shows (RFC 8628, 3.3).
//!
//! The code is typed, or comes in a link; in both cases the person is shown who asks and decides, so that a link alone allows
//! nothing (RFC 8628, 3.3.1 and 5.4).

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::oauth::DeviceQuestion;

use super::super::parameter;
use super::authorize::{email, meaning, person};
use super::{Failed, Form, Frame, People, see_other, told, with_form, with_return};
use crate::api::ApiError;

#[derive(Template)]
#[template(path = "people/device.html")]
struct DevicePage {
    frame: Frame,
    email: String,
    typed: String,
    question: Option<DeviceQuestion>,
    scopes: Vec<&'static str>,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let typed = parameter(&request, "user_code").unwrap_or_default();
    let Some(person) = person(&people, &request)? else {
        return Ok(see_other(&with_return("/signin", &with_code(&typed)), None));
    };
    if typed.is_empty() {
        return render(&people, &request, typed, None, None);
    }
    match people.oauth.device_question(&typed, &person).await {
        Ok(question) => render(&people, &request, typed, Some(question), None),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, typed, None, Some(failed))
        }
    }
}

pub(super) async fn decide(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let Some(person) = person(&people, &request)? else {
        return Ok(see_other(&with_return("/signin", &with_code(form.field("user_code"))), None));
    };
    let typed = form.field("user_code").to_owned();
    let allow = match form.field("decision") {
        "allow" => true,
        "deny" => false,
        // The code was typed; now the person is asked.
        _ => return Ok(see_other(&with_code(&typed), None)),
    };
    match people.oauth.decide_device(&typed, &person, allow).await {
        Ok(()) if allow => told(
            "It is allowed",
            "The program goes on by itself in a few seconds. You may close this page.",
            None,
        ),
        Ok(()) => told(
            "It is not allowed",
            "The program was told so, and learned nothing. You may close this page.",
            None,
        ),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, typed, None, Some(failed))
        }
    }
}

/// The page, with what was typed.
fn with_code(typed: &str) -> String {
    if typed.is_empty() {
        return "/device".to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user_code", typed).finish();
    format!("/device?{query}")
}

fn render(
    people: &People,
    request: &Request,
    typed: String,
    question: Option<DeviceQuestion>,
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let email = email(people, request)?;
    let scopes = question.iter().flat_map(|question| &question.scopes).map(|scope| meaning(*scope)).collect();
    with_form(people, request, failed, |frame| DevicePage { frame, email, typed, question, scopes })
}
