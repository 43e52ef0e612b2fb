//! Arithmetic of vectors: unit length, rows of signed bytes, dot products.
//!
//! Written so that the compiler makes vector instructions of the loops; there is no unsafe code for it. What a
//! question waits for is compiled a second time, for processors with AVX2, and the better one chosen when the
//! program runs. Both give the same numbers.

use multiversion::multiversion;

use super::error::BundleError;

/// Numbers multiplied at once, so that the compiler uses vector instructions.
const LANES: usize = 16;
/// Bytes of a scale, a little-endian `f32`.
pub(super) const SCALE_BYTES: usize = 4;

/// Refuses vectors of another length, and those with NaN or infinity.
pub(super) fn check(vector: &[f32], dimensions: usize) -> Result<(), BundleError> {
    if vector.len() != dimensions {
        return Err(BundleError::Dimensions { expected: dimensions, found: vector.len() });
    }
    if vector.iter().any(|value| !value.is_finite()) {
        return Err(BundleError::NotFinite);
    }
    Ok(())
}

/// The vector at unit length; `None` for one of zeros. Divided by its largest number first, so that
/// neither very small nor very large numbers get lost when they are squared.
///
/// # Errors
/// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] for a vector of another shape.
pub(super) fn unit(vector: &[f32], dimensions: usize) -> Result<Option<Vec<f32>>, BundleError> {
    check(vector, dimensions)?;
    let largest = largest(vector);
    if largest == 0.0 {
        return Ok(None);
    }
    let mut unit: Vec<f32> = vector.iter().map(|value| value / largest).collect();
    let length = unit.iter().map(|value| value * value).sum::<f32>().sqrt();
    unit.iter_mut().for_each(|value| *value /= length);
    Ok(Some(unit))
}

/// The vector in steps of its largest number / 127; all zeros when it is zero.
pub(super) fn quantise(vector: &[f32]) -> impl Iterator<Item = i8> {
    let largest = largest(vector);
    vector.iter().map(move |value| if largest > 0.0 { (value / largest * 127.0).round() as i8 } else { 0 })
}

fn largest(vector: &[f32]) -> f32 {
    vector.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// What makes a row unit length; 0 for a row of zeros.
pub(super) fn unit_scale(row: &[u8]) -> f32 {
    let squares: i64 = row.iter().map(|&value| i64::from(value as i8).pow(2)).sum();
    inverse((squares as f32).sqrt())
}

fn inverse(length: f32) -> f32 {
    if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 }
}

/// What makes the row it belongs to unit length; 0 where there is no vector.
#[inline(always)]
pub(super) fn scale_of(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(0.0, f32::from_le_bytes)
}

/// Dot product of two rows.
pub(super) fn dot_rows(one: &[u8], other: &[u8]) -> i32 {
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: i32 = ones
        .remainder()
        .iter()
        .zip(others.remainder())
        .map(|(&a, &b)| i32::from(a as i8) * i32::from(b as i8))
        .sum();
    let mut sum = 0;
    for (one, other) in ones.zip(others) {
        for lane in 0..LANES {
            sum += i32::from(i16::from(one[lane] as i8) * i16::from(other[lane] as i8));
        }
    }
    sum + rest
}

/// Cosine of a row and a unit vector.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn cosine(row: &[u8], scale: f32, query: &[f32]) -> f32 {
    (dot_mixed(row, query) * scale).clamp(-1.0, 1.0)
}

/// Dot product of a row with a query as it is.
#[inline(always)]
fn dot_mixed(row: &[u8], query: &[f32]) -> f32 {
    let (rows, queries) = (row.chunks_exact(LANES), query.chunks_exact(LANES));
    let rest: f32 =
        rows.remainder().iter().zip(queries.remainder()).map(|(&r, &q)| f32::from(r as i8) * q).sum();
    let mut sums = [0.0_f32; LANES];
    for (row, query) in rows.zip(queries) {
        for lane in 0..LANES {
            sums[lane] += f32::from(row[lane] as i8) * query[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}
