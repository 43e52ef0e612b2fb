//! A sentence transformer, run on the processor: BERT, the mean over all tokens, unit length.
//!
//! [`Transformer::load`] takes a folder as sentence-transformers lays it out (`model.safetensors`,
//! `config.json`, `vocab.txt`). It is a hundred times slower than the built-in table and better by a little, so it
//! embeds documents in the background and never stands between a question and its answer.
//!
//! The forward pass is ours because it is short, and because what runs it otherwise (`candle`, `tract`, a
//! runtime in C++) is larger than this whole crate; the matrix products, which are most of the
//! time, are `matrixmultiply`'s through `ndarray`. One text at a time without padding is the fastest way
//! on a processor. The order of operations is fixed, so the same build gives the same vector again
//! on the same processor.

mod activation;
mod forward;
#[cfg(test)]
pub(crate) mod tiny;
mod weights;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::vocabulary::{PIECES_MAX, Vocabulary};
use super::wordpiece::Tokenizer;
use forward::Bert;
use weights::Weights;

/// Tokens of a text that are read, `[CLS]` and `[SEP]` with them; the rest is left out. The model was trained
/// on no more than 128, and time grows with them.
const TOKENS_MAX: usize = 256;
/// Largest `config.json` and `vocab.txt`, in bytes.
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Numbers in a vector of the model.
const HIDDEN_MAX: usize = 1024;
/// Layers of the model.
const LAYERS_MAX: usize = 24;

/// Why a model cannot be used. Each says which file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is not there, or cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("`{}` {what}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the end of a sentence.
        what: String,
    },
    /// The header of the weights says something impossible.
    #[error("`{}` is not a safetensors file", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What the reader of the format said.
        source: serde_json::Error,
    },
}

impl ModelError {
    pub(super) fn unsuitable(path: &Path, what: impl Into<String>) -> Self {
        Self::Unsuitable { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Read { path, source }
    }
}

/// The part of `config.json` that says how the weights are used.
#[derive(Debug, Clone, Deserialize)]
struct Shape {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    layer_norm_eps: f32,
}

impl Shape {
    /// What does not fit, as the end of a sentence.
    fn problem(&self) -> Option<String> {
        let heads = self.num_attention_heads;
        if self.model_type != "bert" || self.hidden_act != "gelu" {
            return Some("describes no BERT with `gelu`, and no other model is known here".to_owned());
        }
        let sizes = (1..=HIDDEN_MAX).contains(&self.hidden_size)
            && (1..=8 * HIDDEN_MAX).contains(&self.intermediate_size)
            && (1..=LAYERS_MAX).contains(&self.num_hidden_layers)
            && (3..=8192).contains(&self.max_position_embeddings)
            && (3..=PIECES_MAX).contains(&self.vocab_size);
        let fits = heads > 0 && self.hidden_size.is_multiple_of(heads);
        (!sizes || !fits).then(|| {
            format!(
                "describes a model that is not run here: at most {HIDDEN_MAX} dimensions, a multiple of the heads, \
                 {LAYERS_MAX} layers and {PIECES_MAX} pieces"
            )
        })
    }
}

/// A model in memory: about as large as its weights are in `f32`.
pub struct Transformer {
    tokenizer: Tokenizer,
    start: u16,
    end: u16,
    bert: Bert,
    tokens_max: usize,
    fingerprint: String,
}

impl Transformer {
    /// Reads the model in `folder`. Blocks, about a tenth of a second for 90 MB.
    ///
    /// # Errors
    /// [`ModelError`], with the file that is missing, damaged or of another kind.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let mut hasher = blake3::Hasher::new();
        let shape_path = folder.join("config.json");
        let text = read_text(&shape_path, &mut hasher)?;
        let shape: Shape = serde_json::from_str(&text).map_err(|error| {
            ModelError::unsuitable(&shape_path, format!("does not describe a BERT: {error}"))
        })?;
        if let Some(problem) = shape.problem() {
            return Err(ModelError::unsuitable(&shape_path, problem));
        }
        let pieces_path = folder.join("vocab.txt");
        let pieces = Vocabulary::from_lines(read_text(&pieces_path, &mut hasher)?)
            .filter(|pieces| pieces.len() == shape.vocab_size)
            .ok_or_else(|| {
                let what =
                    format!("does not hold {} pieces, one a line, as config.json says", shape.vocab_size);
                ModelError::unsuitable(&pieces_path, what)
            })?;
        let special = |piece| {
            let missing = || ModelError::unsuitable(&pieces_path, format!("has no piece `{piece}`"));
            pieces.id_of(piece).ok_or_else(missing)
        };
        let (start, end) = (special("[CLS]")?, special("[SEP]")?);
        let mut weights = Weights::open(&folder.join("model.safetensors"))?;
        let bert = Bert::read(&shape, &mut weights)?;
        hasher.update(weights.digest().as_bytes());
        let fingerprint = hasher.finalize().to_hex()[..12].to_owned();
        let tokens_max = TOKENS_MAX.min(shape.max_position_embeddings);
        Ok(Self { tokenizer: Tokenizer::new(pieces), start, end, bert, tokens_max, fingerprint })
    }

    /// Numbers in a vector.
    pub fn dimensions(&self) -> usize {
        self.bert.hidden()
    }

    /// Stands for exactly these files: hexadecimal digits of their hash.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The unit vector of a text; `None` when it has no token, or the weights give no number.
    pub fn embed(&self, text: &str) -> Option<Vec<f32>> {
        let mut ids = vec![self.start];
        self.tokenizer.tokenize(text, |id| {
            if ids.len() + 1 < self.tokens_max {
                ids.push(id);
            }
        });
        if ids.len() == 1 {
            return None;
        }
        ids.push(self.end);
        self.bert.embed(&ids)
    }
}

fn read_text(path: &Path, hasher: &mut blake3::Hasher) -> Result<String, ModelError> {
    let bytes = fs::metadata(path).map_err(ModelError::read(path))?.len();
    if bytes > TEXT_BYTES_MAX {
        return Err(ModelError::unsuitable(
            path,
            format!("has {bytes} bytes; at most {TEXT_BYTES_MAX} are read"),
        ));
    }
    let text = fs::read_to_string(path).map_err(ModelError::read(path))?;
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    Ok(text)
}

#[cfg(test)]
mod tests;
