//! What is public, and under which path: along public modules first, then along `pub use`.
//!
//! An item that its own module makes public keeps that path; one in a private module gets the
//! shortest path it is re-exported under, as in rustdoc.

use std::collections::{BTreeMap, HashSet, VecDeque, btree_map::Entry};

use super::tree::{Module, Tree};

/// Steps that following one `use` may take: chains are short, and cycles end here.
const STEPS_MAX: usize = 2_000;

/// An item: its module and its place in it.
pub(super) type ItemId = (usize, usize);

/// What a crate shows.
#[derive(Default)]
pub(super) struct Reach {
    /// The path of each public module, the crate's name first.
    pub(super) modules: BTreeMap<usize, Vec<String>>,
    /// Where each public item is shown.
    pub(super) items: BTreeMap<ItemId, Place>,
    /// What a public module passes on from other crates: its name there and its path.
    pub(super) foreign: BTreeMap<Vec<String>, Vec<String>>,
}

/// Where an item is shown.
pub(super) struct Place {
    /// The path of the module, the crate's name first.
    pub(super) module: Vec<String>,
    /// The name it has there.
    pub(super) name: String,
    /// Other paths it can be used by.
    pub(super) aliases: Vec<String>,
}

/// More paths are not named: an item re-exported a hundred times is not found by them.
const ALIASES_MAX: usize = 4;

impl Reach {
    /// Shows an item at a path; at the first one for good, at later ones by the way.
    fn show(&mut self, id: ItemId, module: &[String], name: &str) {
        match self.items.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(Place { module: module.to_vec(), name: name.to_owned(), aliases: Vec::new() });
            }
            Entry::Occupied(mut entry) => {
                let place = entry.get_mut();
                let alias = format!("{}::{name}", module.join("::"));
                let is_known =
                    place.aliases.contains(&alias) || (place.module == module && place.name == name);
                if !is_known && place.aliases.len() < ALIASES_MAX {
                    place.aliases.push(alias);
                }
            }
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Module(usize),
    Item(ItemId),
}

/// Finds every public item of a crate.
pub(super) fn reach(tree: &Tree) -> Reach {
    let mut reach = Reach::default();
    let mut queue = VecDeque::from([(0, vec![tree.name.clone()], true)]);
    let mut exported: VecDeque<(usize, Vec<String>)> = VecDeque::new();
    // A module is shown under one path of its own, and at the first place that passes on all it has.
    let mut shown = HashSet::new();
    for (index, module) in tree.modules.iter().enumerate() {
        for (place, item) in module.items.iter().enumerate() {
            if item.at_root {
                reach.show((index, place), std::slice::from_ref(&tree.name), &item.name);
            }
        }
    }
    loop {
        while let Some((index, path, is_own)) = queue.pop_front() {
            let Some(module) = tree.modules.get(index) else {
                continue;
            };
            if !shown.insert((index, is_own)) {
                continue;
            }
            if is_own {
                reach.modules.insert(index, path.clone());
            }
            for (place, item) in module.items.iter().enumerate() {
                reach.show((index, place), &path, &item.name);
            }
            for link in module.children.iter().filter(|link| link.is_public) {
                queue.push_back((
                    link.module,
                    [path.as_slice(), std::slice::from_ref(&link.name)].concat(),
                    true,
                ));
            }
            exported.push_back((index, path));
        }
        // Only when every module with a path of its own has been seen do re-exports count.
        let Some((index, path)) = exported.pop_front() else {
            return reach;
        };
        for used in
            tree.modules.get(index).into_iter().flat_map(|module| &module.uses).filter(|used| used.is_public)
        {
            let targets = resolve(tree, index, &used.path);
            match &used.name {
                None => {
                    let modules = targets.iter().filter_map(|target| match target {
                        Target::Module(module) => Some(*module),
                        Target::Item(_) => None,
                    });
                    let before = queue.len();
                    queue.extend(modules.map(|module| (module, path.clone(), false)));
                    if queue.len() == before {
                        pass_on(&mut reach, &path, &used.path, "*");
                    }
                }
                Some(name) => {
                    if targets.is_empty() {
                        pass_on(&mut reach, &path, &used.path, name);
                    }
                    for target in targets {
                        match target {
                            Target::Item(id) => reach.show(id, &path, name),
                            Target::Module(module)
                                if tree.modules.get(module).is_some_and(|module| module.is_public) =>
                            {
                                queue.push_back((
                                    module,
                                    [path.as_slice(), std::slice::from_ref(name)].concat(),
                                    true,
                                ));
                            }
                            Target::Module(_) => {}
                        }
                    }
                }
            }
        }
    }
}

fn pass_on(reach: &mut Reach, module: &[String], path: &[String], name: &str) {
    let mut text = path.join("::");
    if name == "*" {
        text.push_str("::*");
    } else if path.last().is_none_or(|last| last != name) {
        text = format!("{text} as {name}");
    }
    let list = reach.foreign.entry(module.to_vec()).or_default();
    if !list.contains(&text) {
        list.push(text);
    }
}

/// What a path stands for in a module; nothing for what other crates have.
pub(super) fn resolve(tree: &Tree, module: usize, path: &[String]) -> Vec<Target> {
    Resolver { tree, steps: STEPS_MAX }.path(module, path, 0)
}

struct Resolver<'tree> {
    tree: &'tree Tree,
    steps: usize,
}

/// Re-exports of re-exports are followed this far.
const CHAIN_MAX: usize = 12;

impl<'tree> Resolver<'tree> {
    fn path(&mut self, module: usize, path: &[String], chain: usize) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else {
            return vec![Target::Module(module)];
        };
        let start = match first.as_str() {
            "crate" => vec![Target::Module(0)],
            "self" => vec![Target::Module(module)],
            "super" => self.module(module).map(|module| Target::Module(module.parent)).into_iter().collect(),
            name if name == self.tree.name => vec![Target::Module(0)],
            name => self.name(module, name, chain),
        };
        rest.iter().fold(start, |targets, name| {
            targets
                .into_iter()
                .filter_map(|target| match target {
                    Target::Module(module) => Some(module),
                    Target::Item(_) => None,
                })
                .flat_map(|module| match (name.as_str(), self.module(module)) {
                    ("super", Some(module)) => vec![Target::Module(module.parent)],
                    _ => self.name(module, name, chain),
                })
                .collect()
        })
    }

    /// A name in a module: its own items and children, else what it uses by that name, else by `*`.
    fn name(&mut self, index: usize, name: &str, chain: usize) -> Vec<Target> {
        if self.steps == 0 || chain > CHAIN_MAX {
            return Vec::new();
        }
        self.steps -= 1;
        let Some(module) = self.module(index) else {
            return Vec::new();
        };
        let items = module.items.iter().enumerate().filter(|(_, item)| item.name == name);
        let mut found: Vec<Target> = items.map(|(place, _)| Target::Item((index, place))).collect();
        found.extend(
            module.children.iter().filter(|link| link.name == name).map(|link| Target::Module(link.module)),
        );
        // A module and what it re-exports often share a name: `mod spawn; pub use spawn::spawn;`.
        for used in module.uses.iter().filter(|used| used.name.as_deref() == Some(name)) {
            // `use a::a;` where there is no module `a` means another crate, and would lead back here.
            if used.path.first().is_some_and(|first| first != name)
                || (used.path.len() > 1 && !found.is_empty())
            {
                let others = self.path(index, &used.path, chain + 1);
                found.extend(others);
            }
        }
        found.dedup();
        if !found.is_empty() {
            return found;
        }
        for used in module.uses.iter().filter(|used| used.name.is_none()) {
            let modules = self.path(index, &used.path, chain + 1);
            for target in modules {
                if let Target::Module(module) = target
                    && module != index
                {
                    let found = self.name(module, name, chain + 1);
                    if !found.is_empty() {
                        return found;
                    }
                }
            }
        }
        Vec::new()
    }

    fn module(&self, index: usize) -> Option<&'tree Module> {
        self.tree.modules.get(index)
    }
}
