//! The module tree of a crate, put together from its files the way the compiler finds them.

use std::collections::{BTreeMap, HashSet};

use super::{
    comment::Docs,
    item::Item,
    read::{Child, Impl, SourceModule, Use},
};

/// The modules of one crate; the first is the root.
pub(super) struct Tree {
    /// As in code, e.g. `serde_json`.
    pub(super) name: String,
    pub(super) modules: Vec<Module>,
}

/// One module in the tree.
pub(super) struct Module {
    pub(super) parent: usize,
    /// Whether its parent makes it public, so that it can be re-exported as a whole.
    pub(super) is_public: bool,
    pub(super) docs: Docs,
    pub(super) items: Vec<Item>,
    pub(super) uses: Vec<Use>,
    pub(super) impls: Vec<Impl>,
    pub(super) children: Vec<Link>,
}

/// A module's name in its parent.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) is_public: bool,
    pub(super) module: usize,
}

/// Where a module that was read lies: in the tree and on disk.
struct Pending {
    module: SourceModule,
    outer_docs: Docs,
    parent: Option<(usize, Link)>,
    /// The folder `#[path]` is relative to.
    folder: String,
    /// The folder its `mod name;` are looked for in.
    children_folder: String,
}

/// The crates among `files`: the one of `library_path`, one for each other `…/src/lib.rs`, and, where
/// there is no root at all, one for each file.
pub(super) fn trees(name: &str, library_path: &str, mut files: BTreeMap<String, SourceModule>) -> Vec<Tree> {
    let others = files.keys().filter(|path| *path != library_path && is_root(path));
    let mut roots: Vec<(String, String)> =
        others.map(|path| (crate_name(path, name), path.clone())).collect();
    if files.contains_key(library_path) {
        roots.insert(0, (name.to_owned(), library_path.to_owned()));
    }
    if roots.is_empty() {
        roots = files.keys().map(|path| (module_name(path, name), path.clone())).collect();
    }
    roots.into_iter().filter_map(|(name, path)| tree(name, &path, &mut files)).collect()
}

fn is_root(path: &str) -> bool {
    path == "src/lib.rs" || path.ends_with("/src/lib.rs")
}

/// `crates/foo-bar/src/lib.rs` is the crate `foo_bar`.
fn crate_name(path: &str, package: &str) -> String {
    let folder = path.strip_suffix("/src/lib.rs").and_then(|folder| folder.rsplit('/').next());
    folder.map_or_else(|| package.to_owned(), |folder| folder.replace('-', "_"))
}

/// The path of a file's module, for a file whose crate is not known.
fn module_name(path: &str, package: &str) -> String {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.rsplit_once("src/").map_or(path, |(_, path)| path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "lib" | "mod") {
        package.to_owned()
    } else {
        format!("{package}::{}", path.replace('/', "::"))
    }
}

/// Builds one tree, taking its files out of `files`, so that no file is read twice.
fn tree(name: String, root: &str, files: &mut BTreeMap<String, SourceModule>) -> Option<Tree> {
    let (folder, _) = split(root);
    let module = files.remove(root)?;
    let mut pending = vec![Pending {
        module,
        outer_docs: Docs::default(),
        parent: None,
        folder: folder.to_owned(),
        children_folder: folder.to_owned(),
    }];
    let mut modules: Vec<Module> = Vec::new();
    while let Some(Pending { module, outer_docs, parent, folder, children_folder }) = pending.pop() {
        let index = modules.len();
        let mut docs = outer_docs;
        docs.append(module.docs);
        let (above, is_public) = parent.as_ref().map_or((0, true), |(above, link)| (*above, link.is_public));
        if let Some((above, link)) = parent
            && let Some(above) = modules.get_mut(above)
        {
            above.children.push(Link { module: index, ..link });
        }
        let SourceModule { items, uses, impls, children, .. } = module;
        modules.push(Module { parent: above, is_public, docs, items, uses, impls, children: Vec::new() });
        // Where a module is declared twice, for two configurations, the public one counts.
        let public: HashSet<String> =
            children.iter().filter(|child| child.is_public).map(|child| child.name.clone()).collect();
        let children = children.into_iter().filter(|child| child.is_public || !public.contains(&child.name));
        let mut found: Vec<Pending> =
            children.filter_map(|child| find(child, index, &folder, &children_folder, files)).collect();
        // Last in, first out: the children keep their order.
        found.reverse();
        pending.append(&mut found);
    }
    Some(Tree { name, modules })
}

/// The source of a child module; `None` when its file is not among the sources.
fn find(
    child: Child,
    parent: usize,
    folder: &str,
    children_folder: &str,
    files: &mut BTreeMap<String, SourceModule>,
) -> Option<Pending> {
    let Child { name, is_public, path, docs, inline } = child;
    let below = join(children_folder, &name);
    let (module, folder, children_folder) = match (inline, path) {
        (Some(module), _) => (module, below.clone(), below),
        (None, Some(path)) => {
            let file = join(folder, &path);
            let module = files.remove(&file)?;
            let (folder, _) = split(&file);
            (module, folder.to_owned(), folder.to_owned())
        }
        (None, None) => match files.remove(&format!("{below}.rs")) {
            Some(module) => (module, children_folder.to_owned(), below),
            None => (files.remove(&format!("{below}/mod.rs"))?, below.clone(), below),
        },
    };
    let link = Link { name, is_public, module: 0 };
    Some(Pending { module, outer_docs: docs, parent: Some((parent, link)), folder, children_folder })
}

/// The folder and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path relative to a folder, `.` and `..` resolved.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
