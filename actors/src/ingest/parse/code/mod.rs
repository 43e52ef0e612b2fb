//! What the readers of TypeScript and Python share: syntax trees within bounds, symbols with their
//! documentation, which of them a user can name, and the pages made of them.
//!
//! A reader turns each file into a [`Module`]; [`reach()`] follows imports and re-exports from the
//! [`Root`]s of a package, and [`documents`] writes one page for each root. An item that several
//! roots give stands where its path is shortest, once.
//!
//! Grammars are those of tree-sitter: a file with errors still gives what could be read of it, no
//! input exhausts the stack, and the work can be counted and ended.

mod model;
mod pages;
mod reach;
mod syntax;

pub(super) use self::model::{Docs, Export, Module, Symbol, Use, Used};
pub(super) use self::pages::documents;
pub(super) use self::reach::{Root, reach};
pub(super) use self::syntax::{Source, block, bounded};
