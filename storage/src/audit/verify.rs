//! Whether an export is what a node has written: for anybody who has the file, without a node.

use std::io::{self, BufRead, Read};

use super::chain;
use super::entry::{Entry, hex};
use super::read::{FORMAT, Heading};

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What was found to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The first line's number; 0 in an empty log.
    pub first: u64,
    /// The last line's number; 0 in an empty log.
    pub last: u64,
    /// SHA-256 of the last line, in hex: keep it elsewhere, and a log that was written anew is told from this one.
    pub hash: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file does not begin as an export does.
    #[error("it is no heading of an audit log of format {FORMAT}")]
    Heading,
    /// The line is no event, or has no end.
    #[error("it is no event of an audit log")]
    Unreadable,
    /// Another number was to come: something was removed or put in.
    #[error("its number does not follow that of the line before: a line was removed or put in")]
    Number,
    /// It is not chained to the line before: one of the two was changed.
    #[error("it is not chained to the line before: that one was changed, or this one")]
    Chain,
    /// It was written before the line before.
    #[error("it is older than the line before")]
    Time,
    /// What a log told before is not in it.
    #[error("nothing in the log has the hash that was told before: it was written anew")]
    Forgotten,
    /// The file does not end as its heading says.
    #[error("the log does not end as its heading says: the last line was changed, or lines are missing")]
    End,
}

/// Why an export could not be believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file cannot be read.
    #[error("failed to read the export")]
    Read(#[from] io::Error),
    /// A line is not what was written.
    #[error("line {line}: {fault}")]
    Fault {
        /// Which line of the file, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
}

/// Checks an export, from its first line to its last.
///
/// # Errors
/// At the first line that is not what was written.
pub fn verify(export: impl BufRead) -> Result<Verified, VerifyError> {
    verify_holding(export, None)
}

/// As [`verify`], and that a line has the hash `holds`, or the one before the first: what [`Verified::hash`] of an export before was.
/// Whoever can write the whole chain anew cannot do that without being told from the one before.
///
/// # Errors
/// As [`verify`]; [`Fault::Forgotten`].
pub fn verify_holding(mut export: impl BufRead, holds: Option<&str>) -> Result<Verified, VerifyError> {
    let mut number = 1;
    let heading = next(&mut export, number)?.and_then(|line| serde_json::from_slice::<Heading>(&line).ok());
    let heading = heading.filter(|heading| heading.audit_log == FORMAT);
    let heading = heading.ok_or(VerifyError::Fault { line: number, fault: Fault::Heading })?;
    let (mut due, mut previous, mut at) = (heading.first.max(1), heading.anchor, String::new());
    let mut is_held = holds.is_none_or(|holds| holds == previous);
    while let Some(line) = next(&mut export, number + 1)? {
        number += 1;
        let failed = |fault| VerifyError::Fault { line: number, fault };
        let entry: Entry = serde_json::from_slice(&line).map_err(|_| failed(Fault::Unreadable))?;
        if entry.number != due {
            return Err(failed(Fault::Number));
        }
        if entry.previous != previous {
            return Err(failed(Fault::Chain));
        }
        // Times of this length compare as text.
        if entry.at < at {
            return Err(failed(Fault::Time));
        }
        (due, previous, at) = (due + 1, hex(&chain::hash(&line)), entry.at);
        is_held |= holds.is_some_and(|holds| holds == previous);
    }
    let is_end = match heading.last {
        0 => number == 1,
        last => due == last + 1,
    };
    if !is_end || previous != heading.hash {
        return Err(VerifyError::Fault { line: number, fault: Fault::End });
    }
    if !is_held {
        return Err(VerifyError::Fault { line: number, fault: Fault::Forgotten });
    }
    Ok(Verified { first: heading.first, last: heading.last, hash: heading.hash })
}

/// The next line without its end; `None` at the end of the file.
fn next(export: &mut impl BufRead, line: u64) -> Result<Option<Vec<u8>>, VerifyError> {
    let mut bytes = Vec::new();
    if export.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(VerifyError::Fault { line, fault: Fault::Unreadable });
    }
    Ok(Some(bytes))
}
