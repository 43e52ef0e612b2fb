//! `/settings`: what somebody may see and change of their own account.

use askama::Template;
use poem::{Request, Response};
use twinmcp_actors::accounts::{AccountsError, FactorsView, PASSWORD_CHARS_MIN, SignInStep, SignedIn};
use twinmcp_actors::oauth::App;
use twinmcp_actors::upstream::{Provider, Visit};
use twinmcp_storage::accounts::{Identity, Session as SessionKept, Which};

use super::authorize::meaning;
use super::sign_in::again;
use super::{
    Failed, Form, Frame, People, cookie, done, minute, see_other, set_cookie, told, upstream, with_form,
    with_return,
};
use crate::api::ApiError;
use crate::http::{Session, address_of, session};

#[derive(Template)]
#[template(path = "people/settings.html")]
struct SettingsPage {
    frame: Frame,
    here: &'static str,
    /// Which form failed.
    failed_at: String,
    done: Option<&'static str>,
    name: String,
    email: String,
    is_verified: bool,
    is_operator: bool,
    since: String,
    password_set: Option<String>,
    factors: FactorsView,
    /// What sign-ins ask for beside the password.
    asked: String,
    sessions: Vec<SessionLine>,
    apps: Vec<AppLine>,
    identities: Vec<IdentityLine>,
    /// Other providers, by name and by what people call them.
    providers: Vec<(String, String)>,
    chars_min: usize,
}

struct SessionLine {
    id: String,
    is_current: bool,
    client: String,
    address: String,
    signed_in: String,
    seen: String,
}

impl SessionLine {
    fn new(session: &SessionKept, signed_in: &SignedIn) -> Self {
        Self {
            id: session.id.to_string(),
            is_current: session.id == signed_in.session,
            client: if session.client.is_empty() {
                "unknown program".to_owned()
            } else {
                session.client.clone()
            },
            address: session.address.clone(),
            signed_in: minute(session.signed_in_at),
            seen: minute(session.seen_at),
        }
    }
}

/// A program that was allowed something.
struct AppLine {
    client: String,
    name: String,
    scopes: Vec<&'static str>,
    allowed: String,
}

impl From<App> for AppLine {
    fn from(app: App) -> Self {
        Self {
            name: app.name.unwrap_or_else(|| app.client.clone()),
            scopes: app.scopes.iter().map(|scope| meaning(*scope)).collect(),
            allowed: minute(app.allowed_at),
            client: app.client,
        }
    }
}

/// Who somebody is at another provider.
struct IdentityLine {
    id: String,
    provider: String,
    name: String,
    linked: String,
}

/// What was done, by the name of its form.
const DONE: &[(&str, &str)] = &[
    ("name", "The name was changed."),
    ("email", "A letter with a link is on its way to the new address; it is yours once the link is opened."),
    ("password", "The password was changed, and every other session has ended."),
    ("session", "The session has ended."),
    ("app", "The program may do nothing in your name any more."),
    ("connect", "You can sign in with it from now on."),
    ("disconnect", "It does not open this account any more."),
];

pub(super) async fn show(people: People, request: Request) -> Result<Response, ApiError> {
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings", None));
    };
    render(&people, &request, &signed_in, None)
}

pub(super) async fn change(people: People, mut request: Request) -> Result<Response, ApiError> {
    let what = request.path_params::<String>().unwrap_or_default();
    let Some(signed_in) = Session::of(&request).cloned() else {
        return Ok(see_other("/signin?return_to=/settings", None));
    };
    let form = Form::read(&mut request).await?;
    match act(&people, &request, &signed_in, &what, &form).await {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Ok(see_other(&format!("/settings?done={what}"), None)),
        // Who has no password shows once more who they are.
        Err(error) if error.code() == "insufficient_user_authentication" => {
            Ok(see_other(&again("/settings"), None))
        }
        Err(error) => {
            let failed = Failed::of(error)?;
            render(&people, &request, &signed_in, Some((failed, what)))
        }
    }
}

/// Does what one form asks; nothing to show of it but the settings, unless there is.
async fn act(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    what: &str,
    form: &Form,
) -> Result<Option<Response>, ApiError> {
    let (accounts, address) = (&people.accounts, address_of(request));
    match what {
        "name" => accounts.rename(&signed_in.account, form.field("name")).await?,
        "email" => {
            let (password, to) = (form.field("password"), form.field("email"));
            accounts.change_email(signed_in, password, to, address).await?;
        }
        "password" => {
            let (current, new) = (form.field("current"), form.field("new"));
            let visit = Visit {
                address,
                client: request.header("user-agent").unwrap_or_default(),
                replaces: session::secret(request.headers()),
            };
            let done = "/settings?done=password";
            let response = match accounts.change_password(signed_in, current, new, visit).await? {
                SignInStep::Session(new) => see_other(done, Some(cookie(people, &new.secret))),
                SignInStep::Challenge(challenge) => {
                    let next = with_return("/signin/factor", done);
                    see_other(&next, Some(session::wait(&challenge.ticket, challenge.life_s)))
                }
            };
            return Ok(Some(response));
        }
        "session" => {
            let id = form.field("id").parse().map_err(|_| ApiError::from(AccountsError::NotFound))?;
            let is_own = id == signed_in.session;
            accounts.end_sessions(&signed_in.account, Which::One(id)).await?;
            if is_own {
                return Ok(Some(see_other("/signin", Some(session::end()))));
            }
        }
        "sessions" => {
            accounts.end_sessions(&signed_in.account, Which::All).await?;
            return Ok(Some(see_other("/signin", Some(session::end()))));
        }
        "app" => {
            // One that was taken back meanwhile was.
            people.oauth.withdraw(&signed_in.account, form.field("client_id")).await?;
        }
        "connect" => {
            let (provider, password) = (form.field("provider"), form.field("password"));
            let leaving = people.upstream.leave_to_link(provider, signed_in, password, address).await?;
            return upstream::lead_on(people, &leaving, provider).map(Some);
        }
        "disconnect" => people.upstream.unlink(&signed_in.account, form.field("identity")).await?,
        "delete" => {
            accounts.delete(signed_in, form.field("password"), address).await?;
            let mut response = told(
                "The account is deleted",
                "Its keys and sessions have ended with it.",
                Some(("/", "Search libraries")),
            )?;
            set_cookie(&mut response, &session::end());
            return Ok(Some(response));
        }
        _ => return Err(ApiError::not_found("not_found", "There is no such setting.")),
    }
    Ok(None)
}

fn render(
    people: &People,
    request: &Request,
    signed_in: &SignedIn,
    failed: Option<(Failed, String)>,
) -> Result<Response, ApiError> {
    let view = people.accounts.person(&signed_in.account)?.ok_or(AccountsError::NotFound)?;
    let sessions = people.accounts.sessions(&signed_in.account)?;
    let apps = people.oauth.apps(&signed_in.account)?;
    let factors = people.accounts.factors(&signed_in.account)?;
    let identities = people.upstream.identities(&signed_in.account)?;
    let identity = |(provider, identity): (String, Identity)| IdentityLine {
        id: identity.subject.id(),
        provider,
        name: identity.name,
        linked: minute(identity.linked_at),
    };
    let provider = |provider: &Provider| (provider.name.clone(), provider.title.clone());
    let done = done(request, DONE);
    let (failed, failed_at) = failed.map_or((None, String::new()), |(failed, at)| (Some(failed), at));
    with_form(people, request, failed, |frame| SettingsPage {
        frame,
        here: "account",
        failed_at,
        done,
        name: view.name,
        email: view.person.email.to_string(),
        is_verified: view.person.verified_at.is_some(),
        is_operator: view.person.is_operator,
        since: minute(view.created_at),
        password_set: view.person.password_set_at.map(minute),
        asked: asked(&factors),
        factors,
        sessions: sessions.iter().map(|session| SessionLine::new(session, signed_in)).collect(),
        apps: apps.into_iter().map(AppLine::from).collect(),
        identities: identities.into_iter().map(identity).collect(),
        providers: people.upstream.providers().iter().map(provider).collect(),
        chars_min: PASSWORD_CHARS_MIN,
    })
}

/// `a passkey or a code by text message`; nothing for whose password is enough.
fn asked(factors: &FactorsView) -> String {
    let has_other = !factors.passkeys.is_empty() || factors.totp.is_some();
    let has_phone = factors.sms.is_some();
    let asked = [
        (!factors.passkeys.is_empty(), "a passkey"),
        (factors.totp.is_some(), "a code of your authenticator app"),
        (has_phone && factors.sms_is_there, "a code by text message"),
        (has_phone && !factors.sms_is_there && !has_other, "a backup code, while no text messages are sent"),
    ];
    let asked: Vec<_> = asked.into_iter().filter_map(|(is_asked, what)| is_asked.then_some(what)).collect();
    asked.join(" or ")
}
