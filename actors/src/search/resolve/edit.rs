//! How many slips of the finger lie between two keys.

/// Keys longer than this, in bytes, are only found as they are spelled.
pub(super) const FUZZY_BYTES_MAX: usize = 48;

/// Edits that still count as the same name mistyped: short names are too close to one another.
pub(super) fn edits_allowed(bytes: usize) -> usize {
    match bytes {
        0..=3 => 0,
        4..=6 => 1,
        7..=14 => 2,
        _ => 3,
    }
}

/// Which bytes occur in a key, and which occur twice: one bit each, several bytes to a bit.
///
/// One edit changes at most one bit for the byte it takes and one for the byte it adds, so keys whose
/// signatures differ in more than two bits an edit need no closer look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature(u64);

impl Signature {
    pub(super) fn of(key: &str) -> Self {
        let mut once = 0_u32;
        let mut twice = 0_u32;
        for byte in key.bytes() {
            let bit = 1 << (byte % 32);
            twice |= once & bit;
            once |= bit;
        }
        Self(u64::from(twice) << 32 | u64::from(once))
    }

    /// Whether `edits` edits might be enough; never false when they are.
    pub(super) fn may_be_within(self, other: Self, edits: usize) -> bool {
        (self.0 ^ other.0).count_ones() as usize <= 2 * edits
    }
}

/// The Damerau-Levenshtein distance (optimal string alignment: neighbours swapped count once) between
/// two keys of at most [`FUZZY_BYTES_MAX`] bytes, if it is at most `edits_max`.
pub(super) fn distance(one: &[u8], other: &[u8], edits_max: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > edits_max || one.len().max(other.len()) > FUZZY_BYTES_MAX {
        return None;
    }
    let mut rows = [[0_u8; FUZZY_BYTES_MAX + 1]; 3];
    for (column, cell) in rows[0].iter_mut().enumerate() {
        *cell = column as u8;
    }
    for row in 1..=one.len() {
        let (before, last, current) = (&rows[(row + 1) % 3], &rows[(row + 2) % 3], row % 3);
        let mut line = [0_u8; FUZZY_BYTES_MAX + 1];
        line[0] = row as u8;
        let mut least = line[0];
        for column in 1..=other.len() {
            let differs = u8::from(one[row - 1] != other[column - 1]);
            let mut cell = (last[column - 1] + differs).min(last[column] + 1).min(line[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if swapped {
                cell = cell.min(before[column - 2] + 1);
            }
            line[column] = cell;
            least = least.min(cell);
        }
        if usize::from(least) > edits_max {
            return None;
        }
        rows[current] = line;
    }
    Some(usize::from(rows[one.len() % 3][other.len()])).filter(|edits| *edits <= edits_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slip_counts_once() {
        for (one, other, edits) in [
            ("react", "react", 0),
            ("raect", "react", 1),
            ("webpck", "webpack", 1),
            ("numppy", "numpy", 1),
            ("pandaz", "pandas", 1),
            ("djnagoo", "django", 2),
            ("", "ab", 2),
        ] {
            assert_eq!(distance(one.as_bytes(), other.as_bytes(), 3), Some(edits), "{one} {other}");
            assert_eq!(distance(other.as_bytes(), one.as_bytes(), 3), Some(edits), "{other} {one}");
        }
        assert_eq!(distance(b"react", b"angular", 2), None);
        assert_eq!(distance(&[b'a'; 100], &[b'a'; 100], 2), None);
    }

    proptest! {
        #[test]
        fn a_signature_never_rules_out_a_key_within_reach(one in "[a-e0-1]{0,12}", other in "[a-e0-1]{0,12}") {
            if let Some(edits) = distance(one.as_bytes(), other.as_bytes(), 3) {
                prop_assert!(Signature::of(&one).may_be_within(Signature::of(&other), edits));
            }
        }
    }
}
