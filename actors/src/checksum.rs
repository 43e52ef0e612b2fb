//! Checksums of what is kept to save work: a disk that has changed it costs the work again, and gives no wrong answer.

/// The first `N` bytes of the BLAKE3 of `bytes`.
pub(crate) fn checksum<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut sum = [0; N];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut sum);
    sum
}
