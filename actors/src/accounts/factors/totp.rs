//! Codes of authenticator apps (RFC 6238): SHA-1, six digits, thirty seconds. Several apps take other figures from the QR code and
//! then use these all the same, so there are no others.

use totp_rs::{Algorithm, Builder, Totp};
use twinmcp_storage::clock::{Entropy, EntropyError, Timestamp};

/// Bytes of a secret: as long as the output of SHA-1 (RFC 4226, 4).
const SECRET_BYTES: usize = 20;
/// Digits of a code.
const DIGITS: u8 = 6;
/// Seconds of a step.
const STEP_S: u64 = 30;
/// Steps that a clock may be wrong, either way (RFC 6238, 5.2).
const SKEW: u16 = 1;

/// What an app and the node share.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = vec![0; SECRET_BYTES];
        entropy.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As it was kept.
    pub(crate) const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For people to type: base32 in groups of four (RFC 4648, 6).
    pub(crate) fn text(&self) -> String {
        let text = self.totp("", "").map(|totp| totp.secret().to_base32()).unwrap_or_default();
        let mut grouped = String::with_capacity(text.len() * 5 / 4);
        for (place, letter) in text.chars().enumerate() {
            if place > 0 && place.is_multiple_of(4) {
                grouped.push(' ');
            }
            grouped.push(letter);
        }
        grouped
    }

    /// For a QR code: the `otpauth` URI that apps read.
    pub(crate) fn uri(&self, issuer: &str, account: &str) -> Option<String> {
        self.totp(issuer, account)?.to_url().ok()
    }

    /// The step that `code` is of, at `now` or one beside it. Blanks in it do not matter.
    pub(crate) fn step_of(&self, code: &str, now: Timestamp) -> Option<u64> {
        let digits: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
        if digits.len() != usize::from(DIGITS) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.totp("", "")?.check(&digits, now.as_secs())
    }

    /// The code that an app shows at `now`.
    #[cfg(test)]
    pub(crate) fn code_at(&self, now: Timestamp) -> String {
        self.totp("", "").unwrap().generate(now.as_secs()).to_string()
    }

    fn totp(&self, issuer: &str, account: &str) -> Option<Totp> {
        // A colon ends the issuer in the URI's label.
        let issuer = (!issuer.is_empty()).then(|| issuer.replace(':', " "));
        let totp = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_step_duration(STEP_S)
            .with_skew(SKEW)
            .with_secret(self.0.clone())
            .with_account_name(account)
            .with_issuer(issuer);
        totp.build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    fn known() -> Secret {
        Secret::from_bytes(b"12345678901234567890".to_vec())
    }

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // The last six of the eight digits in RFC 6238, appendix B.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(known().step_of(code, at(seconds)), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn case_103_a_code_is_good_in_its_step_and_the_one_on_either_side() {
        let step = 1_111_111_109 / 30;
        for (beside, good) in [(-3, false), (-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let now = at(((step as i64 + beside) * 30) as u64);
            assert_eq!(known().step_of("081804", now), good.then_some(step), "{beside}");
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        let now = at(1_111_111_109);
        assert_eq!(known().step_of(" 081 804 ", now), Some(1_111_111_109 / 30));
        for text in
            ["", "81804", "0081804", "081-804", "08180a", "٠٨١٨٠٤", "+81804", &"0".repeat(10_000), "081805"]
        {
            assert_eq!(known().step_of(text, now), None, "{text}");
        }
    }

    #[test]
    fn an_app_reads_the_uri_and_a_person_the_letters() {
        let uri = known().uri("Docs: here", "ada@example.org").unwrap();
        assert!(uri.starts_with("otpauth://totp/Docs%20%20here:ada"), "{uri}");
        assert!(
            uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") && uri.contains("issuer=Docs"),
            "{uri}"
        );
        assert_eq!(known().text(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        assert_eq!(format!("{:?}", known()), "***");
    }
}
