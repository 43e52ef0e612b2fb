//! Which files of a source are documentation, told by their path alone.
//!
//! Documentation are pages (Markdown, HTML, reStructuredText, AsciiDoc, notebooks, plain text) wherever
//! they lie, JSON and YAML whose name or folder says OpenAPI (their content decides), the library
//! sources of Rust, TypeScript and Python packages and examples in Rust; not what a project says about itself
//! (licence, change log, contributing), its tests, what it built, or what it copied from others.

use super::Skip;

/// What a document is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A page: Markdown, MDX, HTML, reStructuredText, AsciiDoc, a notebook, an OpenAPI document or plain text.
    Page,
    /// Library source of a Rust package, read for its doc comments.
    RustSource,
    /// An example program of a Rust package, shown as code.
    RustExample,
    /// Declarations or source of an npm package, read for its exports and their JSDoc.
    TypeScript,
    /// A module of a Python distribution or its stub, read for its docstrings.
    Python,
}

/// Tells what the file at `path` (relative, with `/`) is read for, or why it is not read.
pub fn classify(path: &str) -> Result<Kind, Skip> {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut in_documentation = false;
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        if let Some(skip) = excluded_folder(folder, in_documentation) {
            return Err(skip);
        }
        in_documentation |= is_documentation_folder(folder);
    }
    if name.starts_with('.') {
        return Err(Skip::Hidden);
    }
    let name = name.to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    if stem.ends_with(".min") || stem.ends_with("-min") || stem.ends_with(".bundle") {
        return Err(Skip::Minified);
    }
    match extension {
        "rs" => rust(folders, stem),
        "ts" | "mts" | "cts" => typescript(folders, stem, in_documentation),
        "py" | "pyi" => python(folders, stem, in_documentation),
        "html" | "htm" | "xhtml" => Ok(Kind::Page),
        "md" | "markdown" | "mdown" | "mkd" | "mkdn" | "mdx" | "rst" | "rest" | "adoc" | "asciidoc"
        | "ipynb" => prose(stem).map_or(Ok(Kind::Page), Err),
        "txt" | "text" => match prose(stem) {
            Some(skip) => Err(skip),
            None if is_data(stem) => Err(Skip::NotDocumentation),
            None => Ok(Kind::Page),
        },
        "" => match prose(stem) {
            Some(skip) => Err(skip),
            None if stem == "readme" => Ok(Kind::Page),
            None => Err(Skip::NotDocumentation),
        },
        "json" | "yaml" | "yml" if describes_api(folders, stem) => Ok(Kind::Page),
        // `LICENSE-MIT`, `LICENSE.APACHE2`: the end of the name is not an extension.
        _ => Err(prose(stem).unwrap_or(Skip::NotDocumentation)),
    }
}

/// As [`classify`], for a document that was sent alone: then any JSON or YAML may be an OpenAPI document.
pub(super) fn classify_alone(name: &str) -> Result<Kind, Skip> {
    match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "json" | "yaml" | "yml" => Ok(Kind::Page),
        _ => classify(name),
    }
}

/// Whether JSON or YAML at this place is likely an OpenAPI document: most of it is data of programs, and
/// to open all of it would cost more than it brings.
fn describes_api(folders: &str, stem: &str) -> bool {
    let named = |name: &str| name.contains("openapi") || name.contains("swagger");
    named(stem)
        || named(&folders.to_ascii_lowercase())
        || matches!(stem, "api" | "api-spec" | "api_spec" | "apispec")
}

/// Why nothing below the folder at `path` is read, so that it need not be opened.
pub(super) fn classify_folder(path: &str) -> Option<Skip> {
    let mut in_documentation = false;
    path.split('/').find_map(|folder| {
        let skip = excluded_folder(folder, in_documentation);
        in_documentation |= is_documentation_folder(folder);
        skip
    })
}

/// A folder by this name holds documentation, whatever the names of the folders in it mean elsewhere.
fn is_documentation_folder(name: &str) -> bool {
    ["doc", "docs", "documentation", "guide", "guides", "book", "website"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn excluded_folder(name: &str, in_documentation: bool) -> Option<Skip> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "." | ".." => Some(Skip::UnsafePath),
        // Sphinx puts its input beside its output.
        "node_modules" | "__pycache__" | "bower_components" | "site-packages" | "_sources" => {
            Some(Skip::Vendored)
        }
        _ if name.starts_with('.') => Some(Skip::Hidden),
        _ if in_documentation => None,
        "target" | "vendor" | "vendored" | "_vendor" | "third_party" | "third-party" => Some(Skip::Vendored),
        "test" | "tests" | "__tests__" | "testdata" | "test_data" | "fixtures" | "benches" | "fuzz" => {
            Some(Skip::Tests)
        }
        _ => None,
    }
}

fn rust(folders: &str, stem: &str) -> Result<Kind, Skip> {
    let mut parts = folders.split('/').filter(|folder| !folder.is_empty());
    match parts.find(|part| matches!(*part, "src" | "examples")) {
        Some("examples") => return Ok(Kind::RustExample),
        Some(_) => {}
        // A few packages have their library beside the manifest.
        None if folders.is_empty() && stem != "build" => {}
        None => return Err(Skip::NotDocumentation),
    }
    match stem {
        "test" | "tests" => Err(Skip::Tests),
        _ if stem.ends_with("_test") || stem.ends_with("_tests") => Err(Skip::Tests),
        // Programs have no interface to call.
        "main" if parts.next().is_none() => Err(Skip::NotDocumentation),
        _ if parts.next() == Some("bin") => Err(Skip::NotDocumentation),
        _ => Ok(Kind::RustSource),
    }
}

/// Folders of a package whose code is not its interface.
fn is_aside(folders: &str) -> bool {
    let aside = [
        "example",
        "examples",
        "demo",
        "demos",
        "script",
        "scripts",
        "bench",
        "benchmark",
        "benchmarks",
        "e2e",
        "spec",
    ];
    folders.split('/').any(|folder| aside.iter().any(|known| folder.eq_ignore_ascii_case(known)))
}

fn typescript(folders: &str, stem: &str, in_documentation: bool) -> Result<Kind, Skip> {
    let about = stem.rsplit_once('.').map_or("", |(_, about)| about);
    match about {
        "test" | "spec" | "bench" | "e2e" | "stories" | "test-d" => Err(Skip::Tests),
        "config" => Err(Skip::NotDocumentation),
        _ if in_documentation || is_aside(folders) => Err(Skip::NotDocumentation),
        _ => Ok(Kind::TypeScript),
    }
}

fn python(folders: &str, stem: &str, in_documentation: bool) -> Result<Kind, Skip> {
    match stem {
        "test" | "tests" | "conftest" => Err(Skip::Tests),
        _ if stem.starts_with("test_") || stem.ends_with("_test") => Err(Skip::Tests),
        "setup" | "noxfile" | "fabfile" | "manage" if folders.is_empty() => Err(Skip::NotDocumentation),
        _ if in_documentation || is_aside(folders) => Err(Skip::NotDocumentation),
        _ => Ok(Kind::Python),
    }
}

/// Whether a text is about the project rather than its use; `stem` is in lower case.
fn prose(stem: &str) -> Option<Skip> {
    let word = stem.split(['-', '_', '.']).next().unwrap_or(stem);
    match (word, stem) {
        (
            "license" | "licence" | "licenses" | "copying" | "copyright" | "notice" | "patents" | "unlicense",
            _,
        ) => Some(Skip::Licence),
        (
            _,
            "changelog" | "changes" | "history" | "news" | "releases" | "release_notes" | "release-notes"
            | "change_log",
        ) => Some(Skip::Changelog),
        ("changelog", _) => Some(Skip::Changelog),
        (
            _,
            "contributing"
            | "contributors"
            | "code_of_conduct"
            | "code-of-conduct"
            | "security"
            | "governance"
            | "maintainers"
            | "authors"
            | "codeowners"
            | "pull_request_template"
            | "issue_template"
            | "releasing"
            | "thanks"
            | "sponsors",
        ) => Some(Skip::Project),
        _ => None,
    }
}

/// Text files that programs read.
fn is_data(stem: &str) -> bool {
    stem.starts_with("requirements")
        || stem.ends_with("requirements")
        || matches!(
            stem,
            "cmakelists"
                | "robots"
                | "humans"
                | "top_level"
                | "entry_points"
                | "sources"
                | "dependency_links"
                | "constraints"
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documentation_is_told_by_its_path() {
        use Kind::{Page, Python, RustExample, RustSource, TypeScript};
        for (path, kind) in [
            ("README.md", Page),
            ("README", Page),
            ("readme.rst", Page),
            ("llms.txt", Page),
            ("docs/guide/intro.mdx", Page),
            ("doc/testing/tests/index.html", Page),
            ("docs/target/overview.md", Page),
            ("library/json.html", Page),
            ("whatsnew/changelog.html", Page),
            ("topics/db.txt", Page),
            ("guide/intro.adoc", Page),
            ("tutorials/First Steps.ipynb", Page),
            ("openapi.yaml", Page),
            ("spec/petstore.swagger.json", Page),
            ("OpenAPI/v2/pets.yml", Page),
            ("api.json", Page),
            ("packages/core/README.md", Page),
            ("src/lib.rs", RustSource),
            ("src/sync/mpsc/mod.rs", RustSource),
            ("lib.rs", RustSource),
            ("tokio/src/task/spawn.rs", RustSource),
            ("index.d.ts", TypeScript),
            ("dist/types/client.d.mts", TypeScript),
            ("src/client.ts", TypeScript),
            ("httpx/_client.py", Python),
            ("src/kit/__init__.pyi", Python),
            ("examples/echo.rs", RustExample),
            ("examples/chat/main.rs", RustExample),
        ] {
            assert_eq!(classify(path), Ok(kind), "{path}");
        }
    }

    #[test]
    fn what_is_not_documentation_has_a_reason() {
        for (path, skip) in [
            ("LICENSE", Skip::Licence),
            ("LICENSE-MIT", Skip::Licence),
            ("license-apache.txt", Skip::Licence),
            ("COPYING.md", Skip::Licence),
            ("CHANGELOG.md", Skip::Changelog),
            ("changelog-v2.md", Skip::Changelog),
            ("NEWS", Skip::Changelog),
            ("CONTRIBUTING.md", Skip::Project),
            (".github/ISSUE_TEMPLATE.md", Skip::Hidden),
            (".hidden.md", Skip::Hidden),
            ("tests/data/a.md", Skip::Tests),
            ("src/tests/mod.rs", Skip::Tests),
            ("src/tests.rs", Skip::Tests),
            ("src/foo_test.rs", Skip::Tests),
            ("benches/a.rs", Skip::Tests),
            ("node_modules/a/README.md", Skip::Vendored),
            ("docs/node_modules/a/README.md", Skip::Vendored),
            ("target/doc/a.html", Skip::Vendored),
            ("_sources/library/json.rst.txt", Skip::Vendored),
            ("vendor/zlib/README.md", Skip::Vendored),
            ("docs/app.min.html", Skip::Minified),
            ("src/main.rs", Skip::NotDocumentation),
            ("src/bin/tool.rs", Skip::NotDocumentation),
            ("build.rs", Skip::NotDocumentation),
            ("main.rs", Skip::NotDocumentation),
            ("ci/tool.rs", Skip::NotDocumentation),
            ("package.json", Skip::NotDocumentation),
            ("mkdocs.yml", Skip::NotDocumentation),
            ("requirements.txt", Skip::NotDocumentation),
            ("CMakeLists.txt", Skip::NotDocumentation),
            ("logo.png", Skip::NotDocumentation),
            ("src/client.test.ts", Skip::Tests),
            ("vite.config.ts", Skip::NotDocumentation),
            ("docs/site.ts", Skip::NotDocumentation),
            ("examples/server.ts", Skip::NotDocumentation),
            ("kit/test_client.py", Skip::Tests),
            ("conftest.py", Skip::Tests),
            ("setup.py", Skip::NotDocumentation),
            ("docs/conf.py", Skip::NotDocumentation),
            ("pip/_vendor/rich/box.py", Skip::Vendored),
            ("index.js", Skip::NotDocumentation),
            ("Makefile", Skip::NotDocumentation),
            ("", Skip::NotDocumentation),
            ("../README.md", Skip::UnsafePath),
        ] {
            assert_eq!(classify(path), Err(skip), "{path}");
        }
    }

    #[test]
    fn a_document_that_is_sent_alone_is_told_by_its_content() {
        assert_eq!(classify_alone("pets.YAML"), Ok(Kind::Page));
        assert_eq!(classify_alone("pets.md"), Ok(Kind::Page));
        assert_eq!(classify_alone("logo.png"), Err(Skip::NotDocumentation));
    }

    #[test]
    fn a_folder_that_is_not_opened_holds_no_documentation() {
        for folder in ["target", "a/node_modules", ".git", "tests"] {
            let skip = classify_folder(folder).unwrap();
            assert_eq!(classify(&format!("{folder}/README.md")), Err(skip), "{folder}");
        }
        assert_eq!(classify_folder("docs/tests"), None);
        assert_eq!(classify_folder("src"), None);
    }

    proptest! {
        #[test]
        fn any_path_is_classified(path in "\\PC{0,80}") {
            let _ = classify(&path);
            let _ = classify_folder(&path);
        }
    }
}
