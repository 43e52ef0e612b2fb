//! What is private and reads outside bytes, for the fuzz targets; not part of an ordinary build.

/// Reads bytes as a log entry of whatever place they name, and writes what was read.
pub fn log_entry(bytes: &[u8]) {
    crate::consensus::fuzz_log_entry(bytes);
}
