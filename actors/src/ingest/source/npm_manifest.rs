//! What an npm package says about itself in its `package.json`.
//!
//! Fields as npm documents them; `types` and the conditions of `exports` as TypeScript resolves them
//! (`moduleResolution: node16`), but only as far as declarations are concerned.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::package::{CodeRoot, Ecosystem, Package, one_line};

/// A larger manifest is not read.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Conditions inside conditions.
const NESTING_MAX: usize = 8;
/// Entry points of one package; `date-fns` has 500.
const ENTRIES_MAX: usize = 5_000;

/// The parts of a manifest a library's entry is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmManifest {
    /// With its scope: `@scope/name`.
    pub name: String,
    /// As published; empty in packages that never were.
    pub version: String,
    /// One sentence.
    pub description: Option<String>,
    /// URL of the repository, as a browser opens it.
    pub repository: Option<String>,
    /// URL of the project's own site.
    pub homepage: Option<String>,
    /// What stands behind the name to import an entry point, and the file with its types or its code.
    pub entries: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    #[serde(default)]
    version: String,
    description: Option<Value>,
    repository: Option<Value>,
    homepage: Option<Value>,
    types: Option<Value>,
    typings: Option<Value>,
    main: Option<Value>,
    exports: Option<Value>,
}

impl NpmManifest {
    /// Reads the manifest that `file` gives; `file` is asked for a name at the root of the package and a limit in bytes.
    pub(super) fn read(file: &dyn Fn(&str, u64) -> Option<Vec<u8>>) -> Option<Self> {
        Self::parse(&file("package.json", MANIFEST_BYTES_MAX)?)
    }

    /// Reads a manifest; `None` when it is none, or has no name.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let file: File = serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).ok()?;
        let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).and_then(one_line);
        let entries = entries(&file);
        Some(Self {
            description: text(&file.description),
            repository: file.repository.as_ref().and_then(repository),
            homepage: text(&file.homepage).filter(|url| is_web(url)),
            entries,
            version: file.version,
            name: Some(file.name).filter(|name| !name.trim().is_empty())?,
        })
    }
}

impl From<NpmManifest> for Package {
    fn from(manifest: NpmManifest) -> Self {
        // `@scope/name` is found by `name` too.
        let bare = manifest.name.rsplit('/').next().filter(|name| *name != manifest.name).map(str::to_owned);
        Self {
            ecosystem: Ecosystem::Npm,
            description: manifest.description.unwrap_or_default(),
            aliases: bare.into_iter().collect(),
            source_url: manifest.repository.or(manifest.homepage),
            readme: None,
            code: CodeRoot::TypeScript { entries: manifest.entries },
            name: manifest.name,
        }
    }
}

fn entries(file: &File) -> Vec<(String, String)> {
    let plain = |path: &str| path.trim_start_matches("./").to_owned();
    let mut entries = Vec::new();
    match &file.exports {
        Some(Value::Object(map)) if map.keys().any(|key| key.starts_with('.')) => {
            for (key, value) in map.iter().filter(|(key, _)| key.starts_with('.')) {
                let subpath = key.trim_start_matches('.');
                entries.extend(types(value, 0).map(|path| (subpath.to_owned(), plain(path))));
            }
        }
        Some(value) => entries.extend(types(value, 0).map(|path| (String::new(), plain(path)))),
        None => {}
    }
    if !entries.iter().any(|(subpath, _)| subpath.is_empty()) {
        let fields = [&file.types, &file.typings, &file.main];
        let path = fields.into_iter().flatten().find_map(Value::as_str).unwrap_or("index.js");
        entries.insert(0, (String::new(), plain(path)));
    }
    entries.retain(|(_, path)| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        path.ends_with('*') || matches!(extension, "ts" | "mts" | "cts" | "js" | "mjs" | "cjs" | "jsx" | "")
    });
    entries.truncate(ENTRIES_MAX);
    entries
}

/// The file with the types of an entry: its `types` condition wherever it stands, else the code itself.
fn types(value: &Value, depth: usize) -> Option<&str> {
    match value {
        Value::String(path) => Some(path),
        Value::Array(ways) => ways.iter().take(NESTING_MAX).find_map(|way| types(way, depth + 1)),
        Value::Object(conditions) if depth < NESTING_MAX => {
            let known = ["types", "import", "module", "node", "default", "require"];
            let ordered = known.iter().filter_map(|name| conditions.get(*name));
            let declared = ordered.clone().find_map(|value| typed(value, depth + 1));
            declared
                .or_else(|| ordered.clone().find_map(|value| types(value, depth + 1)))
                .or_else(|| others(conditions, depth))
        }
        _ => None,
    }
}

/// A declaration behind a condition.
fn typed(value: &Value, depth: usize) -> Option<&str> {
    types(value, depth)
        .filter(|path| [".d.ts", ".d.mts", ".d.cts"].iter().any(|ending| path.ends_with(ending)))
}

fn others(conditions: &Map<String, Value>, depth: usize) -> Option<&str> {
    conditions.values().take(NESTING_MAX).find_map(|value| types(value, depth + 1))
}

/// `git+https://host/x.git`, `github:x/y`, `x/y`, `git@host:x/y.git` as a URL that a browser opens.
fn repository(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("url")?.as_str())?.trim();
    let text = text.strip_prefix("git+").unwrap_or(text);
    let url = if let Some(rest) = text.strip_prefix("git@") {
        format!("https://{}", rest.replacen(':', "/", 1))
    } else if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.strip_prefix("git@").unwrap_or(rest);
        let scheme = if scheme == "http" { "http" } else { "https" };
        format!("{scheme}://{rest}")
    } else {
        let (host, path) = text.split_once(':').unwrap_or(("github", text));
        let host = match host {
            "github" => "github.com",
            "gitlab" => "gitlab.com",
            "bitbucket" => "bitbucket.org",
            _ => return None,
        };
        if path.split('/').filter(|part| !part.is_empty()).count() != 2 {
            return None;
        }
        format!("https://{host}/{path}")
    };
    let url = url.strip_suffix(".git").unwrap_or(&url).to_owned();
    (!url.contains(char::is_whitespace)).then_some(url)
}

/// Whether a text is a URL of a web page.
pub(super) fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> NpmManifest {
        NpmManifest::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_manifest_says_what_the_package_is() {
        let manifest = parsed(
            r#"{"name": "@acme/web-kit", "version": "1.2.0", "description": "Small\n parts.", "homepage": "https://kit.example",
                "repository": {"type": "git", "url": "git+https://git.example/acme/kit.git"}, "types": "./dist/index.d.ts"}"#,
        );
        assert_eq!(manifest.repository.as_deref(), Some("https://git.example/acme/kit"));
        assert_eq!(manifest.entries, [(String::new(), "dist/index.d.ts".to_owned())]);
        let package = Package::from(manifest);
        assert_eq!((package.name.as_str(), package.description.as_str()), ("@acme/web-kit", "Small parts."));
        assert_eq!(package.aliases, ["web-kit"]);
        assert_eq!(package.source_url.as_deref(), Some("https://git.example/acme/kit"));
    }

    #[test]
    fn repositories_are_written_in_many_ways() {
        for (text, url) in [
            ("github:a/b", Some("https://github.com/a/b")),
            ("a/b", Some("https://github.com/a/b")),
            ("gitlab:a/b", Some("https://gitlab.com/a/b")),
            ("git://git.example/a/b.git", Some("https://git.example/a/b")),
            ("git+ssh://git@git.example/a/b.git", Some("https://git.example/a/b")),
            ("git@git.example:a/b.git", Some("https://git.example/a/b")),
            ("nonsense", None),
            ("gist:1", None),
        ] {
            assert_eq!(repository(&Value::String(text.to_owned())).as_deref(), url, "{text}");
        }
    }

    #[test]
    fn entry_points_are_found_behind_conditions_and_patterns() {
        let manifest = parsed(
            r#"{"name": "kit", "main": "index.cjs", "exports": {
                "./package.json": "./package.json", "./style.css": "./style.css", "./gone": null,
                ".": {"@acme/source": "./src/index.ts", "require": {"types": "./index.d.cts", "default": "./index.cjs"},
                      "import": {"types": "./index.d.ts", "default": "./index.js"}},
                "./fp": {"types": "./fp.d.ts"}, "./mini": ["./mini.js"], "./locale/*": "./locale/*.js"}}"#,
        );
        let entries: Vec<(&str, &str)> =
            manifest.entries.iter().map(|(subpath, file)| (subpath.as_str(), file.as_str())).collect();
        assert_eq!(
            entries,
            [("", "index.d.ts"), ("/fp", "fp.d.ts"), ("/locale/*", "locale/*.js"), ("/mini", "mini.js")]
        );
        assert_eq!(
            parsed(r#"{"name": "a", "exports": "./a.mjs"}"#).entries,
            [(String::new(), "a.mjs".to_owned())]
        );
        assert_eq!(parsed(r#"{"name": "a"}"#).entries, [(String::new(), "index.js".to_owned())]);
    }

    #[test]
    fn what_has_no_name_is_no_package() {
        for text in ["", "[]", "{}", r#"{"name": 1}"#, r#"{"name": " "}"#] {
            assert_eq!(NpmManifest::parse(text.as_bytes()), None, "{text}");
        }
        let nested = "{\"import\":".repeat(60) + "1" + &"}".repeat(60);
        assert!(NpmManifest::parse(format!("{{\"name\":\"a\",\"exports\":{nested}}}").as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in "[\\{\\}\\[\\]\",:a-z./*]{0,200}") {
            let _ = NpmManifest::parse(text.as_bytes());
        }
    }
}
