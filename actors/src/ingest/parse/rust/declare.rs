//! Declarations as records: what a type, trait or function looks like and what is said about its parts.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::{
    Attribute, Field, Fields, ImplItem, ItemEnum, ItemFn, ItemImpl, ItemStruct, ItemTrait, ItemUnion, Meta,
    TraitItem, Type, Visibility, spanned::Spanned,
};

use super::{
    comment::{Docs, is_hidden},
    item::{Entry, Item, ItemKind},
    read::Impl,
    signature::{Cutter, block, bounded},
};

/// Reads declarations of one source; what is not public is `None`.
#[derive(Clone, Copy)]
pub(super) struct Declarations<'source> {
    pub(super) cut: Cutter<'source>,
}

impl Declarations<'_> {
    pub(super) fn structure(&self, item: &ItemStruct) -> Option<Item> {
        let start = public(&item.vis)?;
        let (members, hidden) = self.members(&item.fields);
        let signature = match (&item.fields, item.semi_token) {
            (Fields::Named(fields), _) => {
                block(&self.cut.up_to(start, fields.brace_token.span.open()), &members, hidden)
            }
            (Fields::Unnamed(fields), _) if hidden.is_some() => {
                let head = self.cut.up_to(start, fields.paren_token.span.open());
                format!("{head}({});", members_or_hidden(&item.fields, &members).join(", "))
            }
            (_, Some(semicolon)) => self.cut.between(start, semicolon.span),
            (_, None) => String::new(),
        };
        Some(Item {
            entries: fields_with_docs(&item.fields),
            ..record(ItemKind::Struct, &item.ident, signature, &item.attrs)
        })
    }

    pub(super) fn union(&self, item: &ItemUnion) -> Option<Item> {
        let start = public(&item.vis)?;
        let fields = Fields::Named(item.fields.clone());
        let head = self.cut.up_to(start, item.fields.brace_token.span.open());
        let (members, hidden) = self.members(&fields);
        let signature = block(&head, &members, hidden);
        let entries = fields_with_docs(&fields);
        Some(Item { entries, ..record(ItemKind::Union, &item.ident, signature, &item.attrs) })
    }

    pub(super) fn enumeration(&self, item: &ItemEnum) -> Option<Item> {
        let start = public(&item.vis)?;
        let head = self.cut.up_to(start, item.brace_token.span.open());
        let variants: Vec<_> = item.variants.iter().filter(|variant| !is_hidden(&variant.attrs)).collect();
        let shown: Vec<String> = variants
            .iter()
            .map(|variant| {
                let end = match (&variant.discriminant, &variant.fields) {
                    (Some((_, value)), _) => value.span(),
                    (None, Fields::Unit) => variant.ident.span(),
                    (None, fields) => fields.span(),
                };
                format!("{},", self.cut.between(variant.ident.span(), end))
            })
            .collect();
        let mut entries = Vec::new();
        for variant in variants {
            let docs = Docs::of(&variant.attrs);
            let name = plain(&variant.ident);
            if !docs.is_empty() {
                entries.push(Entry {
                    anchor: format!("variant.{name}"),
                    name: name.clone(),
                    signature: String::new(),
                    docs,
                });
            }
            for field in fields_with_docs(&variant.fields) {
                entries.push(Entry {
                    anchor: format!("variant.{name}.field.{}", field.name),
                    name: format!("{name}.{}", field.name),
                    ..field
                });
            }
        }
        Some(Item { entries, ..record(ItemKind::Enum, &item.ident, block(&head, &shown, None), &item.attrs) })
    }

    pub(super) fn trait_item(&self, item: &ItemTrait) -> Option<Item> {
        let start = public(&item.vis)?;
        let head = self.cut.up_to(start, item.brace_token.span.open());
        let mut shown = Vec::new();
        let mut entries = Vec::new();
        for member in &item.items {
            let (name, anchor, signature, attributes) = match member {
                TraitItem::Fn(member) => {
                    let kind = if member.default.is_some() { "method" } else { "tymethod" };
                    let signature = self.cut.between(member.sig.span(), member.sig.span());
                    shown.push(if member.default.is_some() {
                        format!("{signature} {{ ... }}")
                    } else {
                        format!("{signature};")
                    });
                    (plain(&member.sig.ident), kind, signature, &member.attrs)
                }
                TraitItem::Type(member) => {
                    let signature = self.cut.between(member.type_token.span, member.semi_token.span);
                    shown.push(signature.clone());
                    (plain(&member.ident), "associatedtype", signature, &member.attrs)
                }
                TraitItem::Const(member) => {
                    let signature =
                        format!("{};", self.cut.between(member.const_token.span, member.ty.span()));
                    shown.push(signature.clone());
                    (plain(&member.ident), "associatedconstant", signature, &member.attrs)
                }
                _ => continue,
            };
            if is_hidden(attributes) {
                shown.pop();
                continue;
            }
            let docs = Docs::of(attributes);
            if !docs.is_empty() {
                entries.push(Entry { anchor: format!("{anchor}.{name}"), name, signature, docs });
            }
        }
        Some(Item {
            entries,
            ..record(ItemKind::Trait, &item.ident, block(&head, &shown, None), &item.attrs)
        })
    }

    pub(super) fn function(&self, item: &ItemFn) -> Option<Item> {
        let start = public(&item.vis)?;
        let signature = self.cut.between(start, item.sig.span());
        let mut read = record(ItemKind::Function, &item.sig.ident, signature, &item.attrs);
        // The functions behind procedural macros are called by the compiler, under another name.
        for attribute in &item.attrs {
            match &attribute.meta {
                Meta::Path(path) if path.is_ident("proc_macro") => {
                    (read.kind, read.at_root, read.signature) =
                        (ItemKind::Macro, true, format!("{}!() {{ /* proc-macro */ }}", read.name));
                }
                Meta::Path(path) if path.is_ident("proc_macro_attribute") => {
                    (read.kind, read.at_root, read.signature) =
                        (ItemKind::Attribute, true, format!("#[{}]", read.name));
                }
                Meta::List(list) if list.path.is_ident("proc_macro_derive") => {
                    let mut words = list.tokens.clone().into_iter();
                    if let Some(TokenTree::Ident(name)) = words.next() {
                        read.name = plain(&name);
                    }
                    (read.kind, read.at_root, read.signature) =
                        (ItemKind::Derive, true, format!("#[derive({})]", read.name));
                }
                _ => {}
            }
        }
        Some(read)
    }

    /// The public methods and constants of a type; `None` for the implementation of a trait.
    pub(super) fn implementation(&self, item: ItemImpl) -> Option<Impl> {
        if item.trait_.is_some() || is_hidden(&item.attrs) {
            return None;
        }
        let Type::Path(path) = *item.self_ty else {
            return None;
        };
        let last = path.path.segments.last()?;
        let mut entries = Vec::new();
        for member in item.items {
            let (name, anchor, signature, attributes) = match &member {
                ImplItem::Fn(member) => {
                    let Some(start) = public(&member.vis) else {
                        continue;
                    };
                    (
                        plain(&member.sig.ident),
                        "method",
                        self.cut.between(start, member.sig.span()),
                        &member.attrs,
                    )
                }
                ImplItem::Const(member) => {
                    let Some(start) = public(&member.vis) else {
                        continue;
                    };
                    let signature = self.value(start, member.ty.span(), member.semi_token.span);
                    (plain(&member.ident), "associatedconstant", signature, &member.attrs)
                }
                _ => continue,
            };
            if !is_hidden(attributes) {
                entries.push(Entry {
                    anchor: format!("{anchor}.{name}"),
                    name,
                    signature,
                    docs: Docs::of(attributes),
                });
            }
        }
        (!entries.is_empty()).then(|| Impl { type_name: plain(&last.ident), entries })
    }

    /// A macro's patterns without what they expand to.
    pub(super) fn patterns(&self, name: &str, rules: TokenStream) -> String {
        let mut patterns = Vec::new();
        let mut at_pattern = true;
        for token in rules {
            match token {
                TokenTree::Group(group) if at_pattern => {
                    patterns.push(format!("{} => {{ ... }};", self.cut.between(group.span(), group.span())));
                    at_pattern = false;
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => at_pattern = true,
                _ => {}
            }
        }
        block(&format!("macro_rules! {name}"), &patterns, None)
    }

    /// A constant with its value, when that is short; else with its type alone.
    pub(super) fn value(&self, start: Span, ty: Span, semicolon: Span) -> String {
        let whole = self.cut.between(start, semicolon);
        if whole.len() <= 160 { whole } else { format!("{};", self.cut.between(start, ty)) }
    }

    /// The public fields as they are written, and what stands for the others.
    fn members(&self, fields: &Fields) -> (Vec<String>, Option<&'static str>) {
        let shown = |field: &&Field| is_public(&field.vis) && !is_hidden(&field.attrs);
        let start = |field: &Field| public(&field.vis).unwrap_or_else(|| field.ty.span());
        let end = if matches!(fields, Fields::Named(_)) { "," } else { "" };
        let members: Vec<String> = fields
            .iter()
            .filter(shown)
            .map(|field| format!("{}{end}", self.cut.between(start(field), field.ty.span())))
            .collect();
        let hidden = members.len() < fields.len();
        (members, hidden.then_some("/* private fields */"))
    }
}

pub(super) fn record(kind: ItemKind, name: &Ident, signature: String, attributes: &[Attribute]) -> Item {
    Item {
        kind,
        name: plain(name),
        signature: bounded(signature),
        docs: Docs::of(attributes),
        entries: Vec::new(),
        at_root: false,
    }
}

/// The fields of a tuple in order, with a comment in the place of private ones.
fn members_or_hidden(fields: &Fields, members: &[String]) -> Vec<String> {
    let mut members = members.iter();
    fields
        .iter()
        .map(
            |field| {
                if is_public(&field.vis) && !is_hidden(&field.attrs) { members.next().cloned() } else { None }
            },
        )
        .map(|member| member.unwrap_or_else(|| "/* private */".to_owned()))
        .collect()
}

/// Named fields that are documented; those of an enum's variant are as public as the enum.
fn fields_with_docs(fields: &Fields) -> Vec<Entry> {
    let in_variant = |field: &Field| matches!(field.vis, Visibility::Inherited);
    fields
        .iter()
        .filter(|field| !is_hidden(&field.attrs) && (is_public(&field.vis) || in_variant(field)))
        .filter_map(|field| {
            let name = plain(field.ident.as_ref()?);
            let docs = Docs::of(&field.attrs);
            let anchor = format!("structfield.{name}");
            (!docs.is_empty()).then_some(Entry { name, anchor, signature: String::new(), docs })
        })
        .collect()
}

/// The place of `pub`; `pub(crate)` and less is not public.
pub(super) fn public(visibility: &Visibility) -> Option<Span> {
    match visibility {
        Visibility::Public(token) => Some(token.span),
        _ => None,
    }
}

pub(super) fn is_public(visibility: &Visibility) -> bool {
    public(visibility).is_some()
}

/// A name without the marks of a raw identifier.
pub(super) fn plain(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}
