//! `context7.json`: what a project tells an indexer of its documentation.
//!
//! The fields are those of Context7's published schema and of its page for library owners; others are
//! let through, because the file is written for several readers. As there, a file that says nothing
//! about exclusions gets the usual ones: change logs, licences, translations, outdated folders.

use serde::{Deserialize, de::Error as _};

use super::parse::Format;

/// Items of any list in the file.
const ITEMS_MAX: usize = 1_000;
/// Bytes of any text in the file.
const TEXT_BYTES_MAX: usize = 4_096;

/// Files left out when the file does not say which.
const USUAL_FILES: [&str; 8] = [
    "CHANGELOG.md",
    "changelog.md",
    "CHANGELOG.mdx",
    "changelog.mdx",
    "LICENSE.md",
    "license.md",
    "CODE_OF_CONDUCT.md",
    "code_of_conduct.md",
];
/// Folders left out when the file does not say which.
const USUAL_FOLDERS: [&str; 31] = [
    "*archive*",
    "*archived*",
    "old",
    "docs/old",
    "*deprecated*",
    "*legacy*",
    "*previous*",
    "*outdated*",
    "*superseded*",
    "i18n/zh*",
    "i18n/es*",
    "i18n/fr*",
    "i18n/de*",
    "i18n/ja*",
    "i18n/ko*",
    "i18n/ru*",
    "i18n/pt*",
    "i18n/it*",
    "i18n/ar*",
    "i18n/hi*",
    "i18n/tr*",
    "i18n/nl*",
    "i18n/pl*",
    "i18n/sv*",
    "i18n/vi*",
    "i18n/th*",
    "zh-cn",
    "zh-tw",
    "zh-hk",
    "zh-mo",
    "zh-sg",
];

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context7Json {
    /// Name of the project for people.
    pub project_title: Option<String>,
    /// One or two sentences.
    pub description: Option<String>,
    /// The git branch to read; the default one when absent.
    pub branch: Option<String>,
    /// Folders to index; all when empty. Markdown at the root is always indexed.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Folders to leave out: a name anywhere (`i18n`, `*.test`), a folder of the root (`./build`), a
    /// path from the root (`app/v2`), or a glob with `**` (`docs/**/internal`, `src/**/*.test.md`).
    #[serde(default = "usual_folders")]
    pub exclude_folders: Vec<String>,
    /// File names to leave out, without a path.
    #[serde(default = "usual_files")]
    pub exclude_files: Vec<String>,
    /// Hints for agents that use the library.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Tags of earlier versions that should be indexed too.
    #[serde(default)]
    pub previous_versions: Vec<PreviousVersion>,
    /// Branches of earlier versions that should be indexed too.
    #[serde(default)]
    pub branch_versions: Vec<BranchVersion>,
}

/// An earlier version under a tag.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PreviousVersion {
    /// The git tag, e.g. `v1.2.1`.
    pub tag: String,
    /// What people call it.
    pub title: Option<String>,
}

/// An earlier version on a branch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BranchVersion {
    /// The git branch.
    pub branch: String,
}

fn usual_files() -> Vec<String> {
    USUAL_FILES.map(str::to_owned).to_vec()
}

fn usual_folders() -> Vec<String> {
    USUAL_FOLDERS.map(str::to_owned).to_vec()
}

impl Context7Json {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not JSON, a field has another type, or a list or a text is longer than it may be.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let file: Self = serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))?;
        let lists = [&file.folders, &file.exclude_folders, &file.exclude_files, &file.rules];
        let versions = file.previous_versions.len().max(file.branch_versions.len());
        if versions > ITEMS_MAX || lists.iter().any(|list| list.len() > ITEMS_MAX) {
            return Err(serde_json::Error::custom(format_args!("a list has more than {ITEMS_MAX} items")));
        }
        if lists.into_iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(serde_json::Error::custom(format_args!(
                "a text has more than {TEXT_BYTES_MAX} bytes"
            )));
        }
        Ok(file)
    }

    /// Whether the file at `path` (relative, with `/`) is to be indexed.
    pub fn includes(&self, path: &str) -> bool {
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let Some((name, folders)) = parts.split_last() else {
            return false;
        };
        if self.exclude_files.iter().any(|excluded| excluded == name)
            || self.exclude_folders.iter().any(|pattern| excludes(pattern, &parts))
        {
            return false;
        }
        let root =
            folders.is_empty() && matches!(Format::of_name(name), Some(Format::Markdown | Format::Mdx));
        root || self.folders.is_empty() || self.folders.iter().any(|pattern| is_under(pattern, &parts))
    }
}

/// Whether a pattern means the file or a folder above it.
fn excludes(pattern: &str, parts: &[&str]) -> bool {
    if !pattern.trim_end_matches('/').contains('/') {
        let folders = parts.split_last().map_or(&[][..], |(_, folders)| folders);
        let name = pattern.trim_end_matches('/');
        return !name.is_empty()
            && folders.iter().any(|folder| part_matches(name.as_bytes(), folder.as_bytes()));
    }
    is_under(pattern, parts)
}

/// Whether a pattern from the root matches the path or a folder above it.
fn is_under(pattern: &str, parts: &[&str]) -> bool {
    let wanted: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    // The pattern may end anywhere in the path: what is below belongs to it.
    (0..=parts.len()).any(|end| parts.get(..end).is_some_and(|head| path_matches(&wanted, head)))
}

/// Whether all parts match; `**` stands for any number of them. One step back is enough, as for `*`:
/// a later `**` can take over whatever an earlier one could have.
fn path_matches(pattern: &[&str], parts: &[&str]) -> bool {
    backtrack(
        pattern.len(),
        parts.len(),
        |at| pattern[at] == "**",
        |at, part| part_matches(pattern[at].as_bytes(), parts[part].as_bytes()),
    )
}

/// Whether one part matches; `*` stands for any text in it, `?` for one byte.
fn part_matches(pattern: &[u8], part: &[u8]) -> bool {
    backtrack(
        pattern.len(),
        part.len(),
        |at| pattern[at] == b'*',
        |at, byte| pattern[at] == b'?' || pattern[at] == part[byte],
    )
}

/// Wildcard matching without recursion, in `pattern * text` steps at most.
fn backtrack(
    pattern: usize,
    text: usize,
    star: impl Fn(usize) -> bool,
    same: impl Fn(usize, usize) -> bool,
) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while position < text {
        if at < pattern && star(at) {
            last = Some((at, position));
            at += 1;
        } else if at < pattern && same(at, position) {
            at += 1;
            position += 1;
        } else if let Some((back, from)) = last {
            last = Some((back, from + 1));
            at = back + 1;
            position = from + 1;
        } else {
            return false;
        }
    }
    (at..pattern).all(star)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str) -> Context7Json {
        Context7Json::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn folders_and_exclusions_decide_what_is_indexed() {
        let file = file(
            r#"{"$schema": "x", "projectTitle": "Lib", "folders": ["docs", "guide/*", "./api/**"],
                "excludeFolders": ["./docs/old", "i18n", "*-legacy", "docs/**/internal", "docs/**/*.test.md"],
                "excludeFiles": ["CHANGELOG.md"], "rules": ["use v2"], "previousVersions": [{"tag": "v1"}],
                "branch": "next", "branchVersions": [{"branch": "1.x"}]}"#,
        );
        for (path, included) in [
            ("README.md", true),
            ("./README.md", true),
            ("setup.html", false),
            ("docs/intro.md", true),
            ("docs/CHANGELOG.md", false),
            ("docs/old/a.md", false),
            ("docs/older/a.md", true),
            ("docs/a/i18n/de/b.md", false),
            ("docs/v1-legacy/b.md", false),
            ("docs/internal/b.md", false),
            ("docs/a/b/internal/c/d.md", false),
            ("docs/a/b.test.md", false),
            ("docs/a/i18n.md", true),
            ("guide/start/a.md", true),
            ("guide/a.md", true),
            ("guides/a.md", false),
            ("api/deep/down/a.html", true),
            ("src/a.md", false),
            ("", false),
        ] {
            assert_eq!(file.includes(path), included, "{path}");
        }
        assert_eq!((file.rules[0].as_str(), file.previous_versions[0].tag.as_str()), ("use v2", "v1"));
        assert_eq!((file.branch.as_deref(), file.branch_versions[0].branch.as_str()), (Some("next"), "1.x"));
    }

    #[test]
    fn the_kinds_of_patterns_mean_what_the_published_page_says() {
        for (pattern, path, excluded) in [
            ("node_modules", "packages/sdk/node_modules/a.md", true),
            ("node_modules", "docs/node_modules.md", false),
            ("./build", "build/a.md", true),
            ("./build", "src/build/a.md", false),
            ("app-sdk/v2.3", "app-sdk/v2.3/x/a.md", true),
            ("app-sdk/v2.3", "other/app-sdk/v2.3/a.md", false),
            ("*.test", "a.test/b.md", true),
            ("**/dist", "a/b/dist/c.md", true),
            ("**/dist", "dist/c.md", true),
            ("docs/", "docs/a.md", true),
            ("**/test/**", "a/test/b.md", true),
        ] {
            let file = Context7Json { exclude_folders: vec![pattern.to_owned()], ..Context7Json::default() };
            assert_eq!(!file.includes(path), excluded, "{pattern} {path}");
        }
    }

    #[test]
    fn a_file_that_names_no_exclusions_gets_the_usual_ones() {
        let silent = file("{}");
        for path in ["CHANGELOG.md", "docs/zh-cn/a.md", "i18n/fr/a.md", "docs/archived-2020/a.md"] {
            assert!(!silent.includes(path), "{path}");
            assert!(file(r#"{"excludeFiles": [], "excludeFolders": []}"#).includes(path), "{path}");
            assert!(Context7Json::default().includes(path), "{path}");
        }
        assert!(silent.includes("docs/a.md"));
    }

    #[test]
    fn stars_take_time_in_proportion_to_the_text() {
        let pattern = format!("{}b", "*a".repeat(1_000));
        let path = format!("{}/x.md", "a".repeat(2_000));
        let file = Context7Json { exclude_folders: vec![pattern], ..Context7Json::default() };
        assert!(file.includes(&path));
    }

    #[test]
    fn what_is_no_context7_json_is_an_error() {
        let long = format!(r#"{{"rules": ["{}"]}}"#, "x".repeat(TEXT_BYTES_MAX + 1));
        let many = format!(r#"{{"folders": [{}"a"]}}"#, r#""a","#.repeat(ITEMS_MAX));
        for bytes in
            [b"".as_slice(), b"3", br#"{"folders": "docs"}"#, b"\xff", long.as_bytes(), many.as_bytes()]
        {
            assert!(Context7Json::parse(bytes).is_err());
        }
    }
}
