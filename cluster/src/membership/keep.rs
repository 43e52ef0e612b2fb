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
    /// As `e`, `r2` or `d`.
    pub(super) fn to_value(self) -> String {
        match self {
            Self::Everywhere => "e".to_owned(),
            Self::Region { copies } => format!("r{copies}"),
            Self::OnDemand => "d".to_owned(),
        }
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        match value {
            "e" => Some(Self::Everywhere),
            "d" => Some(Self::OnDemand),
            _ => {
                let copies = value.strip_prefix('r')?.parse().ok().filter(|copies| *copies > 0)?;
                Some(Self::Region { copies })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written_and_no_other_is() {
        for keep in
            [Keep::Everywhere, Keep::OnDemand, Keep::Region { copies: 1 }, Keep::Region { copies: 255 }]
        {
            assert_eq!(Keep::parse(&keep.to_value()), Some(keep));
        }
        for value in ["", "r", "r0", "r256", "r-1", "x", "ee", "d1"] {
            assert_eq!(Keep::parse(value), None, "{value}");
        }
    }
}
