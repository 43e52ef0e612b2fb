//! The rules a run is scored by: page and anchor of an answer against those that a judge named.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

/// One question with the places that answer it.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    pub(crate) qid: String,
    pub(crate) lib: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) query: String,
    /// Facets of the answer; the targets inside one are equally good.
    pub(crate) relevant: Vec<Vec<Target>>,
}

/// A place in the documentation.
#[derive(Debug, Deserialize, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) page: String,
    pub(crate) anchor: String,
}

/// What was returned for one question, best first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) qid: String,
    pub(crate) results: Vec<Answer>,
}

/// One returned snippet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) page: String,
    /// Anchors whose sections it covers: 30 % of one, or most of the snippet, or 600 bytes.
    pub(crate) anchors: Vec<String>,
    /// Characters it sends to the caller.
    pub(crate) chars: usize,
}

/// Names of the figures, in the order of [`Figures`].
pub(crate) const NAMES: [&str; 6] = ["nDCG@10", "recall@10", "MRR@10", "succ@1", "succ@10", "succ@2k tok"];
/// One value a name.
pub(crate) type Figures = [f64; 6];

/// Characters of the first answers that count as two thousand tokens.
const BUDGET: usize = 8000;

/// The figures of one question.
pub(crate) fn score(question: &Question, run: &Run) -> Figures {
    let facets = &question.relevant;
    let mut found: HashSet<usize> = HashSet::new();
    let (mut gain, mut reciprocal, mut first, mut in_budget, mut characters) = (0.0, 0.0, 0.0, 0.0, 0);
    for (rank, answer) in run.results.iter().take(50).enumerate() {
        let covers = |target: &Target| target.page == answer.page && answer.anchors.contains(&target.anchor);
        let hits: HashSet<usize> = facets
            .iter()
            .enumerate()
            .filter(|(_, facet)| facet.iter().any(covers))
            .map(|(index, _)| index)
            .collect();
        characters += answer.chars;
        if !hits.is_empty() {
            if rank == 0 {
                first = 1.0;
            }
            if rank < 10 && reciprocal == 0.0 {
                reciprocal = 1.0 / (rank + 1) as f64;
            }
            if characters <= BUDGET {
                in_budget = 1.0;
            }
        }
        if rank < 10 {
            if hits.difference(&found).next().is_some() {
                gain += 1.0 / ((rank + 2) as f64).log2();
            }
            found.extend(hits);
        }
    }
    let ideal: f64 = (0..facets.len().min(10)).map(|rank| 1.0 / ((rank + 2) as f64).log2()).sum();
    let recall = found.len() as f64 / facets.len().max(1) as f64;
    [gain / ideal, recall, reciprocal, first, if reciprocal > 0.0 { 1.0 } else { 0.0 }, in_budget]
}

/// Means over all questions, over those of each library and of each kind.
pub(crate) fn means(scored: &[(&Question, Run, Figures)]) -> Vec<(String, usize, Figures)> {
    let mut groups: BTreeMap<String, Vec<Figures>> = BTreeMap::new();
    for (question, _, figures) in scored {
        for group in ["ALL".to_owned(), format!("lib {}", question.lib), format!("type {}", question.kind)] {
            groups.entry(group).or_default().push(*figures);
        }
    }
    let mean =
        |all: &[Figures], column: usize| all.iter().map(|one| one[column]).sum::<f64>() / all.len() as f64;
    groups
        .into_iter()
        .map(|(name, all)| (name, all.len(), std::array::from_fn(|column| mean(&all, column))))
        .collect()
}
