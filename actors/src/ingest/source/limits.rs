//! What a source may cost before it is cut short or refused.

/// Bytes of an archive as stored, at most: 1 GiB.
pub const ARCHIVE_BYTES_MAX: u64 = 1 << 30;

/// Bounds of one source. Beyond a bound about files, files are left out and reported; beyond a bound about
/// the archive itself, the source is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLimits {
    /// Documents taken; the ones after that, in order, are left out.
    pub files_max: usize,
    /// Bytes of one file; larger ones are left out.
    pub file_bytes_max: u64,
    /// Bytes of all documents taken together; the ones that would break it are left out.
    pub total_bytes_max: u64,
    /// Folders above a file, the source's root not counted; deeper files are left out.
    pub depth_max: usize,
    /// Files and folders looked at, documents or not; a source with more is refused.
    pub entries_max: usize,
    /// Bytes of the list of entries that a zip archive has at its end, which is held in memory; a longer one is refused.
    pub directory_bytes_max: u64,
    /// Bytes of an archive as stored; a larger one is refused.
    pub archive_bytes_max: u64,
    /// Bytes an archive may unpack to, what is left out included; beyond it is refused.
    pub unpacked_bytes_max: u64,
    /// How many times its own size an archive may unpack to, once it is past [`Self::RATIO_FREE_BYTES`].
    pub unpacked_ratio_max: u64,
}

impl SourceLimits {
    /// Unpacked bytes up to which no ratio is asked: small archives of repetitive text compress well.
    pub const RATIO_FREE_BYTES: u64 = 16 << 20;

    /// Unpacked bytes allowed for an archive of `stored` bytes.
    pub(super) fn unpacked_bytes(&self, stored: u64) -> u64 {
        let by_ratio = stored.saturating_mul(self.unpacked_ratio_max).max(Self::RATIO_FREE_BYTES);
        self.unpacked_bytes_max.min(by_ratio)
    }
}

impl Default for SourceLimits {
    /// 50,000 documents of at most 8 MiB each and 1 GiB together, 32 folders deep, among 200,000 entries; archives
    /// of at most 1 GiB that unpack to at most 4 GiB and 200 times their size; 64 MiB of a zip archive's directory.
    fn default() -> Self {
        Self {
            files_max: 50_000,
            file_bytes_max: 8 << 20,
            total_bytes_max: 1 << 30,
            depth_max: 32,
            entries_max: 200_000,
            directory_bytes_max: 64 << 20,
            archive_bytes_max: ARCHIVE_BYTES_MAX,
            unpacked_bytes_max: 4 << 30,
            unpacked_ratio_max: 200,
        }
    }
}
