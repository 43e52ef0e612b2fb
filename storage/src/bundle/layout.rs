//! How the file is laid out: a header of fixed size with a table of sections, then the sections.
//!
//! ```text
//! 0     8   magic "TMCPBNDL"
//! 8     4   format, 12  4  number of sections        (all numbers little-endian)
//! 16   56   per section: kind u32, zero u32, offset u64, length u64, BLAKE3 of the section's bytes
//! 992  32   BLAKE3 of bytes 0..992
//! 1024      sections, each at a multiple of 64, zeros between them, nothing after the last
//! ```
//!
//! Every byte of the file is covered: the table hashes the sections, the header hashes the table, and
//! padding must be zero. What a section holds is said in the module that writes it.

use std::fmt;

/// The newest format this build reads and writes. 2 brought the sections of a second set of vectors; a bundle
/// without one is still written as format 1, so that the version before reads it.
pub const FORMAT: u32 = 2;

pub(super) const HEADER_BYTES: usize = 1024;
/// Sections start at multiples of this.
pub(super) const ALIGNMENT: u64 = 64;

const MAGIC: &[u8; 8] = b"TMCPBNDL";
const ENTRY_BYTES: usize = 56;
const ENTRIES_START: usize = 16;
const HEADER_HASH_START: usize = HEADER_BYTES - 32;
const SECTIONS_MAX: usize = 16;

/// One part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Magic, format and table of sections; never an entry of the table itself.
    Header,
    /// Library, version, embedder and counts.
    Meta,
    /// Where each page starts.
    PageOffsets,
    /// The pages.
    Pages,
    /// Where each snippet starts.
    SnippetOffsets,
    /// The snippets.
    Snippets,
    /// Ids, simhashes and the numbers that ranking needs.
    Facts,
    /// The files of the word index.
    Words,
    /// One scale a vector.
    VectorScales,
    /// One row of signed bytes a vector.
    VectorRows,
    /// The graph over the vectors.
    Graph,
    /// Embedder and number of the second set of vectors.
    SecondMeta,
    /// One scale a vector of the second set.
    SecondScales,
    /// One row of signed bytes a vector of the second set.
    SecondRows,
    /// The graph over the second set.
    SecondGraph,
}

impl Section {
    const STORED: [Self; 14] = [
        Self::Meta,
        Self::PageOffsets,
        Self::Pages,
        Self::SnippetOffsets,
        Self::Snippets,
        Self::Facts,
        Self::Words,
        Self::VectorScales,
        Self::VectorRows,
        Self::Graph,
        Self::SecondMeta,
        Self::SecondScales,
        Self::SecondRows,
        Self::SecondGraph,
    ];

    /// The first format that knows this section.
    fn format(self) -> u32 {
        if self > Self::Graph { 2 } else { 1 }
    }

    fn code(self) -> u32 {
        self as u32
    }

    fn from_code(code: u32) -> Option<Self> {
        Self::STORED.into_iter().find(|section| section.code() == code)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Meta => "meta section",
            Self::PageOffsets => "page offsets",
            Self::Pages => "pages",
            Self::SnippetOffsets => "snippet offsets",
            Self::Snippets => "snippets",
            Self::Facts => "snippet facts",
            Self::Words => "word index",
            Self::VectorScales => "vector scales",
            Self::VectorRows => "vector rows",
            Self::Graph => "vector graph",
            Self::SecondMeta => "meta section of the second vectors",
            Self::SecondScales => "second vector scales",
            Self::SecondRows => "second vector rows",
            Self::SecondGraph => "second vector graph",
        })
    }
}

/// Where one section lies and what its bytes hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) hash: [u8; 32],
}

impl Entry {
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    NotABundle,
    Newer(u32),
    Damaged,
}

/// The header that names `entries`, which are in the order of the file.
pub(super) fn encode(entries: &[Entry]) -> [u8; HEADER_BYTES] {
    debug_assert!(entries.len() <= SECTIONS_MAX);
    let mut header = [0_u8; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    let format = entries.iter().map(|entry| entry.section.format()).max().unwrap_or(1);
    header[8..12].copy_from_slice(&format.to_le_bytes());
    header[12..16].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    for (place, entry) in header[ENTRIES_START..].chunks_exact_mut(ENTRY_BYTES).zip(entries) {
        place[..4].copy_from_slice(&entry.section.code().to_le_bytes());
        place[8..16].copy_from_slice(&entry.offset.to_le_bytes());
        place[16..24].copy_from_slice(&entry.length.to_le_bytes());
        place[24..].copy_from_slice(&entry.hash);
    }
    let hash = blake3::hash(&header[..HEADER_HASH_START]);
    header[HEADER_HASH_START..].copy_from_slice(hash.as_bytes());
    header
}

/// The table in `header`, checked against the length of the file.
///
/// The format is looked at before the hash, so that a newer header is called newer, not damaged.
pub(super) fn decode(header: &[u8], file_bytes: u64) -> Result<Vec<Entry>, BadHeader> {
    if header.len() < 12 || &header[..8] != MAGIC {
        return Err(BadHeader::NotABundle);
    }
    let format = u32_at(header, 8).ok_or(BadHeader::Damaged)?;
    if format > FORMAT {
        return Err(BadHeader::Newer(format));
    }
    let (body, hash) = header.split_at_checked(HEADER_HASH_START).ok_or(BadHeader::Damaged)?;
    // The fuzz targets are to reach what lies behind the hash.
    if format == 0 || (cfg!(not(fuzzing)) && blake3::hash(body).as_bytes().as_slice() != hash) {
        return Err(BadHeader::Damaged);
    }
    decode_entries(body, file_bytes).ok_or(BadHeader::Damaged)
}

fn decode_entries(body: &[u8], file_bytes: u64) -> Option<Vec<Entry>> {
    let count = u32_at(body, 12)? as usize;
    if count > SECTIONS_MAX {
        return None;
    }
    let mut end = HEADER_BYTES as u64;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for bytes in body[ENTRIES_START..].chunks_exact(ENTRY_BYTES).take(count) {
        let entry = Entry {
            section: Section::from_code(u32_at(bytes, 0)?)?,
            offset: u64_at(bytes, 8)?,
            length: u64_at(bytes, 16)?,
            hash: bytes[24..].try_into().ok()?,
        };
        let twice = entries.iter().any(|earlier| earlier.section == entry.section);
        if twice || entry.offset != end.checked_next_multiple_of(ALIGNMENT)? {
            return None;
        }
        end = entry.offset.checked_add(entry.length)?;
        entries.push(entry);
    }
    (end == file_bytes).then_some(entries)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry { section: Section::Snippets, offset: 1024, length: 70, hash: [7; 32] },
            Entry { section: Section::Meta, offset: 1152, length: 0, hash: [9; 32] },
        ]
    }

    #[test]
    fn a_header_reads_back() {
        assert_eq!(decode(&encode(&entries()), 1152), Ok(entries()));
        assert_eq!(decode(&encode(&[]), 1024), Ok(Vec::new()));
    }

    #[test]
    fn a_header_names_the_oldest_format_that_knows_its_sections() {
        let format = |section| encode(&[Entry { section, ..entries()[0] }])[8];
        assert_eq!(
            (format(Section::Graph), format(Section::SecondMeta), format(Section::SecondGraph)),
            (1, 2, 2)
        );
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let header = encode(&entries());
        for at in 0..HEADER_BYTES {
            for bit in 0..8 {
                let mut damaged = header;
                damaged[at] ^= 1 << bit;
                assert!(decode(&damaged, 1152).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_called_newer_whatever_follows_it() {
        let mut header = encode(&entries());
        header[8..12].copy_from_slice(&(FORMAT + 1).to_le_bytes());
        assert_eq!(decode(&header, 1152), Err(BadHeader::Newer(FORMAT + 1)));
        assert_eq!(decode(&header[..12], 12), Err(BadHeader::Newer(FORMAT + 1)));
    }

    #[test]
    fn a_table_must_describe_the_file_without_gaps_and_overlaps() {
        let [first, second] = [entries()[0], entries()[1]];
        for (name, table, bytes) in [
            ("longer file", vec![first, second], 1153),
            ("shorter file", vec![first, second], 1151),
            ("overlap", vec![first, Entry { offset: 1088, ..second }], 1088),
            ("gap", vec![first, Entry { offset: 1216, ..second }], 1216),
            ("twice", vec![first, Entry { section: first.section, ..second }], 1152),
            ("header as a section", vec![Entry { section: Section::Header, ..first }], 1094),
            ("end beyond u64", vec![Entry { length: u64::MAX, ..first }], 1094),
        ] {
            assert_eq!(decode(&encode(&table), bytes), Err(BadHeader::Damaged), "{name}");
        }
    }
}
