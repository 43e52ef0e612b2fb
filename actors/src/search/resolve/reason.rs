//! Why a library is in the answer, in words.

use std::fmt;

/// One reason for a match; `Display` is made for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The id was asked for.
    Id,
    /// The name, up to case and what stands between words.
    Name,
    /// The title.
    Title,
    /// Another name of it.
    Alias(String),
    /// The initials of its name.
    Initials(String),
    /// Its name with so many slips of the finger.
    Edits {
        /// How many letters are missing, too many, wrong or swapped.
        edits: usize,
        /// The name as it is right.
        name: String,
    },
    /// Its name goes on after what was asked for.
    Start(String),
    /// Words in its name or title.
    NamedWords(String),
    /// Words in its description.
    Description(String),
    /// Title and description mean much the same as name and query.
    Meaning,
    /// It is for the language asked for.
    Language(&'static str),
    /// Many use it.
    Popular,
    /// The operator trusts its source.
    Trusted,
    /// Its documentation is indexed here.
    Indexed {
        /// How much of it.
        snippets: u32,
    },
    /// It says itself that it is out of use.
    Retired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("exact id"),
            Self::Name => f.write_str("exact name"),
            Self::Title => f.write_str("exact title"),
            Self::Alias(alias) => write!(f, "alias `{alias}`"),
            Self::Initials(initials) => write!(f, "initials `{initials}`"),
            Self::Edits { edits: 1, name } => write!(f, "one edit from `{name}`"),
            Self::Edits { edits: 2, name } => write!(f, "two edits from `{name}`"),
            Self::Edits { edits, name } => write!(f, "{edits} edits from `{name}`"),
            Self::Start(start) => write!(f, "name starts with `{start}`"),
            Self::NamedWords(words) => write!(f, "name has `{words}`"),
            Self::Description(words) => write!(f, "description matches `{words}`"),
            Self::Meaning => f.write_str("close in meaning"),
            Self::Language(language) => write!(f, "for {language}"),
            Self::Popular => f.write_str("popular"),
            Self::Trusted => f.write_str("trusted source"),
            Self::Retired => f.write_str("out of use"),
            Self::Indexed { snippets: 1 } => f.write_str("1 snippet indexed"),
            Self::Indexed { snippets } => write!(f, "{snippets} snippets indexed"),
        }
    }
}
