//! Where configuration comes from: a TOML text and variables, taken key by key, so that one wrong
//! key does not hide the next.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Variables that override keys start so: `TWINMCP__HTTP__LISTEN` is `http.listen`.
const VARIABLE_PREFIX: &str = "TWINMCP__";

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `section.key`; empty when the text itself is broken.
    pub key: String,
    /// Line of the file, from 1; absent for variables and for keys that stand nowhere.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        let problem = Problem { key: String::new(), line: None, message };
        Self { file: Some(file.to_owned()), problems: vec![problem] }
    }

    pub(super) fn in_file(self, file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned), ..self }
    }

    /// Each problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }
}

/// One line a problem: `twinmcp.toml:3: http.listen: invalid socket address syntax`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}", file.display())?;
                match problem.line {
                    Some(line) => write!(f, ":{line}: ")?,
                    None => f.write_str(": ")?,
                }
            } else if let Some(line) = problem.line {
                write!(f, "line {line}: ")?;
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

/// What a key was set to, and where.
enum Setting<'a> {
    Line(usize, Spanned<DeValue<'a>>),
    Variable(String, String),
}

/// Where one key was set, for a problem found after its value was taken.
struct Place {
    line: Option<usize>,
    variable: Option<String>,
}

pub(super) struct Source<'a> {
    settings: BTreeMap<(String, String), Setting<'a>>,
    places: BTreeMap<(String, String), Place>,
    problems: Vec<Problem>,
}

impl<'a> Source<'a> {
    /// Takes `text` and `variables` apart; what `sections` does not know becomes a problem.
    pub(super) fn new(
        text: &'a str,
        variables: impl Iterator<Item = (String, String)>,
        sections: &[(&str, &[&str])],
    ) -> Self {
        let mut source = Self { settings: BTreeMap::new(), places: BTreeMap::new(), problems: Vec::new() };
        source.add_text(text, sections);
        source.add_variables(variables, sections);
        source
    }

    fn add_text(&mut self, text: &'a str, sections: &[(&str, &[&str])]) {
        let line_at =
            |byte: usize| 1 + text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map(|span| line_at(span.start));
            self.problems.push(Problem { key: String::new(), line, message: error.message().to_owned() });
        }
        for (section, value) in table.into_inner() {
            let line = line_at(section.span().start);
            let section = section.into_inner().into_owned();
            let Some((_, keys)) = sections.iter().find(|(name, _)| *name == section) else {
                let known: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
                let message = format!("no such section; known are {}", known.join(", "));
                self.problems.push(Problem { key: section, line: Some(line), message });
                continue;
            };
            let DeValue::Table(values) = value.into_inner() else {
                let message = format!("must be a section: write `[{section}]` and its keys below");
                self.problems.push(Problem { key: section, line: Some(line), message });
                continue;
            };
            for (key, value) in values {
                let line = line_at(key.span().start);
                let key = key.into_inner().into_owned();
                if keys.contains(&key.as_str()) {
                    self.settings.insert((section.clone(), key), Setting::Line(line, value));
                } else {
                    let message = format!("no such key; `{section}` has {}", keys.join(", "));
                    let key = format!("{section}.{key}");
                    self.problems.push(Problem { key, line: Some(line), message });
                }
            }
        }
    }

    fn add_variables(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
        sections: &[(&str, &[&str])],
    ) {
        for (name, value) in variables {
            let Some(path) = name.strip_prefix(VARIABLE_PREFIX) else {
                continue;
            };
            let path = path.to_ascii_lowercase();
            let known = path.split_once("__").filter(|(section, key)| {
                sections.iter().any(|(name, keys)| name == section && keys.contains(key))
            });
            match known {
                Some((section, key)) => {
                    let setting = Setting::Variable(name.clone(), value);
                    self.settings.insert((section.to_owned(), key.to_owned()), setting);
                }
                None => {
                    let message = format!("variable {name} names no key; write TWINMCP__SECTION__KEY");
                    self.problems.push(Problem { key: path.replace("__", "."), line: None, message });
                }
            }
        }
    }

    /// The value of a key; `None` when it is not set, or not of this type, which becomes a problem.
    pub(super) fn take<T: DeserializeOwned>(&mut self, section: &str, key: &str) -> Option<T> {
        let path = (section.to_owned(), key.to_owned());
        let (place, value) = match self.settings.remove(&path)? {
            Setting::Line(line, value) => {
                let place = Place { line: Some(line), variable: None };
                (
                    place,
                    T::deserialize(ValueDeserializer::from(value))
                        .map_err(|error| error.message().to_owned()),
                )
            }
            Setting::Variable(name, text) => {
                (Place { line: None, variable: Some(name) }, from_variable(&text))
            }
        };
        self.places.insert(path, place);
        match value {
            Ok(value) => Some(value),
            Err(message) => {
                self.refuse(section, key, &message);
                None
            }
        }
    }

    /// Notes that a key's value cannot be used.
    pub(super) fn refuse(&mut self, section: &str, key: &str, message: &str) {
        let place = self.places.get(&(section.to_owned(), key.to_owned()));
        let message = match place.and_then(|place| place.variable.as_ref()) {
            Some(variable) => format!("{message} (from variable {variable})"),
            None => message.to_owned(),
        };
        let line = place.and_then(|place| place.line);
        self.problems.push(Problem { key: format!("{section}.{key}"), line, message });
    }

    pub(super) fn finish<T>(mut self, config: T) -> Result<T, Problems> {
        if self.problems.is_empty() {
            return Ok(config);
        }
        self.problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        Err(Problems { file: None, problems: self.problems })
    }
}

/// A variable holds a TOML value (`true`, `["a", "b"]`), or plain text where text is wanted.
fn from_variable<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let as_toml = ValueDeserializer::parse(text).and_then(|value| T::deserialize(value));
    as_toml.or_else(|_| {
        let as_text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
            serde::de::IntoDeserializer::into_deserializer(text);
        T::deserialize(as_text).map_err(|error| error.to_string())
    })
}
