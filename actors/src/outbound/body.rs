//! The body of an answer: read piece by piece, unpacked, and ended by the first limit it breaks.

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use reqwest::header::CONTENT_ENCODING;
use tokio::time::Instant;

use super::{Outbound, OutboundConfig, OutboundError};

/// Packed bytes given to the decoder at once: they unpack to 4 MiB at most before the limits are looked at.
const SLICE_BYTES: usize = 4 << 10;
/// What can be done about a body that breaks the limit of the configuration.
const RAISE: &str = "split it, or raise `outbound.body_bytes_max`";
/// What can be done about one that breaks the limit of its kind.
const SHORTEN: &str = "whoever runs it has to make it shorter";

/// What follows the head of an answer.
pub struct Body {
    outbound: Outbound,
    response: reqwest::Response,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// How it is compressed, where that was not asked for: an answer whose status is enough needs not be unpacked.
    foreign: Option<String>,
    deadline: Instant,
    began: Instant,
    received: u64,
    unpacked: u64,
    bytes_max: u64,
    way_out: &'static str,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Body {
    /// What follows the head of `response`; of it, `asked_bytes_max` are wanted.
    pub(super) fn new(
        outbound: Outbound,
        response: reqwest::Response,
        deadline: Instant,
        asked_bytes_max: u64,
    ) -> Result<Self, OutboundError> {
        let bytes_max = asked_bytes_max.min(outbound.guard().config().body_bytes_max);
        let way_out = if asked_bytes_max > bytes_max { RAISE } else { SHORTEN };
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let (decoder, foreign) = match encoding.map(str::trim) {
            None | Some("" | "identity") => (None, None),
            Some("gzip" | "x-gzip") => (Some(MultiGzDecoder::new(Vec::new())), None),
            Some(other) => (None, Some(super::guard::shown(other))),
        };
        let began = Instant::now();
        let (received, unpacked) = (0, 0);
        let body = Self {
            outbound,
            response,
            decoder,
            foreign,
            deadline,
            began,
            received,
            unpacked,
            bytes_max,
            way_out,
        };
        // A length that is told need not be waited for.
        match body.response.content_length() {
            Some(length) if length > bytes_max && body.response.status().is_success() => {
                Err(body.too_large())
            }
            _ => Ok(body),
        }
    }

    /// The next piece, unpacked; nothing at the end.
    ///
    /// # Errors
    /// At the first limit the body breaks, and when the connection does.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let piece = self.next().await;
        if let Err(error) = &piece {
            self.outbound.refused(error);
        }
        piece
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Body::piece`].
    pub async fn read(mut self) -> Result<Vec<u8>, OutboundError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, OutboundError> {
        if let Some(encoding) = &self.foreign {
            return Err(OutboundError::Encoding { url: self.url(), encoding: encoding.clone() });
        }
        loop {
            let Some(packed) = self.received().await? else { return self.end() };
            let Some(mut decoder) = self.decoder.take() else {
                self.count(packed.len())?;
                return Ok(Some(packed));
            };
            let mut unpacked = Vec::new();
            for slice in packed.chunks(SLICE_BYTES) {
                decoder.write_all(slice).map_err(|source| self.damaged(source))?;
                self.count(decoder.get_ref().len())?;
                unpacked.append(decoder.get_mut());
            }
            self.decoder = Some(decoder);
            if !unpacked.is_empty() {
                return Ok(Some(unpacked.into()));
            }
        }
    }

    /// The next piece as it comes from the connection.
    async fn received(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let config = self.config();
        let idle = Instant::now() + config.idle_timeout;
        let (request_timeout, grace) = (config.request_timeout, config.slow_grace);
        let rate_min = config.bytes_per_second_min;
        let piece = match tokio::time::timeout_at(idle.min(self.deadline), self.response.chunk()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => {
                let header_bytes_max = self.config().header_bytes_max;
                return Err(OutboundError::of(self.response.url(), error, header_bytes_max));
            }
            Err(_) if idle < self.deadline => return Err(self.slow()),
            Err(_) => return Err(OutboundError::Deadline { url: self.url(), after: request_timeout }),
        };
        let Some(piece) = piece else { return Ok(None) };
        self.received = self.received.saturating_add(piece.len() as u64);
        let elapsed = self.began.elapsed();
        if elapsed > grace && (self.received as f64) < rate_min as f64 * elapsed.as_secs_f64() {
            return Err(self.slow());
        }
        Ok(Some(piece))
    }

    /// Counts what was unpacked.
    fn count(&mut self, bytes: usize) -> Result<(), OutboundError> {
        self.unpacked = self.unpacked.saturating_add(bytes as u64);
        if self.unpacked > self.bytes_max {
            return Err(self.too_large());
        }
        let ratio_max = self.config().unpacked_ratio_max;
        let allowed = self.received.saturating_mul(ratio_max).max(OutboundConfig::RATIO_FREE_BYTES);
        if self.unpacked > allowed {
            return Err(OutboundError::UnpacksTooFar { url: self.url(), ratio_max });
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Option<Bytes>, OutboundError> {
        // A gzip stream without its end was cut short; no bytes at all are an empty body.
        let Some(mut decoder) = self.decoder.take().filter(|_| self.received > 0) else { return Ok(None) };
        decoder.try_finish().map_err(|source| self.damaged(source))?;
        let rest = std::mem::take(decoder.get_mut());
        self.count(rest.len())?;
        Ok((!rest.is_empty()).then(|| rest.into()))
    }

    fn config(&self) -> &OutboundConfig {
        self.outbound.guard().config()
    }

    fn url(&self) -> String {
        self.response.url().to_string()
    }

    fn slow(&self) -> OutboundError {
        OutboundError::Slow { url: self.url() }
    }

    fn too_large(&self) -> OutboundError {
        OutboundError::BodyTooLarge { url: self.url(), limit: self.bytes_max, way_out: self.way_out }
    }

    fn damaged(&self, source: io::Error) -> OutboundError {
        OutboundError::Damaged { url: self.url(), source }
    }
}
