//! Whole nodes from outside: one binary, a module a story. Every story starts nodes of its own.

mod api_keys;
mod clients;
mod command_line;
mod crash;
mod document;
mod errors;
mod jobs;
mod limits;
mod main_job;
mod mcp;
mod observed;
mod publishing;
mod quickstart;
mod stdio;
mod stopping;
