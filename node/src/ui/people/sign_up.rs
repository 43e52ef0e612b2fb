//! `/signup`: asks for a letter with a link.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::SignUp;

use super::{Failed, Form, Frame, People, on_the_way, told_of_letter, with_form};
use crate::api::ApiError;

#[derive(Template)]
#[template(path = "people/signup.html")]
struct SignUpPage {
    frame: Frame,
    email: String,
    name: String,
    is_open: bool,
    action: String,
    sign_in: String,
}

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    render(&people, &request, (String::new(), String::new()), None)
}

pub(super) async fn submit(people: People, mut request: Request) -> Result<Response, ApiError> {
    let form = Form::read(&mut request).await?;
    let (email, name) = (form.field("email"), form.field("name"));
    match people.accounts.sign_up(email, name).await {
        Ok(()) => told_of_letter(
            &request,
            "A letter with a link is on its way, if the address can have an account. Open the link to choose a password.",
            None,
        ),
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, (email.to_owned(), name.to_owned()), Some(failed))
        }
    }
}

fn render(
    people: &People,
    request: &Request,
    (email, name): (String, String),
    failed: Option<Failed>,
) -> Result<Response, ApiError> {
    let is_open = people.accounts.config().sign_up == SignUp::Open;
    let (action, sign_in) = (on_the_way("/signup", request), on_the_way("/signin", request));
    with_form(people, request, failed, |frame| SignUpPage { frame, email, name, is_open, action, sign_in })
}
