//! npm's lockfiles (versions 1 to 3), and the packages in the `node_modules` beside them.
//!
//! Since version 2 `packages` names each folder; version 1 nests `dependencies` as `node_modules` nests them
//! (<https://docs.npmjs.com/cli/configuring-npm/package-lock-json>).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::folder;
use super::locked::{LockError, LockedPackage, LockedSources, Origin, PACKAGES_MAX, PackageSource};
use super::npm_manifest::NpmManifest;
use super::package::Ecosystem;

/// Versions up to this one are read.
const VERSION_MAX: u64 = 3;
/// Packages inside packages; npm makes a tree flat where it can.
const NESTING_MAX: usize = 32;
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A lockfile, reduced to exact packages and their folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmLock {
    /// By folder, relative to the lockfile's.
    packages: BTreeMap<String, LockedPackage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    lockfile_version: Option<u64>,
    packages: Option<BTreeMap<String, Entry>>,
    dependencies: Option<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<serde_json::Value>,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    dev_optional: bool,
    dependencies: Option<serde_json::Value>,
}

impl NpmLock {
    /// Reads the text of a lockfile.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let unread = |error| LockError::Syntax { expected: "package-lock.json", source: Box::new(error) };
        let file: File = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(unread)?;
        let version = file.lockfile_version.unwrap_or(1);
        if version > VERSION_MAX {
            return Err(LockError::TooNew { file: "package-lock.json", version, newest: VERSION_MAX });
        }
        let mut lock = Self { packages: BTreeMap::new() };
        match file.packages {
            Some(packages) => {
                for (folder, entry) in packages {
                    // Without `node_modules` it is the project itself or a workspace.
                    let Some((_, name)) = folder.rsplit_once("node_modules/") else { continue };
                    let name = entry.name.clone().unwrap_or_else(|| name.to_owned());
                    lock.add(folder, name, &entry)?;
                }
            }
            None => lock.nested("", file.dependencies.unwrap_or_default(), 0)?,
        }
        Ok(lock)
    }

    fn nested(
        &mut self,
        parent: &str,
        dependencies: BTreeMap<String, Entry>,
        depth: usize,
    ) -> Result<(), LockError> {
        for (name, entry) in dependencies {
            let folder = format!("{parent}node_modules/{name}");
            let inner = entry.dependencies.clone().filter(|_| depth < NESTING_MAX);
            if let Some(inner) = inner.and_then(|inner| serde_json::from_value(inner).ok()) {
                self.nested(&format!("{folder}/"), inner, depth + 1)?;
            }
            self.add(folder, name, &entry)?;
        }
        Ok(())
    }

    fn add(&mut self, folder: String, name: String, entry: &Entry) -> Result<(), LockError> {
        if self.packages.len() >= PACKAGES_MAX {
            return Err(LockError::TooManyPackages);
        }
        let version = entry.version.clone().unwrap_or_default();
        // `npm:real@1.0.0` is a package under another name.
        let (name, version) = match version.strip_prefix("npm:").and_then(|alias| alias.rsplit_once('@')) {
            Some((real, version)) => (real.to_owned(), version.to_owned()),
            None => (name, version),
        };
        let resolved = entry.resolved.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let origin = if entry.link || resolved.starts_with("file:") || version.starts_with("file:") {
            Origin::Path
        } else if resolved.starts_with("git") || version.starts_with("git") || version.contains("://") {
            Origin::Git
        } else if entry.optional || entry.dev_optional {
            Origin::Optional
        } else {
            Origin::Registry
        };
        if is_folder(&folder) && is_name(&name) {
            self.packages.insert(folder, LockedPackage { name, version, origin });
        }
        Ok(())
    }

    /// Finds every package below `project`, the lockfile's folder; each version once.
    pub fn find_all(&self, project: &Path) -> LockedSources {
        let mut sources = LockedSources { remedy: "npm ci".to_owned(), ..LockedSources::default() };
        let mut known = BTreeSet::new();
        for (folder, package) in &self.packages {
            if matches!(package.origin, Origin::Git | Origin::Path) {
                sources.skipped.push(package.clone());
                continue;
            }
            if known.contains(&(&package.name, &package.version)) {
                continue;
            }
            let path = project.join(folder);
            let manifest = folder::read(&path.join("package.json"), MANIFEST_BYTES_MAX).ok();
            let manifest = manifest.and_then(|bytes| NpmManifest::parse(&bytes));
            // What lies there may be older or newer than the lockfile.
            let is_it =
                manifest.is_some_and(|found| found.name == package.name && found.version == package.version);
            if is_it {
                known.insert((&package.name, &package.version));
                sources.found.push(PackageSource {
                    ecosystem: Ecosystem::Npm,
                    name: package.name.clone(),
                    version: package.version.clone(),
                    path,
                    listed: None,
                });
            } else if package.origin == Origin::Optional {
                sources.skipped.push(package.clone());
            } else {
                sources.missing.push(package.clone());
            }
        }
        // Another folder may hold what one lacks.
        sources.missing.retain(|package| !known.contains(&(&package.name, &package.version)));
        sources.missing.sort();
        sources.missing.dedup();
        sources
    }
}

/// A folder below the project: plain parts only.
fn is_folder(folder: &str) -> bool {
    folder.len() <= 4096
        && folder.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0', ':']))
}

/// `name` or `@scope/name`, of characters that names on npm have.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~!'()*".contains(&byte))
    };
    let (scope, bare) = match name.strip_prefix('@').and_then(|scoped| scoped.split_once('/')) {
        Some((scope, bare)) => (Some(scope), bare),
        None => (None, name),
    };
    name.len() <= 214 && part(bare) && scope.is_none_or(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V3: &str = r#"{"name": "app", "lockfileVersion": 3, "packages": {
        "": {"name": "app"},
        "packages/local": {"version": "0.1.0"},
        "node_modules/local": {"resolved": "packages/local", "link": true},
        "node_modules/kit": {"version": "2.0.0"},
        "node_modules/@acme/web": {"version": "1.0.0"},
        "node_modules/@acme/web/node_modules/kit": {"version": "1.5.0"},
        "node_modules/other": {"name": "kit", "version": "2.0.0"},
        "node_modules/forked": {"version": "1.0.0", "resolved": "git+ssh://git@git.example/a.git#0"},
        "node_modules/tool-darwin": {"version": "1.0.0", "optional": true},
        "node_modules/gone": {"version": "3.0.0"},
        "node_modules/changed": {"version": "1.0.0"}}}"#;

    const V1: &str = r#"{"lockfileVersion": 1, "dependencies": {
        "kit": {"version": "2.0.0"},
        "@acme/web": {"version": "1.0.0", "requires": {"kit": "^1"}, "dependencies": {"kit": {"version": "1.5.0"}}},
        "alias": {"version": "npm:kit@2.0.0"},
        "forked": {"version": "git+ssh://git@git.example/a.git#0"}}}"#;

    fn project() -> tempfile::TempDir {
        let project = tempfile::tempdir().unwrap();
        for (folder, name, version) in [
            ("kit", "kit", "2.0.0"),
            ("@acme/web", "@acme/web", "1.0.0"),
            ("@acme/web/node_modules/kit", "kit", "1.5.0"),
            ("changed", "changed", "1.1.0"),
        ] {
            let path = project.path().join("node_modules").join(folder);
            std::fs::create_dir_all(&path).unwrap();
            let manifest = format!("{{\"name\": \"{name}\", \"version\": \"{version}\"}}");
            std::fs::write(path.join("package.json"), manifest).unwrap();
        }
        project
    }

    fn ids(sources: &LockedSources) -> Vec<String> {
        sources.found.iter().map(|found| format!("{} {}", found.library_id(), found.version)).collect()
    }

    #[test]
    fn every_exact_package_is_found_where_npm_put_it() {
        let project = project();
        let sources = NpmLock::parse(V3).unwrap().find_all(project.path());
        assert_eq!(ids(&sources), ["/npm/@acme/web 1.0.0", "/npm/kit 1.5.0", "/npm/kit 2.0.0"]);
        let names = |packages: &[LockedPackage]| packages.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&sources.missing), ["changed 1.0.0", "gone 3.0.0"]);
        assert_eq!(names(&sources.skipped), ["forked 1.0.0", "local ", "tool-darwin 1.0.0"]);
        assert!(sources.way_out().unwrap().contains("npm ci"));
    }

    #[test]
    fn the_oldest_lockfiles_nest_as_folders_do() {
        let project = project();
        let sources = NpmLock::parse(V1).unwrap().find_all(project.path());
        assert_eq!(ids(&sources), ["/npm/@acme/web 1.0.0", "/npm/kit 1.5.0", "/npm/kit 2.0.0"]);
        assert_eq!(sources.skipped.len(), 1);
        // `alias` has no folder here, and the version it means was found in another.
        assert_eq!(sources.missing, []);
    }

    #[test]
    fn a_folder_that_leaves_the_project_is_not_looked_at() {
        let text = r#"{"lockfileVersion": 3, "packages": {"node_modules/../../etc": {"version": "1"}, "/node_modules/a": {"version": "1"}, "node_modules/a b": {"version": "1"}}}"#;
        assert_eq!(NpmLock::parse(text).unwrap().packages.len(), 0);
    }

    #[test]
    fn what_is_no_lockfile_or_too_new_is_refused() {
        assert!(matches!(NpmLock::parse("[]"), Err(LockError::Syntax { .. })));
        let newer = NpmLock::parse(r#"{"lockfileVersion": 4}"#);
        assert!(matches!(newer, Err(LockError::TooNew { version: 4, .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\"packages\"|\"dependencies\"|\"node_modules/|\"version\"|[{}:\",a./0-9]){0,60}") {
            let _ = NpmLock::parse(&format!("{{{text}}}"));
        }
    }
}
