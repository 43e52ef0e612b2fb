//! Which bundles a node has, in at most 320 bytes: a Bloom filter (B. H. Bloom, "Space/time trade-offs in hash coding
//! with allowable errors", 1970) with 24 bits for each of few bundles and fewer for each of many.
//!
//! It never says "no" to a bundle that is there. How often it says "yes" to one that is not, which costs the asker a
//! refused request: 1 of 100,000 for 100 bundles, 29 of 100 for 1,000, 98 of 100 for 10,000. No structure
//! of that size does better than 17 and 84 of 100: `n` bundles in `b` bits cannot go below `2^-(b/n)`. So with thousands of bundles it tells nodes that have few from those that
//! have most, and no more.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// With base64 427 characters of the 1,024 that a node's whole state may have.
const BITS_MAX: usize = 2_560;
const BITS_PER_BUNDLE_MAX: usize = 24;
/// Pairs of bytes in the hash of a bundle.
const HASHES_MAX: u8 = 16;

/// The bundles of one node, as others may know them.
#[derive(Clone, PartialEq, Eq)]
pub struct BundleDigest {
    /// Bits that stand for one bundle; 0 when there is none.
    hashes: u8,
    bits: Arc<[u8]>,
}

impl BundleDigest {
    /// A node without bundles.
    pub fn empty() -> Self {
        Self { hashes: 0, bits: Arc::new([]) }
    }

    /// Of the BLAKE3 hashes that name a node's bundles.
    pub fn of<'a>(bundles: impl IntoIterator<Item = &'a [u8; 32], IntoIter: ExactSizeIterator>) -> Self {
        let bundles = bundles.into_iter();
        if bundles.len() == 0 {
            return Self::empty();
        }
        let bytes = bundles.len().saturating_mul(BITS_PER_BUNDLE_MAX).min(BITS_MAX) / 8;
        // The best number of bits is ln 2 times those there are for each.
        let best = (bytes * 8) as f64 / bundles.len() as f64 * std::f64::consts::LN_2;
        let hashes = best.round().clamp(1.0, HASHES_MAX.into()) as u8;
        let mut bits = vec![0; bytes];
        for bundle in bundles {
            for place in places(bundle, hashes, bytes) {
                bits[place / 8] |= 1 << (place % 8);
            }
        }
        Self { hashes, bits: bits.into() }
    }

    /// Whether the node may have the bundle; `false` is certain, see the head of this file for `true`.
    pub fn may_have(&self, bundle: &[u8; 32]) -> bool {
        self.hashes > 0
            && places(bundle, self.hashes, self.bits.len())
                .all(|place| self.bits[place / 8] & (1 << (place % 8)) != 0)
    }

    /// As `hashes:base64`.
    pub(super) fn to_value(&self) -> String {
        format!("{}:{}", self.hashes, STANDARD_NO_PAD.encode(&self.bits))
    }

    pub(super) fn parse(value: &str) -> Option<Self> {
        let (hashes, bits) = value.split_once(':')?;
        let hashes: u8 = hashes.parse().ok()?;
        if bits.len() > BITS_MAX / 8 * 4 / 3 + 1 {
            return None;
        }
        let bits = STANDARD_NO_PAD.decode(bits).ok()?;
        let is_sound = bits.len() <= BITS_MAX / 8 && hashes <= HASHES_MAX && (hashes == 0) == bits.is_empty();
        is_sound.then(|| Self { hashes, bits: bits.into() })
    }
}

/// The parameters; the bits say nothing to a reader.
impl fmt::Debug for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleDigest({} bits, {} for one)", self.bits.len() * 8, self.hashes)
    }
}

/// A bundle's bits: two bytes of its hash for each, which are independent of one another because it is one.
fn places(bundle: &[u8; 32], hashes: u8, bytes: usize) -> impl Iterator<Item = usize> {
    let (pairs, _) = bundle.as_chunks::<2>();
    let bits = (bytes * 8).max(1);
    pairs.iter().take(hashes.into()).map(move |pair| usize::from(u16::from_le_bytes(*pair)) % bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundles(label: &str, count: usize) -> Vec<[u8; 32]> {
        (0..count).map(|nth| *blake3::hash(format!("{label} {nth}").as_bytes()).as_bytes()).collect()
    }

    #[test]
    fn what_is_there_is_always_found_and_what_is_not_as_rarely_as_said() {
        let others = bundles("other", 100_000);
        for (count, at_most) in
            [(0, 0.0), (1, 0.000_1), (10, 0.000_1), (100, 0.000_1), (1_000, 0.31), (10_000, 0.99)]
        {
            let here = bundles("here", count);
            let digest = BundleDigest::of(&here);
            assert!(here.iter().all(|bundle| digest.may_have(bundle)), "{count}");
            let wrong = others.iter().filter(|bundle| digest.may_have(bundle)).count();
            let rate = wrong as f64 / others.len() as f64;
            println!("{count} bundles: {} bytes, {digest:?}, wrong {rate}", digest.to_value().len());
            assert!(rate <= at_most, "{count}: {rate}");
        }
    }

    #[test]
    fn a_value_is_read_as_it_was_written_and_stays_small() {
        for count in [0, 1, 2, 5, 100, 107, 5_000] {
            let digest = BundleDigest::of(&bundles("here", count));
            let value = digest.to_value();
            assert!(value.len() <= 430, "{count}: {}", value.len());
            assert_eq!(BundleDigest::parse(&value), Some(digest), "{count}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_absent() {
        for value in ["", "3", "3:", "0:AAAA", "17:AAAA", "x:AAAA", "3:A", "3:AA=", "-1:AAAA", "3:A A"] {
            assert_eq!(BundleDigest::parse(value), None, "{value}");
        }
        assert_eq!(BundleDigest::parse(&format!("3:{}", "A".repeat(428))), None, "too long");
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(value in "[0-9]{0,3}:[A-Za-z0-9+/]{0,600}|.{0,40}", bundle in any::<[u8; 32]>()) {
            if let Some(digest) = BundleDigest::parse(&value) {
                digest.may_have(&bundle);
            }
        }
    }
}
