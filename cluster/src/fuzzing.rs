//! What is private and reads outside bytes, for the fuzz targets; not part of an ordinary build.

/// Reads bytes as a log entry of whatever place they name, and writes what was read.
pub fn log_entry(bytes: &[u8]) {
    crate::consensus::fuzz_log_entry(bytes);
}

/// Reads bytes as a datagram of gossip, as what lies sealed in one, and as a message.
pub fn gossip_datagram(bytes: &[u8]) {
    crate::membership::fuzzing::datagram(bytes);
}

/// Reads bytes as what a node tells about itself.
pub fn gossip_member(bytes: &[u8]) {
    crate::membership::fuzzing::member(bytes);
}
