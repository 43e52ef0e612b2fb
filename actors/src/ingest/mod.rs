//! Ingest: from a source to the snippets of a bundle.
//!
//! What lies elsewhere is fetched first ([`fetch`]). Then a source is read ([`source`]), its files
//! become documents ([`parse`]), these are cut into snippets ([`split`]), cleaned of characters nobody
//! sees, scanned for text that speaks to a model (`scan`), embedded and written into a bundle. All but
//! fetching is plain functions on one thread; the actor that runs it is in [`crate::jobs`].

mod about;
mod build;
mod code;
pub mod context7_json;
pub mod fetch;
#[cfg(test)]
mod hostile;
mod invisible;
mod metrics;
pub mod parse;
mod reuse;
mod scan;
pub mod source;
pub mod split;

#[cfg(any(test, fuzzing))]
pub(crate) use build::cleaned;
pub(crate) use build::{IngestError, Task, build, not_fetched};
pub use build::{IngestLimits, Material};
#[cfg(fuzzing)]
pub(crate) use fetch::{fuzz_forge, fuzz_web};
