//! What TwinMCP keeps: the bottom crate, which depends on nothing of ours.
//!
//! Agreed state lies in an [`engine::Engine`] as versioned records, one file a noun ([`accounts`],
//! [`api_keys`], [`libraries`], [`jobs`], [`catalogue`], [`usage`], [`refresh`], [`members`], [`oauth`], [`teams`]), and changes only by a [`command::Command`] that
//! [`command::apply`] turns into writes. Documentation lies in [`bundle`]s, one immutable file a
//! library version.
//!
//! Invariant: nothing here reads a clock, a generator of random numbers or the network by itself;
//! the seams for the first two are in [`clock`].

pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod bundle;
pub mod catalogue;
pub mod clock;
pub mod command;
pub mod engine;
#[cfg(test)]
mod golden;
pub mod ids;
pub mod jobs;
pub mod libraries;
pub mod members;
pub mod oauth;
pub mod record;
pub mod refresh;
pub mod rotation;
pub mod scope;
pub mod teams;
pub mod transaction;
pub mod usage;
