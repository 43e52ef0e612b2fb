//! A tiny BERT with weights from a counter, written as a model folder: for tests of everything around the
//! forward pass, and for its numbers (`model/train/reference.py` makes the same one).
//!
//! Included by path in the tests of whole nodes as well, so it names nothing but the standard library.

use std::fs;
use std::path::Path;

const HIDDEN: usize = 32;
const LAYERS: usize = 2;
const WIDE: usize = 64;
const PLACES: usize = 64;
const PIECES: &str = "[PAD] [UNK] [CLS] [SEP] the a of and to in is it for with how do i polish widget store box dry \
                      cloth soft shine rim water steam magnet calibrate year use never brush let rest ##s ##ing ##ed . \
                      , ? ; : ( ) # - ` = ! / _ 1 2";

/// Numbers between -1 and 1, always the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Names and shapes of all tensors, in the order of the file.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let pieces = PIECES.split_whitespace().count();
    let mut all = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![pieces, HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![PLACES, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![HIDDEN]),
        ("embeddings.LayerNorm.bias".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (part, outputs, inputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("attention.output.LayerNorm", HIDDEN, 0),
            ("intermediate.dense", WIDE, HIDDEN),
            ("output.dense", HIDDEN, WIDE),
            ("output.LayerNorm", HIDDEN, 0),
        ] {
            let weight = if inputs == 0 { vec![outputs] } else { vec![outputs, inputs] };
            all.push((format!("encoder.layer.{layer}.{part}.weight"), weight));
            all.push((format!("encoder.layer.{layer}.{part}.bias"), vec![outputs]));
        }
    }
    all
}

/// Writes the model into `folder`, which is made. Models of different `seed`s differ.
pub(crate) fn write(folder: &Path, seed: u64) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut numbers = Numbers(seed);
    let (mut header, mut data) = (Vec::new(), Vec::<u8>::new());
    for (name, shape) in tensors() {
        let start = data.len();
        let gain = name.ends_with("LayerNorm.weight");
        for _ in 0..shape.iter().product::<usize>() {
            let number = if gain { 1.0 + 0.1 * numbers.next() } else { 0.3 * numbers.next() };
            data.extend(number.to_le_bytes());
        }
        let offsets = [start, data.len()];
        header.push(format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":{offsets:?}}}"#));
    }
    let header = format!("{{{}}}", header.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(folder.join("model.safetensors"), file)?;
    let projection: Vec<u8> = (0..HIDDEN * 256).flat_map(|_| numbers.next().to_le_bytes()).collect();
    fs::write(folder.join("projection.f32"), projection)?;
    let pieces: Vec<&str> = PIECES.split_whitespace().collect();
    fs::write(folder.join("vocab.txt"), pieces.join("\n") + "\n")?;
    let config = format!(
        r#"{{"model_type":"bert","hidden_act":"gelu","hidden_size":{HIDDEN},"intermediate_size":{WIDE},
            "num_attention_heads":4,"num_hidden_layers":{LAYERS},"max_position_embeddings":{PLACES},
            "vocab_size":{},"layer_norm_eps":1e-12}}"#,
        pieces.len()
    );
    fs::write(folder.join("config.json"), config)
}
