//! Sources against folders and archives made here, friendly and hostile.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const FILES: [(&str, &str); 5] = [
    ("README.md", "# Read me\n"),
    ("docs/guide.html", "<h1>Guide</h1>\n"),
    ("examples/one.rs", "fn main() {}\n"),
    ("src/lib.rs", "//! Library.\n"),
    ("src/net/mod.rs", "//! Net.\n"),
];

fn all(source: Source) -> Vec<SourceFile> {
    source.map(Result::unwrap).collect()
}

fn paths(files: &[SourceFile]) -> Vec<&str> {
    files.iter().map(|file| file.path.as_str()).collect()
}

fn open(path: &Path) -> Result<Source, SourceError> {
    Source::open(path, SourceLimits::default())
}

/// What is skipped, by reason.
fn skipped(source: Source) -> Vec<(Skip, usize)> {
    let mut source = source;
    while source.next().is_some() {}
    source.report().counts().iter().map(|(skip, count)| (*skip, *count)).collect()
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A file by this name in a folder of its own.
fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn header(size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header
}

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = header(text.len() as u64, tar::EntryType::Regular);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A tar entry with a path that the builder would refuse.
fn raw_tar_entry(path: &[u8], kind: tar::EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = header(content.len() as u64, kind);
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (path, text) in files {
        writer.start_file(*path, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn wrapped<'a>(files: &'a [(&'a str, &'a str)]) -> Vec<(String, &'a str)> {
    files.iter().map(|(path, text)| (format!("pkg-1.2.3/{path}"), *text)).collect()
}

#[test]
fn every_kind_of_archive_gives_the_same_documents_as_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in FILES {
        write(folder.path(), path, text);
    }
    let expected = all(open(folder.path()).unwrap());
    assert_eq!(paths(&expected), FILES.map(|(path, _)| path));

    let wrapped = wrapped(&FILES);
    let wrapped: Vec<(&str, &str)> = wrapped.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let tar = tar_of(&wrapped);
    for (name, bytes) in [
        ("pkg.tar", tar.clone()),
        ("pkg.tar.gz", gzip(&tar)),
        ("pkg.crate", gzip(&tar)),
        ("pkg.tar.zst", zstd::stream::encode_all(&tar[..], 3).unwrap()),
        ("pkg.tar.xz", xz(&tar)),
        ("pkg.zip", zip_of(&wrapped)),
        ("pkg.whl", zip_of(&FILES)),
        // Told by its bytes, not by its name.
        ("pkg.zip", gzip(&tar)),
        ("pkg", zip_of(&wrapped)),
    ] {
        let (_folder, path) = file(name, &bytes);
        let source = open(&path).unwrap();
        assert_eq!(source.files_total(), FILES.len(), "{name}");
        assert_eq!(all(source), expected, "{name}");
    }
}

#[test]
fn a_folder_gives_what_git_would_see_and_follows_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret.md", "secret");
    let root = folder.path();
    for (path, text) in [
        (".gitignore", "ignored.md\n/build/\n"),
        ("b.md", "b"),
        ("a/z.md", "z"),
        ("a-b.md", "ab"),
        ("ignored.md", ""),
        ("build/out.md", ""),
        (".hidden/a.md", ""),
        ("node_modules/x/README.md", ""),
        ("a/.gitignore", "!ignored.md\nlocal.md\n"),
        ("a/local.md", ""),
    ] {
        write(root, path, text);
    }
    std::os::unix::fs::symlink(outside.path(), root.join("linked")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.md"), root.join("secret.md")).unwrap();

    let mut source = open(root).unwrap();
    let files: Vec<SourceFile> = source.by_ref().map(Result::unwrap).collect();
    assert_eq!(paths(&files), ["a-b.md", "a/z.md", "b.md"]);
    assert_eq!(source.report().counts().get(&Skip::Link), Some(&2));

    let package = all(Source::open_package(root, SourceLimits::default()).unwrap());
    assert_eq!(paths(&package), ["a-b.md", "a/local.md", "a/z.md", "b.md", "build/out.md", "ignored.md"]);
}

#[test]
fn a_file_that_became_a_link_after_the_survey_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.md", "a");
    write(folder.path(), "b.md", "b");
    let (_outside, secret) = file("secret.md", b"secret");
    let mut source = open(folder.path()).unwrap();
    fs::remove_file(folder.path().join("a.md")).unwrap();
    std::os::unix::fs::symlink(secret, folder.path().join("a.md")).unwrap();
    let files: Vec<SourceFile> = source.by_ref().map(Result::unwrap).collect();
    assert_eq!(paths(&files), ["b.md"]);
    assert_eq!(source.report().paths(), [("a.md".to_owned(), Skip::Link)]);
}

#[test]
fn one_document_is_a_source_and_a_picture_is_none() {
    let (_folder, path) = file("guide.md", b"# Guide");
    assert_eq!(paths(&all(open(&path).unwrap())), ["guide.md"]);
    let (_folder, path) = file("a.png", b"\x89PNG....");
    assert!(matches!(open(&path), Err(SourceError::Unsupported { .. })));
    assert!(matches!(open(Path::new("/nonexistent")), Err(SourceError::Open { .. })));
}

#[test]
fn a_file_at_the_root_is_found_in_folders_and_in_archives_with_and_without_a_wrapper() {
    let about = ("context7.json", "{}");
    let inner = ("docs/context7.json", "no");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), about.0, about.1);
    std::os::unix::fs::symlink(folder.path().join(about.0), folder.path().join("link.json")).unwrap();
    assert_eq!(root_file(folder.path(), "context7.json", 10).as_deref(), Some(&b"{}"[..]));
    assert_eq!(root_file(folder.path(), "context7.json", 1), None);
    assert_eq!(root_file(folder.path(), "link.json", 10), None);
    let files = [inner, ("README.md", ""), about];
    let wrapped = wrapped(&files);
    let wrapped: Vec<(&str, &str)> = wrapped.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    for bytes in [tar_of(&files), gzip(&tar_of(&wrapped)), zip_of(&files), zip_of(&wrapped)] {
        let (_folder, path) = file("a.bin", &bytes);
        assert_eq!(root_file(&path, "context7.json", 10).as_deref(), Some(&b"{}"[..]));
        assert_eq!(root_file(&path, "context7.json", 1), None);
        assert_eq!(root_file(&path, "other.json", 10), None);
    }
}

#[test]
fn long_names_of_gnu_and_pax_are_joined() {
    let long = format!("docs/{}/guide.md", "deep/".repeat(20) + &"n".repeat(90));
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header(3, tar::EntryType::Regular), &long, &b"gnu"[..]).unwrap();
    let other = long.replace("guide", "other");
    builder.append_pax_extensions([("path", other.as_bytes()), ("mtime", b"1.5")]).unwrap();
    builder.append_data(&mut header(3, tar::EntryType::Regular), "short.md", &b"pax"[..]).unwrap();
    let (_folder, path) = file("a.tar", &builder.into_inner().unwrap());
    let files = all(open(&path).unwrap());
    assert_eq!(paths(&files), [long.as_str(), other.as_str()]);
    assert_eq!([files[0].bytes.as_slice(), files[1].bytes.as_slice()], [b"gnu", b"pax"]);
}

#[test]
fn hostile_tar_entries_are_left_out_and_counted() {
    let mut bytes = Vec::new();
    for (path, kind) in [
        (&b"../evil.md"[..], tar::EntryType::Regular),
        (b"/etc/evil.md", tar::EntryType::Regular),
        (b"a/../../evil.md", tar::EntryType::Regular),
        (b"bad\xff.md", tar::EntryType::Regular),
        (b"link.md", tar::EntryType::Symlink),
        (b"hard.md", tar::EntryType::Link),
        (b"device.md", tar::EntryType::Char),
        (b"pipe.md", tar::EntryType::Fifo),
        (b"good.md", tar::EntryType::Regular),
        (b"good.md", tar::EntryType::Regular),
    ] {
        bytes.extend(raw_tar_entry(path, kind, b""));
    }
    bytes.extend([0; 1024]);
    let (_folder, path) = file("a.tar", &bytes);
    assert_eq!(paths(&all(open(&path).unwrap())), ["good.md"]);
    assert_eq!(
        skipped(open(&path).unwrap()),
        [(Skip::UnsafePath, 4), (Skip::Link, 2), (Skip::Special, 2), (Skip::Duplicate, 1)]
    );
}

#[test]
fn hostile_zip_entries_are_left_out_and_counted() {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for path in ["../evil.md", "/etc/evil.md", "a\\..\\..\\evil.md", "win\\good.md", "top.md"] {
        writer.start_file(path, options).unwrap();
        writer.write_all(b"x").unwrap();
    }
    writer.add_symlink("link.md", "/etc/passwd", options).unwrap();
    let (_folder, path) = file("a.zip", &writer.finish().unwrap().into_inner());
    assert_eq!(paths(&all(open(&path).unwrap())), ["top.md", "win/good.md"]);
    assert_eq!(skipped(open(&path).unwrap()), [(Skip::UnsafePath, 3), (Skip::Link, 1)]);
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let limits = SourceLimits { unpacked_bytes_max: 1 << 20, ..SourceLimits::default() };
    let zeros = "0".repeat(3 << 20);
    let tar = tar_of(&[("a.md", &zeros)]);
    for (name, bytes) in [
        ("a.tar.gz", gzip(&tar)),
        ("a.tar.xz", xz(&tar)),
        ("a.tar.zst", zstd::stream::encode_all(&tar[..], 3).unwrap()),
        ("a.tar", tar.clone()),
    ] {
        let (_folder, path) = file(name, &bytes);
        let error = Source::open(&path, limits.clone()).map(drop).unwrap_err();
        assert!(matches!(error, SourceError::UnpacksTooFar { limit: 0x10_0000, .. }), "{name}: {error:?}");
    }
    let (_folder, path) = file("a.zip", &zip_of(&[("a.md", &zeros)]));
    let last = Source::open(&path, limits).unwrap().last().unwrap();
    assert!(matches!(last, Err(SourceError::UnpacksTooFar { .. })), "{last:?}");
}

#[test]
fn an_archive_may_not_unpack_to_many_times_its_size() {
    let limits = SourceLimits { unpacked_ratio_max: 2, ..SourceLimits::default() };
    let free = usize::try_from(SourceLimits::RATIO_FREE_BYTES).unwrap();
    let (_folder, path) = file("a.tar.gz", &gzip(&tar_of(&[("a.bin", &"0".repeat(free + 4096))])));
    assert!(matches!(Source::open(&path, limits.clone()), Err(SourceError::UnpacksTooFar { .. })));
    let (_folder, path) = file("b.tar.gz", &gzip(&tar_of(&[("a.bin", &"0".repeat(free - 4096))])));
    assert!(Source::open(&path, limits).is_ok());
}

#[test]
fn a_zip_entry_that_lies_about_its_size_is_cut_off() {
    let limits = SourceLimits { file_bytes_max: 1000, ..SourceLimits::default() };
    let mut bytes = zip_of(&[("a.md", &"0".repeat(100_000)), ("b.md", "b")]);
    // Both copies of the uncompressed size: local header at 22, central directory at 24.
    let real = 100_000_u32.to_le_bytes();
    let places: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, window)| *window == real).map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    let (_folder, path) = file("a.zip", &bytes);
    let mut source = Source::open(&path, limits).unwrap();
    let files: Vec<_> = source.by_ref().map(Result::unwrap).collect();
    assert_eq!(paths(&files), ["b.md"]);
    assert_eq!(source.report().paths().len(), 1);
}

#[test]
fn a_truncated_archive_is_damaged_before_anything_is_read() {
    let text = "lorem ipsum dolor ".repeat(5_000);
    let tar = tar_of(&[("a.md", &text), ("b.md", &text)]);
    for (name, bytes) in [
        ("a.tar", tar.clone()),
        ("a.tar.gz", gzip(&tar)),
        ("a.tar.xz", xz(&tar)),
        ("a.tar.zst", zstd::stream::encode_all(&tar[..], 3).unwrap()),
        ("a.zip", zip_of(&[("a.md", &text)])),
    ] {
        let (_folder, path) = file(name, &bytes[..bytes.len() * 6 / 10]);
        let error = open(&path).map(drop).unwrap_err();
        assert!(matches!(error, SourceError::Damaged { .. }), "{name}: {error:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn a_damaged_zip_entry_is_left_out_alone() {
    let mut bytes = zip_of(&[("a.md", &"lorem ipsum ".repeat(100)), ("b.md", "b")]);
    bytes[45] ^= 0xff;
    let (_folder, path) = file("a.zip", &bytes);
    let mut source = open(&path).unwrap();
    let files: Vec<_> = source.by_ref().map(Result::unwrap).collect();
    assert_eq!(paths(&files), ["b.md"]);
    assert_eq!(source.report().paths(), [("a.md".to_owned(), Skip::Unreadable)]);
}

#[test]
fn limits_leave_out_or_refuse() {
    let (_folder, path) = file("a.zip", &zip_of(&FILES));
    let with = |limits: SourceLimits| Source::open(&path, limits);
    assert!(matches!(
        with(SourceLimits { archive_bytes_max: 10, ..Default::default() }),
        Err(SourceError::TooLarge { .. })
    ));
    assert!(matches!(
        with(SourceLimits { entries_max: 2, ..Default::default() }),
        Err(SourceError::TooManyEntries { limit: 2 })
    ));
    let long = with(SourceLimits { directory_bytes_max: 100, ..Default::default() }).map(drop).unwrap_err();
    assert!(long.to_string().contains("more than the limit of 100"), "{long}");
    let few = with(SourceLimits { files_max: 2, ..Default::default() }).unwrap();
    assert_eq!(few.files_total(), 2);
    assert_eq!(skipped(few), [(Skip::TooManyFiles, 3)]);

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a/b/c/d/e.md", "");
    write(folder.path(), "a/b.md", "");
    let source = Source::open(folder.path(), SourceLimits { depth_max: 1, ..Default::default() }).unwrap();
    assert_eq!(source.files_total(), 1);
    assert_eq!(source.report().counts().get(&Skip::TooDeep), Some(&1));
}

#[test]
fn archives_of_other_kinds_are_named_in_the_error() {
    for (bytes, name) in [
        (&b"BZh91AY"[..], "bzip2"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!", "RAR"),
        (b"!<arch>\n", "Debian"),
    ] {
        let (_folder, path) = file("a.bin", bytes);
        let error = open(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let (_folder, path) = file("notes.md.gz", &gzip(b"# not a tar archive at all"));
    assert!(matches!(open(&path), Err(SourceError::Damaged { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_behind_any_magic_give_an_error_or_documents(
        magic in 0_usize..6,
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let magics: [&[u8]; 6] = [b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b""];
        let (_folder, path) = file("a.bin", &[magics[magic], &bytes].concat());
        if let Ok(source) = open(&path) {
            source.for_each(drop);
        }
    }

    #[test]
    fn a_changed_archive_gives_an_error_or_documents(kind in 0_usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let tar = tar_of(&FILES);
        let mut bytes = match kind {
            0 => tar,
            1 => gzip(&tar),
            2 => zip_of(&FILES),
            _ => xz(&tar),
        };
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let (_folder, path) = file("a.bin", &bytes);
        if let Ok(source) = open(&path) {
            for file in source.flatten() {
                prop_assert!(!file.path.contains("..") && !file.path.starts_with('/'));
            }
        }
    }
}
