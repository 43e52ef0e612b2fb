//! Documentation whose right answers are known: a small library "Kiln" in Markdown and HTML, larger made-up ones for
//! load, and archives of either.

use std::fmt::Write as _;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

/// An OpenAPI document: how to fire a kiln over HTTP.
pub const OPENAPI: &str = r#"{
  "openapi": "3.1.0",
  "info": { "title": "Kiln API", "version": "2" },
  "paths": { "/kilns/{id}/fire": { "post": {
    "operationId": "fire_kiln",
    "summary": "Lights the burners of a kiln.",
    "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }],
    "responses": { "202": { "description": "The burners are lit." } }
  } } }
}"#;

/// Where Kiln's pages are said to be published; links in answers begin with it.
pub const BASE_URL: &str = "https://kiln.example/docs/";

/// A question about Kiln and where its answer stands.
pub struct Question {
    /// What is asked.
    pub text: &'static str,
    /// Path of the page that answers.
    pub page: &'static str,
    /// Anchor on that page which the best passage must cover.
    pub anchor: &'static str,
    /// A stretch of that passage.
    pub says: &'static str,
}

/// One question a page, of both formats.
pub const QUESTIONS: &[Question] = &[
    Question {
        text: "how do I retry a failed firing with exponential backoff",
        page: "guide/retries.md",
        anchor: "exponential-backoff",
        says: "RetryPolicy::exponential",
    },
    Question {
        text: "open a kiln with a password",
        page: "guide/connecting.md",
        anchor: "passwords",
        says: "Kiln::open_with_password",
    },
    Question {
        text: "read the temperature probe every second",
        page: "reference/probe.html",
        anchor: "kiln.Probe.stream",
        says: "reading.celsius",
    },
    Question {
        text: "glaze colour codes",
        page: "reference/glaze.html",
        anchor: "colour-codes",
        says: "celadon",
    },
];

/// Kiln's pages by path.
const KILN: &[(&str, &str)] = &[
    ("README.md", include_str!("kiln/README.md")),
    ("guide/retries.md", include_str!("kiln/guide/retries.md")),
    ("guide/connecting.md", include_str!("kiln/guide/connecting.md")),
    ("reference/probe.html", include_str!("kiln/reference/probe.html")),
    ("reference/glaze.html", include_str!("kiln/reference/glaze.html")),
];

/// The files of Kiln's documentation as of `version`, by path; the page on retries says `since VERSION`.
pub fn kiln(version: &str) -> Vec<(String, Vec<u8>)> {
    KILN.iter()
        .map(|(path, text)| ((*path).to_owned(), text.replace("VERSION", version).into_bytes()))
        .collect()
}

/// The page of Kiln that answers the first question, as of `version`.
pub fn one_page(version: &str) -> Vec<u8> {
    kiln(version).swap_remove(1).1
}

/// Made-up pages of `sections` sections each, the same for the same numbers. Words repeat as they do in real text,
/// every section has a name of its own that finds it (`topic-PAGE-SECTION`).
pub fn made_up(pages: usize, sections: usize) -> Vec<(String, Vec<u8>)> {
    const WORDS: &[&str] = &[
        "request", "stream", "buffer", "timeout", "value", "parser", "token", "session", "reader", "writer",
        "handle", "queue", "worker", "config", "header", "cache", "index", "field", "record", "client",
        "server", "error", "retry", "batch", "cursor", "filter", "schema", "column", "thread", "signal",
        "socket", "socket", "frame", "offset", "length", "digest", "cipher", "policy", "limit", "clock",
        "event", "topic", "route", "scope",
    ];
    // A multiplicative congruential generator (Lehmer, 1951): text need not be more random than that.
    let mut state: u64 = 48_271;
    let mut word = || {
        state = state * 48_271 % 2_147_483_647;
        // Two draws multiplied: low numbers are frequent, high ones rare.
        let first = usize::try_from(state % 997).expect("a small number");
        let second = usize::try_from(state / 997 % 997).expect("a small number");
        WORDS[first * second * WORDS.len() / (997 * 997)]
    };
    let page = |page: usize| {
        let mut text = format!("# Chapter {page}\n\n");
        for section in 0..sections {
            let _ = write!(text, "## topic-{page}-{section} of the {} {}\n\n", word(), word());
            for _ in 0..60 {
                text.push_str(word());
                text.push(' ');
            }
            let _ = write!(text, ".\n\n```rust\nlet {} = {}::new({section});\n```\n\n", word(), word());
        }
        (format!("chapters/{page:05}.md"), text.into_bytes())
    };
    (0..pages).map(page).collect()
}

/// Writes `files` below `folder`.
///
/// # Panics
/// When the disk refuses.
pub fn write_to(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = folder.join(path);
        let parent = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(parent).expect("a temporary folder takes folders");
        fs::write(path, bytes).expect("a temporary folder takes files");
    }
}

/// `files` as a tar archive.
///
/// # Panics
/// Never for paths a tar archive can hold.
pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len()).expect("lengths fit"));
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, path, bytes.as_slice()).expect("memory takes every byte");
    }
    archive.into_inner().expect("memory takes every byte")
}

/// `files` in each archive format a node takes, with the name that tells it.
///
/// # Panics
/// Never for paths an archive can hold.
pub fn archives(files: &[(String, Vec<u8>)]) -> Vec<(&'static str, Vec<u8>)> {
    let tar = tar(files);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("memory takes every byte");
    let gzip = gzip.finish().expect("memory takes every byte");
    let zstd = zstd::encode_all(tar.as_slice(), 1).expect("memory takes every byte");
    vec![("docs.tar", tar), ("docs.tar.gz", gzip), ("docs.tar.zst", zstd), ("docs.zip", zip(files))]
}

fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        archive.start_file(path, zip::write::SimpleFileOptions::default()).expect("memory takes every byte");
        archive.write_all(bytes).expect("memory takes every byte");
    }
    archive.finish().expect("memory takes every byte").into_inner()
}

/// A folder as Cargo keeps its sources, with the crate `kiln` 1.4.2 in it, and a project that is locked to it: what
/// `quickstart` and `twinmcp index Cargo.lock` find on a developer's machine.
///
/// # Panics
/// When the disk refuses.
pub fn cargo_project(folder: &Path) {
    let source = "registry+https://registry.example/index";
    let lock = format!(
        "version = 4\n\n[[package]]\nname = \"pottery\"\nversion = \"0.1.0\"\ndependencies = [\"kiln\"]\n\n\
         [[package]]\nname = \"kiln\"\nversion = \"1.4.2\"\nsource = \"{source}\"\n"
    );
    let manifest = "[package]\nname = \"kiln\"\nversion = \"1.4.2\"\nedition = \"2021\"\n\
        description = \"Fires pottery\"\nrepository = \"https://git.example/kiln/kiln\"\n";
    let library = "//! Fires pottery.\n\n/// How often a firing is tried again.\npub struct RetryPolicy;\n\n\
        impl RetryPolicy {\n    /// Retries a failed firing with exponential backoff, at most `attempts` times.\n    \
        ///\n    /// ```\n    /// let policy = kiln::RetryPolicy::exponential(5);\n    /// ```\n    \
        pub fn exponential(attempts: u32) -> Self { let _ = attempts; Self }\n}\n";
    let home = "cargo/registry/src/registry.example-0123456789abcdef/kiln-1.4.2";
    let files = [
        ("project/Cargo.lock".to_owned(), lock.as_str()),
        (format!("{home}/Cargo.toml"), manifest),
        (format!("{home}/src/lib.rs"), library),
        (format!("{home}/README.md"), "# Kiln\n\nOpens with `Kiln::open_with_password`.\n"),
    ];
    let files: Vec<(String, Vec<u8>)> =
        files.into_iter().map(|(path, text)| (path, text.as_bytes().to_vec())).collect();
    write_to(folder, &files);
}

/// An npm project at `folder/web`: a lockfile, and one of its two packages in `node_modules`.
pub fn npm_project(folder: &Path) {
    let lock = r#"{"name": "web", "lockfileVersion": 3, "packages": {"": {"name": "web"},
        "node_modules/@acme/kiln": {"version": "3.1.0"}, "node_modules/gone": {"version": "1.0.0"}}}"#;
    let manifest = r#"{"name": "@acme/kiln", "version": "3.1.0", "description": "Fires pots.", "types": "./lib/index.d.ts"}"#;
    let types = "export { Kiln } from './kiln';\n";
    let kiln = "export interface Schedule { steps: number }\nexport interface Report { peak: number }\n/** Heats. */\n\
        export declare class Kiln {\n  /**\n   * Fires what is inside with a schedule.\n   * @param schedule - How hot, how long.\n   */\n  \
        fire(schedule: Schedule): Promise<Report>;\n}\n";
    let package = "node_modules/@acme/kiln";
    let files = [
        ("package-lock.json".to_owned(), lock),
        (format!("{package}/package.json"), manifest),
        (format!("{package}/lib/index.d.ts"), types),
        (format!("{package}/lib/kiln.d.ts"), kiln),
    ];
    write_to(&folder.join("web"), &files.map(|(path, text)| (path, text.as_bytes().to_vec())));
}

/// A Python project at `folder/py`: three lockfiles, and an environment. Each lockfile names a package of its own that is there, one
/// that is not, and perhaps some that need not be.
pub fn python_project(folder: &Path) {
    let site = "venv/lib/python3.12/site-packages";
    let source = "\"\"\"Kilns.\"\"\"\nfrom ._time import cooling_time\n__all__ = ['cooling_time']\n";
    let time = "def cooling_time(peak: float, *, slow: bool = False) -> float:\n    \"\"\"How long it takes to cool.\n\n    Args:\n        peak: Degrees.\n    \"\"\"\n";
    let metadata = "Name: kiln.py\nVersion: 0.9.0\nSummary: Fires pots.\n";
    let record = "kilnlib/__init__.py,,\nkilnlib/_time.py,,\nkiln_py-0.9.0.dist-info/METADATA,,\nkiln_py-0.9.0.dist-info/RECORD,,\n";
    let wheels = "\"\"\"Wheels.\"\"\"\n\ndef wheel_speed(clay: float) -> float:\n    \"\"\"How fast the wheel turns.\"\"\"\n";
    let shelves = "\"\"\"Shelves.\"\"\"\n\ndef shelf_days(wall: float) -> int:\n    \"\"\"How many days a pot dries.\"\"\"\n";
    let uv = "version = 1\n\n[[package]]\nname = \"studio\"\nversion = \"0.1.0\"\nsource = { virtual = \".\" }\n\n\
        [[package]]\nname = \"throwing\"\nversion = \"1.2.0\"\nsource = { registry = \"https://index.example\" }\n\n\
        [[package]]\nname = \"unsynced\"\nversion = \"3.0\"\nsource = { registry = \"https://index.example\" }\n";
    let poetry = "[[package]]\nname = \"drying\"\nversion = \"4.1.0\"\noptional = false\n\n\
        [[package]]\nname = \"elsewhere\"\nversion = \"1.0\"\noptional = true\n\n\
        [[package]]\nname = \"uninstalled\"\nversion = \"5.0\"\noptional = false\n";
    let files = [
        ("requirements.txt".to_owned(), "Kiln.py==0.9\nabsent==2.0\n"),
        ("uv.lock".to_owned(), uv),
        ("poetry.lock".to_owned(), poetry),
        (format!("{site}/kilnlib/__init__.py"), source),
        (format!("{site}/kilnlib/_time.py"), time),
        (format!("{site}/kiln_py-0.9.0.dist-info/METADATA"), metadata),
        (format!("{site}/kiln_py-0.9.0.dist-info/RECORD"), record),
        (format!("{site}/throwing/__init__.py"), wheels),
        (format!("{site}/throwing-1.2.0.dist-info/METADATA"), "Name: throwing\nVersion: 1.2.0\n"),
        (format!("{site}/throwing-1.2.0.dist-info/RECORD"), "throwing/__init__.py,,\n"),
        (format!("{site}/drying/__init__.py"), shelves),
        (format!("{site}/drying-4.1.0.dist-info/METADATA"), "Name: drying\nVersion: 4.1.0\n"),
        (format!("{site}/drying-4.1.0.dist-info/RECORD"), "drying/__init__.py,,\n"),
    ];
    write_to(&folder.join("py"), &files.map(|(path, text)| (path, text.as_bytes().to_vec())));
}
