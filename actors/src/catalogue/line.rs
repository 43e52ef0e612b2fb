//! A stream of JSON lines: cut into lines wherever its pieces end, and one line into an entry.

use serde::Deserialize;
use twinmcp_storage::catalogue::{ECOSYSTEM_BYTES_MAX, Entry, POPULARITY_MAX};
use twinmcp_storage::ids::{InvalidId, LibraryId, Version};
use twinmcp_storage::libraries::{DESCRIPTION_BYTES_MAX, LIST_ITEMS_MAX, TITLE_BYTES_MAX};

/// Longest line, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most versions of one entry.
const VERSIONS_MAX: usize = 100;

/// Why a line is no entry.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It does not end in time.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// It is no object, or a field is missing or of another kind.
    #[error("not an entry: {0}")]
    Json(serde_json::Error),
    /// Its id is none.
    #[error("`id`: {0}")]
    Id(InvalidId),
    /// One of its versions is none.
    #[error("`versions`: {0}")]
    Version(InvalidId),
    /// Its popularity is out of range.
    #[error("`popularity` is a number from 0 to {POPULARITY_MAX}")]
    Popularity,
    /// A field is longer than it may be.
    #[error("`{field}` is too long: at most {max} are allowed")]
    Length {
        /// Which.
        field: &'static str,
        /// Bytes of a text, or items of a list.
        max: usize,
    },
}

/// A line with its number, from 1.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) content: Result<Vec<u8>, LineError>,
}

/// Cuts pieces of a stream into lines.
#[derive(Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// Whether that line is longer than allowed, and is left out up to its end.
    is_too_long: bool,
    ended: u64,
}

impl Lines {
    /// The line that ends in `piece`, and what of the piece is behind it; none when no line ends.
    pub(super) fn next<'a>(&mut self, piece: &'a [u8]) -> Option<(Line, &'a [u8])> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (part, rest) = match end {
            Some(end) => (&piece[..end], &piece[end + 1..]),
            None => (piece, &[][..]),
        };
        if self.begun.len() + part.len() > LINE_BYTES_MAX {
            self.is_too_long = true;
            self.begun.clear();
        }
        if !self.is_too_long {
            self.begun.extend_from_slice(part);
        }
        end.map(|_| (self.line(), rest))
    }

    /// The last line, if it has no end of its own.
    pub(super) fn end(&mut self) -> Option<Line> {
        (!self.begun.is_empty() || self.is_too_long).then(|| self.line())
    }

    fn line(&mut self) -> Line {
        self.ended += 1;
        let begun = std::mem::take(&mut self.begun);
        let content = if self.is_too_long { Err(LineError::TooLong) } else { Ok(begun) };
        self.is_too_long = false;
        Line { number: self.ended, content }
    }
}

/// One line as it is written; what else stands in it says nothing.
#[derive(Deserialize)]
struct Written {
    id: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    ecosystem: Option<String>,
    #[serde(default)]
    popularity: Option<f64>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    aliases: Vec<String>,
}

/// The entry in a line, as an import takes it.
///
/// Public for `examples/resolve_eval`.
///
/// # Errors
/// [`LineError`] for a line that an import tells of and leaves out.
pub fn entry(line: &[u8]) -> Result<Entry, LineError> {
    let written: Written = serde_json::from_slice(line).map_err(LineError::Json)?;
    let id: LibraryId = written.id.parse().map_err(LineError::Id)?;
    let versions =
        written.versions.iter().map(|version| version.parse()).collect::<Result<Vec<Version>, _>>();
    let entry = Entry {
        title: written.title.filter(|title| !title.trim().is_empty()).unwrap_or_else(|| id.name().to_owned()),
        description: written.description.unwrap_or_default(),
        ecosystem: written.ecosystem.unwrap_or_default(),
        popularity: written.popularity.map(popularity).transpose()?,
        versions: versions.map_err(LineError::Version)?,
        aliases: written.aliases,
        id,
    };
    let lengths = [
        ("title", entry.title.len(), TITLE_BYTES_MAX),
        ("description", entry.description.len(), DESCRIPTION_BYTES_MAX),
        ("ecosystem", entry.ecosystem.len(), ECOSYSTEM_BYTES_MAX),
        ("versions", entry.versions.len(), VERSIONS_MAX),
        ("aliases", entry.aliases.len(), LIST_ITEMS_MAX),
        ("aliases", entry.aliases.iter().map(String::len).max().unwrap_or(0), TITLE_BYTES_MAX),
    ];
    match lengths.into_iter().find(|(_, length, max)| length > max) {
        Some((field, _, max)) => Err(LineError::Length { field, max }),
        None => Ok(entry),
    }
}

fn popularity(number: f64) -> Result<u8, LineError> {
    if !(0.0..=f64::from(POPULARITY_MAX)).contains(&number) {
        return Err(LineError::Popularity);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 100 after the check above"
    )]
    let whole = number.round() as u8;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(u64, Result<String, String>)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some((line, left)) = lines.next(rest) {
                found.push(line);
                rest = left;
            }
        }
        found.extend(lines.end());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        found
            .into_iter()
            .map(|line| (line.number, line.content.map(text).map_err(|error| error.to_string())))
            .collect()
    }

    #[test]
    fn lines_are_found_wherever_the_stream_is_cut() {
        let expected = vec![(1, Ok("one".to_owned())), (2, Ok(String::new())), (3, Ok("three".to_owned()))];
        assert_eq!(lines(&[b"one\n\nthree"]), expected);
        assert_eq!(lines(&[b"o", b"ne", b"\n", b"\nthr", b"ee\n"]), expected);
        assert_eq!(lines(&[]), []);
    }

    #[test]
    fn an_endless_line_is_left_out_and_the_next_one_is_read() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let found = lines(&[&long, b"x", &long, b"\nnext"]);
        assert!(found[0].1.as_ref().unwrap_err().contains("longer than"), "{found:?}");
        assert_eq!(found[1], (2, Ok("next".to_owned())));
    }

    #[test]
    fn an_entry_needs_an_id_and_keeps_its_limits() {
        let full =
            br#"{"id":"/npm/@a/b","title":"B","description":"Does b.","ecosystem":"npm","popularity":64.6,
            "versions":["1.0"],"aliases":["bee"],"stars":5}"#;
        let full = entry(full).unwrap();
        assert_eq!((full.title.as_str(), full.popularity, full.versions.len()), ("B", Some(65), 1));
        let bare = entry(br#"{"id":"/npm/c","description":null,"popularity":null}"#).unwrap();
        assert_eq!((bare.title.as_str(), bare.popularity), ("c", None));
        let long = format!(r#"{{"id":"/a/b","title":"{}"}}"#, "x".repeat(TITLE_BYTES_MAX + 1));
        for (line, reason) in [
            ("{", "not an entry"),
            ("[]", "not an entry"),
            (r#"{"title":"x"}"#, "missing field `id`"),
            (r#"{"id":"react"}"#, "`id`"),
            (r#"{"id":"/a/b","popularity":101}"#, "`popularity`"),
            (r#"{"id":"/a/b","popularity":-1}"#, "`popularity`"),
            (r#"{"id":"/a/b","versions":["a b"]}"#, "`versions`"),
            (long.as_str(), "`title` is too long"),
        ] {
            let error = entry(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
