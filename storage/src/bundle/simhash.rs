//! Near-duplicate texts have near-equal simhashes (Charikar, "Similarity estimation techniques from
//! rounding algorithms", 2002; Manku et al., "Detecting near-duplicates for web crawling", 2007).

use super::tokens::Tokens;

/// How alike two texts are by their simhashes: 1.0 for equal ones, about 0.5 for unrelated ones.
pub fn similarity(one: u64, other: u64) -> f32 {
    1.0 - (one ^ other).count_ones() as f32 / 64.0
}

/// 64-bit simhash of the words of a text; 0 when it has none.
pub(super) fn simhash(tokens: &Tokens) -> u64 {
    let mut balance = [0_i32; 64];
    for token in tokens.iter() {
        let hash = hash(token);
        for (bit, count) in balance.iter_mut().enumerate() {
            *count += ((hash >> bit & 1) as i32) * 2 - 1;
        }
    }
    balance.iter().enumerate().fold(0, |hash, (bit, count)| hash | u64::from(*count > 0) << bit)
}

/// FNV-1a with the finisher of MurmurHash3, since FNV alone mixes its high bits badly. Part of the
/// bundle format: simhashes are compared across bundles.
fn hash(token: &str) -> u64 {
    let mut hash = token.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> u64 {
        let mut tokens = Tokens::default();
        tokens.read(text);
        simhash(&tokens)
    }

    const TEXT: &str = "Serialize obj as a JSON formatted stream to fp, a file-like object that supports write, \
        using this conversion table. If skipkeys is true, keys that are not of a basic type are skipped \
        instead of raising a TypeError. The json module always produces str objects, not bytes objects.";

    #[test]
    fn near_duplicates_are_nearer_than_other_texts() {
        let edited = TEXT.replace("basic type", "basic python type").replace("always", "");
        let other = "Opens a TCP connection to a remote host and waits until the handshake is done; the \
            returned socket is closed when it is dropped, and its options can be set before that.";
        assert!(similarity(of(TEXT), of(&edited)) > 0.9);
        assert!(similarity(of(TEXT), of(other)) < 0.75);
    }

    #[test]
    fn a_simhash_is_the_same_on_every_platform_and_in_every_release() {
        assert_eq!(format!("{:016x}", of(TEXT)), "882c8968b9ce1ef1");
        assert_eq!(of(" .,;"), 0);
    }
}
