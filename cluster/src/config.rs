//! What can be set about agreement, and its limits.

use std::time::Duration;

use twinmcp_storage::audit::Keep;

use crate::error::ClusterError;
use crate::peer::Patience;
use crate::status::{GroupId, NodeId};

/// How this node takes part.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Which node this is; the data directory remembers it.
    pub node_id: NodeId,
    /// Which group of voters.
    pub group_id: GroupId,
    /// Where peers reach this node, as `host:port`; empty for a node without peers.
    pub address: String,
    /// Whether a node without data waits to be let into a cluster, instead of founding one.
    pub joins: bool,
    /// How often a leader says that it is there, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a follower asks for votes, in milliseconds.
    pub election_min_ms: u64,
    /// Longest such silence, in milliseconds; each campaign draws its own between the two.
    pub election_max_ms: u64,
    /// Commands that may wait for an entry; past it a proposal is refused as busy.
    pub queue_commands_max: usize,
    /// Bytes of commands that may wait for an entry or be under way in one; past it a proposal is refused as busy.
    pub queue_bytes_max: usize,
    /// Commands in one entry.
    pub entry_commands_max: usize,
    /// Bytes of one entry's commands; also the most one command may have.
    pub entry_bytes_max: usize,
    /// Entries under way up to which the next one is formed at once. With one, a command that just missed an
    /// entry waits for two round trips; with many, entries hold few commands each and the disk is asked more often.
    pub entries_eager: usize,
    /// Beyond that, the least time between two entries: between regions an entry is under way for much longer than disks take.
    pub entry_interval: Duration,
    /// Entries on their way at once.
    pub entries_in_flight_max: usize,
    /// How long [`Cluster::propose`](crate::Cluster::propose) waits for its answer.
    pub propose_deadline: Duration,
    /// How long a start may take until a leader is known and everything committed is applied; for a node that joins, how long
    /// nothing of the state may come in.
    pub start_deadline: Duration,
    /// How long a node that comes back waits for its peers before it answers reads from what it has.
    pub rejoin_patience: Duration,
    /// How long a connection to a peer may take.
    pub connect_timeout: Duration,
    /// How long a peer may be silent before connections to it are given up.
    pub silence_timeout: Duration,
    /// How long a snapshot may take to reach a peer.
    pub snapshot_deadline: Duration,
    /// How long a shutdown waits for proposals under way.
    pub stop_deadline: Duration,
    /// Entries after which a snapshot is made, if it is worth it: the log must also have grown by a
    /// quarter of the last snapshot's bytes.
    pub snapshot_every_entries: u64,
    /// Entries kept behind a snapshot, for followers that are a little late.
    pub snapshot_keep_entries: u64,
    /// Notices one subscriber of [`Cluster::changes`](crate::Cluster::changes) may leave unread
    /// before it is told that everything may have changed.
    pub changes_max: usize,
    /// How much of the audit log is kept.
    pub audit_keep: Keep,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            node_id: NodeId(1),
            group_id: GroupId(0),
            address: String::new(),
            joins: false,
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            queue_commands_max: 4096,
            queue_bytes_max: 16 * 1024 * 1024,
            entry_commands_max: 512,
            entry_bytes_max: 1024 * 1024,
            entries_eager: 3,
            entry_interval: Duration::from_millis(20),
            entries_in_flight_max: 64,
            propose_deadline: Duration::from_secs(5),
            start_deadline: Duration::from_secs(30),
            rejoin_patience: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            silence_timeout: Duration::from_secs(2),
            snapshot_deadline: Duration::from_secs(600),
            stop_deadline: Duration::from_secs(10),
            snapshot_every_entries: 5_000,
            snapshot_keep_entries: 1_000,
            changes_max: 1024,
            audit_keep: Keep::default(),
        }
    }
}

/// The most [`ClusterConfig::entry_bytes_max`] may be: an entry is one value of the log engine, whose
/// limit is 16 MiB, and is held in memory several times.
pub(crate) const ENTRY_BYTES_LIMIT: usize = 8 * 1024 * 1024;

impl ClusterConfig {
    /// How long peers are waited for.
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            connect: self.connect_timeout,
            // Two looks before a peer is given up.
            ping: self.silence_timeout / 2,
            silence: self.silence_timeout / 2,
        }
    }

    /// Says what cannot work.
    ///
    /// # Errors
    /// [`ClusterError::Config`] with the first key that is out of its range.
    pub fn check(&self) -> Result<(), ClusterError> {
        let u32_max = u32::MAX as usize;
        require(self.node_id.0 > 0, "`node_id` must be above 0")?;
        require(self.heartbeat_ms > 0, "`heartbeat_ms` must be above 0")?;
        require(
            self.election_min_ms >= 2 * self.heartbeat_ms,
            "`election_min_ms` must be at least twice `heartbeat_ms`",
        )?;
        require(
            self.election_max_ms > self.election_min_ms,
            "`election_max_ms` must be above `election_min_ms`",
        )?;
        require(
            (1..=1_000_000).contains(&self.queue_commands_max),
            "`queue_commands_max` must be 1 to 1,000,000",
        )?;
        require(
            (self.entry_bytes_max..=u32_max).contains(&self.queue_bytes_max),
            "`queue_bytes_max` must be `entry_bytes_max` to 4 GiB",
        )?;
        require((1..=65_536).contains(&self.entry_commands_max), "`entry_commands_max` must be 1 to 65,536")?;
        require(
            (1024..=ENTRY_BYTES_LIMIT).contains(&self.entry_bytes_max),
            "`entry_bytes_max` must be 1 KiB to 8 MiB",
        )?;
        require((1..=64).contains(&self.entries_eager), "`entries_eager` must be 1 to 64")?;
        require(
            (1..=1024).contains(&self.entries_in_flight_max),
            "`entries_in_flight_max` must be 1 to 1024",
        )?;
        require(self.snapshot_every_entries > 0, "`snapshot_every_entries` must be above 0")?;
        require((1..=1_000_000).contains(&self.changes_max), "`changes_max` must be 1 to 1,000,000")
    }
}

fn require(holds: bool, message: &str) -> Result<(), ClusterError> {
    if holds { Ok(()) } else { Err(ClusterError::Config { message: message.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut ClusterConfig);

    #[test]
    fn the_default_configuration_works_and_values_out_of_range_are_refused() {
        assert!(ClusterConfig::default().check().is_ok());
        let spoil: [(&str, Spoil); 12] = [
            ("node_id", |config| config.node_id = NodeId(0)),
            ("heartbeat_ms", |config| config.heartbeat_ms = 0),
            ("election_min_ms", |config| config.election_min_ms = 150),
            ("election_max_ms", |config| config.election_max_ms = 400),
            ("queue_commands_max", |config| config.queue_commands_max = 0),
            ("queue_bytes_max", |config| config.queue_bytes_max = 1024),
            ("entry_commands_max", |config| config.entry_commands_max = 0),
            ("entry_bytes_max", |config| config.entry_bytes_max = 9 * 1024 * 1024),
            ("entries_eager", |config| config.entries_eager = 65),
            ("entries_in_flight_max", |config| config.entries_in_flight_max = 0),
            ("snapshot_every_entries", |config| config.snapshot_every_entries = 0),
            ("changes_max", |config| config.changes_max = 0),
        ];
        for (key, spoil) in spoil {
            let mut config = ClusterConfig::default();
            spoil(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
        }
    }
}
