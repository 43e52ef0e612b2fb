//! Files that are not what was written.

use std::fs;
use std::path::Path;

use super::*;
use crate::bundle::layout::{self, HEADER_BYTES};

/// Bytes of a bundle that has every section, and its table.
pub(super) fn full_bundle(dir: &Path) -> (Vec<u8>, Vec<layout::Entry>) {
    let built = build(dir, draft(Some(3)), &sample(), 1);
    let bytes = fs::read(path_of(dir, &built)).unwrap();
    let entries = layout::decode(&bytes[..HEADER_BYTES], bytes.len() as u64).unwrap();
    assert_eq!(entries.len(), 10);
    (bytes, entries)
}

pub(super) fn open_bytes(dir: &Path, bytes: &[u8]) -> Result<Bundle, BundleError> {
    let path = dir.join("changed.bundle");
    fs::write(&path, bytes).unwrap();
    Bundle::open(&path)
}

#[test]
fn a_damaged_byte_is_found_wherever_it_is_and_its_section_named() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, entries) = full_bundle(dir.path());
    open_bytes(dir.path(), &bytes).unwrap();
    for entry in &entries {
        for at in [entry.offset, entry.offset + entry.length / 2, entry.end() - 1] {
            let mut damaged = bytes.clone();
            damaged[at as usize] ^= 0x20;
            match open_bytes(dir.path(), &damaged) {
                Err(BundleError::Damaged { path, section }) => {
                    assert_eq!(section, entry.section);
                    assert_eq!(path, dir.path().join("changed.bundle"));
                }
                other => panic!("{} at {at}: {other:?}", entry.section),
            }
        }
    }
    // Between sections, and anywhere at all.
    let mut padding = 0;
    for at in (0..bytes.len()).filter(|at| at % 7 == 0 || bytes[*at] == 0) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(open_bytes(dir.path(), &damaged).is_err(), "byte {at}");
        padding += usize::from(entries.iter().all(|one| !(one.offset..one.end()).contains(&(at as u64))));
    }
    assert!(padding > HEADER_BYTES / 2);
}

#[test]
fn a_file_cut_short_or_made_longer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bytes, _) = full_bundle(dir.path());
    for length in [0, 1, 7, 8, 12, 500, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, bytes.len() - 1] {
        let opened = open_bytes(dir.path(), &bytes[..length]);
        assert!(
            matches!(opened, Err(BundleError::Damaged { .. } | BundleError::NotABundle { .. })),
            "{length}: {opened:?}"
        );
    }
    bytes.push(0);
    assert!(matches!(
        open_bytes(dir.path(), &bytes),
        Err(BundleError::Damaged { section: Section::Header, .. })
    ));
}

#[test]
fn a_newer_format_is_refused_with_a_sentence_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bytes, _) = full_bundle(dir.path());
    bytes[8] = 9;
    let error = open_bytes(dir.path(), &bytes).unwrap_err();
    assert!(matches!(error, BundleError::Newer { found: 9, .. }));
    let text = error.to_string();
    assert!(text.contains("format 9") && text.contains("upgrade this node"), "{text}");
    let other = open_bytes(dir.path(), b"%PDF-1.7 and so on").unwrap_err();
    assert!(other.to_string().ends_with("is not an index bundle"), "{other}");
}
