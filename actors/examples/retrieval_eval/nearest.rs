//! How many of the nearest vectors a search finds, which scans quantised halves of them and looks again at
//! candidates.

use std::collections::HashSet;

use twinmcp_storage::bundle::{Bundle, SnippetIndex, VectorSet};

use crate::Failure;

/// Vectors that must be found.
pub(crate) const NEAREST: usize = 10;

/// How many of the exactly nearest [`NEAREST`] of each query a search for so many finds, and how many it
/// should.
pub(crate) fn found(bundle: &Bundle, queries: &[Vec<f32>]) -> Result<(usize, usize), Failure> {
    let Some(vectors) = bundle.first() else { return Ok((0, 0)) };
    let (mut found, mut all) = (0, 0);
    for query in queries {
        let exact = exact(vectors, query, bundle.meta().snippets)?;
        let nearest = vectors.nearest(query, NEAREST)?;
        found += nearest.iter().filter(|(index, _)| exact.contains(index)).count();
        all += exact.len();
    }
    Ok((found, all))
}

/// The nearest by the cosines of all.
fn exact(vectors: &VectorSet, query: &[f32], snippets: u32) -> Result<HashSet<SnippetIndex>, Failure> {
    let indexes: Vec<SnippetIndex> = (0..snippets).map(SnippetIndex).collect();
    let cosines = vectors.cosines(query, &indexes)?;
    let mut ranked: Vec<(SnippetIndex, f32)> = indexes.into_iter().zip(cosines).collect();
    // Stable, so that of equal ones the first is nearer, as in a search.
    ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    Ok(ranked.into_iter().take(NEAREST).map(|(index, _)| index).collect())
}
