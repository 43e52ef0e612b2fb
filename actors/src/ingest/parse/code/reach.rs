//! What a user of a package can name: from its roots along re-exports to definitions.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::model::{Module, Used};

/// Re-exports followed from one name; real packages need four.
const STEPS_MAX: usize = 32;
/// Namespaces inside namespaces: `z.core.util.assert` has three.
const NESTING_MAX: usize = 3;
/// Names looked up for one package, and names looked at on the way.
const NAMES_MAX: usize = 200_000;
const LOOKUPS_MAX: usize = 5_000_000;

/// A module that users import.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ingest::parse) struct Root {
    /// As it is imported: `date-fns/fp`, `httpx`.
    pub(in crate::ingest::parse) name: String,
    /// Which module.
    pub(in crate::ingest::parse) key: String,
}

/// Where a definition is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: usize,
    /// The name below the root, with the namespaces it stands in.
    pub(super) name: String,
}

/// A definition: its module and its place there.
pub(super) type Definition = (String, usize);

/// The definitions that can be reached, each with its shortest place.
pub(in crate::ingest::parse) struct Reached {
    pub(super) places: HashMap<Definition, Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Symbol(Definition),
    Module(String),
}

/// Follows the exports of every root. `find` tells which module a name in a module stands for; roots that come first
/// are preferred.
pub(in crate::ingest::parse) fn reach(
    modules: &BTreeMap<String, Module>,
    roots: &[Root],
    find: &dyn Fn(&str, &str) -> Option<String>,
) -> Reached {
    let mut walk = Walk { modules, find, lookups: 0, places: HashMap::new() };
    for (index, root) in roots.iter().enumerate() {
        walk.module(index, &root.key, &mut Vec::new());
    }
    Reached { places: walk.places }
}

struct Walk<'a> {
    modules: &'a BTreeMap<String, Module>,
    find: &'a dyn Fn(&str, &str) -> Option<String>,
    lookups: usize,
    places: HashMap<Definition, Place>,
}

impl Walk<'_> {
    /// Places everything that the module exports below `prefix`.
    fn module(&mut self, root: usize, key: &str, prefix: &mut Vec<(String, String)>) {
        let mut namespaces = Vec::new();
        let mut seen = HashSet::new();
        for file in self.with_stars(key) {
            let Some(module) = self.modules.get(&file) else { continue };
            for export in &module.exports {
                // What stands first hides what a star would bring.
                if !seen.insert(export.shown.as_str()) || self.places.len() >= NAMES_MAX {
                    continue;
                }
                match self.local(&file, &export.local, 0) {
                    Some(Target::Symbol(definition)) => {
                        let own = self.own_name(&definition);
                        let name = if export.shown == "default" { own } else { export.shown.clone() };
                        self.place(definition, root, prefix, &name);
                    }
                    Some(Target::Module(key)) => namespaces.push((export.shown.clone(), key)),
                    None => {}
                }
            }
        }
        if prefix.len() >= NESTING_MAX {
            return;
        }
        for (name, inner) in namespaces {
            if inner == key || prefix.iter().any(|(_, outer)| *outer == inner) {
                continue;
            }
            prefix.push((name, inner.clone()));
            self.module(root, &inner, prefix);
            prefix.pop();
        }
    }

    fn place(&mut self, definition: Definition, root: usize, prefix: &[(String, String)], name: &str) {
        let mut path: Vec<&str> = prefix.iter().map(|(name, _)| name.as_str()).collect();
        path.push(name);
        let place = Place { root, name: path.join(".") };
        let depth = |place: &Place| place.name.matches('.').count();
        match self.places.get(&definition) {
            Some(known) if depth(known) <= depth(&place) => {}
            _ => {
                self.places.insert(definition, place);
            }
        }
    }

    fn own_name(&self, (file, index): &Definition) -> String {
        let symbol = self.modules.get(file).and_then(|module| module.symbols().get(*index));
        symbol.map(|symbol| symbol.name.clone()).unwrap_or_default()
    }

    /// The module and all those whose exports it exports whole.
    fn with_stars(&mut self, key: &str) -> Vec<String> {
        let mut files = vec![key.to_owned()];
        let mut known: HashSet<String> = files.iter().cloned().collect();
        let mut at = 0;
        while let Some(file) = files.get(at).cloned() {
            at += 1;
            let Some(module) = self.modules.get(&file) else { continue };
            self.lookups += 1 + module.stars.len();
            if self.lookups > LOOKUPS_MAX {
                break;
            }
            for star in &module.stars {
                if let Some(next) = (self.find)(&file, star)
                    && known.insert(next.clone())
                {
                    files.push(next);
                }
            }
        }
        files
    }

    /// What a name stands for inside a module.
    fn local(&mut self, file: &str, name: &str, steps: usize) -> Option<Target> {
        let module = self.modules.get(file)?;
        if let Some(index) = module.position(name) {
            return Some(Target::Symbol((file.to_owned(), index)));
        }
        self.lookups += module.uses.len();
        if steps >= STEPS_MAX || self.lookups > LOOKUPS_MAX {
            return None;
        }
        let Some(found) = module.uses.iter().find(|used| used.local == name) else {
            let wholes = module.wholes.clone();
            return wholes.iter().find_map(|whole| {
                let from = (self.find)(file, whole)?;
                self.own(&from, name, steps + 1)
            });
        };
        let from = (self.find)(file, &found.from)?;
        match &found.what {
            Used::Module => Some(Target::Module(from)),
            Used::Name(name) => self.exported(&from, name, steps + 1),
        }
    }

    /// What a name stands for outside a module, when that exports it.
    fn own(&mut self, key: &str, name: &str, steps: usize) -> Option<Target> {
        for file in self.with_stars(key) {
            let Some(module) = self.modules.get(&file) else { continue };
            self.lookups += module.exports.len();
            if let Some(export) = module.exports.iter().find(|export| export.shown == name) {
                let local = export.local.clone();
                return self.local(&file, &local, steps);
            }
        }
        None
    }

    /// What a name stands for outside a module.
    fn exported(&mut self, key: &str, name: &str, steps: usize) -> Option<Target> {
        if let Some(found) = self.own(key, name, steps) {
            return Some(found);
        }
        // In Python everything in a module can be imported from it, and a name may be a module itself.
        let direct = self.local(key, name, steps);
        direct.or_else(|| Some(Target::Module((self.find)(key, &format!(".{name}"))?)))
    }
}
