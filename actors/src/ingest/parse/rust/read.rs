//! From one source file to its items: syntax in, plain records out.

use std::{collections::HashMap, thread};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, File, ForeignItem, Item as Syntax, ItemMacro, ItemMod, Meta, UseTree,
    parse::{ParseStream, Parser, discouraged::Speculative},
    spanned::Spanned,
};

use super::{
    comment::{Docs, has_word, is_doc_hidden, is_for_tests, is_hidden},
    declare::{Declarations, is_public, plain, public, record},
    item::{Entry, Item, ItemKind},
    signature::Cutter,
    tokens,
};
use crate::ingest::parse::ParseError;

/// Enough for the deepest source that [`tokens::outline`] lets through; only what is used is ever touched.
const STACK_BYTES: usize = 64 << 20;

/// A module as its source says it is.
#[derive(Debug, Default)]
pub(super) struct SourceModule {
    pub(super) docs: Docs,
    pub(super) items: Vec<Item>,
    pub(super) children: Vec<Child>,
    pub(super) uses: Vec<Use>,
    pub(super) impls: Vec<Impl>,
}

/// `mod name;` or `mod name { … }`.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) is_public: bool,
    /// `#[path = "…"]`.
    pub(super) path: Option<String>,
    /// What stands before `mod`.
    pub(super) docs: Docs,
    pub(super) inline: Option<SourceModule>,
}

/// One name, or all names, brought into a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    /// The name it has here; `None` for `*`.
    pub(super) name: Option<String>,
    pub(super) is_public: bool,
}

/// Methods of a type, which may lie in another module.
#[derive(Debug)]
pub(super) struct Impl {
    pub(super) type_name: String,
    pub(super) entries: Vec<Entry>,
}

/// Reads one file.
pub(super) fn read(source: &str) -> Result<SourceModule, ParseError> {
    let source = without_shebang(source);
    // The parser recurses. On a thread of its own it has the stack for it, and the source map that it
    // keeps for the thread is given back with it.
    let parsed = thread::scope(|scope| {
        let worker = thread::Builder::new().name("rust-parser".into()).stack_size(STACK_BYTES);
        worker.spawn_scoped(scope, || parse(source)).map(|handle| handle.join())
    });
    match parsed {
        Ok(Ok(module)) => module,
        Ok(Err(_)) => Err(tokens::syntax("the parser gave up".to_owned())),
        Err(_) => Err(tokens::syntax("no thread to parse it on".to_owned())),
    }
}

fn parse(source: &str) -> Result<SourceModule, ParseError> {
    let tokens = tokens::outline(source)?;
    let ((attributes, items), error) = match syn::parse2::<File>(tokens.clone()) {
        Ok(file) => ((file.attrs, file.items), None),
        // Old editions have a few forms the parser does not know: the other items are read without them.
        Err(error) => match tolerant.parse2(tokens) {
            Ok(rest) => (rest, Some(error)),
            Err(_) => return Err(fault(&error)),
        },
    };
    let mut module = SourceModule { docs: Docs::of(&attributes), ..SourceModule::default() };
    if !is_hidden(&attributes) {
        Reader { declare: Declarations { cut: Cutter::new(source) }, wrappers: wrappers(&items) }
            .items(items, &mut module);
    }
    match error {
        Some(error) if module.is_empty() => Err(fault(&error)),
        _ => Ok(module),
    }
}

fn fault(error: &syn::Error) -> ParseError {
    tokens::syntax(format!("line {}: {error}", error.span().start().line))
}

/// The attributes and items of a file without those that do not parse; each ends at a semicolon or a block.
fn tolerant(input: ParseStream<'_>) -> syn::Result<(Vec<Attribute>, Vec<Syntax>)> {
    let attributes = input.call(Attribute::parse_inner)?;
    let mut items = Vec::new();
    while !input.is_empty() {
        let ahead = input.fork();
        match ahead.parse::<Syntax>() {
            Ok(item) => {
                input.advance_to(&ahead);
                items.push(item);
            }
            Err(_) => loop {
                match input.parse::<TokenTree>() {
                    Ok(TokenTree::Punct(punct)) if punct.as_char() == ';' => break,
                    Ok(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => break,
                    Ok(_) => {}
                    Err(_) => break,
                }
            },
        }
    }
    Ok((attributes, items))
}

impl SourceModule {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.children.is_empty() && self.impls.is_empty() && self.docs.is_empty()
    }
}

/// `#!/usr/bin/env …`, but not `#![attribute]`.
fn without_shebang(source: &str) -> &str {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    match source.strip_prefix("#!") {
        Some(rest) if !rest.trim_start().starts_with('[') => {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        }
        _ => source,
    }
}

struct Reader<'source> {
    declare: Declarations<'source>,
    /// What the file's own macros put before the item they are given.
    wrappers: HashMap<String, Vec<Attribute>>,
}

impl Reader<'_> {
    /// Adds items to a module. Recursion ends with the nesting of modules, which is bounded.
    fn items(&self, items: Vec<Syntax>, module: &mut SourceModule) {
        for item in items {
            // A hidden module may still hold what is exported elsewhere.
            let is_left_out = match &item {
                Syntax::Mod(item) => is_for_tests(&item.attrs),
                _ => is_hidden(attributes(&item)),
            };
            if !is_left_out {
                self.item(item, module);
            }
        }
    }

    fn item(&self, item: Syntax, module: &mut SourceModule) {
        let declare = self.declare;
        let read = match item {
            Syntax::Mod(item) => return self.module(item, module),
            Syntax::Use(item) => {
                return uses(&item.tree, is_public(&item.vis), &mut Vec::new(), &mut module.uses);
            }
            Syntax::ExternCrate(item) => {
                let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name);
                let (path, name) = (vec![plain(&item.ident)], Some(plain(name)));
                return module.uses.push(Use { path, name, is_public: is_public(&item.vis) });
            }
            Syntax::Impl(item) => return module.impls.extend(declare.implementation(item)),
            Syntax::Macro(item) => return self.macro_item(item, module),
            Syntax::ForeignMod(item) => {
                for item in item.items {
                    if let ForeignItem::Fn(item) = item
                        && let Some(start) = public(&item.vis)
                        && !is_hidden(&item.attrs)
                    {
                        let signature = declare.cut.between(start, item.sig.span());
                        let item = record(ItemKind::Function, &item.sig.ident, signature, &item.attrs);
                        module.items.push(item);
                    }
                }
                return;
            }
            Syntax::Struct(item) => declare.structure(&item),
            Syntax::Enum(item) => declare.enumeration(&item),
            Syntax::Trait(item) => declare.trait_item(&item),
            Syntax::Fn(item) => declare.function(&item),
            Syntax::Union(item) => declare.union(&item),
            Syntax::Const(item) => public(&item.vis).map(|start| {
                let signature = declare.value(start, item.ty.span(), item.semi_token.span);
                record(ItemKind::Constant, &item.ident, signature, &item.attrs)
            }),
            Syntax::Static(item) => public(&item.vis).map(|start| {
                let signature = declare.value(start, item.ty.span(), item.semi_token.span);
                record(ItemKind::Static, &item.ident, signature, &item.attrs)
            }),
            Syntax::Type(item) => public(&item.vis).map(|start| {
                let signature = declare.cut.between(start, item.semi_token.span);
                record(ItemKind::TypeAlias, &item.ident, signature, &item.attrs)
            }),
            Syntax::TraitAlias(item) => public(&item.vis).map(|start| {
                let signature = declare.cut.between(start, item.semi_token.span);
                record(ItemKind::TraitAlias, &item.ident, signature, &item.attrs)
            }),
            _ => None,
        };
        module.items.extend(read);
    }

    fn module(&self, item: ItemMod, module: &mut SourceModule) {
        let path = item.attrs.iter().find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => string(&pair.value),
            _ => None,
        });
        // The doc comments inside the braces are attributes of the module too.
        let docs = Docs::of(&item.attrs);
        let inline = item.content.map(|(_, items)| {
            let mut inline = SourceModule::default();
            self.items(items, &mut inline);
            inline
        });
        module.children.push(Child {
            name: plain(&item.ident),
            is_public: is_public(&item.vis) && !is_doc_hidden(&item.attrs),
            path,
            docs,
            inline,
        });
    }

    /// `macro_rules!` when it is exported; the items of a call's body when it has any.
    fn macro_item(&self, item: ItemMacro, module: &mut SourceModule) {
        if item.mac.path.is_ident("macro_rules") {
            let exported = item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"));
            if let Some(name) = item.ident.filter(|_| exported) {
                let signature = self.declare.patterns(&plain(&name), item.mac.tokens);
                let read = record(ItemKind::Macro, &name, signature, &item.attrs);
                module.items.push(Item { at_root: true, ..read });
            }
        } else if item.mac.path.segments.last().is_some_and(|last| last.ident == "cfg_if") {
            // `if #[cfg(unix)] { … } else { … }`: each block holds items for some configuration.
            for token in item.mac.tokens {
                if let TokenTree::Group(block) = token
                    && block.delimiter() == Delimiter::Brace
                    && let Ok(file) = syn::parse2::<File>(block.stream())
                {
                    self.items(file.items, module);
                }
            }
        } else if let Ok(mut file) = syn::parse2::<File>(item.mac.tokens) {
            let wrapper = item.mac.path.get_ident().and_then(|name| self.wrappers.get(&plain(name)));
            if let (Some(added), [Syntax::Macro(ItemMacro { attrs, .. })]) =
                (wrapper, file.items.as_mut_slice())
            {
                attrs.splice(0..0, added.iter().cloned());
            }
            self.items(file.items, module);
        }
    }
}

/// Macros that only add attributes to an item: `macro_rules! doc { ($item:item) => { /// … $item } }`.
fn wrappers(items: &[Syntax]) -> HashMap<String, Vec<Attribute>> {
    let mut wrappers = HashMap::new();
    for item in items {
        let Syntax::Macro(ItemMacro { ident: Some(name), mac, .. }) = item else {
            continue;
        };
        let groups: Vec<TokenStream> = mac
            .tokens
            .clone()
            .into_iter()
            .filter_map(|token| match token {
                TokenTree::Group(group) => Some(group.stream()),
                _ => None,
            })
            .collect();
        let [pattern, body] = groups.as_slice() else {
            continue;
        };
        let attributes = |input: ParseStream<'_>| {
            let attributes = input.call(Attribute::parse_outer)?;
            input.parse::<syn::Token![$]>()?;
            input.parse::<proc_macro2::Ident>()?;
            Ok(attributes)
        };
        if has_word(pattern, "item")
            && let Ok(attributes) = attributes.parse2(body.clone())
        {
            wrappers.insert(plain(name), attributes);
        }
    }
    wrappers
}

/// Every name that a `use` brings in. The recursion is bounded by the nesting of its braces and its path.
fn uses(tree: &UseTree, is_public: bool, path: &mut Vec<String>, out: &mut Vec<Use>) {
    match tree {
        UseTree::Path(part) => {
            path.push(plain(&part.ident));
            uses(&part.tree, is_public, path, out);
            path.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            out.push(Use { path: path.clone(), name: path.last().cloned(), is_public });
        }
        UseTree::Name(name) => {
            let name = plain(&name.ident);
            out.push(Use {
                path: [path.as_slice(), std::slice::from_ref(&name)].concat(),
                name: Some(name),
                is_public,
            });
        }
        // `as _` brings a trait's methods, not its name.
        UseTree::Rename(rename) if rename.rename == "_" => {}
        UseTree::Rename(rename) => {
            let from = plain(&rename.ident);
            let path = if from == "self" { path.clone() } else { [path.as_slice(), &[from]].concat() };
            out.push(Use { path, name: Some(plain(&rename.rename)), is_public });
        }
        UseTree::Glob(_) => out.push(Use { path: path.clone(), name: None, is_public }),
        UseTree::Group(group) => group.items.iter().for_each(|tree| uses(tree, is_public, path, out)),
    }
}

fn string(value: &syn::Expr) -> Option<String> {
    match value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

fn attributes(item: &Syntax) -> &[Attribute] {
    match item {
        Syntax::Const(item) => &item.attrs,
        Syntax::Enum(item) => &item.attrs,
        Syntax::ExternCrate(item) => &item.attrs,
        Syntax::Fn(item) => &item.attrs,
        Syntax::ForeignMod(item) => &item.attrs,
        Syntax::Impl(item) => &item.attrs,
        Syntax::Macro(item) => &item.attrs,
        Syntax::Mod(item) => &item.attrs,
        Syntax::Static(item) => &item.attrs,
        Syntax::Struct(item) => &item.attrs,
        Syntax::Trait(item) => &item.attrs,
        Syntax::TraitAlias(item) => &item.attrs,
        Syntax::Type(item) => &item.attrs,
        Syntax::Union(item) => &item.attrs,
        Syntax::Use(item) => &item.attrs,
        _ => &[],
    }
}
