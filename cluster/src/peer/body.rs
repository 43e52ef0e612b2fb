//! Bodies of requests and answers: whole ones, and streams of frames.
//!
//! ```text
//! frame = length 4 (big-endian) | bytes
//! ```

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Body, Frame};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::io::StreamReader;

/// What a request or an answer carries.
pub type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// What a node answers a peer.
pub type Answer = hyper::Response<AnswerBody>;

/// Bytes of one frame: a few log entries, or a piece of a snapshot.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) fn bytes_body(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that ends with the stream, or is cut off by its first error.
pub(crate) fn stream_body(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> AnswerBody {
    StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync()
}

/// `bytes` as one frame of a stream.
pub(crate) fn frame(bytes: &[u8]) -> io::Result<Bytes> {
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a message for a peer is too large"))?;
    let mut framed = BytesMut::with_capacity(4 + bytes.len());
    framed.put_u32(length);
    framed.put_slice(bytes);
    Ok(framed.freeze())
}

/// The frames of a body, as they come in.
pub(crate) fn frames<B>(body: B) -> impl Stream<Item = io::Result<BytesMut>> + Send
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let data = BodyStream::new(body).filter_map(|frame| {
        let data = match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(io::Error::other(error))),
        };
        std::future::ready(data)
    });
    let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
    FramedRead::new(StreamReader::new(Box::pin(data)), codec)
}
