//! How surely a person was known: `acr` (OpenID Connect Core, 2), and what a client may ask of it (RFC 9470).
//!
//! There are two levels. A name that is none of ours is passed over, because `acr_values` is a wish (OpenID Connect Core, 3.1.2.1); one of
//! ours is kept to.

/// A level, the weaker one first. The names are those of NIST SP 800-63B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assurance {
    /// One factor.
    One,
    /// Two factors of different kinds.
    Two,
}

impl Assurance {
    /// Every level.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    /// Its name in `acr` and `acr_values`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "aal1",
            Self::Two => "aal2",
        }
    }

    /// What somebody reached who has shown these (`amr`, RFC 8176).
    pub fn of(methods: &[String]) -> Self {
        if methods.iter().any(|method| method == "mfa") { Self::Two } else { Self::One }
    }

    /// The weakest level that `acr_values` takes; nothing when it names none of ours.
    pub(super) fn asked(acr_values: &str) -> Option<Self> {
        let named = |level: &Self| acr_values.split(' ').any(|name| name == level.as_str());
        Self::ALL.into_iter().find(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_079_of_the_levels_a_client_takes_the_weakest_is_enough_and_unknown_names_ask_for_nothing() {
        for (asked, level) in [
            ("aal2", Some(Assurance::Two)),
            ("aal2 aal1", Some(Assurance::One)),
            ("urn:mace:incommon:iap:silver aal2", Some(Assurance::Two)),
            ("1 2", None),
            ("AAL2", None),
            ("", None),
        ] {
            assert_eq!(Assurance::asked(asked), level, "{asked}");
        }
    }
}
