//! Secrets of webhooks: made from a key that the cluster's gives, so that no secret is in the agreed state, and what proves that
//! somebody knows one.

use std::fmt;

use ring::hmac;
use twinmcp_storage::refresh::Hook;

/// What a secret begins with, so that one that leaks is known for what it is.
const PREFIX: &str = "tmwh_";

/// A hook's secret, to be shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(String);

impl HookSecret {
    /// The secret of `hook`: the same each time it is asked for with the key of its time.
    pub(super) fn of(key: &[u8; 32], hook: &Hook) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&hook.salt).update(hook.library.as_str().as_bytes());
        Self(format!("{PREFIX}{}", hasher.finalize().to_hex()))
    }

    /// The secret as its owner needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a caller shows in place of a secret.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// GitHub's `X-Hub-Signature-256`: `sha256=` and HMAC-SHA256 of the body under the secret, in hex.
    Signature(&'a str),
    /// GitLab's `X-Gitlab-Token`: the secret itself.
    Token(&'a str),
}

impl Proof<'_> {
    /// Whether it shows that its sender knows the secret. Takes the same time however much of it is right.
    pub(super) fn shows(&self, secret: &HookSecret, body: &[u8]) -> bool {
        match self {
            Self::Signature(header) => {
                let Some(signature) = header.strip_prefix("sha256=").and_then(bytes_of_hex) else {
                    return false;
                };
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes());
                hmac::verify(&key, body, &signature).is_ok()
            }
            // Equality of BLAKE3 hashes takes the same time for all.
            Self::Token(token) => blake3::hash(token.as_bytes()) == blake3::hash(secret.0.as_bytes()),
        }
    }
}

/// The 32 bytes that 64 hexadecimal digits stand for.
fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::clock::Timestamp;

    use super::*;

    fn hook(library: &str, salt: u8) -> Hook {
        Hook { library: library.parse().unwrap(), salt: [salt; 16], created_at: Timestamp::from_millis(1) }
    }

    #[test]
    fn a_secret_belongs_to_one_hook_of_one_cluster() {
        let key = [7; 32];
        let secret = HookSecret::of(&key, &hook("/a/b", 1));
        assert_eq!(secret, HookSecret::of(&key, &hook("/a/b", 1)));
        assert_ne!(secret, HookSecret::of(&key, &hook("/a/b", 2)));
        assert_ne!(secret, HookSecret::of(&key, &hook("/a/c", 1)));
        assert_ne!(secret, HookSecret::of(&[8; 32], &hook("/a/b", 1)));
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn only_a_signature_of_this_body_under_this_secret_is_taken() {
        // The example of GitHub's documentation, "Validating webhook deliveries".
        let secret = HookSecret("It's a Secret to Everybody".to_owned());
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(Proof::Signature(right).shows(&secret, b"Hello, World!"));
        assert!(!Proof::Signature(right).shows(&secret, b"Hello, World?"));
        for wrong in
            ["", "sha256=", &right[..70], &right["sha256=".len()..], "sha1=757107ea0eb2509fc211221cce984b8a"]
        {
            assert!(!Proof::Signature(wrong).shows(&secret, b"Hello, World!"), "{wrong}");
        }
        assert!(Proof::Token("It's a Secret to Everybody").shows(&secret, b"anything"));
        assert!(!Proof::Token("It's a Secret to Nobody").shows(&secret, b"anything"));
        assert!(!Proof::Token("").shows(&secret, b""));
    }
}
