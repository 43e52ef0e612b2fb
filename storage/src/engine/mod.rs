//! The storage engine: ordered keys in a few keyspaces, written in batches.
//!
//! [`Engine`] is all the rest of the program knows; the suite in `contract.rs` is what every engine must do.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod damage;
mod fault;
mod fjall;
mod journal;
mod memory;
mod metrics;
mod open;
mod sled;
mod trees;

use std::path::PathBuf;

pub use fault::WayOut;
pub use fjall::{FjallEngine, FjallOptions};
pub use memory::MemoryEngine;
pub use open::{EngineKind, UnknownEngine};
pub use sled::SledEngine;

/// One key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

macro_rules! keyspaces {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A named, ordered set of keys.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Keyspace {
            $($(#[$doc])* $name,)*
        }

        impl Keyspace {
            /// Every keyspace, in a fixed order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The keyspace's name on disk and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

keyspaces! {
    /// Applied log id, membership, the last time stamped.
    Meta = "meta",
    /// People and machines that own things.
    Accounts = "accounts",
    /// API keys, and the way from a secret's hash to its key.
    ApiKeys = "api_keys",
    /// Libraries and their version manifests.
    Libraries = "libraries",
    /// Index jobs.
    Jobs = "jobs",
    /// Libraries known by name.
    Catalogue = "catalogue",
    /// How often libraries were asked, by day.
    Usage = "usage",
    /// Where versions came from, and how they are read again.
    Refresh = "refresh",
    /// Nodes of the cluster, join tokens, the certificate authority.
    Members = "members",
    /// What became of requests that may be sent again.
    Requests = "requests",
    /// Clients, signing keys, codes, grants and their refresh tokens, what was revoked.
    Oauth = "oauth",
    /// Who acts for which team, and who is asked to.
    Teams = "teams",
    /// The audit log.
    Audit = "audit",
    /// Raft log entries, by group and index.
    Log = "log",
    /// Raft vote, committed and purged positions, snapshot description.
    Vote = "vote",
    /// Raft snapshots, in pieces.
    Snapshots = "snapshots",
}

impl Keyspace {
    /// What the agreed state is made of, and a snapshot holds.
    pub const STATE: &[Self] = &[
        Self::Meta,
        Self::Accounts,
        Self::ApiKeys,
        Self::Libraries,
        Self::Jobs,
        Self::Catalogue,
        Self::Usage,
        Self::Refresh,
        Self::Members,
        Self::Requests,
        Self::Oauth,
        Self::Teams,
        Self::Audit,
    ];
    /// What consensus itself keeps, in a database of its own so that a flush of the state never
    /// stalls the log (journal rotation syncs inside the writer's lock).
    pub const RAFT: &[Self] = &[Self::Log, Self::Vote, Self::Snapshots];
}

/// Reading, at one moment or the next.
pub trait Reader: Send + Sync {
    /// The value under `key`.
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Up to `limit` pairs whose key starts with `prefix` and is greater than `after`, in key order.
    fn scan(
        &self,
        space: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError>;
}

/// A store of ordered keys that survives what it promises to survive.
pub trait Engine: Reader + 'static {
    /// Applies every write or none.
    ///
    /// With [`Durability::Synced`] it returns once the batch, and every batch before it, would survive
    /// a power cut; with [`Durability::Buffered`] a crash of the machine may lose the newest batches,
    /// each whole and in order.
    ///
    /// # Errors
    /// After an I/O error the engine refuses every later write with [`StorageError::Halted`].
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError>;

    /// Returns once everything committed so far would survive a power cut.
    fn sync(&self) -> Result<(), StorageError>;

    /// A view that later commits do not change.
    fn view(&self) -> Box<dyn Reader>;

    /// Writes memory to its final place, so that the next opening replays nothing.
    fn close(&self) -> Result<(), StorageError>;

    /// Bytes on disk, as far as the engine knows.
    fn disk_bytes(&self) -> u64;

    /// The first thing that went wrong with its files since it was opened, in a sentence.
    fn fault(&self) -> Option<String>;
}

/// What must be true when a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The batch survives a power cut.
    Synced,
    /// The batch survives the end of the process, not of the machine.
    Buffered,
}

/// Writes that are applied together, in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    writes: Vec<Write>,
}

/// One write of a batch; no value means: remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Keyspace,
    /// Under which key.
    pub key: Vec<u8>,
    /// What; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, space: Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(Write { space, key: key.into(), value: Some(value.into()) });
    }

    /// Removes `key`; no error when it is not there.
    pub fn remove(&mut self, space: Keyspace, key: impl Into<Vec<u8>>) {
        self.writes.push(Write { space, key: key.into(), value: None });
    }

    /// The writes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Refuses keys and values over the limits, and keyspaces the engine was not opened with.
    fn check(&self, spaces: &[Keyspace]) -> Result<(), StorageError> {
        for write in &self.writes {
            if write.key.is_empty() || write.key.len() > KEY_BYTES_MAX {
                return Err(StorageError::KeyLength { space: write.space.name(), bytes: write.key.len() });
            }
            let bytes = write.value.as_ref().map_or(0, Vec::len);
            if bytes > VALUE_BYTES_MAX {
                return Err(StorageError::ValueLength { space: write.space.name(), bytes });
            }
            if !spaces.contains(&write.space) {
                return Err(StorageError::UnknownKeyspace { space: write.space.name() });
            }
        }
        Ok(())
    }
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The engine could not read or write.
    #[error("storage failed to {operation} in `{place}`")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// The file where it is known, else the database's folder.
        place: String,
        /// The engine's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Bytes on disk are not the ones that were written.
    #[error("storage failed to {operation}, because `{}` is damaged: {way_out}", path.display())]
    Damaged {
        /// The file where it is known, else the database's folder.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// What to do.
        way_out: WayOut,
        /// What the engine found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database belongs to another engine.
    #[error(
        "`{}` was written by the engine `{found}`, and this node is told to use `{wanted}`: set \
         `storage.engine = \"{found}\"`, or choose another data directory",
        path.display()
    )]
    OtherEngine {
        /// The database's folder.
        path: PathBuf,
        /// The engine that wrote it.
        found: &'static str,
        /// The engine that was asked for.
        wanted: &'static str,
    },
    /// An earlier I/O error closed the store for writing.
    #[error("storage takes no writes since an I/O error; restart the node once the disk is well")]
    Halted,
    /// The directory is in use.
    #[error("the data directory is in use by another process: stop it, or choose another directory")]
    Locked,
    /// A record this build cannot read.
    #[error("a {record} record has format {format}, which this build does not know: run the newer build")]
    NewerFormat {
        /// Which record.
        record: &'static str,
        /// The format found.
        format: u8,
    },
    /// Bytes that are not the record they should be.
    #[error("a {record} record is damaged")]
    Decode {
        /// Which record.
        record: &'static str,
        /// What the decoder found.
        #[source]
        source: postcard::Error,
    },
    /// A record that could not be written down.
    #[error("a {record} record cannot be encoded")]
    Encode {
        /// Which record.
        record: &'static str,
        /// What the encoder found.
        #[source]
        source: postcard::Error,
    },
    /// A key outside 1 to [`KEY_BYTES_MAX`] bytes.
    #[error("a key in `{space}` has {bytes} bytes; 1 to {KEY_BYTES_MAX} are allowed")]
    KeyLength {
        /// Where.
        space: &'static str,
        /// How long it was.
        bytes: usize,
    },
    /// A value over [`VALUE_BYTES_MAX`].
    #[error("a value in `{space}` has {bytes} bytes; {VALUE_BYTES_MAX} are allowed")]
    ValueLength {
        /// Where.
        space: &'static str,
        /// How long it was.
        bytes: usize,
    },
    /// A keyspace the engine was not opened with.
    #[error("the database was opened without keyspace `{space}`")]
    UnknownKeyspace {
        /// Which.
        space: &'static str,
    },
}
