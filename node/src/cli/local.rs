//! Which crates a quickstart indexes: those of a Cargo.lock nearby, direct dependencies first, else
//! whatever Cargo has on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use twinmcp_actors::ingest::source::cargo_home::CargoHome;
use twinmcp_actors::ingest::source::cargo_lock::CargoLock;
use twinmcp_actors::ingest::source::locked::PackageSource;
use twinmcp_storage::libraries::compare_versions;

/// Parents of a folder that are looked at.
const PARENTS_MAX: usize = 20;
const LOCKFILE: &str = "Cargo.lock";
/// Direct dependencies that are indexed before all others.
const FIRST: &[&str] = &["tokio", "serde", "clap", "axum", "poem", "reqwest", "serde_json"];

/// Crates to index, in order, and where they were found.
pub(super) struct Crates {
    pub(super) packages: Vec<PackageSource>,
    /// For people, e.g. `/home/me/app/Cargo.lock`.
    pub(super) origin: String,
    /// Packages of the lockfile beyond the limit, or not on this machine.
    pub(super) left_out: usize,
}

/// Looks for a lockfile from each of `starts` upwards; the first whose packages are here is taken.
pub(super) fn find(home: &CargoHome, registry: &Path, starts: &[PathBuf], crates_max: usize) -> Crates {
    for start in starts {
        for folder in start.ancestors().take(PARENTS_MAX) {
            let file = folder.join(LOCKFILE);
            let Ok(lock) = CargoLock::read(&file) else {
                continue;
            };
            let sources = home.find_all(&lock);
            if sources.found.is_empty() {
                continue;
            }
            let direct = direct_dependencies(folder);
            let (mut packages, others): (Vec<_>, Vec<_>) =
                sources.found.into_iter().partition(|package| direct.contains(&package.name));
            // Whoever tries things out knows these; the others keep the order of the lockfile.
            packages.sort_by_key(|package| {
                FIRST.iter().position(|name| *name == package.name).unwrap_or(FIRST.len())
            });
            packages.extend(others);
            let known = packages.len() + sources.missing.len();
            packages.truncate(crates_max);
            let left_out = known - packages.len();
            return Crates { packages, origin: file.display().to_string(), left_out };
        }
    }
    any(home, registry, crates_max)
}

/// Names in the dependency tables of the manifests in `folder` and in the folders just below it.
fn direct_dependencies(folder: &Path) -> BTreeSet<String> {
    let below = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let folders = below.map(|entry| entry.path()).filter(|path| path.is_dir()).take(200);
    let manifests = std::iter::once(folder.to_owned()).chain(folders).map(|folder| folder.join("Cargo.toml"));
    let mut names = BTreeSet::new();
    for manifest in manifests {
        let text = fs::read_to_string(manifest).unwrap_or_default();
        let Ok(manifest) = text.parse::<toml::Table>() else {
            continue;
        };
        let workspace = manifest.get("workspace").and_then(toml::Value::as_table);
        for table in [Some(&manifest), workspace].into_iter().flatten() {
            for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let dependencies = table.get(section).and_then(toml::Value::as_table);
                for (name, wanted) in dependencies.into_iter().flatten() {
                    let package = wanted.get("package").and_then(toml::Value::as_str);
                    names.insert(package.unwrap_or(name).to_owned());
                }
            }
        }
    }
    names
}

/// The newest version of each crate that Cargo has unpacked, by name.
fn any(home: &CargoHome, registry: &Path, crates_max: usize) -> Crates {
    let mut newest = std::collections::BTreeMap::<String, twinmcp_storage::ids::Version>::new();
    for source in folders(&registry.join("src")) {
        for package in folders(&source) {
            let folder =
                package.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Some((name, version)) = split(&folder) else {
                continue;
            };
            let Ok(version) = version.parse() else { continue };
            let older = newest.get(name).is_none_or(|known| compare_versions(known, &version).is_lt());
            if older {
                newest.insert(name.to_owned(), version);
            }
        }
    }
    let found: Vec<PackageSource> =
        newest.iter().filter_map(|(name, version)| home.find(name, version.as_str())).collect();
    let left_out = found.len().saturating_sub(crates_max);
    let packages = found.into_iter().take(crates_max).collect();
    Crates { packages, origin: registry.display().to_string(), left_out }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// `serde_json-1.0.140` is `serde_json` and `1.0.140`: the version begins after the first dash that a
/// digit follows and where a whole version does.
fn split(folder: &str) -> Option<(&str, &str)> {
    folder.match_indices('-').map(|(at, _)| (&folder[..at], &folder[at + 1..])).find(|(_, version)| {
        let numbers: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u64>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(home: &Path, name: &str, version: &str) {
        let folder = home.join("registry/src/one").join(format!("{name}-{version}"));
        fs::create_dir_all(&folder).unwrap();
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n");
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    }

    fn names(crates: &Crates) -> Vec<String> {
        crates.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }

    #[test]
    fn direct_dependencies_of_the_nearest_lockfile_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("cargo");
        for (name, version) in [("alpha", "1.0.0"), ("beta", "2.0.0"), ("gamma", "3.0.0")] {
            package(&home, name, version);
        }
        let project = folder.path().join("app");
        fs::create_dir_all(project.join("src/deep")).unwrap();
        fs::write(project.join("Cargo.toml"), "[package]\nname = \"app\"\n[dependencies]\ngamma = \"3\"\n")
            .unwrap();
        let registry = "registry+https://registry.example/index";
        let mut lock = "version = 4\n".to_owned();
        for (name, version) in [("alpha", "1.0.0"), ("beta", "2.0.0"), ("delta", "4.0.0"), ("gamma", "3.0.0")]
        {
            lock += &format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{registry}\"\n"
            );
        }
        fs::write(project.join(LOCKFILE), lock).unwrap();
        let cargo = CargoHome::open(&home).unwrap();
        let crates = find(&cargo, &home.join("registry"), &[project.join("src/deep")], 2);
        assert_eq!(names(&crates), ["gamma 3.0.0", "alpha 1.0.0"]);
        assert_eq!(crates.left_out, 2);
    }

    #[test]
    fn without_a_lockfile_the_newest_version_of_each_crate_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("cargo");
        for (name, version) in [("alpha", "1.9.0"), ("alpha", "1.10.0"), ("x-2-y", "0.1.0")] {
            package(&home, name, version);
        }
        let cargo = CargoHome::open(&home).unwrap();
        let crates = find(&cargo, &home.join("registry"), &[folder.path().to_owned()], 10);
        assert_eq!(names(&crates), ["alpha 1.10.0", "x-2-y 0.1.0"]);
    }
}
