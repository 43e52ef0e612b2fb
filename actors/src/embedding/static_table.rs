//! The built-in embedder: one row of a table for each token, summed.
//!
//! The table was distilled from a sentence transformer (`model/NOTICE`). On 209 questions about five
//! documentation sets it reaches, fused with words, nDCG@10 0.655; the transformer itself reaches
//! 0.672 at more than a hundred times the cost, and words alone 0.562. The rows lie in the binary and are paged
//! in as they are used.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use half::f16;

use super::{Embedder, SnippetEmbedding, vocabulary::PIECE_COUNT, wordpiece::Tokenizer};

const DIMENSIONS: usize = 128;

static ROWS: &[u8; PIECE_COUNT * DIMENSIONS] = include_bytes!("model/static-128.i8");
static SCALES: &[u8; PIECE_COUNT * 2] = include_bytes!("model/static-128.scale.f16");
static BIAS: &[u8; DIMENSIONS * 4] = include_bytes!("model/static-128.bias.f32");

/// Stands for exactly these model files, this tokenizer and these weights; a test compares.
const ID: &str = "twinmcp-static-128-v1";

/// What a snippet's tokens count by their place: a section says what it is about at its start.
/// Half of the gain over plain averaging comes from these weights.
const POSITION_WEIGHTS: [(usize, f32); 3] = [(64, 1.0), (128, 0.7), (256, 0.4)];
const POSITION_WEIGHT_REST: f32 = 0.2;

/// The share of the heading path's own vector that is added to a snippet's.
const HEADING_WEIGHT: f32 = 0.3;

/// The share of the cosine in the fused score, with documents of the table's own.
const FUSION_WEIGHT: f32 = 0.5;
/// With documents of a better model in the table's space ([`super::Upgraded`]), whose cosines say more.
const FUSION_WEIGHT_UPGRADED: f32 = 0.6;

/// A table of token vectors with its tokenizer.
pub struct StaticTable {
    tokenizer: Tokenizer,
    /// One signed byte a number, [`DIMENSIONS`] a row.
    rows: Cow<'static, [u8]>,
    scales: Box<[f32]>,
    bias: Vector,
}

type Vector = [f32; DIMENSIONS];

impl StaticTable {
    /// The table in the binary, made ready at the first call (about a millisecond) and then shared.
    pub fn builtin() -> &'static Self {
        static TABLE: LazyLock<StaticTable> = LazyLock::new(StaticTable::build);
        &TABLE
    }

    fn build() -> Self {
        Self::of(Cow::Borrowed(ROWS), SCALES, BIAS)
    }

    /// A table as `model/train/train.py` writes it, to be measured before it is built in. It goes by the id of
    /// the built-in one, so its vectors belong into no bundle that is kept.
    ///
    /// # Errors
    /// When one of the three files is not there, or has another length.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let file = |name: &str, length: usize| {
            let bytes = fs::read(folder.join(name))?;
            let fits = bytes.len() == length;
            fits.then_some(bytes)
                .ok_or_else(|| io::Error::other(format!("`{name}` must have {length} bytes")))
        };
        let rows = file("static-128.i8", ROWS.len())?;
        let (scales, bias) =
            (file("static-128.scale.f16", SCALES.len())?, file("static-128.bias.f32", BIAS.len())?);
        Ok(Self::of(Cow::Owned(rows), &scales, &bias))
    }

    fn of(rows: Cow<'static, [u8]>, scale_bytes: &[u8], bias_bytes: &[u8]) -> Self {
        let mut bias = [0.0; DIMENSIONS];
        for (value, bytes) in bias.iter_mut().zip(bias_bytes.as_chunks().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        let scales =
            scale_bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect();
        Self { tokenizer: Tokenizer::builtin(), rows, scales, bias }
    }

    /// Adds `weight` times the row of `id`.
    fn add(&self, sum: &mut Vector, id: u16, weight: f32) {
        let id = usize::from(id);
        let (Some(row), Some(scale)) = (self.rows.as_chunks::<DIMENSIONS>().0.get(id), self.scales.get(id))
        else {
            return;
        };
        let weight = weight * scale;
        // Written so that the compiler turns it into vector instructions.
        for (value, entry) in sum.iter_mut().zip(row) {
            *value += weight * f32::from(*entry as i8);
        }
    }

    /// The unit vector of a sum of rows; `None` for the zero vector.
    fn finish(&self, sum: &Vector) -> Option<Vector> {
        let mut vector = *sum;
        for (value, bias) in vector.iter_mut().zip(&self.bias) {
            *value += bias;
        }
        unit(vector)
    }
}

impl Embedder for StaticTable {
    fn id(&self) -> &str {
        ID
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn fusion_weight(&self, documents: &str) -> f32 {
        if documents == ID { FUSION_WEIGHT } else { FUSION_WEIGHT_UPGRADED }
    }

    fn embed_query(&self, text: &str) -> Option<Vec<f32>> {
        let mut sum = [0.0; DIMENSIONS];
        let mut tokens = 0_usize;
        self.tokenizer.tokenize(text, |id| {
            self.add(&mut sum, id, 1.0);
            tokens += 1;
        });
        if tokens == 0 {
            return None;
        }
        self.finish(&sum).map(Vec::from)
    }

    fn embed_snippet(&self, heading_path: &[String], text: &str) -> Option<SnippetEmbedding> {
        let mut sum = [0.0; DIMENSIONS];
        let mut tokens = 0_usize;
        for heading in heading_path {
            self.tokenizer.tokenize(heading, |id| {
                self.add(&mut sum, id, position_weight(tokens));
                tokens += 1;
            });
        }
        // Every part is a line of its own, so its tokens do not depend on its neighbours, and the sum
        // up to here is the sum of the heading path alone.
        let heading = if tokens == 0 { None } else { self.finish(&sum) };
        self.tokenizer.tokenize(text, |id| {
            self.add(&mut sum, id, position_weight(tokens));
            tokens += 1;
        });
        if tokens == 0 {
            return None;
        }
        let mut vector = self.finish(&sum)?;
        if let Some(heading) = heading {
            for (value, heading) in vector.iter_mut().zip(&heading) {
                *value += HEADING_WEIGHT * heading;
            }
            vector = unit(vector)?;
        }
        Some(SnippetEmbedding { vector: vector.to_vec(), tokens })
    }

    fn count_tokens(&self, text: &str) -> usize {
        let mut tokens = 0;
        self.tokenizer.tokenize(text, |_| tokens += 1);
        tokens
    }
}

/// The weight of the token with this many tokens before it.
fn position_weight(before: usize) -> f32 {
    POSITION_WEIGHTS.iter().find(|(end, _)| before < *end).map_or(POSITION_WEIGHT_REST, |(_, weight)| *weight)
}

fn unit(mut vector: Vector) -> Option<Vector> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if !length.is_normal() {
        return None;
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Some(vector)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// One line of the fixture: made by the reference implementation the table was trained with.
    #[derive(Deserialize)]
    struct Reference {
        text: String,
        ids: Vec<u16>,
        vector: Option<Vec<f32>>,
    }

    fn cosine(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(left, right)| left * right).sum()
    }

    fn path(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn ids_and_vectors_are_those_of_the_reference() {
        let table = StaticTable::builtin();
        let lines: Vec<&str> = include_str!("fixtures/parity.jsonl").lines().collect();
        assert_eq!(lines.len(), 16);
        for line in lines {
            let reference: Reference = serde_json::from_str(line).unwrap();
            let mut ids = Vec::new();
            table.tokenizer.tokenize(&reference.text, |id| ids.push(id));
            assert_eq!(ids, reference.ids, "{}", reference.text);
            assert_eq!(table.count_tokens(&reference.text), ids.len());
            let Some(vector) = table.embed_query(&reference.text) else {
                assert!(ids.is_empty(), "{}", reference.text);
                continue;
            };
            let expected = reference.vector.unwrap();
            assert_eq!(expected.len(), vector.len());
            for (got, expected) in vector.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-3, "{}: {got} for {expected}", reference.text);
            }
        }
    }

    #[test]
    fn the_id_stands_for_these_model_files() {
        let mut hasher = blake3::Hasher::new();
        for part in [&ROWS[..], &SCALES[..], &BIAS[..], include_bytes!("model/vocab.txt")] {
            hasher.update(part);
        }
        let seen = (ID, hasher.finalize().to_hex()[..16].to_owned());
        assert_eq!(seen, ("twinmcp-static-128-v1", "7c38134777c4dbe2".to_owned()), "new files need a new id");
    }

    #[test]
    fn a_table_from_a_folder_embeds_as_the_one_built_in() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("static-128.i8", &ROWS[..]),
            ("static-128.scale.f16", &SCALES[..]),
            ("static-128.bias.f32", &BIAS[..]),
        ] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let text = "Spawns a blocking task on the runtime.";
        let read = StaticTable::read(folder.path()).unwrap();
        assert_eq!(read.embed_query(text), StaticTable::builtin().embed_query(text));
        fs::write(folder.path().join("static-128.i8"), "short").unwrap();
        let error = StaticTable::read(folder.path()).err().unwrap().to_string();
        assert!(error.contains("`static-128.i8` must have"), "{error}");
    }

    #[test]
    fn a_text_without_tokens_has_no_vector() {
        let table = StaticTable::builtin();
        assert_eq!(table.embed_query(" \n\u{200b}"), None);
        assert_eq!(table.embed_snippet(&[], ""), None);
        assert_eq!(table.embed_snippet(&path(&["", " "]), "\t"), None);
    }

    #[test]
    fn a_short_snippet_without_headings_is_embedded_like_a_query() {
        let table = StaticTable::builtin();
        let text = "Spawns a blocking task on the runtime.";
        let snippet = table.embed_snippet(&[], text).unwrap();
        assert_eq!(snippet.tokens, table.count_tokens(text));
        assert_eq!(snippet.vector, table.embed_query(text).unwrap());
    }

    #[test]
    fn the_heading_path_counts_as_first_line_and_once_more_by_itself() {
        let table = StaticTable::builtin();
        let (heading, text) = ("Timeouts", "Cancels the request after five seconds.");
        let snippet = table.embed_snippet(&path(&[heading]), text).unwrap();
        assert_eq!(snippet.tokens, table.count_tokens(heading) + table.count_tokens(text));

        let whole = table.embed_query(&format!("{heading}\n{text}")).unwrap();
        let alone = table.embed_query(heading).unwrap();
        let sum: Vec<f32> = whole.iter().zip(&alone).map(|(whole, alone)| whole + 0.3 * alone).collect();
        let length = cosine(&sum, &sum).sqrt();
        for (got, sum) in snippet.vector.iter().zip(&sum) {
            assert!((got - sum / length).abs() < 1e-5);
        }
    }

    #[test]
    fn tokens_count_less_the_further_down_they_stand() {
        for (before, weight) in
            [(0, 1.0), (63, 1.0), (64, 0.7), (127, 0.7), (128, 0.4), (255, 0.4), (256, 0.2), (100_000, 0.2)]
        {
            assert_eq!(position_weight(before), weight, "{before}");
        }
        let table = StaticTable::builtin();
        let about = |text: &str| table.embed_snippet(&[], text).unwrap().vector;
        let query = table.embed_query("database transactions").unwrap();
        let (topic, filler) = ("database transactions ".repeat(20), "window colour ".repeat(200));
        let early = cosine(&about(&format!("{topic}{filler}")), &query);
        let late = cosine(&about(&format!("{filler}{topic}")), &query);
        assert!(early > late + 0.1, "{early} {late}");
    }

    #[test]
    fn a_question_is_nearer_to_its_answer_than_to_another() {
        let table = StaticTable::builtin();
        let query = table.embed_query("how do I stop waiting after some time").unwrap();
        let vector = |heading: &str, text: &str| table.embed_snippet(&path(&[heading]), text).unwrap().vector;
        let right =
            vector("timeout", "Requires a future to complete before the specified duration has elapsed.");
        let wrong = vector("mpsc channel", "Creates a bounded queue between tasks with backpressure.");
        assert!(cosine(&query, &right) > cosine(&query, &wrong) + 0.1);
    }

    proptest! {
        #[test]
        fn every_vector_has_unit_length(text in "\\PC{0,300}", heading in "\\PC{0,40}") {
            let table = StaticTable::builtin();
            if let Some(snippet) = table.embed_snippet(&[heading], &text) {
                prop_assert!(snippet.tokens > 0);
                prop_assert!((cosine(&snippet.vector, &snippet.vector) - 1.0).abs() < 1e-4);
            }
        }
    }
}
