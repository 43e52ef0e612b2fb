//! Better vectors for documents, made in the background: the seam, and the transformer behind it.
//!
//! A document embedder takes its time; a question never waits for it. [`Upgraded`] puts documents into the
//! space of the built-in table, so that questions stay static and a node that answers runs no
//! transformer: `unit(project(transformer) + 1.5 * static)`. Static and upgraded vectors lie in one space.
//!
//! Invariant: an id is `space` or `space+model`. Vectors can be compared when their [`space`] is the same,
//! and are equal only when the whole id is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::transformer::{ModelError, Transformer};
use super::{Embedder, StaticTable};

/// The part of an embedder's id that says which vectors can be compared with one another.
pub fn space(id: &str) -> &str {
    id.split_once('+').map_or(id, |(space, _)| space)
}

/// Between the embedders of a bundle's first and second vectors, in a version's manifest.
const AND: &str = " & ";

/// The embedder of a version's first vectors, from what its manifest says.
pub fn first_of(embedder: &str) -> &str {
    embedder.split_once(AND).map_or(embedder, |(first, _)| first)
}

/// The embedder of a version's second vectors, if it has any.
pub fn second_of(embedder: &str) -> Option<&str> {
    embedder.split_once(AND).map(|(_, second)| second)
}

/// What a manifest says of a version with these embedders.
pub fn both(first: &str, second: Option<&str>) -> String {
    second.map_or_else(|| first.to_owned(), |second| format!("{first}{AND}{second}"))
}

/// What is embedded: one snippet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentText {
    /// Outermost first.
    pub heading_path: Vec<String>,
    /// Prose and code.
    pub text: String,
}

impl DocumentText {
    /// Heading path and text as a model reads them.
    pub fn joined(&self) -> String {
        let mut joined = self.heading_path.join("\n");
        joined.push('\n');
        joined.push_str(&self.text);
        joined
    }
}

/// How much is handed over at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Snippets at once.
    pub items_max: usize,
    /// Tokens of all of them together; a single snippet may have more.
    pub tokens_max: usize,
}

/// Why a batch has no vectors.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct EmbedError {
    /// What went wrong, and what to do.
    pub reason: String,
    /// No other text will fare better, for at least so long; `None` when it lies in these texts.
    pub rest: Option<Duration>,
}

/// Makes vectors of documents, slowly.
pub trait DocumentEmbedder: Send + Sync + 'static {
    /// What is stored with the vectors; changes whenever one of them would.
    fn id(&self) -> &str;

    /// Length of every vector.
    fn dimensions(&self) -> usize;

    /// How much to hand over at once.
    fn batch(&self) -> Batch;

    /// One unit vector for each document, in their order; `None` for one without words. Blocks.
    ///
    /// # Errors
    /// [`EmbedError`] when there are none for the whole batch.
    fn embed(&self, documents: &[DocumentText]) -> Result<Vec<Option<Vec<f32>>>, EmbedError>;
}

/// The projection of all-MiniLM-L6-v2 into the space of the table, `dimensions x WIDTH`.
static PROJECTION: &[u8; 384 * WIDTH * 4] = include_bytes!("model/pca-384x256.f32");
/// Numbers of a projected vector, of which the table's space is the first part.
const WIDTH: usize = 256;
/// In the folder of a model that has a projection of its own: little-endian `f32`, a row of [`WIDTH`] for each
/// of the model's dimensions.
const PROJECTION_FILE: &str = "projection.f32";

/// What the static vector counts beside the transformer's. From 1.2 to 1.5 little changes; at 0.48 upgrades lowered three of
/// five libraries (`docs/performance.md`).
const STATIC_WEIGHT: f32 = 1.5;

/// Sentences that show whether a model lies in the table's space: the table was distilled from it.
const PROBES: [&str; 4] = [
    "How do I set a timeout for a request?",
    "Returns the number of elements in the list.",
    "Connect to the database and run a query inside a transaction.",
    "The file could not be opened because of missing permissions.",
];
/// The mean cosine of table and model on the probes has to reach this. all-MiniLM-L6-v2 reaches about 0.8, a
/// model that is not in the space about 0.
const PROBES_COSINE_MIN: f32 = 0.5;

/// Vectors of a transformer and of the built-in table, joined in the table's space.
pub struct Upgraded {
    table: &'static StaticTable,
    model: Transformer,
    projection: Vec<[f32; WIDTH]>,
    id: String,
}

impl Upgraded {
    /// Reads the model in `folder`; see [`Transformer::load`].
    ///
    /// # Errors
    /// [`ModelError`] as there, and for a model that does not lie in the space of the built-in table.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let (table, model) = (StaticTable::builtin(), Transformer::load(folder)?);
        let path = folder.join(PROJECTION_FILE);
        let own = path.is_file();
        let bytes = if own {
            let bytes = fs::read(&path).map_err(ModelError::read(&path))?;
            if bytes.len() != model.dimensions() * WIDTH * 4 {
                let what = format!("must have {} rows of {WIDTH} numbers of 4 bytes", model.dimensions());
                return Err(ModelError::unsuitable(&path, what));
            }
            bytes
        } else if model.dimensions() * WIDTH * 4 == PROJECTION.len() {
            PROJECTION.to_vec()
        } else {
            let what = "is missing: only all-MiniLM-L6-v2 has a projection built in";
            return Err(ModelError::unsuitable(&path, what));
        };
        let fingerprint = blake3::hash(&[model.fingerprint().as_bytes(), &bytes].concat()).to_hex();
        let id = format!("{}+transformer-v2-{}", table.id(), &fingerprint[..12]);
        let numbers: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let upgraded = Self { table, model, projection: numbers.as_chunks().0.to_vec(), id };
        if !own && upgraded.probe() < PROBES_COSINE_MIN {
            let what = "holds another model than all-MiniLM-L6-v2, or is damaged: its vectors do not lie in the space \
                        of the built-in table";
            return Err(ModelError::unsuitable(folder, what));
        }
        Ok(upgraded)
    }

    /// The mean cosine of table and model on the probes.
    fn probe(&self) -> f32 {
        let cosine = |text: &&str| {
            let model = cut(&self.project(&self.model.embed(text)?), self.table.dimensions())?;
            let table = self.table.embed_query(text)?;
            Some(model.iter().zip(&table).map(|(one, other)| one * other).sum::<f32>())
        };
        PROBES.iter().filter_map(cosine).sum::<f32>() / PROBES.len() as f32
    }

    /// The vector in the table's space, as long as it was.
    fn project(&self, vector: &[f32]) -> [f32; WIDTH] {
        let mut sum = [0.0; WIDTH];
        for (value, row) in vector.iter().zip(&self.projection) {
            sum.iter_mut().zip(row).for_each(|(sum, factor)| *sum += value * factor);
        }
        let length = length(&sum);
        if length.is_normal() {
            sum.iter_mut().for_each(|value| *value /= length);
        }
        sum
    }

    fn one(&self, document: &DocumentText) -> Option<Vec<f32>> {
        let table = self.table.embed_snippet(&document.heading_path, &document.text)?.vector;
        // A text the table knows words of and the model none keeps its static vector.
        let Some(model) = self.model.embed(&document.joined()) else { return Some(table) };
        let mut sum = self.project(&model);
        sum.iter_mut().zip(&table).for_each(|(sum, table)| *sum += STATIC_WEIGHT * table);
        cut(&sum, self.table.dimensions())
    }
}

impl DocumentEmbedder for Upgraded {
    fn id(&self) -> &str {
        &self.id
    }

    fn dimensions(&self) -> usize {
        self.table.dimensions()
    }

    fn batch(&self) -> Batch {
        // A processor gains nothing from more, and a pause can be made after each.
        Batch { items_max: 1, tokens_max: usize::MAX }
    }

    fn embed(&self, documents: &[DocumentText]) -> Result<Vec<Option<Vec<f32>>>, EmbedError> {
        Ok(documents.iter().map(|document| self.one(document)).collect())
    }
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// The first `dimensions` numbers, at unit length.
fn cut(vector: &[f32], dimensions: usize) -> Option<Vec<f32>> {
    let first = vector.get(..dimensions)?;
    let length = length(first);
    length.is_normal().then(|| first.iter().map(|value| value / length).collect())
}
