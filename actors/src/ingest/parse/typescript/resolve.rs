//! Which file a module specifier means, and which files are entry points.

use std::collections::{BTreeMap, BTreeSet};

use crate::ingest::parse::code::{Module, Root};

/// Entry points that a pattern (`./locales/*`) may make.
const ROOTS_MAX: usize = 5_000;
const DECLARATIONS: [&str; 3] = [".d.ts", ".d.mts", ".d.cts"];
const SOURCES: [&str; 3] = [".ts", ".mts", ".cts"];
const SCRIPTS: [&str; 4] = [".js", ".mjs", ".cjs", ".jsx"];

/// Whether a file declares types and holds no code.
pub(super) fn is_declaration(path: &str) -> bool {
    DECLARATIONS.iter().any(|ending| path.ends_with(ending))
}

/// The files of a package, for finding one from another.
pub(super) struct Files {
    paths: BTreeSet<String>,
    /// Modules declared inside files, by name: `path::name`.
    declared: BTreeMap<String, String>,
}

impl Files {
    /// Looks at the paths, and drops what says the same as another file: the CommonJS side of a declaration.
    pub(super) fn new(modules: &mut BTreeMap<String, Module>) -> Self {
        let (declared, paths): (BTreeSet<String>, BTreeSet<String>) =
            modules.keys().cloned().partition(|key| key.contains("::"));
        let twin = |path: &String| {
            path.strip_suffix(".d.cts").is_some_and(|stem| {
                paths.contains(&format!("{stem}.d.ts")) || paths.contains(&format!("{stem}.d.mts"))
            })
        };
        let (twins, paths): (BTreeSet<String>, BTreeSet<String>) = paths.iter().cloned().partition(twin);
        modules.retain(|key, _| !twins.contains(key.split("::").next().unwrap_or_default()));
        let declared = declared.into_iter().filter(|key| modules.contains_key(key));
        let declared = declared.filter_map(|key| Some((key.split_once("::")?.1.to_owned(), key))).collect();
        Self { paths, declared }
    }

    /// The modules that users import.
    pub(super) fn roots(&self, name: &str, entries: &[(String, String)]) -> Vec<Root> {
        let mut roots = Vec::new();
        for (subpath, file) in entries {
            match (subpath.split_once('*'), file.split_once('*')) {
                (Some(shown), Some(lies)) => roots.extend(self.matching(name, shown, lies)),
                _ => {
                    let key = self.file(file).or_else(|| self.source_of(file));
                    roots.extend(key.map(|key| Root { name: format!("{name}{subpath}"), key }));
                }
            }
        }
        if roots.is_empty() {
            let usual = [
                "index",
                "src/index",
                "lib/index",
                "dist/index",
                "types/index",
                "mod",
                "src/mod",
                "src/main",
            ];
            let key = usual.iter().find_map(|path| self.file(path));
            roots.extend(key.map(|key| Root { name: name.to_owned(), key }));
        }
        // A path, or an asset such as `*.svg`, is nothing that users import by name.
        let named =
            self.declared.iter().filter(|(module, _)| !module.starts_with('.') && !module.contains('*'));
        let declared = named.map(|(module, key)| Root { name: module.clone(), key: key.clone() });
        roots.extend(declared);
        roots.truncate(ROOTS_MAX);
        roots
    }

    fn matching(&self, name: &str, shown: (&str, &str), lies: (&str, &str)) -> Vec<Root> {
        let suffixes: Vec<String> =
            std::iter::once(lies.1.to_owned()).chain(declarations_of(lies.1)).collect();
        let found = self.paths.iter().filter_map(|path| {
            let middle = path.strip_prefix(lies.0)?;
            let stem = suffixes.iter().find_map(|suffix| middle.strip_suffix(suffix.as_str()))?;
            let key = self.file(path)?;
            Some(Root { name: format!("{name}{}{stem}{}", shown.0, shown.1), key })
        });
        found.take(ROOTS_MAX).collect()
    }

    /// The module that `specifier` means in the module `from`; `None` for those of other packages.
    pub(super) fn find(&self, from: &str, specifier: &str) -> Option<String> {
        let (file, _) = from.split_once("::").unwrap_or((from, ""));
        if !specifier.starts_with('.') {
            return self.declared.get(specifier).cloned();
        }
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in specifier.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop()?;
                }
                part => parts.push(part),
            }
        }
        self.file(&parts.join("/"))
    }

    /// The file behind a path with any ending, or none.
    fn file(&self, path: &str) -> Option<String> {
        let path = path.trim_start_matches("./");
        let known = |path: String| self.paths.contains(&path).then_some(path);
        // Of two sides of a declaration the ESM one was kept.
        let exact = path
            .strip_suffix(".d.cts")
            .and_then(|stem| known(format!("{stem}.d.ts")).or_else(|| known(format!("{stem}.d.mts"))));
        let folder = if path.is_empty() { "index".to_owned() } else { format!("{path}/index") };
        exact
            .or_else(|| known(path.to_owned()))
            .or_else(|| declarations_of(path).find_map(known))
            .or_else(|| {
                DECLARATIONS.iter().chain(&SOURCES).find_map(|ending| known(format!("{path}{ending}")))
            })
            .or_else(|| {
                DECLARATIONS.iter().chain(&SOURCES).find_map(|ending| known(format!("{folder}{ending}")))
            })
    }

    /// The source that `dist/index.d.ts` is built from, where nothing was built.
    fn source_of(&self, path: &str) -> Option<String> {
        let stem = DECLARATIONS.iter().chain(&SCRIPTS).find_map(|ending| path.strip_suffix(ending))?;
        let below = stem.trim_start_matches("./").split_once('/').map_or(stem, |(_, below)| below);
        self.file(&format!("src/{below}")).or_else(|| self.file(&format!("src/{stem}")))
    }
}

/// The declarations that belong to a path of code: `a.js` and `a.ts` have `a.d.ts`, `a.mjs` has `a.d.mts`.
fn declarations_of(path: &str) -> impl Iterator<Item = String> {
    let stem = SCRIPTS.iter().chain(&SOURCES).find_map(|ending| path.strip_suffix(ending));
    let stem = stem.filter(|_| !is_declaration(path)).map(str::to_owned);
    stem.into_iter()
        .flat_map(|stem| DECLARATIONS.iter().chain(&SOURCES).map(move |ending| format!("{stem}{ending}")))
}
