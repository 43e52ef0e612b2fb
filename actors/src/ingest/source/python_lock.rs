//! What Python projects pin: `requirements.txt` with its includes, `uv.lock`, `poetry.lock`.
//!
//! Requirements as pip reads them (<https://pip.pypa.io/en/stable/reference/requirements-file-format/>): versions
//! pinned by `==` are exact, anything else takes the version that is installed.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::locked::{self, LockError, LockedPackage, Origin, PACKAGES_MAX};
use super::package::normalized;
use super::python_metadata::is_name;

/// Files that requirements may include, and how deep.
const INCLUDES_MAX: usize = 64;
const DEPTH_MAX: usize = 8;

/// Reads requirements from disk, with the files they include.
pub(super) fn requirements(path: &Path) -> Result<Vec<LockedPackage>, LockError> {
    let mut read = Requirements::default();
    read.file(path, false, 0)?;
    Ok(read.finish())
}

/// What requirements say so far.
#[derive(Default)]
struct Requirements {
    packages: Vec<LockedPackage>,
    /// From constraint files: versions of what is required elsewhere.
    constraints: BTreeMap<String, String>,
    seen: HashSet<PathBuf>,
}

/// One line of requirements that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// A package, perhaps with an exact version.
    Package(LockedPackage),
    /// `-r file`, or `-c file` when `is_constraint`.
    Include {
        /// Relative to the file that includes it.
        file: String,
        /// Whether its versions only limit what is required elsewhere.
        is_constraint: bool,
    },
}

impl Requirements {
    fn file(&mut self, path: &Path, is_constraint: bool, depth: usize) -> Result<(), LockError> {
        if depth > DEPTH_MAX || self.seen.len() >= INCLUDES_MAX {
            return Err(LockError::TooManyIncludes { limit: INCLUDES_MAX, depth: DEPTH_MAX });
        }
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for requirement in parse_requirements(&locked::read(path)?) {
            match requirement {
                Requirement::Include { file, is_constraint: limits } => {
                    self.file(&folder.join(file), is_constraint || limits, depth + 1)?;
                }
                Requirement::Package(package) if is_constraint => {
                    if !package.version.is_empty() {
                        self.constraints.insert(normalized(&package.name), package.version);
                    }
                }
                Requirement::Package(package) => self.packages.push(package),
            }
            if self.packages.len() > PACKAGES_MAX || self.constraints.len() > PACKAGES_MAX {
                return Err(LockError::TooManyPackages);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<LockedPackage> {
        for package in self.packages.iter_mut().filter(|package| package.version.is_empty()) {
            if let Some(version) = self.constraints.get(&normalized(&package.name)) {
                package.version.clone_from(version);
            }
        }
        sorted(self.packages)
    }
}

/// Reads the text of one file of requirements; lines that say nothing about packages are passed over.
pub fn parse_requirements(text: &str) -> Vec<Requirement> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace("\\\n", " ");
    text.lines().filter_map(requirement).collect()
}

fn requirement(line: &str) -> Option<Requirement> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if line.starts_with('-') {
        // `-rbase.txt` is written too.
        let short = || line.split_at(line.floor_char_boundary(2));
        let (option, value) = line.split_once([' ', '=']).unwrap_or_else(short);
        let file = value.trim().to_owned();
        return match option {
            "-r" | "--requirement" if !file.contains("://") => {
                Some(Requirement::Include { file, is_constraint: false })
            }
            "-c" | "--constraint" if !file.contains("://") => {
                Some(Requirement::Include { file, is_constraint: true })
            }
            "-e" | "--editable" => Some(elsewhere(&file)),
            _ => None,
        };
    }
    // Hashes and other options stand behind the requirement.
    let line = line.split(" --").next().unwrap_or_default().trim();
    let (spec, marker) = line.split_once(';').unwrap_or((line, ""));
    let end = spec.find(|at: char| !(at.is_ascii_alphanumeric() || "-_.".contains(at))).unwrap_or(spec.len());
    let (name, rest) = spec.split_at(end);
    let rest = rest.trim_start();
    let rest = if rest.starts_with('[') {
        rest.split_once(']').map_or("", |(_, rest)| rest).trim_start()
    } else {
        rest
    };
    if !is_name(name) || rest.starts_with(['/', ':', '\\', '@']) || spec.starts_with('.') {
        return Some(elsewhere(if is_name(name) && rest.starts_with('@') { name } else { spec }));
    }
    let rest = rest.trim_start_matches('(').trim_end_matches(')');
    let pinned = rest.split(',').find_map(|one| {
        let one = one.trim();
        let version = one.strip_prefix("===").or_else(|| one.strip_prefix("=="))?.trim();
        is_version(version).then(|| version.to_owned())
    });
    // What a marker leaves out on this machine is not missing.
    let origin = if marker.trim().is_empty() { Origin::Registry } else { Origin::Optional };
    let package = LockedPackage { name: name.to_owned(), version: pinned.unwrap_or_default(), origin };
    Some(Requirement::Package(package))
}

/// A requirement that no registry answers: a path, an address, a repository.
fn elsewhere(text: &str) -> Requirement {
    let origin = if text.contains("git+") || text.contains("git@") { Origin::Git } else { Origin::Path };
    let name: String = text.trim().chars().take(80).collect();
    Requirement::Package(LockedPackage { name, version: String::new(), origin })
}

/// An exact version: no `*`, no path.
fn is_version(version: &str) -> bool {
    (1..=128).contains(&version.len())
        && version.starts_with(|first: char| first.is_ascii_alphanumeric())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+_!".contains(&byte))
}

/// Reads the text of a `uv.lock`.
pub fn uv(text: &str) -> Result<Vec<LockedPackage>, LockError> {
    tables(text, "uv.lock", |source| {
        let has = |key: &str| source.contains_key(key);
        if has("registry") {
            Origin::Registry
        } else if has("git") {
            Origin::Git
        } else {
            Origin::Path
        }
    })
}

/// Reads the text of a `poetry.lock`.
pub fn poetry(text: &str) -> Result<Vec<LockedPackage>, LockError> {
    tables(text, "poetry.lock", |source| match source.get("type").and_then(toml::Value::as_str) {
        None | Some("legacy") => Origin::Registry,
        Some("git") => Origin::Git,
        Some(_) => Origin::Path,
    })
}

#[derive(Deserialize)]
struct TomlLock {
    #[serde(default)]
    package: Vec<TomlPackage>,
}

#[derive(Deserialize)]
struct TomlPackage {
    name: String,
    version: Option<String>,
    #[serde(default)]
    source: toml::Table,
    #[serde(default)]
    optional: bool,
}

fn tables(
    text: &str,
    expected: &'static str,
    origin: impl Fn(&toml::Table) -> Origin,
) -> Result<Vec<LockedPackage>, LockError> {
    let file: TomlLock =
        toml::from_str(text).map_err(|error| LockError::Syntax { expected, source: Box::new(error) })?;
    if file.package.len() > PACKAGES_MAX {
        return Err(LockError::TooManyPackages);
    }
    let packages = file.package.into_iter().filter(|package| is_name(&package.name)).map(|package| {
        let origin = match origin(&package.source) {
            Origin::Registry if package.optional => Origin::Optional,
            origin => origin,
        };
        let version = package.version.filter(|version| is_version(version)).unwrap_or_default();
        LockedPackage { name: package.name, version, origin }
    });
    Ok(sorted(packages.collect()))
}

fn sorted(mut packages: Vec<LockedPackage>) -> Vec<LockedPackage> {
    packages.sort();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(packages: &[LockedPackage]) -> Vec<String> {
        packages.iter().map(|package| format!("{package} {:?}", package.origin)).collect()
    }

    #[test]
    fn requirements_are_read_with_what_they_include() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "requirements.txt",
            "# all\n-r base.txt\n--constraint=limits.txt\n-i https://index.example/simple\nweb-kit[fast,tls] == 2.0.1 ; python_version < \"3.12\" # why\n\
             pinned==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nopen>=1,<2\nlimited\nlocal @ file:///tmp/x\n-e git+https://git.example/a.git#egg=a\n./here\nhttps://files.example/a.whl\nany==3.*\n",
        );
        write("base.txt", "-r requirements.txt\nbase (==4.1)\n");
        write("limits.txt", "limited==7.5\nunused==1\n");
        let packages = requirements(&folder.path().join("requirements.txt")).unwrap();
        assert_eq!(
            shown(&packages),
            [
                "./here  Path",
                "any  Registry",
                "base 4.1 Registry",
                "git+https://git.example/a.git#egg=a  Git",
                "https://files.example/a.whl  Path",
                "limited 7.5 Registry",
                "local  Path",
                "open  Registry",
                "pinned 1.0 Registry",
                "web-kit 2.0.1 Optional",
            ]
        );
    }

    #[test]
    fn an_option_that_is_none_is_passed_over_in_whole_characters() {
        for text in ["-", "-é", "-\u{fffd}x", "--", "-e", "-r"] {
            parse_requirements(text);
        }
        let included = Requirement::Include { file: "é.txt".to_owned(), is_constraint: false };
        assert_eq!(parse_requirements("-\u{fffd}\n-ré.txt\n"), [included]);
    }

    #[test]
    fn includes_are_bounded_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=DEPTH_MAX + 1 {
            let text = format!("-r {}.txt\n", number + 1);
            std::fs::write(folder.path().join(format!("{number}.txt")), text).unwrap();
        }
        let deep = requirements(&folder.path().join("0.txt"));
        assert!(matches!(deep, Err(LockError::TooManyIncludes { .. })));
        std::fs::write(folder.path().join("a.txt"), "-r gone.txt\n").unwrap();
        assert!(matches!(requirements(&folder.path().join("a.txt")), Err(LockError::Read { .. })));
    }

    #[test]
    fn lockfiles_of_uv_and_poetry_name_exact_packages() {
        let uv = uv("version = 1\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\nsource = { virtual = \".\" }\n\
            [[package]]\nname = \"kit\"\nversion = \"2.0\"\nsource = { registry = \"https://index.example/simple\" }\n\
            dependencies = [{ name = \"x\" }]\n[[package]]\nname = \"forked\"\nversion = \"1\"\nsource = { git = \"https://git.example/a\" }\n")
            .unwrap();
        assert_eq!(shown(&uv), ["app 0.1.0 Path", "forked 1 Git", "kit 2.0 Registry"]);
        let poetry = poetry("[[package]]\nname = \"kit\"\nversion = \"2.0\"\noptional = false\n[[package]]\nname = \"extra\"\nversion = \"1\"\noptional = true\n\
            [[package]]\nname = \"near\"\nversion = \"1\"\n[package.source]\ntype = \"directory\"\nurl = \"../near\"\n[metadata]\nlock-version = \"2.0\"\n")
            .unwrap();
        assert_eq!(shown(&poetry), ["extra 1 Optional", "kit 2.0 Registry", "near 1 Path"]);
        assert!(matches!(super::uv("not toml ["), Err(LockError::Syntax { expected: "uv.lock", .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(-r |-c |-e |--hash|==|[a-z.\\[\\];@#/ \\\\\n=<>*é]){0,60}") {
            let _ = parse_requirements(&text);
            let _ = uv(&text);
        }
    }
}
