//! Cargo's local sources: what `cargo fetch` or a build left on this machine.
//!
//! A package lies unpacked in `registry/src/<registry>/<name>-<version>/`, or packed in
//! `registry/cache/<registry>/<name>-<version>.crate`, or both. Nothing is fetched.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use super::{
    Kind,
    cargo_lock::{CargoLock, is_name, is_version},
    locked::{LockedSources, Origin, PackageSource},
    package::Ecosystem,
};

/// Registries looked through; a machine has one or two.
const REGISTRIES_MAX: usize = 64;

/// The folder Cargo keeps its sources in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CargoHome {
    /// Unpacked packages first: they need no unpacking.
    folders: Vec<PathBuf>,
    caches: Vec<PathBuf>,
}

impl CargoHome {
    /// `$CARGO_HOME`, or `.cargo` in the home folder; `None` when neither variable is set.
    pub fn from_environment() -> Option<io::Result<Self>> {
        let home = match env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
            Some(home) => PathBuf::from(home),
            None => PathBuf::from(env::var_os("HOME").filter(|home| !home.is_empty())?).join(".cargo"),
        };
        Some(Self::open(&home))
    }

    /// Looks up which registries have sources below `home`; none is no error.
    pub fn open(home: &Path) -> io::Result<Self> {
        let registry = home.join("registry");
        Ok(Self { folders: folders_in(&registry.join("src"))?, caches: folders_in(&registry.join("cache"))? })
    }

    /// Finds the exact version of a package.
    pub fn find(&self, name: &str, version: &str) -> Option<PackageSource> {
        if !is_name(name) || !is_version(version) {
            return None;
        }
        let package = format!("{name}-{version}");
        let unpacked = self.folders.iter().map(|folder| folder.join(&package));
        // A folder without a manifest was left behind by an unpacking that was interrupted.
        let unpacked = unpacked.filter(|folder| folder.join("Cargo.toml").is_file());
        let packed = self
            .caches
            .iter()
            .map(|folder| folder.join(format!("{package}.crate")))
            .filter(|file| file.is_file());
        let path = unpacked.chain(packed).next()?;
        Some(PackageSource {
            ecosystem: Ecosystem::Crates,
            name: name.to_owned(),
            version: version.to_owned(),
            path,
            listed: None,
        })
    }

    /// Finds every registry package of a lockfile, and says which are missing.
    pub fn find_all(&self, lock: &CargoLock) -> LockedSources {
        let mut sources = LockedSources { remedy: "cargo fetch".to_owned(), ..LockedSources::default() };
        for package in &lock.packages {
            if package.origin != Origin::Registry {
                sources.skipped.push(package.clone());
            } else if let Some(found) = self.find(&package.name, &package.version) {
                sources.found.push(found);
            } else {
                sources.missing.push(package.clone());
            }
        }
        sources
    }
}

/// Where a person can open a page of an exact version: what its path is joined with, which for
/// [`Kind::RustSource`] is the one the documentation generator gives it.
pub(in crate::ingest) fn page_base(name: &str, version: &str, kind: Kind) -> String {
    match kind {
        Kind::RustSource => format!("https://docs.rs/{name}/{version}/"),
        _ => format!("https://docs.rs/crate/{name}/{version}/source/"),
    }
}

/// The folders in `parent`, sorted; none when it does not exist.
fn folders_in(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries.take(REGISTRIES_MAX) {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::ingest::source::{SourceLimits, cargo_manifest::PackageManifest, locked::LockedPackage};

    const MANIFEST: &str = "[package]\nname = \"alpha\"\nversion = \"1.2.3\"\ndescription = \"First of all.\"\n\
                            repository = \"https://git.example/alpha\"\nlicense = \"MIT\"\n[lib]\nname = \"alpha_core\"\n";

    fn write(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The files of the package `alpha`, as its folder and its `.crate` hold them.
    fn files() -> Vec<(&'static str, &'static [u8])> {
        vec![
            ("Cargo.toml", MANIFEST.as_bytes()),
            (".gitignore", b"docs\n"),
            ("README.md", b"# Alpha\n"),
            ("LICENSE-MIT", b"..."),
            ("docs/guide.md", b"# Guide\n"),
            ("src/lib.rs", b"//! Alpha.\n"),
            ("examples/one.rs", b"fn main() {}\n"),
            ("tests/a.rs", b""),
        ]
    }

    fn crate_file(wrapper: &str) -> Vec<u8> {
        let mut builder =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (path, bytes) in files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("{wrapper}/{path}"), bytes).unwrap();
        }
        let mut encoder = builder.into_inner().unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    }

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let registry = home.path().join("registry");
        for (path, bytes) in files() {
            write(&registry.join("src/registry-1/alpha-1.2.3").join(path), bytes);
        }
        write(&registry.join("cache/registry-1/alpha-1.2.3.crate"), &crate_file("alpha-1.2.3"));
        write(&registry.join("cache/registry-2/alpha-2.0.0.crate"), &crate_file("alpha-2.0.0"));
        fs::create_dir_all(registry.join("src/registry-1/broken-1.0.0")).unwrap();
        home
    }

    fn lock(packages: &[(&str, &str, &str)]) -> CargoLock {
        let text: String = packages
            .iter()
            .map(|(name, version, source)| {
                let source =
                    if source.is_empty() { String::new() } else { format!("source = \"{source}\"\n") };
                format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}")
            })
            .collect();
        CargoLock::parse(&text).unwrap()
    }

    #[test]
    fn registry_packages_are_found_and_the_others_named() {
        let home = home();
        let lock = lock(&[
            ("alpha", "1.2.3", "registry+https://r.example"),
            ("alpha", "2.0.0", "sparse+https://r.example"),
            ("alpha", "3.0.0", "registry+https://r.example"),
            ("broken", "1.0.0", "registry+https://r.example"),
            ("forked", "1.0.0", "git+https://g.example#0"),
            ("mine", "0.1.0", ""),
        ]);
        let sources = CargoHome::open(home.path()).unwrap().find_all(&lock);

        let found: Vec<String> = sources
            .found
            .iter()
            .map(|source| format!("{} {}", source.library_id(), source.version))
            .collect();
        assert_eq!(found, ["/crates/alpha 1.2.3", "/crates/alpha 2.0.0"]);
        assert!(sources.found[0].path.is_dir(), "an unpacked package needs no unpacking");
        assert!(sources.found[1].path.is_file());
        let names = |packages: &[LockedPackage]| packages.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&sources.missing), ["alpha 3.0.0", "broken 1.0.0"]);
        assert_eq!(names(&sources.skipped), ["forked 1.0.0", "mine 0.1.0"]);
        let way_out = sources.way_out().unwrap();
        assert!(way_out.contains("alpha 3.0.0") && way_out.contains("cargo fetch"), "{way_out}");
        assert_eq!(LockedSources::default().way_out(), None);
    }

    #[test]
    fn a_package_has_the_same_documents_and_manifest_unpacked_and_packed() {
        let home = home();
        let cargo = CargoHome::open(home.path()).unwrap();
        let [unpacked, packed] = [("alpha", "1.2.3"), ("alpha", "2.0.0")]
            .map(|(name, version)| cargo.find(name, version).unwrap());
        let documents = |package: &PackageSource| {
            let mut files: Vec<_> =
                package.open(SourceLimits::default()).unwrap().map(Result::unwrap).collect();
            files.sort_by(|left, right| left.path.cmp(&right.path));
            files
        };
        assert_eq!(documents(&unpacked), documents(&packed));
        let paths: Vec<(String, Kind)> =
            documents(&packed).into_iter().map(|file| (file.path, file.kind)).collect();
        let expected = [
            ("README.md", Kind::Page),
            ("docs/guide.md", Kind::Page),
            ("examples/one.rs", Kind::RustExample),
            ("src/lib.rs", Kind::RustSource),
        ];
        assert_eq!(paths, expected.map(|(path, kind)| (path.to_owned(), kind)));
        let [unpacked, packed] =
            [unpacked, packed].map(|package| PackageManifest::read(&package.path).unwrap());
        assert_eq!(unpacked, packed);
        assert_eq!(packed.crate_name, "alpha_core");
    }

    #[test]
    fn a_machine_without_cargo_has_no_sources() {
        let home = tempfile::tempdir().unwrap();
        let cargo = CargoHome::open(home.path()).unwrap();
        assert_eq!(cargo.find("alpha", "1.2.3"), None);
        assert_eq!(cargo.find("../alpha", "1.2.3"), None);
        assert_eq!(cargo.find("alpha", "../1"), None);
    }

    #[test]
    fn pages_link_to_the_exact_version() {
        assert_eq!(page_base("alpha", "1.2.3", Kind::RustSource), "https://docs.rs/alpha/1.2.3/");
        assert_eq!(page_base("alpha", "1.2.3", Kind::Page), "https://docs.rs/crate/alpha/1.2.3/source/");
    }
}
