//! What a Python distribution says about itself: core metadata (`METADATA` of a wheel, `PKG-INFO`), or what it is
//! built from (`pyproject.toml`, `setup.cfg`).
//!
//! Core metadata is defined at <https://packaging.python.org/specifications/core-metadata/>, the `[project]` table by
//! PEP 621.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::npm_manifest::is_web;
use super::package::{CodeRoot, Ecosystem, Package, normalized, one_line};

/// A larger file is not read; metadata holds a readme.
const METADATA_BYTES_MAX: u64 = 4 << 20;
/// Where a wheel keeps its metadata; the folder has the name and the version of the distribution.
pub(super) const WHEEL_METADATA: &str = "*.dist-info/METADATA";

/// The parts of the metadata a library's entry is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonMetadata {
    /// As published.
    pub name: String,
    /// As published; empty where it is computed.
    pub version: String,
    /// One sentence.
    pub summary: Option<String>,
    /// URLs by their label, labels in lower case.
    pub urls: BTreeMap<String, String>,
    /// The readme, and whether it is Markdown, reStructuredText or plain text.
    pub readme: Option<(&'static str, String)>,
}

impl PythonMetadata {
    /// Reads the first of the files that is there; `file` is asked for names at the root of the distribution, each with
    /// a limit in bytes.
    pub(super) fn read(file: &dyn Fn(&str, u64) -> Option<Vec<u8>>) -> Option<Self> {
        let text = |name: &str| Some(String::from_utf8_lossy(&file(name, METADATA_BYTES_MAX)?).into_owned());
        let core =
            || [WHEEL_METADATA, "PKG-INFO"].into_iter().find_map(|name| Self::parse_core(&text(name)?));
        let project = || Self::parse_project(&text("pyproject.toml")?);
        let setup = || Self::parse_setup(&text("setup.cfg")?);
        core().or_else(project).or_else(setup)
    }

    /// Reads core metadata: headers as in a message, then perhaps the readme.
    pub fn parse_core(text: &str) -> Option<Self> {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut metadata = Self::default();
        let (mut content_type, mut described) = (String::new(), String::new());
        let mut last = String::new();
        for line in head.lines() {
            // A folded header goes on; older tools wrote the readme so, with eight blanks or a bar.
            if let Some(more) = line.strip_prefix([' ', '\t']) {
                if last == "description" {
                    let more = more.strip_prefix("       ").unwrap_or(more);
                    described.push('\n');
                    described.push_str(more.strip_prefix('|').unwrap_or(more));
                }
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            last = name.to_ascii_lowercase();
            match last.as_str() {
                "name" => metadata.name = value.to_owned(),
                "version" => metadata.version = value.to_owned(),
                "summary" => metadata.summary = one_line(value),
                "home-page" => metadata.url("home-page", value),
                "project-url" => {
                    if let Some((label, url)) = value.split_once(',') {
                        metadata.url(label, url);
                    }
                }
                "description-content-type" => content_type = value.to_ascii_lowercase(),
                "description" => value.clone_into(&mut described),
                _ => {}
            }
        }
        let readme = if body.trim().is_empty() { described } else { body.to_owned() };
        let name = match content_type.split(';').next().unwrap_or_default().trim() {
            "text/markdown" => "README.md",
            "text/plain" => "README.txt",
            // The type was reStructuredText before it could be said.
            _ => "README.rst",
        };
        metadata.readme = Some((name, readme)).filter(|(_, text)| !text.trim().is_empty());
        metadata.named()
    }

    /// Reads `pyproject.toml`: the `[project]` table, or Poetry's own.
    pub fn parse_project(text: &str) -> Option<Self> {
        let file: ProjectFile = toml::from_str(text).ok()?;
        let project = file.project.or(file.tool.unwrap_or_default().poetry)?;
        let mut metadata = Self {
            name: project.name.unwrap_or_default(),
            version: project.version.unwrap_or_default(),
            summary: project.description.as_deref().and_then(one_line),
            ..Self::default()
        };
        let own = [
            ("homepage", project.homepage),
            ("repository", project.repository),
            ("documentation", project.documentation),
        ];
        for (label, url) in own.into_iter().filter_map(|(label, url)| Some((label, url?))) {
            metadata.url(label, &url);
        }
        for (label, url) in project.urls {
            metadata.url(&label, &url);
        }
        metadata.named()
    }

    /// Reads the `[metadata]` section of `setup.cfg`, whose values may go on in indented lines.
    pub fn parse_setup(text: &str) -> Option<Self> {
        let mut metadata = Self::default();
        let (mut inside, mut key) = (false, String::new());
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
            if line.starts_with('[') {
                inside = line.trim() == "[metadata]";
            } else if inside && line.starts_with([' ', '\t']) {
                if let Some((label, url)) = line.split_once('=').filter(|_| key == "project_urls") {
                    metadata.url(label, url);
                }
            } else if let Some((name, value)) = line.split_once(['=', ':']).filter(|_| inside) {
                key = name.trim().to_ascii_lowercase().replace('-', "_");
                let value = value.trim();
                match key.as_str() {
                    "name" => metadata.name = value.to_owned(),
                    "version" => metadata.version = value.to_owned(),
                    "description" | "summary" => metadata.summary = one_line(value),
                    "url" | "home_page" => metadata.url("home-page", value),
                    _ => {}
                }
            }
        }
        metadata.named()
    }

    fn url(&mut self, label: &str, url: &str) {
        let url = url.trim();
        if is_web(url) && self.urls.len() < 64 {
            self.urls.entry(label.trim().to_ascii_lowercase()).or_insert_with(|| url.to_owned());
        }
    }

    /// Itself, when it has a name that could be published.
    fn named(self) -> Option<Self> {
        is_name(&self.name).then_some(self)
    }
}

/// A name as the specification allows it.
pub(super) fn is_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !normalized(name).is_empty()
}

impl From<PythonMetadata> for Package {
    fn from(metadata: PythonMetadata) -> Self {
        let labels = [
            "source",
            "source code",
            "repository",
            "code",
            "github",
            "documentation",
            "docs",
            "homepage",
            "home-page",
        ];
        let source_url = labels.iter().find_map(|label| metadata.urls.get(*label).cloned());
        // `resolve` finds it by the normalised name too, which its id is made of.
        let plain = Some(normalized(&metadata.name)).filter(|name| *name != metadata.name);
        Self {
            ecosystem: Ecosystem::Pypi,
            name: metadata.name,
            description: metadata.summary.unwrap_or_default(),
            aliases: plain.into_iter().collect(),
            source_url: source_url.or_else(|| metadata.urls.into_values().next()),
            readme: metadata.readme,
            code: CodeRoot::Python,
        }
    }
}

#[derive(Deserialize)]
struct ProjectFile {
    project: Option<Project>,
    tool: Option<Tool>,
}

#[derive(Deserialize, Default)]
struct Tool {
    poetry: Option<Project>,
}

#[derive(Deserialize)]
struct Project {
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    #[serde(default)]
    urls: BTreeMap<String, String>,
    homepage: Option<String>,
    repository: Option<String>,
    documentation: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CORE: &str = "Metadata-Version: 2.1\nName: Web_Kit\nVersion: 2.0.1\nSummary: Small parts.\nHome-page: https://kit.example\n\
                        Project-URL: Source, https://git.example/kit\nProject-URL: Bad, javascript:x\nDescription-Content-Type: text/markdown; charset=UTF-8\n\n# Kit\n\nText.\n";

    #[test]
    fn core_metadata_names_urls_and_holds_the_readme() {
        let metadata = PythonMetadata::parse_core(CORE).unwrap();
        assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("Web_Kit", "2.0.1"));
        assert_eq!(metadata.readme, Some(("README.md", "# Kit\n\nText.\n".to_owned())));
        assert!(!metadata.urls.contains_key("bad"));
        let package = Package::from(metadata);
        assert_eq!(package.source_url.as_deref(), Some("https://git.example/kit"));
        assert_eq!(
            (package.description.as_str(), &package.aliases[..]),
            ("Small parts.", &["web-kit".to_owned()][..])
        );
    }

    #[test]
    fn an_older_description_is_a_folded_header() {
        let text = "Name: kit\nVersion: 1\nDescription: Kit\n        ===\n        \n        Text.\nLicense: MIT\n  and more\n";
        let (name, readme) = PythonMetadata::parse_core(text).unwrap().readme.unwrap();
        assert_eq!((name, readme.as_str()), ("README.rst", "Kit\n===\n\nText."));
    }

    #[test]
    fn projects_that_were_not_built_are_known_by_what_they_are_built_from() {
        let project = PythonMetadata::parse_project(
            "[project]\nname = \"kit\"\ndynamic = [\"version\"]\ndescription = \"Parts.\"\n[project.urls]\nRepository = \"https://git.example/kit\"\n",
        )
        .unwrap();
        let poetry = PythonMetadata::parse_project(
            "[tool.poetry]\nname = \"kit\"\nversion = \"1.0\"\ndescription = \"Parts.\"\nrepository = \"https://git.example/kit\"\n",
        )
        .unwrap();
        let setup = PythonMetadata::parse_setup(
            "[metadata]\nname = kit\ndescription = Parts.\nlong_description = file: README\nproject_urls =\n    Source = https://git.example/kit\n[options]\nname = other\n",
        )
        .unwrap();
        for metadata in [project, poetry, setup] {
            assert_eq!((metadata.name.as_str(), metadata.summary.as_deref()), ("kit", Some("Parts.")));
            let url = Package::from(metadata).source_url;
            assert_eq!(url.as_deref(), Some("https://git.example/kit"));
        }
        assert_eq!(PythonMetadata::parse_project("[tool.ruff]\nline-length = 100\n"), None);
    }

    #[test]
    fn what_has_no_name_is_no_distribution() {
        for text in ["", "Name: \nVersion: 1\n", "Name: ../a\n", "Name: a b\n", "Name: ---\n"] {
            assert_eq!(PythonMetadata::parse_core(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(Name|Description|Project-URL|\\[metadata\\]|[ \\t:=,\\n|a-z-]){0,60}") {
            let _ = PythonMetadata::parse_core(&text);
            let _ = PythonMetadata::parse_setup(&text);
            let _ = PythonMetadata::parse_project(&text);
        }
    }
}
