//! Whoever sends text messages for this service: a web hook that the operator names, and what it is asked.
//!
//! A message is `{"id": …, "to": "+…", "text": …}`, sent by POST with a secret, through the guard of all requests to other hosts. It is
//! tried a few times with the same id, which also stands in `Idempotency-Key`, so that a carrier that keeps ids sends it once.
//!
//! Invariant: neither number nor text is logged, nor what the carrier answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;
use url::Url;

use super::super::AccountsError;
use super::super::config::SmsConfig;
use super::number::Number;
use super::sms::Code;
use crate::outbound::{HeaderName, HeaderValue, Method, Outbound, OutboundError, Request, header};

/// Messages on their way from one node at once; one more is told to come again.
const TEXTS_AT_ONCE_MAX: usize = 32;
/// How long the carrier may take to answer.
const TIME_MAX: Duration = Duration::from_secs(4);
/// Pauses between tries of one message. Somebody waits for it.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// Largest answer that is read, in bytes: nothing in it is wanted.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why the carrier did not take a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarrierError {
    /// It could not be reached.
    #[error("the carrier could not be asked")]
    Outbound(#[from] OutboundError),
    /// It did not answer in time.
    #[error("the carrier did not answer within {} seconds", TIME_MAX.as_secs())]
    Deadline,
    /// It said that it did not take it.
    #[error("the carrier answered with status {0}")]
    Status(u16),
    /// Its secret is none that a header takes.
    #[error("the secret of the carrier cannot be sent")]
    Secret,
    /// There are too many.
    #[error("{TEXTS_AT_ONCE_MAX} messages are on their way already")]
    Full,
}

impl CarrierError {
    /// Whether it may go better a moment later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status(status) => *status >= 500 || matches!(status, 408 | 425 | 429),
            Self::Outbound(error) => error.is_passing(),
            Self::Deadline => true,
            Self::Secret | Self::Full => false,
        }
    }

    /// Whether the carrier may have sent the message all the same.
    fn may_have_sent(&self) -> bool {
        match self {
            Self::Deadline => true,
            Self::Outbound(error) => error.is_passing() && !matches!(error, OutboundError::Connect { .. }),
            Self::Status(_) | Self::Secret | Self::Full => false,
        }
    }
}

/// A message that was not taken.
#[derive(Debug)]
pub(super) struct NotTaken {
    /// What happened last.
    pub(super) error: CarrierError,
    /// Whether it may be on its way all the same.
    pub(super) may_have_sent: bool,
}

/// The carrier; nothing where text messages are off.
#[derive(Clone)]
pub(crate) struct Carrier(Option<Arc<Inner>>);

struct Inner {
    config: SmsConfig,
    /// What this service is called, and the host it is at, for the text.
    service: String,
    host: String,
    outbound: Outbound,
    places: Semaphore,
}

impl Carrier {
    /// For the service that is called `service` and at `public_url`.
    pub(crate) fn new(
        config: Option<SmsConfig>,
        outbound: &Outbound,
        service: &str,
        public_url: &str,
    ) -> Self {
        let host = Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
        Self(config.map(|config| {
            Arc::new(Inner {
                config,
                service: service.to_owned(),
                host: host.unwrap_or_default(),
                outbound: outbound.clone(),
                places: Semaphore::new(TEXTS_AT_ONCE_MAX),
            })
        }))
    }

    pub(super) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// How it is used.
    ///
    /// # Errors
    /// [`AccountsError::NoSmsHere`].
    pub(super) fn config(&self) -> Result<&SmsConfig, AccountsError> {
        self.0.as_deref().map(|inner| &inner.config).ok_or(AccountsError::NoSmsHere)
    }

    /// Sends a code, and returns once the carrier has taken it. `id` is the message's own.
    pub(super) async fn send(&self, id: &str, to: &Number, code: &Code) -> Result<(), NotTaken> {
        let not_taken = |error, may_have_sent| NotTaken { error, may_have_sent };
        let Some(inner) = &self.0 else { return Err(not_taken(CarrierError::Full, false)) };
        let Ok(_place) = inner.places.try_acquire() else {
            return Err(not_taken(CarrierError::Full, false));
        };
        let text = text(&inner.config.text, code, &inner.service, &inner.host);
        let body = Bytes::from(json!({ "id": id, "to": to.as_str(), "text": text }).to_string());
        let (mut pauses, mut may_have_sent) = (PAUSES.iter(), false);
        loop {
            let Err(error) = inner.try_to_send(id, body.clone()).await else { return Ok(()) };
            may_have_sent |= error.may_have_sent();
            match pauses.next() {
                Some(pause) if error.may_pass() => tokio::time::sleep(*pause).await,
                _ => return Err(not_taken(error, may_have_sent)),
            }
        }
    }
}

impl Inner {
    async fn try_to_send(&self, id: &str, body: Bytes) -> Result<(), CarrierError> {
        let url = self.outbound.check(&self.config.url)?;
        let mut request =
            Request { method: Method::POST, body, body_bytes_max: ANSWER_BYTES_MAX, ..Request::get(url) };
        let bearer = format!("Bearer {}", self.config.secret.reveal());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| CarrierError::Secret)?;
        bearer.set_sensitive(true);
        request.headers.insert(header::AUTHORIZATION, bearer);
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::try_from(id) {
            request.headers.insert(IDEMPOTENCY_KEY, id);
        }
        let sent = tokio::time::timeout(TIME_MAX, self.outbound.send(request)).await;
        let status = sent.map_err(|_| CarrierError::Deadline)??.status;
        if status.is_success() { Ok(()) } else { Err(CarrierError::Status(status.as_u16())) }
    }
}

/// What a message says.
fn text(template: &str, code: &Code, service: &str, host: &str) -> String {
    // The service's name is the operator's own, so it may hold what stands for something else.
    let text = template.replace("{host}", host).replace("{service}", service);
    text.replace("{code}", code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_code_service_and_host() {
        let code = Code::typed("042042").unwrap();
        let said =
            text("{code} is your code for {service}.\n\n@{host} #{code}", &code, "Docs", "docs.example");
        assert_eq!(said, "042042 is your code for Docs.\n\n@docs.example #042042");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_be_on_its_way_is_known() {
        for (error, may_pass, may_have_sent) in [
            (CarrierError::Status(503), true, false),
            (CarrierError::Status(429), true, false),
            (CarrierError::Status(400), false, false),
            (CarrierError::Status(302), false, false),
            (CarrierError::Deadline, true, true),
            (CarrierError::Full, false, false),
        ] {
            assert_eq!((error.may_pass(), error.may_have_sent()), (may_pass, may_have_sent), "{error}");
        }
    }
}
