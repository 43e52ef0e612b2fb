//! Python distributions that are installed on this machine.
//!
//! Each has a folder `<name>-<version>.dist-info` in a site-packages folder; its `RECORD` lists its files (PEP 376,
//! PEP 627). Files that an installer put there as links are not read.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folder;
use super::locked::{Listed, LockError, LockedPackage, LockedSources, Origin, PackageSource};
use super::package::{Ecosystem, normalized};

/// Distributions looked at in one folder; the largest environments have a few thousand.
const DISTRIBUTIONS_MAX: usize = 50_000;
const RECORD_BYTES_MAX: u64 = 16 << 20;
/// Pythons in one environment: one, or a few that share it.
const PYTHONS_MAX: usize = 16;
/// Prints the folders of installed packages. `-I` keeps the current folder, the environment and the user's files out.
const WHERE: &str = "import site, sysconfig\nfor path in dict.fromkeys([sysconfig.get_path('purelib'), sysconfig.get_path('platlib'), *site.getsitepackages()]): print(path)";

/// Folders of installed distributions, the preferred first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePackages {
    /// By normalised name: version and folder.
    installed: BTreeMap<String, Installed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Installed {
    version: String,
    site: PathBuf,
    /// The name of its `.dist-info` folder.
    info: String,
}

impl SitePackages {
    /// The environment of the project in `folder`: `.venv` or `venv` in it, else the active one (`VIRTUAL_ENV`), else
    /// that of `python3`.
    pub fn of_project(folder: &Path) -> Result<Self, LockError> {
        let own = [folder.join(".venv"), folder.join("venv")].into_iter();
        let active = std::env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()).map(PathBuf::from);
        for environment in own.chain(active) {
            let sites = sites_of(&environment);
            if !sites.is_empty() {
                return Ok(Self::open(&sites));
            }
        }
        let sites = sites_of_python();
        if sites.is_empty() {
            let reason = "found no installed Python packages: there is neither `.venv` nor `venv` beside the file, \
                          VIRTUAL_ENV is not set, and `python3` did not answer";
            return Err(LockError::NoPlace { reason: reason.to_owned() });
        }
        Ok(Self::open(&sites))
    }

    /// Looks up what is installed in some folders.
    pub fn open(sites: &[PathBuf]) -> Self {
        let mut installed = BTreeMap::new();
        for site in sites {
            let entries =
                fs::read_dir(site).into_iter().flatten().filter_map(Result::ok).take(DISTRIBUTIONS_MAX);
            for entry in entries {
                let Ok(info) = entry.file_name().into_string() else { continue };
                let Some((name, version)) =
                    info.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-'))
                else {
                    continue;
                };
                let version = version.to_owned();
                let found = Installed { version, site: site.clone(), info: info.clone() };
                installed.entry(normalized(name)).or_insert(found);
            }
        }
        Self { installed }
    }

    /// Finds every registry package that is wanted; one without a version takes the installed one.
    pub(super) fn find_all(&self, wanted: &[LockedPackage], remedy: &str) -> LockedSources {
        let mut sources = LockedSources { remedy: remedy.to_owned(), ..LockedSources::default() };
        let mut known = HashSet::new();
        for package in wanted {
            if matches!(package.origin, Origin::Git | Origin::Path) {
                sources.skipped.push(package.clone());
                continue;
            }
            let name = normalized(&package.name);
            if known.contains(&name) {
                continue;
            }
            let installed = self.installed.get(&name);
            let installed = installed
                .filter(|found| package.version.is_empty() || is_same(&package.version, &found.version));
            match installed.and_then(|found| found.source(&package.name)) {
                Some(source) => {
                    known.insert(name);
                    sources.found.push(source);
                }
                None if package.origin == Origin::Optional => sources.skipped.push(package.clone()),
                None => sources.missing.push(package.clone()),
            }
        }
        sources
    }
}

impl Installed {
    fn source(&self, name: &str) -> Option<PackageSource> {
        let record = folder::read(&self.site.join(&self.info).join("RECORD"), RECORD_BYTES_MAX).ok()?;
        let metadata = format!("{}/METADATA", self.info);
        let mut files = record_files(&String::from_utf8_lossy(&record));
        if !files.contains(&metadata) {
            files.push(metadata.clone());
        }
        Some(PackageSource {
            ecosystem: Ecosystem::Pypi,
            name: name.to_owned(),
            version: self.version.clone(),
            path: self.site.clone(),
            listed: Some(Listed { metadata, files }),
        })
    }
}

/// The paths of a `RECORD`: the first column of its comma-separated lines.
pub fn record_files(record: &str) -> Vec<String> {
    let path = |line: &str| match line.strip_prefix('"') {
        Some(quoted) => Some(quoted.split_once("\",")?.0.replace("\"\"", "\"")),
        None => Some(line.split_once(',')?.0.to_owned()),
    };
    // What lies outside of site-packages are programs and data.
    record.lines().filter_map(path).filter(|path| !path.starts_with("..") && !path.starts_with('/')).collect()
}

/// Whether a pin means an installed version: trailing zeros count for nothing, a local part only where it is asked for
/// (PEP 440).
fn is_same(pinned: &str, installed: &str) -> bool {
    let plain = |version: &str| {
        let version = version.to_ascii_lowercase();
        let (public, local) =
            version.split_once('+').map_or((version.as_str(), ""), |(public, local)| (public, local));
        let mut public = public.trim_start_matches('v');
        while let Some(shorter) = public.strip_suffix(".0") {
            public = shorter;
        }
        (public.to_owned(), local.replace(['-', '_'], "."))
    };
    let ((wanted, wanted_local), (found, found_local)) = (plain(pinned), plain(installed));
    wanted == found && (wanted_local.is_empty() || wanted_local == found_local)
}

/// The site-packages of a virtual environment.
fn sites_of(environment: &Path) -> Vec<PathBuf> {
    let mut sites = Vec::new();
    for library in ["lib", "lib64"] {
        let entries = fs::read_dir(environment.join(library)).into_iter().flatten().filter_map(Result::ok);
        let pythons = entries.map(|entry| entry.path()).take(PYTHONS_MAX);
        for site in pythons.map(|python| python.join("site-packages")).filter(|site| site.is_dir()) {
            let site = fs::canonicalize(&site).unwrap_or(site);
            if !sites.contains(&site) {
                sites.push(site);
            }
        }
    }
    sites.sort();
    sites
}

/// Where the `python3` of this machine keeps packages. It runs in the root folder and reads nothing of the project.
fn sites_of_python() -> Vec<PathBuf> {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", WHERE]).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let Ok(output) = command.output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .take(PYTHONS_MAX)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::source::{Kind, SourceLimits};

    fn install(site: &Path, name: &str, version: &str, files: &[(&str, &str)]) {
        let info = format!("{name}-{version}.dist-info");
        let mut record = format!("{info}/METADATA,sha256=x,1\n{info}/RECORD,,\n../../../bin/tool,,\n");
        for (path, text) in files {
            let file = site.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            record.push_str(&format!("{path},sha256=x,1\n"));
        }
        fs::create_dir_all(site.join(&info)).unwrap();
        fs::write(site.join(&info).join("METADATA"), format!("Name: {name}\nVersion: {version}\n")).unwrap();
        fs::write(site.join(&info).join("RECORD"), record).unwrap();
    }

    fn wanted(name: &str, version: &str, origin: Origin) -> LockedPackage {
        LockedPackage { name: name.to_owned(), version: version.to_owned(), origin }
    }

    #[test]
    fn packages_are_found_in_the_environment_beside_the_file_and_hold_their_own_files() {
        let project = tempfile::tempdir().unwrap();
        let site = project.path().join(".venv/lib/python3.12/site-packages");
        install(
            &site,
            "Web_Kit",
            "2.0",
            &[("web_kit/__init__.py", "def get(): ...\n"), ("web_kit/py.typed", "")],
        );
        install(&site, "torch", "1.0.0+cpu", &[("torch/__init__.py", "x = 1\n")]);
        let sites = SitePackages::of_project(project.path()).unwrap();
        let sources = sites.find_all(
            &[
                wanted("web-kit", "2.0.0", Origin::Registry),
                wanted("torch", "", Origin::Registry),
                wanted("web.kit", "9", Origin::Registry),
                wanted("gone", "1", Origin::Registry),
                wanted("windows-only", "1", Origin::Optional),
                wanted("mine", "", Origin::Path),
            ],
            "uv sync",
        );
        let found: Vec<String> =
            sources.found.iter().map(|found| format!("{} {}", found.library_id(), found.version)).collect();
        assert_eq!(found, ["/pypi/web-kit 2.0", "/pypi/torch 1.0.0+cpu"]);
        let files: Vec<(String, Kind)> = sources.found[0]
            .open(SourceLimits::default())
            .unwrap()
            .map(Result::unwrap)
            .map(|file| (file.path, file.kind))
            .collect();
        assert_eq!(files, [("web_kit/__init__.py".to_owned(), Kind::Python)]);
        assert_eq!(sources.missing, [wanted("gone", "1", Origin::Registry)]);
        assert_eq!(sources.skipped.len(), 2);
        assert!(sources.way_out().unwrap().contains("(gone 1): run `uv sync`"));
    }

    #[test]
    fn a_record_names_files_of_its_own_folder() {
        let record = "a/b.py,sha256=x,1\n\"c,\"\"d\"\".py\",,\n../../bin/x,,\n/etc/passwd,,\nbroken\n";
        assert_eq!(record_files(record), ["a/b.py", "c,\"d\".py"]);
    }

    #[test]
    fn pins_mean_versions_as_pep_440_compares_them() {
        for (pinned, installed, same) in [
            ("2.0", "2.0.0", true),
            ("2.0.0", "2", true),
            ("2.0", "2.0+cpu", true),
            ("2.0+cpu", "2.0", false),
            ("v1.0RC1", "1.0rc1", true),
            ("1.10", "1.1", false),
        ] {
            assert_eq!(is_same(pinned, installed), same, "{pinned} {installed}");
        }
    }

    #[test]
    fn the_python_of_this_machine_says_where_its_packages_lie() {
        for site in sites_of_python() {
            assert!(site.is_dir(), "{}", site.display());
        }
    }
}
