//! The plan of a source: its entries are looked at once, before the first document is read.
//!
//! So a damaged archive fails before anything is ingested, the number of documents is known to
//! progress bars, and the one leading folder that releases are wrapped in (`name-1.2.3/`) can be
//! recognised. Only paths and sizes are held.

use std::collections::HashSet;

use super::{Kind, Skip, SkipReport, SourceError, SourceLimits, classify::classify};
use crate::ingest::invisible::is_deceptive_name;

/// Longer paths are no place a person put documentation in.
const PATH_BYTES_MAX: usize = 1024;

/// A document that will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Place in the order of the archive or folder.
    pub(super) entry: usize,
    /// Relative to the root, the leading folder left out.
    pub(super) path: String,
    pub(super) kind: Kind,
}

/// Collects the entries of a source, then decides which are taken.
pub(super) struct Survey<'limits> {
    limits: &'limits SourceLimits,
    entries: usize,
    files: Vec<Candidate>,
    report: SkipReport,
}

struct Candidate {
    entry: usize,
    path: String,
    bytes: u64,
}

impl<'limits> Survey<'limits> {
    pub(super) fn new(limits: &'limits SourceLimits) -> Self {
        Self { limits, entries: 0, files: Vec::new(), report: SkipReport::default() }
    }

    /// Counts one file or folder, and returns its place in the order.
    pub(super) fn count(&mut self) -> Result<usize, SourceError> {
        let entry = self.entries;
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(SourceError::TooManyEntries { limit: self.limits.entries_max });
        }
        Ok(entry)
    }

    /// Adds a regular file by the path that its source gives it.
    pub(super) fn add_file(&mut self, entry: usize, path: &[u8], bytes: u64) {
        match plain_path(path) {
            Some(path) => self.files.push(Candidate { entry, path, bytes }),
            None => self.skip(path, Skip::UnsafePath),
        }
    }

    /// Adds something that is no regular file.
    pub(super) fn skip(&mut self, path: &[u8], skip: Skip) {
        self.report.add(&printable(path), skip);
    }

    /// The documents in the order their entries were added, and what was left out.
    ///
    /// `strip` leaves out the leading folder that all files share.
    pub(super) fn plan(self, strip: bool) -> (Vec<Planned>, SkipReport) {
        self.plan_by(strip, classify)
    }

    /// As [`plan`](Self::plan), with another rule for what a file is read for.
    pub(super) fn plan_by(
        mut self,
        strip: bool,
        classify: fn(&str) -> Result<Kind, Skip>,
    ) -> (Vec<Planned>, SkipReport) {
        let stripped = if strip { shared_folder(&self.files) } else { 0 };
        let packages = Packages::at_root(self.files.iter().filter_map(|file| file.path.get(stripped..)));
        let mut taken = HashSet::new();
        let mut planned = Vec::new();
        let mut total = 0_u64;
        for Candidate { entry, path, bytes } in self.files {
            let path = path.get(stripped..).unwrap_or("");
            let kind = classify(path).and_then(|kind| packages.admit(kind)).and_then(|kind| {
                let within = total.checked_add(bytes).filter(|total| *total <= self.limits.total_bytes_max);
                if path.matches('/').count() > self.limits.depth_max {
                    Err(Skip::TooDeep)
                } else if bytes > self.limits.file_bytes_max {
                    Err(Skip::TooLarge)
                } else if planned.len() >= self.limits.files_max {
                    Err(Skip::TooManyFiles)
                } else if within.is_none() {
                    Err(Skip::TooManyBytes)
                } else if !taken.insert(path.to_owned()) {
                    Err(Skip::Duplicate)
                } else {
                    Ok(kind)
                }
            });
            match kind {
                Ok(kind) => {
                    total = total.saturating_add(bytes);
                    planned.push(Planned { entry, path: path.to_owned(), kind });
                }
                Err(skip) => self.report.add(path, skip),
            }
        }
        (planned, self.report)
    }
}

/// Of which languages the source is a package: their code is read, that of others is an example or a tool.
#[derive(Default)]
struct Packages {
    npm: bool,
    python: bool,
}

impl Packages {
    fn at_root<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut packages = Self::default();
        for path in paths {
            packages.npm |= path == "package.json";
            packages.python |= matches!(path, "pyproject.toml" | "setup.cfg" | "PKG-INFO")
                || path.strip_suffix(".dist-info/METADATA").is_some_and(|folder| !folder.contains('/'));
        }
        packages
    }

    fn admit(&self, kind: Kind) -> Result<Kind, Skip> {
        match kind {
            Kind::TypeScript if !self.npm => Err(Skip::NotDocumentation),
            Kind::Python if !self.python => Err(Skip::NotDocumentation),
            _ => Ok(kind),
        }
    }
}

/// Length of the first folder's name and its `/`, when every file lies in that folder; else 0.
fn shared_folder(files: &[Candidate]) -> usize {
    let mut folders = files.iter().map(|file| file.path.split_once('/').map(|(folder, _)| folder));
    let Some(Some(first)) = folders.next() else {
        return 0;
    };
    if is_layout(first) || !folders.all(|folder| folder == Some(first)) {
        return 0;
    }
    first.len() + 1
}

/// Names that mean something by themselves are kept, so that `src/lib.rs` stays a library source.
fn is_layout(folder: &str) -> bool {
    matches!(
        folder,
        "src" | "doc" | "docs" | "examples" | "tests" | "test" | "target" | "vendor" | "node_modules"
    ) || folder.starts_with('.')
}

/// A relative path with `/` between plain names; `None` when it is anything else.
///
/// Nothing is ever written to such a path, so a hostile one could only confuse: it is refused, not mended.
fn plain_path(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.contains(['\\', ':']) && !part.chars().any(char::is_control)
    };
    let sound = path.len() <= PATH_BYTES_MAX && path.split('/').all(plain) && !is_deceptive_name(path);
    sound.then(|| path.to_owned())
}

/// A path for a report: bounded, without control characters.
fn printable(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars()
        .take(200)
        .map(|character| {
            let hidden = character.is_control() || is_deceptive_name(character.encode_utf8(&mut [0; 4]));
            if hidden { '\u{fffd}' } else { character }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(limits: &SourceLimits, files: &[(&str, u64)]) -> (Vec<String>, SkipReport) {
        let mut survey = Survey::new(limits);
        for (path, bytes) in files {
            let entry = survey.count().unwrap();
            survey.add_file(entry, path.as_bytes(), *bytes);
        }
        let (planned, report) = survey.plan(true);
        (planned.into_iter().map(|planned| planned.path).collect(), report)
    }

    #[test]
    fn a_folder_that_wraps_everything_is_left_out() {
        let limits = SourceLimits::default();
        for (files, expected) in [
            (vec![("n-1.2/README.md", 1), ("n-1.2/src/lib.rs", 1)], vec!["README.md", "src/lib.rs"]),
            (vec![("a/x.md", 1), ("b/y.md", 1)], vec!["a/x.md", "b/y.md"]),
            (vec![("a/x.md", 1), ("y.md", 1)], vec!["a/x.md", "y.md"]),
            (vec![("src/lib.rs", 1), ("src/a.rs", 1)], vec!["src/lib.rs", "src/a.rs"]),
            (vec![("docs/x.md", 1)], vec!["docs/x.md"]),
        ] {
            assert_eq!(plan(&limits, &files).0, expected, "{files:?}");
        }
    }

    #[test]
    fn code_is_read_where_its_package_is() {
        let limits = SourceLimits::default();
        let code = [("kit/__init__.py", 1), ("index.d.ts", 1), ("README.md", 1)];
        for (manifest, expected) in [
            ("other.json", vec!["README.md"]),
            ("package.json", vec!["index.d.ts", "README.md"]),
            ("pyproject.toml", vec!["kit/__init__.py", "README.md"]),
            ("kit-1.0.dist-info/METADATA", vec!["kit/__init__.py", "README.md"]),
            ("inner/package.json", vec!["README.md"]),
        ] {
            let files: Vec<(&str, u64)> = code.into_iter().chain([(manifest, 1)]).collect();
            assert_eq!(plan(&limits, &files).0, expected, "{manifest}");
        }
    }

    #[test]
    fn each_limit_leaves_files_out_and_says_so() {
        let limits = SourceLimits {
            files_max: 2,
            file_bytes_max: 10,
            total_bytes_max: 15,
            depth_max: 1,
            ..Default::default()
        };
        let files = [
            ("a.md", 10),
            ("b.md", 11),
            ("c/d/e.md", 1),
            ("f.md", 6),
            ("a.md", 1),
            ("g.md", 5),
            ("h.md", 0),
            ("i.png", 1),
        ];
        let (planned, report) = plan(&limits, &files);
        assert_eq!(planned, ["a.md", "g.md"]);
        let counts: Vec<(Skip, usize)> =
            report.counts().iter().map(|(skip, count)| (*skip, *count)).collect();
        assert_eq!(
            counts,
            [
                (Skip::NotDocumentation, 1),
                (Skip::TooLarge, 1),
                (Skip::TooDeep, 1),
                (Skip::TooManyFiles, 1),
                (Skip::TooManyBytes, 1),
                (Skip::Duplicate, 1)
            ]
        );
        assert!(report.paths().contains(&("f.md".to_owned(), Skip::TooManyBytes)));
        assert!(!report.paths().iter().any(|(path, _)| path == "i.png"));
    }

    #[test]
    fn a_path_that_leaves_its_root_is_refused() {
        for path in [
            "../a.md",
            "a/../../b.md",
            "/etc/passwd.md",
            "a//b.md",
            "C:/a.md",
            "a\\..\\b.md",
            "a\0.md",
            "gui\u{202e}dm.exe",
            "zero\u{200b}width.md",
            "a/./b.md",
            "",
            "a/",
        ] {
            assert_eq!(plain_path(path.as_bytes()), None, "{path:?}");
        }
        assert_eq!(plain_path(&[b'a', 0xff, b'.', b'm', b'd']), None);
        assert_eq!(plain_path("x".repeat(PATH_BYTES_MAX + 1).as_bytes()), None);
        assert_eq!(plain_path(b"./a/b c.md").as_deref(), Some("a/b c.md"));
        assert_eq!(plain_path("größe/東京.md".as_bytes()).as_deref(), Some("größe/東京.md"));
    }

    #[test]
    fn a_source_with_more_entries_than_allowed_is_refused() {
        let limits = SourceLimits { entries_max: 2, ..Default::default() };
        let mut survey = Survey::new(&limits);
        assert!(survey.count().is_ok() && survey.count().is_ok());
        assert!(matches!(survey.count(), Err(SourceError::TooManyEntries { limit: 2 })));
    }
}
