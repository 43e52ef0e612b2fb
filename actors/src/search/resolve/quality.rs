//! How often `resolve` finds the right library among a hundred thousand: the evaluation in
//! `tests/eval`, with a floor that a broken ranking does not reach. `resolve_eval` (an example) tells more.

use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader};

use serde::Deserialize;

use super::Catalogue;
use crate::catalogue::{entry, unpacked};
use crate::embedding::StaticTable;
use crate::search::known_entry;

/// Shares of asks whose right library comes first, and among the first three, that must be reached.
/// A few asks below what is reached. The weights were chosen with `dev` in view, not with `own`.
const FLOORS: [(&str, f64, f64); 2] = [("dev", 0.92, 0.96), ("own", 0.87, 0.94)];

#[derive(Deserialize)]
struct Question {
    #[serde(rename = "libraryName")]
    name: String,
    query: String,
    relevant: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

fn path(name: &str) -> String {
    format!("{}/../tests/eval/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What a node knows after `twinmcp admin library import` of the list.
fn catalogue() -> Catalogue {
    let packed = BufReader::new(File::open(path("resolve.catalogue.jsonl.xz")).unwrap());
    let lines = BufReader::new(unpacked(packed).unwrap()).lines();
    let entries = lines.map(|line| known_entry(entry(line.unwrap().as_bytes()).unwrap()));
    Catalogue::build(entries, StaticTable::builtin())
}

#[test]
fn the_right_library_is_found_among_a_hundred_thousand() {
    let catalogue = catalogue();
    assert_eq!(catalogue.len(), 100_000);
    for (set, first_floor, three_floor) in FLOORS {
        let text = read_to_string(path(&format!("resolve.{set}.jsonl"))).unwrap();
        let mut found: BTreeMap<String, [f64; 3]> = BTreeMap::new();
        for line in text.lines() {
            let question: Question = serde_json::from_str(line).unwrap();
            let matches = catalogue.resolve(&question.name, &question.query, 3);
            let rank =
                matches.iter().position(|found| question.relevant.iter().any(|id| id == found.id.as_str()));
            let counts = [1.0, f64::from(u8::from(rank == Some(0))), f64::from(u8::from(rank.is_some()))];
            for group in [" all", &question.kind] {
                let sums = found.entry(group.to_owned()).or_default();
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
        }
        for (group, [asks, first, three]) in &found {
            println!(
                "{set} {:<10} {asks:>4} asks: first {:.3}, of three {:.3}",
                group.trim(),
                first / asks,
                three / asks
            );
        }
        let [asks, first, three] = found[" all"];
        assert!(
            first / asks >= first_floor && three / asks >= three_floor,
            "{set}: {first} and {three} of {asks}"
        );
    }
}
