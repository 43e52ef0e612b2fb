//! What a source says about itself: packages by their manifests, any source by `context7.json`; and where its pages
//! can be opened.

use twinmcp_storage::bundle::Labels;
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::libraries::{DESCRIPTION_BYTES_MAX, Facts, LIST_ITEMS_MAX, TITLE_BYTES_MAX};

use super::build::Material;
use super::context7_json::Context7Json;
use super::invisible;
use super::parse::page_url;
use super::scan;
use super::source::cargo_home;
use super::source::package::{Ecosystem, Package};
use super::source::{Kind, root_file};

/// A larger `context7.json` is not read.
const CONTEXT7_BYTES_MAX: u64 = 256 * 1024;

/// What is known of a source before its first page is read.
pub(super) struct About {
    pub(super) facts: Facts,
    /// The one that the library is named after comes first.
    packages: Vec<Package>,
    version: Version,
    context7: Option<Context7Json>,
    base_url: String,
}

impl About {
    /// Reads what the material says about itself. What cannot be read says nothing.
    pub(super) fn read(
        material: &Material,
        library: &LibraryId,
        version: &Version,
        base_url: Option<&str>,
    ) -> Self {
        let path = material.path();
        let mut packages = Package::read_all(path);
        packages.sort_by_key(|package| package.ecosystem.owner() != library.owner());
        let context7 = root_file(path, "context7.json", CONTEXT7_BYTES_MAX)
            .and_then(|bytes| Context7Json::parse(&bytes).ok());
        let mut facts = packages.first().map(package_facts).unwrap_or_default();
        if let Some(context7) = &context7 {
            tell(&mut facts, context7);
        }
        if facts.title.is_empty() {
            facts.title = library.name().to_owned();
        }
        if let Some(origin) = material.origin() {
            facts.source_url.get_or_insert_with(|| origin.to_owned());
        }
        // A package's pages are published with it, whichever repository it came from.
        let published = base_url.or(material.files_at().filter(|_| packages.is_empty()));
        let base_url = published.unwrap_or_default().to_owned();
        Self { facts: shortened(facts), packages, version: version.clone(), context7, base_url }
    }

    /// The packages that the source is: one for each language, most often one or none.
    pub(super) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Whether the source's own `context7.json` wants this file indexed.
    pub(super) fn includes(&self, path: &str) -> bool {
        self.context7.as_ref().is_none_or(|context7| context7.includes(path))
    }

    /// Takes out the rules that speak as the scan of passages knows it: to have instructions ignored, secrets sent or things kept
    /// from the user.
    pub(super) fn take_suspicious_rules(&mut self) -> Vec<(String, Labels)> {
        let rules =
            std::mem::take(&mut self.facts.rules).into_iter().map(|rule| (scan::of_text(&rule), rule));
        let (clear, suspicious): (Vec<_>, Vec<_>) = rules.partition(|(labels, _)| labels.is_empty());
        self.facts.rules = clear.into_iter().map(|(_, rule)| rule).collect();
        suspicious.into_iter().map(|(labels, rule)| (rule, labels)).collect()
    }

    /// Adds names that the library goes by in code, found while it was read.
    pub(super) fn called(&mut self, names: Vec<String>) {
        for name in names {
            if name != self.facts.title && !self.facts.aliases.contains(&name) {
                self.facts.aliases.push(name);
            }
        }
        self.facts = shortened(std::mem::take(&mut self.facts));
    }

    /// Where a person can open the page at `path`; the path itself where nobody said.
    pub(super) fn url(&self, kind: Kind, path: &str) -> String {
        match self.packages.first() {
            Some(package) if self.base_url.is_empty() && package.ecosystem == Ecosystem::Crates => {
                page_url(&cargo_home::page_base(&package.name, self.version.as_str(), kind), path)
            }
            _ => page_url(&self.base_url, path),
        }
    }
}

fn package_facts(package: &Package) -> Facts {
    Facts {
        title: package.name.clone(),
        description: package.description.clone(),
        aliases: package.aliases.clone(),
        source_url: package.source_url.clone(),
        rules: Vec::new(),
    }
}

fn tell(facts: &mut Facts, context7: &Context7Json) {
    if let Some(title) = &context7.project_title {
        facts.title.clone_from(title);
    }
    if let Some(description) = &context7.description {
        facts.description.clone_from(description);
    }
    facts.rules.clone_from(&context7.rules);
}

/// A source may say as much as it likes; what is kept has limits.
fn shortened(facts: Facts) -> Facts {
    let list = |items: Vec<String>, bytes_max| {
        items.into_iter().take(LIST_ITEMS_MAX).map(|item| cut(item, bytes_max)).collect()
    };
    Facts {
        title: cut(facts.title, TITLE_BYTES_MAX),
        description: cut(facts.description, DESCRIPTION_BYTES_MAX),
        aliases: list(facts.aliases, TITLE_BYTES_MAX),
        source_url: facts.source_url.filter(|url| url.len() <= DESCRIPTION_BYTES_MAX),
        rules: list(facts.rules, DESCRIPTION_BYTES_MAX),
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    invisible::clean(&mut text);
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
