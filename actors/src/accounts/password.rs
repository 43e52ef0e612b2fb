//! Passwords: what may be one, and how it is compared.
//!
//! Text becomes a password by the OpaqueString profile (RFC 8265, 4.2): other spaces become the space, the rest NFC, so
//! that the same letters typed on two keyboards are the same password; nothing is cut off. Kept is Argon2id (RFC 9106)
//! with the parameters OWASP advises. By hand, for the profile is one map and one normalisation that the project has.

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use twinmcp_storage::accounts::PasswordHash;
use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// Shortest password, in characters (NIST SP 800-63B, 3.1.1.2).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Longest password, in bytes of UTF-8: more than 64 characters of any script.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// By how much NFC makes text longer at most, in bytes of UTF-8 (UAX #15, 3).
const NFC_GROWTH_MAX: usize = 3;

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// What a stored hash may ask for before it is compared; more is not one of ours.
const MEMORY_KIB_MAX: u32 = 65_536;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// What is compared where there is no password, so that it costs the same. No password has it: its hash is all zeros.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too few characters.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// Too many bytes.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Something that nobody types.
    #[error("a password has no control characters")]
    Control,
}

/// A password as it is hashed. Not printed, not kept, and overwritten when it is dropped; copies in the buffers of the listener are beyond
/// reach.
pub(super) struct Password(Zeroizing<String>);

impl Password {
    /// What somebody typed, to be compared: any length up to the limit.
    ///
    /// # Errors
    /// [`PasswordError::TooLong`], [`PasswordError::Control`].
    pub(super) fn typed(text: &str) -> Result<Self, PasswordError> {
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PasswordError::Control);
        }
        let spaced = text.chars().map(|letter| {
            let is_space = get_general_category(letter) == GeneralCategory::SpaceSeparator;
            if is_space { ' ' } else { letter }
        });
        // Text that grows leaves copies behind where it was.
        let mut password = Zeroizing::new(String::with_capacity(text.len() * NFC_GROWTH_MAX));
        password.extend(spaced.nfc());
        Ok(Self(password))
    }

    /// A new password.
    ///
    /// # Errors
    /// As [`typed`](Self::typed), and [`PasswordError::TooShort`].
    pub(super) fn chosen(text: &str) -> Result<Self, PasswordError> {
        let password = Self::typed(text)?;
        if password.0.chars().count() < PASSWORD_CHARS_MIN {
            Err(PasswordError::TooShort)
        } else {
            Ok(password)
        }
    }

    /// Its hash, with a salt of its own.
    pub(super) fn hash(&self) -> Result<PasswordHash, argon2::password_hash::Error> {
        let hash: Phc = hasher()?.hash_password(self.0.as_bytes())?;
        Ok(PasswordHash::new(hash.to_string()))
    }

    /// Compares it; without a hash with nobody's, which costs the same.
    pub(super) fn compare(&self, kept: Option<&PasswordHash>) -> Compared {
        let text = kept.map_or(NOBODYS, PasswordHash::as_str);
        let Ok(phc) = Phc::new(text) else { return Compared::Wrong };
        // The comparison does what the hash says, whatever that costs, so it is asked first.
        let Some((memory, passes, lanes)) = parameters(&phc) else { return Compared::Wrong };
        let is_right = hasher().is_ok_and(|hasher| hasher.verify_password(self.0.as_bytes(), &phc).is_ok());
        match is_right && kept.is_some() {
            false => Compared::Wrong,
            true if memory < MEMORY_KIB || passes < PASSES || lanes < LANES => Compared::RightButWeak,
            true => Compared::Right,
        }
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// What became of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Right,
    /// Right, but kept with less than is kept today.
    RightButWeak,
    Wrong,
}

fn hasher() -> Result<Argon2<'static>, argon2::Error> {
    let parameters = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters))
}

/// Memory, passes and lanes of a hash that may be compared.
fn parameters(phc: &Phc) -> Option<(u32, u32, u32)> {
    let parameters = Params::try_from(phc).ok()?;
    let (memory, passes, lanes) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    let fits = phc.algorithm.as_str() == "argon2id"
        && memory <= MEMORY_KIB_MAX
        && passes <= PASSES_MAX
        && lanes <= LANES_MAX;
    fits.then_some((memory, passes, lanes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Password {
        Password::typed(text).unwrap()
    }

    fn hash_with(password: &str, memory: u32, passes: u32) -> PasswordHash {
        let parameters = Params::new(memory, passes, 1, None).unwrap();
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        PasswordHash::new(hasher.hash_password(password.as_bytes()).unwrap().to_string())
    }

    #[test]
    fn case_099_long_and_unicode_passwords_are_kept_whole_and_control_characters_refused() {
        assert_eq!(Password::chosen("seven77").err(), Some(PasswordError::TooShort));
        assert!(Password::chosen("eight888").is_ok());
        assert!(Password::chosen(&"ß".repeat(8)).is_ok(), "characters count, not bytes");
        assert_eq!(Password::typed(&"a".repeat(1_025)).err(), Some(PasswordError::TooLong));
        for control in ["pass\0word", "pass\nword", "pass\u{7f}word", "pass\u{85}word"] {
            assert_eq!(Password::chosen(control).err(), Some(PasswordError::Control));
        }
        // Beyond the 72 bytes at which others cut.
        let long = "a".repeat(1_024);
        let hash = typed(&long).hash().unwrap();
        assert_eq!(typed(&long).compare(Some(&hash)), Compared::Right);
        assert_eq!(typed(&long[1..]).compare(Some(&hash)), Compared::Wrong);
        let hash = typed("Zu\u{308}rich\u{3000}see").hash().unwrap();
        assert_eq!(
            typed("Z\u{fc}rich see").compare(Some(&hash)),
            Compared::Right,
            "NFC, and one kind of space"
        );
        assert_eq!(typed("z\u{fc}rich see").compare(Some(&hash)), Compared::Wrong, "case stays");
        assert_eq!(typed(" Z\u{fc}rich see").compare(Some(&hash)), Compared::Wrong, "blanks stay");
    }

    #[test]
    fn case_100_what_is_kept_is_argon2id_of_owasps_strength_with_a_salt_of_its_own() {
        let (one, other) = (typed("correct horse").hash().unwrap(), typed("correct horse").hash().unwrap());
        assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.as_str());
        assert_ne!(one, other);
        assert_eq!(format!("{one:?} {:?}", typed("correct horse")), "*** ***");
        let weak = hash_with("correct horse", 8_192, 2);
        assert_eq!(typed("correct horse").compare(Some(&weak)), Compared::RightButWeak);
        assert_eq!(typed("wrong horse").compare(Some(&weak)), Compared::Wrong);
        let strong = hash_with("correct horse", 20_000, 3);
        assert_eq!(typed("correct horse").compare(Some(&strong)), Compared::Right);
    }

    #[test]
    fn a_hash_that_would_cost_too_much_or_is_none_is_wrong_at_once() {
        let salt = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for text in [
            format!("$argon2id$v=19$m=4194304,t=2,p=1${salt}"),
            format!("$argon2id$v=19$m=19456,t=100000,p=1${salt}"),
            format!("$argon2i$v=19$m=19456,t=2,p=1${salt}"),
            "$2b$12$abcdefghijklmnopqrstuv".to_owned(),
            String::new(),
        ] {
            assert_eq!(typed("x").compare(Some(&PasswordHash::new(text.clone()))), Compared::Wrong, "{text}");
        }
    }

    #[test]
    fn a_password_is_overwritten_when_it_is_dropped_and_leaves_no_copy_as_it_is_made() {
        fn is_overwritten(_: &impl zeroize::ZeroizeOnDrop) {}
        // A letter that NFC takes apart into three, twelve bytes for four.
        for text in ["", "correct horse", &"\u{1d160}".repeat(256)] {
            let password = typed(text);
            is_overwritten(&password.0);
            assert!(password.0.len() <= text.len() * NFC_GROWTH_MAX, "{text}");
            assert_eq!(password.0.capacity(), text.len() * NFC_GROWTH_MAX, "{text}");
        }
    }

    #[test]
    fn nobodys_hash_can_be_compared_and_is_never_right() {
        assert!(parameters(&Phc::new(NOBODYS).unwrap()).is_some());
        assert_eq!(typed("anything").compare(None), Compared::Wrong);
    }
}
