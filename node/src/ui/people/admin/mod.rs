//! `/admin`: what operators see and change of everybody: people, teams, clients, the audit log.
//!
//! Whoever is not signed in is sent to sign in; whoever is, and is no operator, is refused, and told nothing of what is here. Whether
//! somebody is one is read with the session of each request, so that who is no operator any more sees nothing more; a node that was
//! cut off for too long to know that shows nothing.

mod accounts;
mod audit;
mod clients;
mod teams;

use poem::http::StatusCode;
use poem::{Endpoint, EndpointExt, Request, Response, Route, get, post};
use twinmcp_actors::accounts::SignedIn;

use super::{People, see_other};
use crate::api::ApiError;
use crate::http::session::{self, Session};

/// Adds the pages to the others.
pub(super) fn routes(route: Route, people: &People) -> Route {
    route
        .at("/admin", get(page(people, begin)))
        .at("/admin/people", get(page(people, accounts::show)))
        .at("/admin/people/:what", post(page(people, accounts::change)))
        .at("/admin/teams", get(page(people, teams::show)))
        .at("/admin/teams/:id", get(page(people, teams::show_one)))
        .at("/admin/teams/:id/:what", post(page(people, teams::change)))
        .at("/admin/clients", get(page(people, clients::show)))
        .at("/admin/clients/:what", post(page(people, clients::change)))
        .at("/admin/audit", get(page(people, audit::show)))
}

/// An endpoint for operators.
fn page<F>(people: &People, show: fn(People, Request, SignedIn) -> F) -> impl Endpoint + use<F>
where
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let people = people.clone();
    poem::endpoint::make(move |request: Request| {
        let people = people.clone();
        async move {
            session::must_be_current(&request)?;
            let Some(signed_in) = Session::of(&request).cloned() else {
                return Ok(see_other("/signin?return_to=/admin", None));
            };
            if !signed_in.is_operator {
                let message = "These pages are for those who run this service. Ask one of them, or sign in as somebody else.";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "not_operator", message).into());
            }
            Ok::<_, poem::Error>(show(people, request, signed_in).await?)
        }
    })
    .map_to_response()
}

async fn begin(_: People, _: Request, _: SignedIn) -> Result<Response, ApiError> {
    Ok(see_other("/admin/people", None))
}
