//! What ranking needs to know of a snippet without decoding it, and the snippet's stable id.
//!
//! The section holds one record of 32 bytes a snippet, then the snippets' indexes in the order of
//! their ids, four bytes each, so that an id is found by halving.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tantivy::directory::OwnedBytes;

use super::error::BundleError;
use super::labels::{Label, Labels};
use super::layout::Section;
use super::snippet::{Page, Snippet};

/// Where a snippet stands in its bundle. Means nothing in another bundle: see [`SnippetId`] for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnippetIndex(pub u32);

/// A name for a snippet that stays the same when its library is indexed again, as long as its page,
/// first anchor and headings do. Shown as 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnippetId(pub u64);

/// Why a text is no snippet id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 16 hexadecimal digits")]
pub struct InvalidSnippetId;

impl SnippetId {
    /// The id of the `ordinal`-th snippet (from 0) that shares its page, first anchor and headings,
    /// as the parts of a long section do.
    pub(super) fn of(page: &Page, snippet: &Snippet, ordinal: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        // Each part is led by its length, so that no two lists of parts give the same bytes.
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(&page.path);
        part(snippet.anchors.first().map_or("", String::as_str));
        snippet.heading_path.iter().for_each(|heading| part(heading));
        hasher.update(&ordinal.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

impl fmt::Display for SnippetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SnippetId {
    type Err = InvalidSnippetId;

    fn from_str(text: &str) -> Result<Self, InvalidSnippetId> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidSnippetId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidSnippetId)
    }
}

/// What is known of a snippet without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnippetFacts {
    /// Stable across builds.
    pub id: SnippetId,
    /// 64-bit simhash of the text's words; see [`similarity`](super::similarity).
    pub simhash: u64,
    /// Index into the bundle's pages.
    pub page: u32,
    /// As in [`Snippet::tokens`].
    pub tokens: u32,
    /// As in [`Snippet::link_percent`].
    pub link_percent: u8,
    /// As [`Snippet::has_code`].
    pub has_code: bool,
    /// What the scan at indexing found suspicious about it.
    pub labels: Labels,
}

const FACTS_BYTES: usize = 32;
const PLACE_BYTES: usize = 4;

impl SnippetFacts {
    fn to_bytes(self) -> [u8; FACTS_BYTES] {
        let mut bytes = [0; FACTS_BYTES];
        bytes[..8].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.simhash.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.page.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.tokens.to_le_bytes());
        bytes[24] = self.link_percent;
        bytes[25] = u8::from(self.has_code);
        bytes[26..28].copy_from_slice(&self.labels.to_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; FACTS_BYTES]) -> Self {
        let [i0, i1, i2, i3, i4, i5, i6, i7, s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..] = *bytes;
        let [p0, p1, p2, p3, t0, t1, t2, t3, link_percent, has_code, l0, l1, ..] = rest;
        Self {
            id: SnippetId(u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7])),
            simhash: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            page: u32::from_le_bytes([p0, p1, p2, p3]),
            tokens: u32::from_le_bytes([t0, t1, t2, t3]),
            link_percent,
            has_code: has_code != 0,
            labels: Labels::from_bytes([l0, l1]),
        }
    }
}

/// The bytes of the section for `facts`, which are in the order of the snippets.
pub(super) fn encode(facts: &[SnippetFacts]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(facts.len() * (FACTS_BYTES + PLACE_BYTES));
    for one in facts {
        bytes.extend_from_slice(&one.to_bytes());
    }
    let mut order: Vec<u32> = (0..facts.len() as u32).collect();
    order.sort_unstable_by_key(|&index| facts[index as usize].id);
    bytes.extend(order.iter().flat_map(|index| index.to_le_bytes()));
    bytes
}

/// The section in the map.
pub(super) struct FactsTable {
    bytes: OwnedBytes,
    count: u32,
}

impl FactsTable {
    pub(super) fn open(bytes: OwnedBytes, count: u32, path: &Path) -> Result<Self, BundleError> {
        if bytes.len() != count as usize * (FACTS_BYTES + PLACE_BYTES) {
            return Err(BundleError::damaged(path, Section::Facts));
        }
        Ok(Self { bytes, count })
    }

    pub(super) fn get(&self, SnippetIndex(index): SnippetIndex) -> Result<SnippetFacts, BundleError> {
        self.row(index).map(SnippetFacts::from_bytes).ok_or(BundleError::NoSuchRecord {
            what: "snippet",
            index,
            count: self.count,
        })
    }

    /// How many snippets have labels.
    pub(super) fn labelled(&self) -> u32 {
        let rows = (0..self.count).filter_map(|index| self.row(index));
        rows.filter(|row| !SnippetFacts::from_bytes(row).labels.is_empty()).count() as u32
    }

    /// How many snippets have each label, without those that none has.
    pub(super) fn label_counts(&self) -> Vec<(Label, u32)> {
        let mut counts = Label::ALL.map(|label| (label, 0));
        for row in (0..self.count).filter_map(|index| self.row(index)) {
            let labels = SnippetFacts::from_bytes(row).labels;
            if !labels.is_empty() {
                counts.iter_mut().for_each(|(label, count)| *count += u32::from(labels.contains(*label)));
            }
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn find(&self, id: SnippetId) -> Option<SnippetIndex> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let index = self.place(middle)?;
            match SnippetFacts::from_bytes(self.row(index)?).id.cmp(&id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(SnippetIndex(index)),
            }
        }
        None
    }

    fn row(&self, index: u32) -> Option<&[u8; FACTS_BYTES]> {
        if index >= self.count {
            return None;
        }
        let start = index as usize * FACTS_BYTES;
        self.bytes.get(start..start + FACTS_BYTES)?.try_into().ok()
    }

    fn place(&self, rank: u32) -> Option<u32> {
        let start = self.count as usize * FACTS_BYTES + rank as usize * PLACE_BYTES;
        Some(u32::from_le_bytes(self.bytes.get(start..start + PLACE_BYTES)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str) -> Page {
        Page { path: path.to_owned(), url: String::new(), title: String::new() }
    }

    fn snippet(anchor: &str, headings: &[&str]) -> Snippet {
        Snippet {
            page: 0,
            anchors: vec![anchor.to_owned()],
            heading_path: headings.iter().map(|&heading| heading.to_owned()).collect(),
            blocks: Vec::new(),
            tokens: 0,
            link_percent: 0,
        }
    }

    #[test]
    fn an_id_depends_on_page_anchor_headings_and_ordinal_and_on_nothing_else() {
        let base = SnippetId::of(&page("a"), &snippet("x", &["h", "i"]), 0);
        let mut other = snippet("x", &["h", "i"]);
        (other.tokens, other.link_percent, other.page) = (9, 9, 9);
        assert_eq!(SnippetId::of(&page("a"), &other, 0), base);
        for (different, what) in [
            (SnippetId::of(&page("b"), &snippet("x", &["h", "i"]), 0), "page"),
            (SnippetId::of(&page("a"), &snippet("y", &["h", "i"]), 0), "anchor"),
            (SnippetId::of(&page("a"), &snippet("x", &["hi"]), 0), "headings joined"),
            (SnippetId::of(&page("a"), &snippet("x", &["h", "i"]), 1), "ordinal"),
            (SnippetId::of(&page("ax"), &snippet("", &["h", "i"]), 0), "border moved"),
        ] {
            assert_ne!(different, base, "{what}");
        }
    }

    #[test]
    fn an_id_is_the_same_on_every_platform_and_in_every_release() {
        let id = SnippetId::of(&page("library/json.html"), &snippet("json.dump", &["json", "dump"]), 0);
        assert_eq!(id.to_string(), "e74cae039e89f68b");
    }

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = SnippetId(0x00ab_cdef_0123_4567);
        assert_eq!(id.to_string(), "00abcdef01234567");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "abc", "+0abcdef01234567", "00abcdef0123456g", "00abcdef012345678"] {
            assert_eq!(bad.parse::<SnippetId>(), Err(InvalidSnippetId), "{bad}");
        }
    }

    #[test]
    fn facts_are_found_by_index_and_by_id() {
        let facts: Vec<_> = (0..100_u32)
            .map(|at| SnippetFacts {
                id: SnippetId(u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                simhash: u64::MAX - u64::from(at),
                page: at / 3,
                tokens: at * 7,
                link_percent: at as u8,
                has_code: at % 2 == 0,
                labels: Labels::from_bytes([at as u8, 0]),
            })
            .collect();
        let table = FactsTable::open(OwnedBytes::new(encode(&facts)), 100, Path::new("b")).unwrap();
        for (at, one) in facts.iter().enumerate() {
            let index = SnippetIndex(at as u32);
            assert_eq!(table.get(index).unwrap(), *one);
            assert_eq!(table.find(one.id), Some(index));
        }
        assert_eq!(table.find(SnippetId(12345)), None);
        assert!(matches!(table.get(SnippetIndex(100)), Err(BundleError::NoSuchRecord { count: 100, .. })));
        assert!(FactsTable::open(OwnedBytes::new(encode(&facts)), 99, Path::new("b")).is_err());
    }
}
