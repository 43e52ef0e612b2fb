//! Lockfiles and manifests of packages.

use twinmcp_actors::ingest::source::cargo_lock::CargoLock;
use twinmcp_actors::ingest::source::cargo_manifest::PackageManifest;
use twinmcp_actors::ingest::source::npm_lock::NpmLock;
use twinmcp_actors::ingest::source::npm_manifest::NpmManifest;
use twinmcp_actors::ingest::source::python_metadata::PythonMetadata;
use twinmcp_actors::ingest::source::{python_lock, site_packages};

pub(crate) fn cargo(data: &[u8]) {
    let _ = CargoLock::parse(&String::from_utf8_lossy(data));
}

pub(crate) fn npm(data: &[u8]) {
    let _ = NpmLock::parse(&String::from_utf8_lossy(data));
}

pub(crate) fn python(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = python_lock::parse_requirements(&text);
    let _ = python_lock::uv(&text);
    let _ = python_lock::poetry(&text);
    let _ = site_packages::record_files(&text);
}

pub(crate) fn manifests(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = PackageManifest::parse(&text);
    let _ = NpmManifest::parse(data);
    let _ = PythonMetadata::parse_core(&text);
    let _ = PythonMetadata::parse_project(&text);
    let _ = PythonMetadata::parse_setup(&text);
}
