//! Telling clients that a session has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! What is to be told is agreed together with the end of the session, so no node's death loses it. The leader tells it, through
//! the guard of all requests that are made for others, and agrees that it was told: a client may hear of one end twice, when
//! leaders change meanwhile, and is tried a bounded number of times.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde_json::json;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::client::{self as agreed, Client};
use twinmcp_storage::oauth::logout::{self, Notice};
use twinmcp_storage::transaction::Change;

use super::keys::Purpose;
use super::{Oauth, OauthError};
use crate::context::Context;
use crate::outbound::{Method, OutboundError, Request, StatusCode, header};
use crate::supervisor::Child;

/// The member of `events` that makes a token a logout token (2.4).
pub(crate) const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Between two looks at what is to be told again, or was left by another leader.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Notices that one look takes up.
const NOTICES_MAX: usize = 10_000;
/// Clients told at once.
const AT_ONCE_MAX: usize = 8;
/// How long a client may take to answer.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes: nothing in it is wanted.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// How often one client is told of one end, at most.
const TRIES_MAX: u32 = 7;
/// Until the second try, in milliseconds; each further one is four times as far away: all of them within half an hour.
const AGAIN_MS: u64 = 1_000;
/// Life of a logout token, in seconds: two minutes, as 2.4 recommends.
const TOKEN_S: u64 = 120;

/// Why a client was not told.
#[derive(Debug, thiserror::Error)]
enum TellError {
    /// It could not be reached.
    #[error("the client could not be reached")]
    Outbound(#[from] OutboundError),
    /// It did not answer in time.
    #[error("the client did not answer within {} seconds", TIME_MAX.as_secs())]
    Deadline,
    /// It said that it did not take it.
    #[error("the client answered with status {0}")]
    Status(u16),
    /// No token could be made.
    #[error("no logout token was made")]
    Token(#[source] OauthError),
}

impl TellError {
    /// Whether it may go better later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => *status >= 500 || matches!(status, 408 | 425 | 429),
            Self::Outbound(_) | Self::Deadline | Self::Token(_) => true,
        }
    }
}

/// After how many milliseconds a client is told again that was told in vain `tries` times before.
fn again_after_ms(tries: u32) -> Option<u64> {
    (tries + 1 < TRIES_MAX).then(|| AGAIN_MS * 4_u64.pow(tries))
}

impl Oauth {
    /// The actor that tells clients.
    pub(crate) fn teller(&self, context: &Arc<Context>) -> Child {
        let oauth = self.clone();
        let (child, _) = Child::new("logouts", &context.node, move || (Teller { oauth: oauth.clone() }, ()));
        child
    }

    /// Tells one client, and agrees on what became of it.
    async fn tell(&self, notice: Notice) {
        let client = agreed::get(self.0.cluster.reader(), &notice.client);
        let Ok(client) = client else { return };
        let told = match &client {
            Some(client) => self.try_to_tell(client, &notice).await,
            // It was removed meanwhile.
            None => Ok(()),
        };
        let again_after_ms = match &told {
            Ok(()) => None,
            Err(error) => {
                let again = again_after_ms(notice.tries).filter(|_| error.may_pass());
                tracing::warn!(
                    client_id = notice.client,
                    tries = notice.tries + 1,
                    is_given_up = again.is_none(),
                    error = error as &dyn std::error::Error,
                    "a client was not told that a session has ended"
                );
                again
            }
        };
        let Notice { session, client, .. } = notice;
        let told = logout::Command::Told { session, client, again_after_ms };
        if let Err(error) = self.propose(oauth::Command::Logout(told)).await {
            // It is told again with the next look.
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "a notice of a sign-out was not taken off"
            );
        }
    }

    async fn try_to_tell(&self, client: &Client, notice: &Notice) -> Result<(), TellError> {
        let Some(logout) = &client.backchannel_logout else { return Ok(()) };
        let token = self.logout_token(client, notice).await.map_err(TellError::Token)?;
        let body =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
        let url = self.0.outbound.check(&logout.uri)?;
        let mut request = Request {
            method: Method::POST,
            body: Bytes::from(body),
            body_bytes_max: ANSWER_BYTES_MAX,
            ..Request::get(url)
        };
        let form = header::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(header::CONTENT_TYPE, form);
        let sent = tokio::time::timeout(TIME_MAX, self.0.outbound.send(request)).await;
        match sent.map_err(|_| TellError::Deadline)??.status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            other => Err(TellError::Status(other.as_u16())),
        }
    }

    /// What a client is told with (2.4).
    async fn logout_token(&self, client: &Client, notice: &Notice) -> Result<String, OauthError> {
        let now = self.now();
        let claims = json!({
            "iss": self.issuer(),
            "sub": notice.account,
            "aud": client.id,
            "iat": now.as_secs(),
            "exp": now.as_secs() + TOKEN_S,
            "jti": self.0.issuer.random()?,
            "sid": notice.session,
            "events": { (LOGOUT_EVENT): {} },
        });
        let claims = claims.to_string();
        self.0.issuer.sign(Purpose::Logout, self.algorithm(client), claims.as_bytes(), now).await
    }
}

enum Message {
    /// It is time to look.
    Look,
    /// Something was added.
    Changed,
}

struct Teller {
    oauth: Oauth,
}

impl Actor for Teller {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        let mut changes = self.oauth.0.cluster.changes();
        let told = myself.clone();
        tokio::spawn(async move {
            while let Some(changes) = changes.next().await {
                let is_ours = |change: &Change| matches!(change, Change::Logouts | Change::Everything);
                if changes.iter().any(is_ours) && told.send_message(Message::Changed).is_err() {
                    return;
                }
            }
        });
        myself.send_after(LOOK_EVERY, || Message::Look);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.look().await?;
        if matches!(message, Message::Look) {
            myself.send_after(LOOK_EVERY, || Message::Look);
        }
        Ok(())
    }
}

impl Teller {
    /// Tells what is due, if this node leads.
    async fn look(&self) -> Result<(), ActorProcessingErr> {
        let oauth = &self.oauth;
        let status = oauth.0.cluster.status();
        if status.leader == Some(status.node_id) {
            let due = due(logout::notices(oauth.0.cluster.reader(), NOTICES_MAX)?, oauth.now());
            let due = futures_util::stream::iter(due);
            due.for_each_concurrent(AT_ONCE_MAX, |notice| oauth.tell(notice)).await;
        }
        Ok(())
    }
}

/// Those that are to be told now, the longest due first.
fn due(mut notices: Vec<Notice>, now: Timestamp) -> Vec<Notice> {
    notices.retain(|notice| notice.due_at <= now);
    notices.sort_by_key(|notice| notice.due_at);
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_tried_a_few_times_each_further_away() {
        let waits: Vec<_> = (0..10).map_while(again_after_ms).collect();
        assert_eq!(waits, [1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000]);
        assert!(waits.iter().sum::<u64>() < 30 * 60 * 1_000);
        for (error, may_pass) in [
            (TellError::Status(503), true),
            (TellError::Status(429), true),
            (TellError::Deadline, true),
            (TellError::Status(400), false),
            (TellError::Status(302), false),
        ] {
            assert_eq!(error.may_pass(), may_pass, "{error}");
        }
    }
}
