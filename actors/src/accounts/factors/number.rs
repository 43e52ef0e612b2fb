//! Numbers of phones, as the world's networks know them (ITU-T E.164): `+`, the country, and the rest; 15 digits at most.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Digits of a number. Eight are those of the smallest countries, with the country.
const DIGITS_MIN: usize = 8;
const DIGITS_MAX: usize = 15;
/// Longest text that is looked at, in bytes.
const TYPED_BYTES_MAX: usize = 64;
/// Digits that are shown.
const SHOWN: usize = 2;

/// What somebody typed is no number that a message can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a phone number begins with `+` and its country and has {DIGITS_MIN} to {DIGITS_MAX} digits, e.g. +43 660 1234567"
)]
pub struct InvalidNumber;

/// A number. Nothing writes it out by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number(String);

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Number {
    /// What somebody typed, with what people put between digits.
    pub(super) fn parse(typed: &str) -> Result<Self, InvalidNumber> {
        if typed.len() > TYPED_BYTES_MAX {
            return Err(InvalidNumber);
        }
        let is_between =
            |letter: char| letter.is_whitespace() || matches!(letter, '-' | '.' | '(' | ')' | '/');
        let number: String = typed.chars().filter(|letter| !is_between(*letter)).collect();
        let digits = number.strip_prefix('+').ok_or(InvalidNumber)?;
        let is_one = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if is_one { Ok(Self(number)) } else { Err(InvalidNumber) }
    }

    /// As it was kept.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        String::from_utf8(bytes).ok().map(Self)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// What its person knows it by, and nobody else: `…67`.
    pub(super) fn masked(&self) -> String {
        let shown = self.0.len().saturating_sub(SHOWN);
        format!("…{}", self.0.get(shown..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_put_between_digits_does_not_matter() {
        for typed in
            ["+436601234567", " +43 660 / 123-45.67 ", "+43 (660) 1234567", "+43\u{a0}660\u{a0}1234567"]
        {
            let number = Number::parse(typed).unwrap();
            assert_eq!(number.as_str(), "+436601234567", "{typed}");
            assert_eq!((number.masked(), format!("{number:?}")), ("…67".to_owned(), "…67".to_owned()));
        }
        assert_eq!(Number::parse("+29012345").unwrap().as_str(), "+29012345", "Saint Helena has five digits");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for typed in [
            "",
            "+",
            "436601234567",
            "00436601234567",
            "+0436601234567",
            "+4366012",
            "+4366012345678901",
            "++436601234567",
            "+43660123456x",
            "+43660123456,7",
            "+٤٣٦٦٠١٢٣٤٥٦٧",
            "tel:+436601234567",
            &format!("+436601234567{}", " ".repeat(60)),
        ] {
            assert_eq!(Number::parse(typed), Err(InvalidNumber), "{typed}");
        }
    }
}
