//! Whole nodes from outside: one binary, a module a story. Every story starts nodes of its own.

mod adding;
mod api_keys;
mod bucket;
mod catalogue;
mod clients;
mod cluster;
mod command_line;
mod crash;
mod cut_off;
mod disks;
mod dns;
mod document;
mod draining;
mod embeddings;
mod errors;
mod faults;
mod fetched;
mod fresh;
// The same small file of places as in the tests of the responder.
#[path = "../../node/src/dns/geo_fixture.rs"]
mod geo_file;
mod hostile;
mod hostile_files;
mod identity;
mod jobs;
mod limits;
mod main_job;
mod mcp;
mod moving;
mod observed;
mod placement;
mod proxied;
mod publishing;
mod quickstart;
mod refresh;
mod restarting;
mod rotation;
mod routing;
mod skew;
mod stateless;
mod stdio;
mod stopping;
mod takeover;
// The same tiny transformer as in the tests of its forward pass.
#[path = "../../actors/src/embedding/transformer/tiny.rs"]
mod tiny_model;
mod traces;
mod upgrade;
mod usage;
