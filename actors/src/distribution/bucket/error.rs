//! What a store answers when it does not do what it was asked for, in sentences for the operator.

use std::io;

use twinmcp_storage::bundle::BundleHash;

/// Longest part of an answer that is shown, in characters: a proxy may answer with a page.
const REASON_CHARS_MAX: usize = 300;

/// Why nothing was put, found or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// The configuration can never work.
    #[error("[bucket] cannot be used as it is configured: {reason}")]
    Config {
        /// What is wrong with it.
        reason: String,
    },
    /// The store does not take these keys, or they may not do that.
    #[error(
        "{place} refused this node's keys ({code}): check `bucket.access_key_file`, `bucket.secret_key_file` and \
         `bucket.region`, and that the key may list, read, write and delete there"
    )]
    Refused {
        /// Bucket and endpoint.
        place: String,
        /// The store's word for it.
        code: String,
    },
    /// There is no such bucket.
    #[error("{place} is not there: make the bucket, or correct `bucket.name`")]
    NoBucket {
        /// Bucket and endpoint.
        place: String,
    },
    /// More objects than are looked at.
    #[error(
        "{place} has more than {limit} objects below `bucket.prefix`: give bundles a prefix of their own"
    )]
    TooMany {
        /// Bucket and endpoint.
        place: String,
        /// The limit.
        limit: usize,
    },
    /// It said that it cannot.
    #[error("{place} answered with `{code}`")]
    Answered {
        /// Bucket and endpoint.
        place: String,
        /// The store's word for it.
        code: String,
    },
    /// No answer came, or none of a store.
    #[error("{place} gives no answer that can be read: {reason}")]
    Unreachable {
        /// Bucket and endpoint.
        place: String,
        /// What came instead.
        reason: String,
    },
    /// The bundle cannot be read on this node.
    #[error("bundle {hash} cannot be read here: {reason}")]
    Unreadable {
        /// The bundle.
        hash: BundleHash,
        /// What the system said.
        reason: String,
    },
    /// The file on this node is not what its name says.
    #[error("bundle {hash} is damaged on this node's disk and is not sent to the bucket")]
    Damaged {
        /// The bundle.
        hash: BundleHash,
    },
}

impl BucketError {
    pub(super) fn unreadable(hash: BundleHash) -> impl Fn(io::Error) -> Self {
        move |error| Self::Unreadable { hash, reason: error.to_string() }
    }

    /// Whether it tells of one bundle on this node and nothing of the store.
    pub(super) fn is_of_this_node(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Damaged { .. })
    }
}

/// The store's word for what is wrong: the element `Code` of its answer.
pub(super) fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then_some(code)
}

/// As much of a text as fits into a line of a log.
pub(super) fn reason(text: &str) -> String {
    let line = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    line.take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_word_is_found_in_its_answer_and_nothing_else_is() {
        let answer =
            "403: <Error><Code>SignatureDoesNotMatch</Code><StringToSign>AWS4</StringToSign></Error>";
        assert_eq!(code(answer), Some("SignatureDoesNotMatch"));
        for none in ["", "<Code>", "<Code></Code>", "<Code>a page <b>with</b> text</Code>"] {
            assert_eq!(code(none), None, "{none}");
        }
        assert_eq!(reason("one\ntwo"), "one two");
        assert_eq!(reason(&"a".repeat(9_999)).len(), REASON_CHARS_MAX);
    }
}
