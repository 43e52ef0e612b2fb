//! Names of things, each a type of its own: an id that parsed is an id that is well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::{Entropy, EntropyError, Timestamp};

/// Why a text is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidId {
    message: String,
}

impl InvalidId {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

const RANDOM_ID_LEN: usize = 26;
/// Crockford's base 32, lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 48 bits of time and 80 random bits in Crockford's base 32, like a ULID: sorts by creation.
fn random_id(now: Timestamp, entropy: &dyn Entropy) -> Result<String, EntropyError> {
    let mut random = [0_u8; 16];
    entropy.fill(&mut random[6..])?;
    random[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
    let mut bits = u128::from_be_bytes(random);
    let mut text = [0_u8; RANDOM_ID_LEN];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
    Ok(text.iter().map(|byte| char::from(*byte)).collect())
}

macro_rules! random_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// A new id, made by whoever proposes the change that uses it.
            ///
            /// # Errors
            /// When the operating system has no random bytes.
            pub fn random(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                Ok(Self(format!(concat!($prefix, "_{}"), random_id(now, entropy)?)))
            }

            /// The id as it is shown.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let tail = text.strip_prefix(concat!($prefix, "_")).unwrap_or_default();
                if tail.len() == RANDOM_ID_LEN && tail.bytes().all(|byte| ALPHABET.contains(&byte)) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId::new(concat!("expected `", $prefix, "_` and 26 letters or digits")))
                }
            }
        }

        text_id!($name);
    )*};
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

random_ids! {
    /// A person or machine that owns keys, libraries and jobs.
    AccountId = "acct";
    /// An API key's public name; the secret is something else.
    ApiKeyId = "key";
    /// One index job.
    JobId = "job";
    /// What somebody allowed a client once, with every token that came of it.
    GrantId = "grant";
    /// One sign-in of a person, until it ends; its secret is something else.
    SessionId = "ses";
}

/// Longest library id, in bytes.
pub const LIBRARY_ID_BYTES_MAX: usize = 240;
/// Longest version name, in bytes.
pub const VERSION_BYTES_MAX: usize = 100;

/// A library's name as agents use it: `/org/name`, e.g. `/python/cpython`, or `/npm/@scope/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LibraryId(String);

impl LibraryId {
    /// The id as it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the owner, e.g. `cpython` of `/python/cpython` and `@scope/name` of `/npm/@scope/name`.
    pub fn name(&self) -> &str {
        self.0[1..].split_once('/').map_or("", |(_, name)| name)
    }

    /// The first part, e.g. `python` of `/python/cpython`.
    pub fn owner(&self) -> &str {
        self.0[1..].split_once('/').map_or("", |(owner, _)| owner)
    }
}

impl FromStr for LibraryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || {
            InvalidId::new(
                "a library id looks like `/org/name` (or `/npm/@scope/name`): letters, digits and `-_.~@+` in each part",
            )
        };
        if text.len() > LIBRARY_ID_BYTES_MAX {
            return Err(InvalidId::new(format!("a library id has at most {LIBRARY_ID_BYTES_MAX} bytes")));
        }
        let mut parts = text.strip_prefix('/').ok_or_else(invalid)?.split('/');
        let (owner, name, scoped) = (parts.next(), parts.next(), parts.next());
        let (Some(owner), Some(name), None) = (owner, name, parts.next()) else {
            return Err(invalid());
        };
        let scope_is_right = match scoped {
            Some(package) => name.starts_with('@') && name.len() > 1 && is_id_part(package),
            None => true,
        };
        // A scope is the only part that may start with `@`, which elsewhere marks a version.
        let name_is_right = is_id_part(name.strip_prefix('@').filter(|_| scoped.is_some()).unwrap_or(name));
        if is_id_part(owner) && name_is_right && scope_is_right {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

fn is_id_part(part: &str) -> bool {
    is_part_of(part, b"-_.~+")
}

/// What may stand between two slashes of a path: letters, digits and `others`.
fn is_part_of(part: &str, others: &[u8]) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

text_id!(LibraryId);

/// A version of a library as its source names it, e.g. `v3.11`, `1.0.2`, `2026-11-23`, `1!2.0` (an epoch of PEP 440).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// The version as it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() <= VERSION_BYTES_MAX && is_part_of(text, b"-_.~+!") {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::new(format!(
                "a version has 1 to {VERSION_BYTES_MAX} letters, digits or `-_.~+!`, e.g. `v1.2.0`"
            )))
        }
    }
}

text_id!(Version);

/// A library and, where asked for, one of its versions: `/org/name`, `/org/name/v1` or `/org/name@v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryRef {
    /// Which library.
    pub library: LibraryId,
    /// Which version; the library's current one when absent.
    pub version: Option<Version>,
}

impl FromStr for LibraryRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if let Ok(library) = text.parse() {
            return Ok(Self { library, version: None });
        }
        // The last `@` or `/` starts the version; an `@` that opens a scope follows a `/`.
        let split = text.rfind(['@', '/']).filter(|at| *at > 0);
        let (library, version) = split.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
        match (library.parse(), version.parse()) {
            (Ok(library), Ok(version)) => Ok(Self { library, version: Some(version) }),
            _ => Err(InvalidId::new(
                "expected a library id like `/org/name`, or one with a version: `/org/name/v1.2` or `/org/name@v1.2`",
            )),
        }
    }
}

impl fmt::Display for LibraryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}/{version}", self.library),
            None => write!(f, "{}", self.library),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn only_well_formed_library_ids_parse() {
        for (text, valid) in [
            ("/python/cpython", true),
            ("/npm/@scope/name", true),
            ("/crates/serde_json", true),
            ("/a/b.c-d~e+f", true),
            ("python/cpython", false),
            ("/python", false),
            ("/python/", false),
            ("//cpython", false),
            ("/python/../etc", false),
            ("/a/..", false),
            ("/a/b/c", false),
            ("/npm/@scope", false),
            ("/npm/@/name", false),
            ("/a/b c", false),
            ("/a/b\0", false),
            ("/a/é", false),
        ] {
            assert_eq!(text.parse::<LibraryId>().is_ok(), valid, "{text}");
        }
        assert!(format!("/a/{}", "x".repeat(300)).parse::<LibraryId>().is_err());
    }

    #[test]
    fn a_library_ref_takes_a_version_after_a_slash_or_an_at_sign() {
        for (text, library, version) in [
            ("/python/cpython", "/python/cpython", None),
            ("/python/cpython/v3.11", "/python/cpython", Some("v3.11")),
            ("/python/cpython@v3.11", "/python/cpython", Some("v3.11")),
            ("/pypi/spalloc@1!7.4.1", "/pypi/spalloc", Some("1!7.4.1")),
            ("/npm/@scope/name", "/npm/@scope/name", None),
            ("/npm/@scope/name/1.0", "/npm/@scope/name", Some("1.0")),
            ("/npm/@scope/name@1.0", "/npm/@scope/name", Some("1.0")),
        ] {
            let parsed: LibraryRef = text.parse().unwrap();
            assert_eq!(parsed.library.as_str(), library, "{text}");
            assert_eq!(parsed.version.as_ref().map(Version::as_str), version, "{text}");
        }
        for text in ["", "/", "/a", "/a/b/", "/a/b@", "/a/b@v1@v2", "/a/b/v1/v2", "a/b/v1"] {
            assert!(text.parse::<LibraryRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_ids_sort_by_creation_and_parse_back() {
        let earlier = JobId::random(Timestamp::from_millis(1_000), &SystemEntropy).unwrap();
        let later = JobId::random(Timestamp::from_millis(2_000), &SystemEntropy).unwrap();
        assert!(earlier < later);
        assert_eq!(earlier.as_str().parse::<JobId>().unwrap(), earlier);
        assert!(earlier.as_str().parse::<ApiKeyId>().is_err());
    }
}
