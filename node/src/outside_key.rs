//! Keys of services outside: read from the file or the variable that the configuration names, never from the
//! configuration itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 16 * 1024;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key in `{}` (`{setting}_file`)", path.display())]
    File {
        /// What of the configuration names it, without `_file`.
        setting: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file or the variable holds no key.
    #[error("{place} holds no key: one line of printable characters without blanks is needed")]
    Empty {
        /// The file or the variable.
        place: String,
    },
}

/// The key in `file`, or else in the variable named `name`, as `parse` understands it; `None` when neither is named. `setting`
/// stands before `_file` and `_variable` in the configuration.
pub(crate) fn read<K>(
    setting: &'static str,
    file: &Path,
    name: &str,
    variable: impl Fn(&str) -> Option<String>,
    parse: impl Fn(&str) -> Option<K>,
) -> Result<Option<K>, KeyError> {
    let (text, place) = if !file.as_os_str().is_empty() {
        let mut text = String::new();
        let read = File::open(file).and_then(|file| file.take(KEY_BYTES_MAX + 1).read_to_string(&mut text));
        let read = read.and_then(|read| match read as u64 {
            0..=KEY_BYTES_MAX => Ok(text),
            _ => Err(io::Error::other(format!("it has more than {KEY_BYTES_MAX} bytes"))),
        });
        let text = read.map_err(|source| KeyError::File { setting, path: file.to_owned(), source })?;
        (text, format!("`{}` (`{setting}_file`)", file.display()))
    } else if !name.is_empty() {
        (variable(name).unwrap_or_default(), format!("the variable `{name}` (`{setting}_variable`)"))
    } else {
        return Ok(None);
    };
    parse(&text).map(Some).ok_or(KeyError::Empty { place })
}
