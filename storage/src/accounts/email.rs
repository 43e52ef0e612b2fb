//! An e-mail address as a name: the same mailbox is the same text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest address, in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Longest part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// A mailbox: in lower case, of ASCII alone, so that nobody signs up under a name that only looks like another's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

/// Not an address that mail can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address looks like `name@example.org`, in ASCII and at most {EMAIL_BYTES_MAX} bytes")]
pub struct InvalidEmail;

impl Email {
    /// The address in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it for an operator to know whom they meant: `a***@example.org`.
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.split_once('@').unwrap_or_default();
        format!("{}***@{domain}", local.get(..1).unwrap_or_default())
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    /// Blanks around the address are left out; quoted names and literal addresses (RFC 5321, 4.1.2) are refused.
    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        let dots = |part: &str| part.starts_with('.') || part.ends_with('.') || part.contains("..");
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let fits = text.len() <= EMAIL_BYTES_MAX
            && (1..=LOCAL_BYTES_MAX).contains(&local.len())
            && local.bytes().all(is_atom)
            && !dots(local)
            && domain.split('.').all(is_label);
        fits.then(|| Self(text.to_ascii_lowercase())).ok_or(InvalidEmail)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Email {
    /// Whose mail it is does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***@***")
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mailbox_is_the_same_text_and_what_is_no_mailbox_is_refused() {
        for (text, parsed) in [
            ("ada@example.org", Some("ada@example.org")),
            (" Ada@Example.ORG ", Some("ada@example.org")),
            ("ada.l+kiln@mail.example.org", Some("ada.l+kiln@mail.example.org")),
            ("ada@localhost", Some("ada@localhost")),
            ("", None),
            ("ada", None),
            ("@example.org", None),
            ("ada@", None),
            ("ada@example..org", None),
            ("a..da@example.org", None),
            ("ada@-example.org", None),
            ("a da@example.org", None),
            ("ada@example.org\r\nBcc: eve@example.org", None),
            ("ada@example.org,eve@example.org", None),
            ("<ada@example.org>", None),
            ("\"ada\"@example.org", None),
            ("ada@[127.0.0.1]", None),
            ("аda@example.org", None),
            ("ada\0@example.org", None),
        ] {
            assert_eq!(text.parse::<Email>().ok().as_ref().map(Email::as_str), parsed, "{text}");
        }
        assert_eq!("ada@example.org".parse::<Email>().unwrap().masked(), "a***@example.org");
        assert!(format!("{}@example.org", "a".repeat(65)).parse::<Email>().is_err());
        assert!(format!("a@{}.org", "a.".repeat(130)).parse::<Email>().is_err());
    }
}
