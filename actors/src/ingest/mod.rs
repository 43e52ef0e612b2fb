//! Ingest: from a source to the snippets of a bundle.
//!
//! A source is read ([`source`]), its files become documents ([`parse`]), these are cut into snippets
//! ([`split`]), embedded and written into a bundle. All of it is plain functions
//! on one thread; the actor that runs it is in [`crate::jobs`].

mod about;
mod build;
mod code;
pub mod context7_json;
mod invisible;
mod metrics;
pub mod parse;
pub mod source;
pub mod split;

pub(crate) use build::{IngestError, Task, build};
pub use build::{IngestLimits, Material};
