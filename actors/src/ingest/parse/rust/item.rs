//! What is kept of an item once its syntax is forgotten.

use super::comment::Docs;

/// A public item and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    pub(super) name: String,
    pub(super) signature: String,
    pub(super) docs: Docs,
    /// Fields, variants and methods that have something to say.
    pub(super) entries: Vec<Entry>,
    /// A macro stands at the crate's root, whatever module it is written in.
    pub(super) at_root: bool,
}

/// Kinds of items, as rustdoc tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Struct,
    Enum,
    Union,
    Trait,
    TraitAlias,
    Function,
    Constant,
    Static,
    TypeAlias,
    Macro,
    Attribute,
    Derive,
}

/// A field, variant, method or associated item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// As rustdoc names it, e.g. `method.send`.
    pub(super) anchor: String,
    /// Empty when the item's own signature shows it.
    pub(super) signature: String,
    pub(super) docs: Docs,
}

impl ItemKind {
    /// The first part of the name of the item's page, and of its anchor.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Struct => "struct",
            Self::Enum => "enum",
            Self::Union => "union",
            Self::Trait => "trait",
            Self::TraitAlias => "traitalias",
            Self::Function => "fn",
            Self::Constant => "constant",
            Self::Static => "static",
            Self::TypeAlias => "type",
            Self::Macro => "macro",
            Self::Attribute => "attr",
            Self::Derive => "derive",
        }
    }
}

impl Item {
    /// Whether the item is shown on its module's page: a page of its own would hold next to nothing.
    pub(super) fn is_small(&self) -> bool {
        let plain = matches!(
            self.kind,
            ItemKind::Constant | ItemKind::Static | ItemKind::TypeAlias | ItemKind::TraitAlias
        );
        plain || (self.docs.is_empty() && self.entries.is_empty())
    }

    /// As it is written in code: `vec!`, `Vec`.
    pub(super) fn shown_name(&self) -> String {
        match self.kind {
            ItemKind::Macro => format!("{}!", self.name),
            _ => self.name.clone(),
        }
    }
}
