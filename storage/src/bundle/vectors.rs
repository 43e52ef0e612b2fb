//! Vectors as rows of signed bytes with one scale each, and the flat scan over them.
//!
//! A row is the vector's direction: its scale makes it unit length, so a dot product of two scaled
//! rows is a cosine. A scale of 0 says that the row has no vector. Below about 50,000 rows the scan
//! beats a graph on speed, recall, memory and build at once (0.33 ms for 20,000 rows of 256).

use tantivy::directory::OwnedBytes;

use super::best::{self, Rank};
use super::dot::{SCALE_BYTES, check, cosine, quantise, scale_of, unit, unit_scale};
use super::error::BundleError;
use super::scan::{self, scan};

/// Dimensions a vector may have.
pub const DIMENSIONS_MAX: usize = 4_096;

/// Rows re-scored exactly beyond those wanted: half as many, and at least this many. The quantised
/// scan then found all ten nearest of 100,000 for every question measured.
const CANDIDATES_MORE_MIN: usize = 30;
/// The same where only the first half of each row is scanned: three times as many as are wanted, and
/// at least this many. On 107 questions all of the ten nearest were among them, and 0.99 of the 150.
const HALF_CANDIDATES_MIN: usize = 200;
/// Share of the rows' energy in their first half from which that half is scanned alone. The built-in
/// table has 0.81 there, as its columns are principal components, the largest first.
const HALF_ENERGY_MIN: f32 = 0.75;
/// Rows from which reading half of each is worth the second look at candidates.
const HALF_ROWS_MIN: usize = 2_000;
/// Rows looked at to find out.
const HALF_SAMPLE: usize = 256;
/// Rows being collected.
pub struct RowsBuilder {
    dimensions: usize,
    rows: Vec<u8>,
    scales: Vec<u8>,
    vectors: u32,
}

impl RowsBuilder {
    /// Rows of `dimensions` numbers, at most [`DIMENSIONS_MAX`].
    ///
    /// # Errors
    /// [`BundleError::Limit`] above that, [`BundleError::Dimensions`] for none.
    pub fn new(dimensions: usize) -> Result<Self, BundleError> {
        BundleError::check_limit("vector of dimensions", dimensions, DIMENSIONS_MAX)?;
        if dimensions == 0 {
            return Err(BundleError::Dimensions { expected: 1, found: 0 });
        }
        Ok(Self { dimensions, rows: Vec::new(), scales: Vec::new(), vectors: 0 })
    }

    /// Appends a row; `None`, or a vector of zeros, keeps the place of something without a vector.
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] for another length, [`BundleError::NotFinite`] for NaN or infinity.
    pub fn push(&mut self, vector: Option<&[f32]>) -> Result<(), BundleError> {
        let start = self.rows.len();
        let scale = match vector {
            Some(vector) => {
                check(vector, self.dimensions)?;
                self.rows.extend(quantise(vector).map(|value| value as u8));
                unit_scale(&self.rows[start..])
            }
            None => 0.0,
        };
        self.rows.resize(start + self.dimensions, 0);
        self.vectors += u32::from(scale > 0.0);
        self.scales.extend_from_slice(&scale.to_le_bytes());
        Ok(())
    }

    /// Rows so far, with and without a vector.
    pub fn len(&self) -> usize {
        self.scales.len() / SCALE_BYTES
    }

    /// Whether there is no row yet.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Numbers in a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Rows that hold a vector.
    pub fn vectors(&self) -> u32 {
        self.vectors
    }

    /// The rows, ready to be searched.
    pub fn finish(self) -> Rows {
        Rows::new(self.dimensions, OwnedBytes::new(self.rows), OwnedBytes::new(self.scales))
    }
}

/// Rows that can be searched, in memory or in a map; cheap to clone.
#[derive(Clone)]
pub struct Rows {
    dimensions: usize,
    /// Numbers of each row that the scan reads: all of them, or the first half.
    scanned: usize,
    rows: OwnedBytes,
    scales: OwnedBytes,
}

impl Rows {
    /// Rows over bytes as [`row_bytes`](Self::row_bytes) and [`scale_bytes`](Self::scale_bytes) give them;
    /// `None` when their lengths do not fit each other.
    pub fn from_bytes(dimensions: usize, rows: Vec<u8>, scales: Vec<u8>) -> Option<Self> {
        Self::from_mapped(dimensions, OwnedBytes::new(rows), OwnedBytes::new(scales))
    }

    /// As [`from_bytes`](Self::from_bytes), over slices of a map.
    pub(super) fn from_mapped(dimensions: usize, rows: OwnedBytes, scales: OwnedBytes) -> Option<Self> {
        let count = scales.len() / SCALE_BYTES;
        let fits = dimensions > 0
            && scales.len().is_multiple_of(SCALE_BYTES)
            && count.checked_mul(dimensions).is_some_and(|bytes| bytes == rows.len());
        fits.then(|| Self::new(dimensions, rows, scales))
    }

    fn new(dimensions: usize, rows: OwnedBytes, scales: OwnedBytes) -> Self {
        let scanned = scanned(dimensions, &rows);
        Self { dimensions, scanned, rows, scales }
    }

    /// How many rows there are, with and without a vector.
    pub fn len(&self) -> usize {
        self.scales.len() / SCALE_BYTES
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Numbers in a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// All rows, one signed byte a number.
    pub fn row_bytes(&self) -> &[u8] {
        &self.rows
    }

    /// All scales, little-endian `f32`.
    pub fn scale_bytes(&self) -> &[u8] {
        &self.scales
    }

    /// The unit vector of a row; `None` when it has none.
    pub fn vector(&self, index: usize) -> Option<Vec<f32>> {
        let (row, scale) = self.row(index)?;
        (scale > 0.0).then(|| row.iter().map(|&value| f32::from(value as i8) * scale).collect())
    }

    /// The rows nearest to `query` with their cosines, best first, equal ones in order.
    ///
    /// A scan over the quantised rows finds candidates, which are then scored with the query as it is.
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] for a query of another shape.
    pub fn nearest(&self, query: &[f32], limit: usize) -> Result<Vec<(u32, f32)>, BundleError> {
        let Some(query) = unit(query, self.dimensions)?.filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let candidates = if self.scanned < self.dimensions {
            limit.saturating_mul(3).max(HALF_CANDIDATES_MIN)
        } else {
            limit.saturating_add(CANDIDATES_MORE_MIN.max(limit / 2))
        };
        Ok(self.rescore(&query, self.scan(&query, candidates), limit))
    }

    /// Exact cosines of `query` with the rows at `indexes`, in their order; 0 for rows without a vector.
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] for a query of another shape.
    pub fn cosines(
        &self,
        query: &[f32],
        indexes: impl Iterator<Item = usize>,
    ) -> Result<Vec<f32>, BundleError> {
        let query = unit(query, self.dimensions)?.unwrap_or_else(|| vec![0.0; self.dimensions]);
        let one = |index| self.row(index).map_or(0.0, |(row, scale)| cosine(row, scale, &query));
        Ok(indexes.map(one).collect())
    }

    /// Exact cosines of `candidates` with a unit vector, the best `limit` of them first.
    fn rescore(&self, query: &[f32], candidates: impl Iterator<Item = u32>, limit: usize) -> Vec<(u32, f32)> {
        let score = |index: u32| {
            let (row, scale) = self.row(index as usize)?;
            (scale > 0.0).then(|| Rank::new(index, cosine(row, scale, query)))
        };
        best::first(candidates.filter_map(score).collect(), limit)
    }

    /// The `count` rows with the largest quantised score, in no order.
    fn scan(&self, query: &[f32], count: usize) -> impl Iterator<Item = u32> + use<> {
        let query: Vec<i16> = quantise(query).map(i16::from).take(self.scanned).collect();
        let best = best::scored(self.len(), |scores| {
            scan(&self.rows, self.dimensions, &self.scales, &query, scores);
            best::best(scores, f32::NEG_INFINITY, count)
        });
        best.into_iter().map(|rank| rank.parts().0)
    }

    fn row(&self, index: usize) -> Option<(&[u8], f32)> {
        let start = index.checked_mul(self.dimensions)?;
        let row = self.rows.get(start..start.checked_add(self.dimensions)?)?;
        let scale = self.scales.get(index * SCALE_BYTES..(index + 1) * SCALE_BYTES)?;
        Some((row, scale_of(scale)))
    }
}

/// How much of each row the scan reads: half, where that half says nearly all.
fn scanned(dimensions: usize, rows: &[u8]) -> usize {
    let (count, half) = (rows.len() / dimensions.max(1), dimensions / 2);
    if count < HALF_ROWS_MIN || !half.is_multiple_of(scan::LANES) {
        return dimensions;
    }
    let square = |&value: &u8| f32::from(value as i8).powi(2);
    let (mut first, mut all) = (0.0, 0.0);
    for row in rows.chunks_exact(dimensions).step_by(count / HALF_SAMPLE) {
        first += row.iter().take(half).map(square).sum::<f32>();
        all += row.iter().map(square).sum::<f32>();
    }
    if first >= HALF_ENERGY_MIN * all { half } else { dimensions }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Points around a few centres, as embeddings of documents lie; the same for the same seed.
    pub(crate) fn clustered(count: usize, dimensions: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut state = seed;
        let mut number = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1_u64 << 24) as f32) * 2.0 - 1.0
        };
        let centres: Vec<Vec<f32>> = (0..50).map(|_| (0..dimensions).map(|_| number()).collect()).collect();
        let mut near =
            |at: usize| centres[at % centres.len()].iter().map(|value| value + 0.5 * number()).collect();
        (0..count).map(&mut near).collect()
    }

    pub(crate) fn rows(vectors: &[Vec<f32>]) -> Rows {
        let mut rows = RowsBuilder::new(vectors[0].len()).unwrap();
        vectors.iter().for_each(|vector| rows.push(Some(vector)).unwrap());
        rows.finish()
    }

    /// What a search must find: every row scored with the query as it is.
    pub(crate) fn exact(rows: &Rows, query: &[f32], limit: usize) -> Vec<(u32, f32)> {
        rows.rescore(&unit(query, rows.dimensions()).unwrap().unwrap(), 0..rows.len() as u32, limit)
    }

    #[test]
    fn the_scan_finds_what_scoring_every_row_finds() {
        for dimensions in [1, 15, 16, 31, 33, 128] {
            let vectors = clustered(2_000, dimensions, 1);
            let rows = rows(&vectors);
            for query in clustered(40, dimensions, 2) {
                for limit in [1, 10, 50] {
                    assert_eq!(
                        rows.nearest(&query, limit).unwrap(),
                        exact(&rows, &query, limit),
                        "{dimensions}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_whose_first_half_says_nearly_all_are_found_by_that_half() {
        // Each number is smaller than the one before, as with principal components.
        let falling = |vectors: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            let fall = |vector: Vec<f32>| {
                vector.iter().enumerate().map(|(at, value)| value / (1.0 + at as f32 / 16.0)).collect()
            };
            vectors.into_iter().map(fall).collect()
        };
        let rows = rows(&falling(clustered(5_000, 128, 8)));
        assert_eq!(rows.scanned, 64);
        let (mut found, mut wanted) = (0, 0);
        for query in falling(clustered(100, 128, 9)) {
            let exact = exact(&rows, &query, 10);
            let near = rows.nearest(&query, 10).unwrap();
            found += near.iter().filter(|one| exact.contains(one)).count();
            wanted += exact.len();
        }
        assert!(found * 100 >= wanted * 99, "{found} of {wanted}");
        // Numbers of equal size say nothing about each other, and few rows are read quickly anyway.
        assert_eq!(super::tests::rows(&clustered(5_000, 128, 8)).scanned, 128);
        assert_eq!(super::tests::rows(&falling(clustered(500, 128, 8))).scanned, 128);
    }

    #[test]
    fn a_cosine_is_within_a_hundredth_of_the_unquantised_one() {
        let vectors = clustered(300, 128, 3);
        let rows = rows(&vectors);
        let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        for query in clustered(10, 128, 4) {
            for (index, cosine) in rows.nearest(&query, 300).unwrap() {
                let vector = &vectors[index as usize];
                let dot: f32 = vector.iter().zip(&query).map(|(one, other)| one * other).sum();
                assert!((cosine - dot / length(vector) / length(&query)).abs() < 0.01);
            }
        }
    }

    #[test]
    fn a_row_is_its_own_nearest_with_cosine_one_whatever_its_length() {
        for factor in [1e-30, 1.0, 1e15] {
            let vectors: Vec<Vec<f32>> = clustered(100, 64, 5)
                .iter()
                .map(|vector| vector.iter().map(|value| value * factor).collect())
                .collect();
            let rows = rows(&vectors);
            for (at, vector) in vectors.iter().enumerate() {
                let (index, cosine) = rows.nearest(vector, 1).unwrap()[0];
                assert_eq!(index as usize, at);
                assert!(cosine > 0.999 && cosine <= 1.0, "{cosine} {factor}");
            }
            let unit = rows.vector(7).unwrap();
            assert!((unit.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn rows_without_a_vector_are_never_found() {
        let mut builder = RowsBuilder::new(2).unwrap();
        for vector in [None, Some([1.0, 0.0]), Some([0.0, 0.0]), Some([-1.0, -0.1]), None] {
            builder.push(vector.as_ref().map(<[f32; 2]>::as_slice)).unwrap();
        }
        assert_eq!(builder.vectors(), 2);
        let rows = builder.finish();
        let found: Vec<u32> =
            rows.nearest(&[1.0, 0.0], 10).unwrap().iter().map(|(index, _)| *index).collect();
        assert_eq!(found, [1, 3]);
        assert_eq!(rows.vector(0), None);
        assert_eq!(rows.cosines(&[2.0, 0.0], [0, 1, 99].into_iter()).unwrap(), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn equal_rows_come_in_order_also_when_some_are_cut_off() {
        let rows = rows(&vec![vec![0.5, 0.5]; 100]);
        let found: Vec<u32> = rows.nearest(&[1.0, 1.0], 3).unwrap().iter().map(|(index, _)| *index).collect();
        assert_eq!(found, [0, 1, 2]);
    }

    #[test]
    fn vectors_of_another_shape_are_refused() {
        let rows = rows(&[vec![1.0, 0.0]]);
        assert!(matches!(rows.nearest(&[1.0], 1), Err(BundleError::Dimensions { expected: 2, found: 1 })));
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(matches!(rows.nearest(&[bad, 0.0], 1), Err(BundleError::NotFinite)));
            let mut builder = RowsBuilder::new(2).unwrap();
            assert!(matches!(builder.push(Some(&[0.0, bad])), Err(BundleError::NotFinite)));
        }
        assert!(RowsBuilder::new(0).is_err());
        assert!(matches!(RowsBuilder::new(DIMENSIONS_MAX + 1), Err(BundleError::Limit { .. })));
        assert!(Rows::from_bytes(2, vec![0; 3], vec![0; 4]).is_none());
        assert!(Rows::from_bytes(0, vec![], vec![]).is_none());
        assert!(Rows::from_bytes(2, vec![0; 2], vec![0; 4]).is_some());
        assert!((rows.nearest(&[f32::MAX, f32::MAX], 1).unwrap()[0].1 - 0.5_f32.sqrt()).abs() < 1e-6);
        assert_eq!(rows.nearest(&[0.0, 0.0], 1).unwrap(), []);
        assert_eq!(rows.cosines(&[0.0, 0.0], [0].into_iter()).unwrap(), [0.0]);
    }
}
