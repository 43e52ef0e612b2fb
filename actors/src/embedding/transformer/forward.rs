//! The forward pass of BERT (Devlin et al. 2018) over one text.
//!
//! Shapes are checked when the weights are read, so nothing here can fail. A row is a token.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::activation::{gelu, normalise, softmax};
use super::weights::Weights;
use super::{ModelError, Shape};

/// All layers of a model.
pub(super) struct Bert {
    tokens: Array2<f32>,
    /// The place's row and that of the only segment, added.
    places: Array2<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
}

struct Norm {
    gain: Array1<f32>,
    bias: Array1<f32>,
    epsilon: f32,
}

/// A dense layer, stored as `outputs x inputs`.
struct Dense {
    weights: Array2<f32>,
    bias: Array1<f32>,
}

struct Layer {
    /// Queries, keys and values side by side: one product instead of three.
    attention: Dense,
    joined: Dense,
    joined_norm: Norm,
    wide: Dense,
    narrow: Dense,
    narrow_norm: Norm,
}

impl Norm {
    fn read(weights: &mut Weights, name: &str, shape: &Shape) -> Result<Self, ModelError> {
        Ok(Self {
            gain: weights.vector(&format!("{name}.weight"), shape.hidden_size)?,
            bias: weights.vector(&format!("{name}.bias"), shape.hidden_size)?,
            epsilon: shape.layer_norm_eps,
        })
    }

    fn apply(&self, rows: &mut Array2<f32>) {
        for row in rows.rows_mut() {
            normalise(row, &self.gain, &self.bias, self.epsilon);
        }
    }
}

impl Dense {
    fn read(weights: &mut Weights, name: &str, outputs: usize, inputs: usize) -> Result<Self, ModelError> {
        Ok(Self {
            weights: weights.matrix(&format!("{name}.weight"), outputs, inputs)?,
            bias: weights.vector(&format!("{name}.bias"), outputs)?,
        })
    }

    fn apply(&self, rows: &Array2<f32>) -> Array2<f32> {
        let mut out = Array2::zeros((rows.nrows(), self.bias.len()));
        out += &self.bias;
        general_mat_mul(1.0, rows, &self.weights.t(), 1.0, &mut out);
        out
    }
}

impl Layer {
    fn read(weights: &mut Weights, number: usize, shape: &Shape) -> Result<Self, ModelError> {
        let (hidden, wide) = (shape.hidden_size, shape.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let mut attention =
            Dense { weights: Array2::zeros((3 * hidden, hidden)), bias: Array1::zeros(3 * hidden) };
        for (at, part) in ["query", "key", "value"].into_iter().enumerate() {
            let one = Dense::read(weights, &name(&format!("attention.self.{part}")), hidden, hidden)?;
            let range = at * hidden..(at + 1) * hidden;
            attention.weights.slice_mut(s![range.clone(), ..]).assign(&one.weights);
            attention.bias.slice_mut(s![range]).assign(&one.bias);
        }
        Ok(Self {
            attention,
            joined: Dense::read(weights, &name("attention.output.dense"), hidden, hidden)?,
            joined_norm: Norm::read(weights, &name("attention.output.LayerNorm"), shape)?,
            wide: Dense::read(weights, &name("intermediate.dense"), wide, hidden)?,
            narrow: Dense::read(weights, &name("output.dense"), hidden, wide)?,
            narrow_norm: Norm::read(weights, &name("output.LayerNorm"), shape)?,
        })
    }

    fn apply(&self, rows: Array2<f32>, heads: usize) -> Array2<f32> {
        let mixed = attend(&self.attention.apply(&rows), heads);
        let mut rows = rows + self.joined.apply(&mixed);
        self.joined_norm.apply(&mut rows);
        let mut wide = self.wide.apply(&rows);
        if let Some(values) = wide.as_slice_mut() {
            gelu(values);
        }
        let mut rows = rows + self.narrow.apply(&wide);
        self.narrow_norm.apply(&mut rows);
        rows
    }
}

/// What each token takes from the others: softmax(Q Kᵀ / √d) V, head by head.
fn attend(parts: &Array2<f32>, heads: usize) -> Array2<f32> {
    let (tokens, hidden) = (parts.nrows(), parts.ncols() / 3);
    let width = hidden / heads;
    let scale = 1.0 / (width as f32).sqrt();
    let mut mixed = Array2::zeros((tokens, hidden));
    let mut scores = Array2::zeros((tokens, tokens));
    for head in 0..heads {
        let part = |of: usize| -> ArrayView2<'_, f32> {
            let start = of * hidden + head * width;
            parts.slice(s![.., start..start + width])
        };
        general_mat_mul(1.0, &part(0), &part(1).t(), 0.0, &mut scores);
        for mut row in scores.rows_mut() {
            if let Some(row) = row.as_slice_mut() {
                softmax(row, scale);
            }
        }
        let mut out: ArrayViewMut2<'_, f32> = mixed.slice_mut(s![.., head * width..(head + 1) * width]);
        general_mat_mul(1.0, &scores, &part(2), 0.0, &mut out);
    }
    mixed
}

impl Bert {
    pub(super) fn read(shape: &Shape, weights: &mut Weights) -> Result<Self, ModelError> {
        let hidden = shape.hidden_size;
        let tokens = weights.matrix("embeddings.word_embeddings.weight", shape.vocab_size, hidden)?;
        let mut places =
            weights.matrix("embeddings.position_embeddings.weight", shape.max_position_embeddings, hidden)?;
        let segments = weights.matrix("embeddings.token_type_embeddings.weight", 2, hidden)?;
        places += &segments.row(0);
        let norm = Norm::read(weights, "embeddings.LayerNorm", shape)?;
        let layers = (0..shape.num_hidden_layers).map(|number| Layer::read(weights, number, shape));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Self { tokens, places, norm, layers, heads: shape.num_attention_heads })
    }

    pub(super) fn hidden(&self) -> usize {
        self.tokens.ncols()
    }

    /// The unit vector of the mean over all tokens. `ids` are below the number of pieces, and no more of
    /// them than there are places; the caller sees to both.
    pub(super) fn embed(&self, ids: &[u16]) -> Option<Vec<f32>> {
        let mut rows = Array2::zeros((ids.len(), self.hidden()));
        for ((mut row, id), place) in rows.rows_mut().into_iter().zip(ids).zip(self.places.rows()) {
            row.assign(&self.tokens.row(usize::from(*id)));
            row += &place;
        }
        self.norm.apply(&mut rows);
        for layer in &self.layers {
            rows = layer.apply(rows, self.heads);
        }
        let sum = rows.sum_axis(Axis(0));
        let length = sum.dot(&sum).sqrt();
        length.is_normal().then(|| sum.iter().map(|value| value / length).collect())
    }
}
