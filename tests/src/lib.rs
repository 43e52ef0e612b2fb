//! Whole nodes from outside: the program `twinmcp` as a child process, asked over HTTP and from its command line.
//!
//! [`TestNode`] starts, stops, kills and restarts a node; [`TestClient`] asks it; [`Cli`] runs the commands; [`docs`]
//! writes documentation whose right answers are known; [`site`] and [`git`] serve it; [`collector`] takes the traces of a node, of each one that starts if its test takes none;
//! [`Fault`] and [`SmallDisk`] are bad disks, [`Links`] are a bad network, and [`Regions`] networks of their own, [`TestBucket`] keeps objects, [`Resolver`] asks for names, [`history`] judges what callers saw. The stories are in `tests/`, one module each.
//!
//! Invariant: what callers send and are given stands in no log and in no trace of any node (it is looked for when a node ends; load and measurements leave the traces out, [`NodeSetup::untraced`]). Nothing here leaves the machine, listens on a fixed port or writes outside a temporary folder.

mod binary;
mod bucket;
mod cli;
mod client;
mod cluster;
pub mod collector;
pub mod docs;
pub mod embedding_service;
mod faults;
pub mod git;
pub mod history;
mod links;
mod node;
mod overheard;
mod raw;
mod regions;
mod relay;
mod resolver;
mod secrets;
pub mod service;
pub mod site;
mod wait;

pub use binary::twinmcp;
pub use bucket::{BUCKET, TestBucket};
pub use cli::{Cli, Finished, run, run_within};
pub use client::{Answer, Events, TestClient, form, with_parameters};
pub use cluster::TestCluster;
pub use faults::{Chance, Fault, SmallDisk, left_out, variable};
pub use links::Links;
pub use node::{NodeSetup, TestNode, send_signal};
pub use raw::{Raw, RawAnswer, raise_file_limit};
pub use regions::Regions;
pub use resolver::{Resolver, addresses, for_client, question, scope};
pub use wait::{DEADLINE, eventually};
