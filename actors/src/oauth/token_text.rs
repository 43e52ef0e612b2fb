//! What opaque tokens look like: a prefix that says what leaked, letters that only this cluster can read, and a checksum that
//! tells a typo from a forgery without opening anything.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api_keys::checksum;

/// Letters of a checksum.
const CHECKSUM_LEN: usize = 5;
/// Longest opaque token, in bytes.
const LEN_MAX: usize = 4_096;

/// What an opaque token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An access token that only this service reads.
    Access,
    /// A refresh token.
    Refresh,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Access => "tmcp_at_",
            Self::Refresh => "tmcp_rt_",
        }
    }
}

/// The token around `sealed`.
pub(super) fn write(kind: Kind, sealed: &[u8]) -> String {
    let mut text = kind.prefix().to_owned();
    URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
    text.push_str(&checksum(&text));
    text
}

/// What is sealed in a token, if `text` is one of this kind.
pub(super) fn read(kind: Kind, text: &str) -> Option<Vec<u8>> {
    if text.len() > LEN_MAX || !text.is_ascii() {
        return None;
    }
    let (body, tail) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LEN)?)?;
    let sealed = body.strip_prefix(kind.prefix())?;
    if checksum(body) != tail {
        return None;
    }
    URL_SAFE_NO_PAD.decode(sealed).ok()
}

/// Whether `text` says that it is an opaque access token.
pub(super) fn is_opaque_access(text: &str) -> bool {
    text.starts_with(Kind::Access.prefix())
}

/// Whether `text` looks like an access token, of which kind ever, and not like an API key.
pub fn looks_like_access_token(text: &str) -> bool {
    is_opaque_access(text) || text.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_what_it_was_written() {
        let text = write(Kind::Refresh, b"sealed bytes");
        assert!(text.starts_with("tmcp_rt_"));
        assert_eq!(read(Kind::Refresh, &text).unwrap(), b"sealed bytes");
        assert_eq!(read(Kind::Access, &text), None);
        for at in 0..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(read(Kind::Refresh, &String::from_utf8(typo).unwrap()), None, "at {at}");
        }
        for text in ["", "tmcp_rt_", "tmcp_rt_é", &"x".repeat(5_000)] {
            assert_eq!(read(Kind::Refresh, text), None);
        }
    }
}
