//! From a question to the passages of one bundle, ranked: what the node answers with, and what the
//! evaluation (`examples/retrieval_eval`) and the benchmark (`benches/query.rs`) measure.

use std::sync::Arc;

use twinmcp_storage::bundle::{Bundle, BundleError, Scored, VectorSet};

use super::rank::{self, Ranked};
use crate::embedding::{Embedder, space};

/// Candidates taken from each of words and vectors: with 100 pages had too few witnesses, above 150
/// nothing changed.
const CANDIDATES: usize = 150;

/// A question as an embedding service sees it.
#[derive(Debug, Clone)]
pub struct ServiceQuery {
    /// What made the vector, as the vectors in an index name it.
    pub embedder: String,
    /// Unit length.
    pub vector: Arc<[f32]>,
    /// The share of the cosine in the fused score.
    pub fusion_weight: f32,
}

/// The snippets of `bundle` that may answer `question`, best first: words and vectors, fused, with
/// good pages lifted and link lists, near-duplicates and further stretches of a section damped.
///
/// With `service`, the vectors of that service decide in place of the built-in ones, if the bundle has any.
///
/// `stage` is called as each stage begins, and what it returns is dropped as the stage ends.
///
/// # Errors
/// [`BundleError`] when the bundle cannot be read.
pub fn ranked<T>(
    bundle: &Bundle,
    embedder: &dyn Embedder,
    service: Option<ServiceQuery>,
    question: &str,
    stage: impl Fn(&'static str) -> T,
) -> Result<Vec<Ranked>, BundleError> {
    let words = {
        let _stage = stage("words");
        bundle.words(question, CANDIDATES)?
    };
    let compared = match service.and_then(|service| Compared::by_service(bundle, service)) {
        Some(compared) => Some(compared),
        None => {
            let _stage = stage("embed");
            Compared::built_in(bundle, embedder, question)
        }
    };
    let nearest = {
        let _stage = stage("vectors");
        match &compared {
            Some(compared) => compared.with_all_cosines(&words)?,
            None => Vec::new(),
        }
    };
    let _stage = stage("rerank");
    let weight = compared.map_or(0.0, |compared| compared.fusion_weight);
    let mut ranked = rank::fuse(&words, &nearest, weight);
    rank::lift_pages(&mut ranked, |index| bundle.facts(index).map_or(u32::MAX, |facts| facts.page));
    rank::damp_links(&mut ranked, |index| bundle.facts(index).map_or(0, |facts| facts.link_percent));
    rank::damp_duplicates(&mut ranked, |index| bundle.facts(index).map_or(0, |facts| facts.simhash));
    rank::damp_repeats(&mut ranked, |index| match bundle.section(index) {
        Ok((page, Some(anchor))) => Some((page, anchor)),
        Ok((_, None)) | Err(_) => None,
    });
    Ok(ranked)
}

/// A question's vector beside the only vectors it may be compared with.
struct Compared<'a> {
    vector: Arc<[f32]>,
    with: &'a VectorSet,
    fusion_weight: f32,
}

impl<'a> Compared<'a> {
    /// `None` when the service made none of the bundle's vectors.
    fn by_service(bundle: &'a Bundle, service: ServiceQuery) -> Option<Self> {
        let ServiceQuery { embedder, vector, fusion_weight } = service;
        let with = bundle.second().filter(|second| second.embedder().id == embedder)?;
        Some(Self { vector, with, fusion_weight })
    }

    /// `None` when the bundle has vectors of another space, which say nothing about this one's, and for a
    /// question without a token.
    fn built_in(bundle: &'a Bundle, embedder: &dyn Embedder, question: &str) -> Option<Self> {
        let with = bundle.first().filter(|first| space(&first.embedder().id) == space(embedder.id()))?;
        let vector = embedder.embed_query(question)?.into();
        Some(Self { vector, with, fusion_weight: embedder.fusion_weight(&with.embedder().id) })
    }

    /// The nearest snippets, and those that words found beside them: each candidate has a cosine.
    fn with_all_cosines(&self, words: &Scored) -> Result<Scored, BundleError> {
        let mut nearest = self.with.nearest(&self.vector, CANDIDATES)?;
        let missing = rank::without_cosine(words, &nearest);
        let cosines = self.with.cosines(&self.vector, &missing)?;
        nearest.extend(missing.into_iter().zip(cosines));
        Ok(nearest)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use twinmcp_storage::bundle::{self, Block, BundleDraft, BundleStore, Page, Snippet};

    use super::*;
    use crate::embedding::StaticTable;

    const QUESTION: &str = "close the connection";

    /// The best snippet of two, embedded by `embedder`: the first has the question's words and is a little
    /// like it, the second has none of them and means the same.
    fn best_of_words_and_meaning(embedder: &str) -> u32 {
        let table = StaticTable::builtin();
        let same = table.embed_query(QUESTION).unwrap();
        let other = table.embed_query("a painting of the sea").unwrap();
        let dot =
            |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
        let alike = dot(&same, &other);
        // A unit vector whose cosine with the question is 0.1.
        let mut little: Vec<f32> =
            other.iter().zip(&same).map(|(other, same)| other - alike * same).collect();
        let length = dot(&little, &little).sqrt();
        little
            .iter_mut()
            .zip(&same)
            .for_each(|(own, same)| *own = 0.99_f32.sqrt() * *own / length + 0.1 * same);

        let folder = tempfile::tempdir().unwrap();
        let store = BundleStore::open_dir(folder.path(), NonZeroUsize::MIN).unwrap();
        let embedder = bundle::Embedder { id: embedder.to_owned(), dimensions: table.dimensions() as u32 };
        let draft = BundleDraft {
            library: "/test/weights".to_owned(),
            version: "1".to_owned(),
            embedder: Some(embedder),
        };
        let mut builder = store.builder(draft).unwrap();
        for (page, text, vector) in [(0, QUESTION, little), (1, "Hang up when done", same)] {
            let path = format!("page-{page}.html");
            builder.add_page(Page { url: String::new(), title: path.clone(), path }).unwrap();
            let snippet = Snippet {
                page,
                anchors: Vec::new(),
                heading_path: Vec::new(),
                blocks: vec![Block::Prose(text.to_owned())],
                tokens: 4,
                link_percent: 0,
            };
            builder.add_snippet(&snippet, Some(&vector)).unwrap();
        }
        let bundle = store.open(builder.finish().unwrap().hash).unwrap();
        ranked(&bundle, table, None, QUESTION, |_| ()).unwrap()[0].snippet.0
    }

    #[test]
    fn cosines_count_more_with_upgraded_vectors() {
        let own = StaticTable::builtin().id();
        assert_eq!(best_of_words_and_meaning(own), 0);
        assert_eq!(best_of_words_and_meaning(&format!("{own}+transformer")), 1);
        // Of another space: nothing is compared, and words alone decide.
        assert_eq!(best_of_words_and_meaning("another-table"), 0);
    }
}
