//! From a question to the passages of one bundle, ranked: what the node answers with, and what the
//! evaluation (`examples/retrieval_eval`) and the benchmark (`benches/query.rs`) measure.

use twinmcp_storage::bundle::{Bundle, BundleError, Scored};

use super::rank::{self, Ranked};
use crate::embedding::{Embedder, space};

/// Candidates taken from each of words and vectors: with 100 pages had too few witnesses, above 150
/// nothing changed.
const CANDIDATES: usize = 150;

/// The snippets of `bundle` that may answer `question`, best first: words and vectors, fused, with
/// good pages lifted and link lists, near-duplicates and further stretches of a section damped.
///
/// `stage` is called as each stage begins, and what it returns is dropped as the stage ends.
///
/// # Errors
/// [`BundleError`] when the bundle cannot be read.
pub fn ranked<T>(
    bundle: &Bundle,
    embedder: &dyn Embedder,
    question: &str,
    stage: impl Fn(&'static str) -> T,
) -> Result<Vec<Ranked>, BundleError> {
    let words = {
        let _stage = stage("words");
        bundle.words(question, CANDIDATES)?
    };
    let vector = {
        let _stage = stage("embed");
        // Vectors of another space say nothing about this one's.
        let used = bundle.meta().embedder.as_ref();
        let same = used.is_some_and(|used| space(&used.id) == space(embedder.id()));
        same.then(|| embedder.embed_query(question)).flatten()
    };
    let nearest = {
        let _stage = stage("vectors");
        match &vector {
            Some(vector) => with_all_cosines(bundle, vector, &words)?,
            None => Vec::new(),
        }
    };
    let _stage = stage("rerank");
    let mut ranked = rank::fuse(&words, &nearest, embedder.fusion_weight());
    rank::lift_pages(&mut ranked, |index| bundle.facts(index).map_or(u32::MAX, |facts| facts.page));
    rank::damp_links(&mut ranked, |index| bundle.facts(index).map_or(0, |facts| facts.link_percent));
    rank::damp_duplicates(&mut ranked, |index| bundle.facts(index).map_or(0, |facts| facts.simhash));
    rank::damp_repeats(&mut ranked, |index| match bundle.section(index) {
        Ok((page, Some(anchor))) => Some((page, anchor)),
        Ok((_, None)) | Err(_) => None,
    });
    Ok(ranked)
}

/// The nearest snippets, and those that words found beside them: each candidate has a cosine.
fn with_all_cosines(bundle: &Bundle, vector: &[f32], words: &Scored) -> Result<Scored, BundleError> {
    let mut nearest = bundle.nearest(vector, CANDIDATES)?;
    let missing = rank::without_cosine(words, &nearest);
    let cosines = bundle.cosines(vector, &missing)?;
    nearest.extend(missing.into_iter().zip(cosines));
    Ok(nearest)
}
