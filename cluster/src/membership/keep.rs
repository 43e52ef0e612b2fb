//! Which bundles a node keeps, as it tells the others.

/// Which bundles a node keeps on its disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Keep {
    /// All that are named.
    #[default]
    Everywhere,
    /// Its share of those that the nodes of its region keep together, so many copies of each.
    Region {
        /// At least 1.
        copies: u8,
    },
    /// Those it was asked about lately; nobody counts on it.
    OnDemand,
}

impl Keep {
    /// As letters among those of a node's state: none, `k2`, or `o`.
    pub(super) fn to_letters(self) -> String {
        match self {
            Self::Everywhere => String::new(),
            Self::Region { copies } => format!("k{copies}"),
            Self::OnDemand => "o".to_owned(),
        }
    }

    /// What a node's state says; the first builds say nothing, and keep all.
    pub(super) fn of_letters(state: &str) -> Self {
        let copies = state.split_once('k').and_then(|(_, rest)| {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse().ok().filter(|copies| *copies > 0)
        });
        match copies {
            Some(copies) => Self::Region { copies },
            None if state.contains('o') => Self::OnDemand,
            None => Self::Everywhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_as_they_were_written_whatever_stands_beside_them() {
        for keep in
            [Keep::Everywhere, Keep::OnDemand, Keep::Region { copies: 1 }, Keep::Region { copies: 255 }]
        {
            for state in
                [keep.to_letters(), format!("rd{}", keep.to_letters()), format!("r{}q", keep.to_letters())]
            {
                assert_eq!(Keep::of_letters(&state), keep, "{state}");
            }
        }
        for state in ["", "k", "k0", "k256", "k-1", "rdx"] {
            assert_eq!(Keep::of_letters(state), Keep::Everywhere, "{state}");
        }
    }
}
