//! TwinMCP as a library: how a node is started, configured and documented. The binary `twinmcp` is a
//! thin shell around [`cli`]; tests and tools start nodes through [`Node`].
//!
//! Invariants: `poem`, `rmcp` and `clap` are named in this crate only; handlers translate and decide
//! nothing; everything a caller can send has a limit.

mod accounts;
mod api;
mod backroom;
mod backup;
mod bucket;
pub mod cli;
mod config;
mod data_dir;
mod dns;
mod embeddings;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gossip;
mod http;
mod key_folder;
mod mcp;
mod node;
mod outside_key;
mod peers;
mod public_url;
mod qr;
mod telemetry;
mod tls;
mod ui;
mod upstream;

pub use accounts::PasswordFileError;
pub use api::openapi_document;
pub use backup::RestoreError;
pub use config::{
    AccountsConfig, Config, DnsConfig, EmbeddingsConfig, HttpConfig, IngestConfig, LimitsConfig, MailConfig,
    MailTls, MfaConfig, MfaRequired, NodeConfig, PeersConfig, Problem, Problems, SearchConfig, SignUpMode,
    SmsConfig, StorageConfig, TelemetryConfig,
};
pub use data_dir::DataDirError;
pub use dns::{DnsError, GeoError};
pub use node::{Node, StartError};
pub use outside_key::KeyError;
pub use peers::PlaceError;
pub use telemetry::{Telemetry, TelemetryError};
