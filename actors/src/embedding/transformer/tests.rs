use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;
use crate::embedding::{DocumentEmbedder, DocumentText, Embedder, StaticTable, Upgraded, space};

/// Names the folder of all-MiniLM-L6-v2; the tests of the real model run when it is there.
const MODEL: &str = "TWINMCP_TEST_MODEL";

#[derive(Deserialize)]
struct References {
    real: Vec<Reference>,
    tiny: Vec<Reference>,
}

/// The first numbers of a text's vector, by another implementation (`model/train/reference.py`).
#[derive(Deserialize)]
struct Reference {
    text: String,
    first: Vec<f32>,
}

fn references() -> References {
    serde_json::from_str(include_str!("../fixtures/transformer.json")).unwrap()
}

fn tiny_model() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny");
    tiny::write(&path, 7).unwrap();
    (folder, path)
}

fn assert_agrees(model: &Transformer, references: &[Reference]) {
    assert!(references.len() >= 3);
    for Reference { text, first } in references {
        let vector = model.embed(text).unwrap();
        assert_eq!(vector.len(), model.dimensions());
        for (got, expected) in vector.iter().zip(first) {
            assert!((got - expected).abs() < 2e-5, "{text}: {got} for {expected}");
        }
    }
}

#[test]
fn the_tiny_model_gives_the_reference_vectors() {
    let (_folder, path) = tiny_model();
    assert_agrees(&Transformer::load(&path).unwrap(), &references().tiny);
}

#[test]
fn the_real_model_gives_the_reference_vectors() {
    let Some(folder) = std::env::var_os(MODEL) else { return };
    let folder = Path::new(&folder);
    assert_agrees(&Transformer::load(folder).unwrap(), &references().real);
    let upgraded = Upgraded::load(folder).unwrap();
    let document = |heading: &str, text: &str| DocumentText {
        heading_path: vec![heading.to_owned()],
        text: text.to_owned(),
    };
    let vectors = upgraded
        .embed(&[
            document("Timeouts", "Requires a future to complete before the duration has elapsed."),
            document("Channels", "Creates a bounded queue between tasks with backpressure."),
        ])
        .unwrap();
    let query = StaticTable::builtin().embed_query("how do I stop waiting after some time").unwrap();
    let cosine = |vector: &Option<Vec<f32>>| -> f32 {
        vector.as_ref().unwrap().iter().zip(&query).map(|(one, other)| one * other).sum()
    };
    assert!(
        cosine(&vectors[0]) > cosine(&vectors[1]) + 0.1,
        "{} {}",
        cosine(&vectors[0]),
        cosine(&vectors[1])
    );
}

#[test]
fn an_upgraded_vector_lies_in_the_space_of_the_table_and_has_unit_length() {
    let (_folder, path) = tiny_model();
    let (upgraded, table) = (Upgraded::load(&path).unwrap(), StaticTable::builtin());
    assert_eq!(space(upgraded.id()), table.id());
    assert_ne!(upgraded.id(), table.id());
    assert_eq!(upgraded.dimensions(), table.dimensions());
    let document = DocumentText {
        heading_path: vec!["Polishing".into()],
        text: "Polish the widget with a cloth.".into(),
    };
    let empty = DocumentText { heading_path: Vec::new(), text: " \n".into() };
    let vectors = upgraded.embed(&[document.clone(), empty, document.clone()]).unwrap();
    assert_eq!((vectors.len(), &vectors[1]), (3, &None));
    assert_eq!(vectors[0], vectors[2], "the same text has the same vector");
    let vector = vectors[0].as_ref().unwrap();
    let dot = |other: &[f32]| vector.iter().zip(other).map(|(one, other)| one * other).sum::<f32>();
    assert!((dot(vector) - 1.0).abs() < 1e-5);
    // Both parts count: near to the static vector, and not the same.
    let cosine = dot(&table.embed_snippet(&document.heading_path, &document.text).unwrap().vector);
    assert!(cosine > 0.2 && cosine < 0.99, "{cosine}");
}

#[test]
fn an_id_stands_for_the_weights() {
    let (folder, path) = tiny_model();
    let other = folder.path().join("other");
    tiny::write(&other, 8).unwrap();
    assert_ne!(Upgraded::load(&path).unwrap().id(), Upgraded::load(&other).unwrap().id());
}

#[test]
fn a_long_text_is_cut_and_an_empty_one_has_no_vector() {
    let (_folder, path) = tiny_model();
    let model = Transformer::load(&path).unwrap();
    assert_eq!(model.embed(""), None);
    assert_eq!(model.embed(&"polish ".repeat(62)), model.embed(&"polish ".repeat(10_000)));
    assert_ne!(model.embed(&"polish ".repeat(61)), model.embed(&"polish ".repeat(10_000)));
}

#[test]
fn what_is_wrong_with_a_model_is_told_by_file() {
    let break_one = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let (_folder, path) = tiny_model();
        let file = path.join(file);
        let bytes = change(fs::read(&file).unwrap());
        if bytes.is_empty() {
            fs::remove_file(&file).unwrap()
        } else {
            fs::write(&file, bytes).unwrap()
        }
        Upgraded::load(&path).err().expect("a broken model is refused").to_string()
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
        }
    };
    let cut = |keep: usize| move |bytes: Vec<u8>| bytes[..keep].to_vec();
    let not_a_number = |mut bytes: Vec<u8>| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    };
    for (what, error, expected) in [
        ("no weights", break_one("model.safetensors", &cut(0)), "failed to read"),
        ("half the weights", break_one("model.safetensors", &cut(20_000)), "failed to read"),
        ("no header", break_one("model.safetensors", &cut(30)), "is not a safetensors file"),
        ("another file", break_one("model.safetensors", &|_| vec![255; 100]), "is not a safetensors file"),
        ("NaN", break_one("model.safetensors", &not_a_number), "not finite"),
        (
            "a tensor of another name",
            break_one(
                "model.safetensors",
                &replace("layer.1.output.dense.bias", "layer.1.output.dense.vias"),
            ),
            "tensor `encoder.layer.1.output.dense.bias` is missing",
        ),
        ("another type", break_one("model.safetensors", &replace("\"F32\"", "\"I32\"")), "type I32"),
        (
            "more layers",
            break_one("config.json", &replace("hidden_layers\":2", "hidden_layers\":3")),
            "missing",
        ),
        (
            "another shape",
            break_one("config.json", &replace("\"intermediate_size\":64", "\"intermediate_size\":65")),
            "shape",
        ),
        ("heads", break_one("config.json", &replace("heads\":4", "heads\":5")), "multiple of the heads"),
        ("another activation", break_one("config.json", &replace("gelu", "relu")), "no BERT with `gelu`"),
        ("no JSON", break_one("config.json", &|_| b"weights".to_vec()), "does not describe a BERT"),
        ("a piece too few", break_one("vocab.txt", &replace("[PAD]\n", "")), "does not hold"),
        ("no [SEP]", break_one("vocab.txt", &replace("[SEP]", "[END]")), "no piece `[SEP]`"),
        ("a short projection", break_one("projection.f32", &cut(100)), "must have 32 rows"),
        ("no projection", break_one("projection.f32", &cut(0)), "only all-MiniLM-L6-v2"),
    ] {
        assert!(error.contains(expected), "{what}: {error}");
    }
}
