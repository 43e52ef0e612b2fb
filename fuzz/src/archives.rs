//! Archives, which are files: each input is written into memory that looks like one.

use std::fs;
use std::path::PathBuf;

use twinmcp_actors::ingest::source::package::Package;
use twinmcp_actors::ingest::source::{Source, SourceLimits};

/// A file that the input is written to. Linux keeps `/dev/shm` in memory.
pub(crate) fn file(data: &[u8]) -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let path = folder.join(format!("twinmcp-fuzz-{}", std::process::id()));
    fs::write(&path, data).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    path
}

/// Small enough that a bomb ends soon.
fn limits() -> SourceLimits {
    SourceLimits {
        unpacked_bytes_max: 4 << 20,
        file_bytes_max: 1 << 20,
        entries_max: 2_000,
        ..SourceLimits::default()
    }
}

pub(crate) fn any(data: &[u8]) {
    let path = file(data);
    if let Ok(source) = Source::open_named(&path, "a.tar", limits()) {
        for document in source {
            let Ok(document) = document else { break };
            assert!(!document.path.starts_with('/') && document.path.split('/').all(|part| part != ".."));
        }
    }
    let _ = Package::read_all(&path);
}

/// A tar by its first header: a name, and the magic that tells it.
pub(crate) fn tar(data: &[u8]) {
    let mut bytes = vec![0_u8; 512];
    bytes[..4].copy_from_slice(b"a.md");
    bytes[124..135].copy_from_slice(b"00000000001");
    bytes[156] = b'0';
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.resize(1024, b'x');
    bytes.extend_from_slice(data);
    any(&bytes);
}

/// A zip by its first signature.
pub(crate) fn zip(data: &[u8]) {
    any(&[b"PK\x03\x04".as_slice(), data].concat());
}
