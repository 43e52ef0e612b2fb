//! Telling clients that a session has ended (OpenID Connect Back-Channel Logout 1.0).
//!
//! What is to be told is agreed together with the end of the session, so no node's death loses it. The leader tells it, through
//! the guard of all requests that are made for others, and agrees that it was told: a client may hear of one end twice, when
//! leaders change meanwhile, and is tried a bounded number of times.
//!
//! Each client has a round of its own, which ends when it does not answer: those that hang keep none waiting that answer.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
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
const CLIENTS_MAX: usize = 16;
/// Of these, clients that did not answer when they were told last.
const SILENT_MAX: usize = 4;
/// Sign-outs one client is told of at once.
const AT_ONCE_MAX: usize = 4;
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

    /// Tells one client of some sign-outs, until it does not answer. Whether it did.
    async fn tell_all(&self, notices: Vec<Notice>) -> bool {
        let is_silent = AtomicBool::new(false);
        let telling = futures_util::stream::iter(notices).for_each_concurrent(AT_ONCE_MAX, async |notice| {
            if !is_silent.load(Ordering::Relaxed) && !self.tell(notice).await {
                is_silent.store(true, Ordering::Relaxed);
            }
        });
        telling.await;
        !is_silent.into_inner()
    }

    /// Tells one client of one sign-out, and agrees on what became of it. Whether it answered.
    async fn tell(&self, notice: Notice) -> bool {
        let client = agreed::get(self.0.cluster.reader(), &notice.client);
        let Ok(client) = client else { return true };
        let told = match &client {
            Some(client) => self.try_to_tell(client, &notice).await,
            // It was removed meanwhile.
            None => Ok(()),
        };
        let answered = !matches!(told, Err(TellError::Deadline | TellError::Outbound(_)));
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
        answered
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
    /// A client's round has ended.
    Told {
        client: String,
        /// Whether it answered.
        answered: bool,
    },
}

/// Clients that are not as all others.
#[derive(Default)]
struct Clients {
    /// Those being told, by whether they had answered before.
    busy: HashMap<String, bool>,
    /// Those that did not answer last time.
    silent: HashSet<String>,
}

impl Clients {
    /// The next rounds: what is due, by client, the longest due first, as far as there is room.
    fn rounds(&mut self, due: Vec<Notice>) -> Vec<(String, Vec<Notice>)> {
        let mut rounds: Vec<(String, Vec<Notice>)> = Vec::new();
        let mut places = HashMap::new();
        for notice in due {
            if let Some(place) = places.get(&notice.client) {
                let round: &mut (_, Vec<_>) = &mut rounds[*place];
                round.1.push(notice);
            } else if self.begin(&notice.client) {
                places.insert(notice.client.clone(), rounds.len());
                rounds.push((notice.client.clone(), vec![notice]));
            }
        }
        rounds
    }

    fn begin(&mut self, client: &str) -> bool {
        let answered = !self.silent.contains(client);
        let silent = self.busy.values().filter(|answered| !**answered).count();
        let is_room = self.busy.len() < CLIENTS_MAX && (answered || silent < SILENT_MAX);
        if self.busy.contains_key(client) || !is_room {
            return false;
        }
        self.busy.insert(client.to_owned(), answered);
        true
    }

    fn end(&mut self, client: String, answered: bool) {
        self.busy.remove(&client);
        match answered {
            true => drop(self.silent.remove(&client)),
            false => drop(self.silent.insert(client)),
        }
    }
}

struct Teller {
    oauth: Oauth,
}

impl Actor for Teller {
    type Msg = Message;
    type State = Clients;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Message>, (): ()) -> Result<Clients, ActorProcessingErr> {
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
        Ok(Clients::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        clients: &mut Clients,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => {
                self.look(&myself, clients)?;
                myself.send_after(LOOK_EVERY, || Message::Look);
            }
            Message::Changed => self.look(&myself, clients)?,
            Message::Told { client, answered } => clients.end(client, answered),
        }
        Ok(())
    }
}

impl Teller {
    /// Begins to tell what is due, if this node leads.
    fn look(&self, myself: &ActorRef<Message>, clients: &mut Clients) -> Result<(), ActorProcessingErr> {
        let status = self.oauth.0.cluster.status();
        if status.leader != Some(status.node_id) {
            return Ok(());
        }
        let due = due(logout::notices(self.oauth.0.cluster.reader(), NOTICES_MAX)?, self.oauth.now());
        for (client, notices) in clients.rounds(due) {
            let (oauth, myself) = (self.oauth.clone(), myself.clone());
            tokio::spawn(async move {
                // However it ends, the client is free for the next one.
                let answered =
                    AssertUnwindSafe(oauth.tell_all(notices)).catch_unwind().await.unwrap_or(false);
                let _ = myself.send_message(Message::Told { client, answered });
            });
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

    fn notice(client: &str, session: u64) -> Notice {
        Notice {
            client: client.to_owned(),
            account: format!("acct_{:026}", 1).parse().unwrap(),
            session: session.to_string(),
            ended_at: Timestamp::from_millis(session),
            tries: 0,
            due_at: Timestamp::from_millis(session),
        }
    }

    #[test]
    fn clients_that_do_not_answer_keep_none_waiting_that_do() {
        let mut clients = Clients::default();
        let hanging: Vec<_> = (0..100).map(|number| notice(&format!("hanging {number}"), number)).collect();
        let mut due = [hanging.clone(), vec![notice("web", 200), notice("web", 201)]].concat();
        assert_eq!(clients.rounds(due.clone()).len(), CLIENTS_MAX, "nobody is known to be silent");
        for number in 0..CLIENTS_MAX {
            clients.end(format!("hanging {number}"), false);
        }
        due.retain(|notice| notice.client == "web" || clients.silent.contains(&notice.client));
        let rounds = clients.rounds(due.clone());
        assert_eq!(rounds.len(), SILENT_MAX + 1);
        let (client, told) = rounds.last().unwrap();
        assert_eq!((client.as_str(), told.len()), ("web", 2));
        assert!(clients.rounds(due.clone()).is_empty(), "each has one round at a time");
        clients.end("hanging 0".to_owned(), true);
        clients.end("web".to_owned(), true);
        let rounds: Vec<_> = clients.rounds(due).into_iter().map(|(client, _)| client).collect();
        assert_eq!(rounds, ["hanging 0", "hanging 4", "web"]);
    }

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
