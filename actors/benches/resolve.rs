//! What `resolve` costs among 100,000 libraries, and what making and changing the catalogue does.
//!
//! The libraries are made up: names of one to three words, descriptions of four to sixteen, all drawn
//! so that some words are common and most are rare, as in real registries.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use twinmcp_actors::embedding::StaticTable;
use twinmcp_actors::search::resolve::{Catalogue, Entry};

const LIBRARIES: usize = 100_000;
const SYLLABLES: [&str; 20] = [
    "ra", "be", "ti", "lo", "mu", "sec", "net", "par", "dis", "con", "tron", "ly", "fast", "micro", "data",
    "ser", "form", "view", "log", "gen",
];

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// Small numbers are common, great ones rare.
    fn skewed(&mut self, end: usize) -> usize {
        let unit = self.below(1 << 20) as f64 / f64::from(1 << 20);
        ((unit * unit * unit) * end as f64) as usize
    }

    fn word(&mut self) -> String {
        let mut number = self.skewed(8_000) + 20;
        let mut word = String::new();
        while number > 0 {
            word.push_str(SYLLABLES[number % SYLLABLES.len()]);
            number /= SYLLABLES.len();
        }
        word
    }

    fn words(&mut self, least: usize, most: usize, between: &str) -> String {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(between)
    }

    fn entry(&mut self, at: usize) -> Entry {
        let ecosystem = ["npm", "npm", "pypi", "crates", "docs"][self.below(5)];
        let name = self.words(1, 3, "-");
        let id = format!("/{ecosystem}/{name}-{at}");
        Entry {
            id: id.parse().expect("letters, digits and hyphens"),
            title: name,
            description: self.words(4, 16, " "),
            aliases: Vec::new(),
            ecosystem: ecosystem.to_owned(),
            popularity: Some(15 + self.skewed(84) as u8),
            trust_tenths: None,
            snippets: 0,
        }
    }
}

fn entries(count: usize) -> Vec<Entry> {
    let mut numbers = Numbers(1);
    (0..count).map(|at| numbers.entry(at)).collect()
}

fn resolve(criterion: &mut Criterion) {
    let all = entries(LIBRARIES);
    let known = all[LIBRARIES / 2].clone();
    let mut slip = known.title.clone().into_bytes();
    slip.swap(1, 2);
    let slip = String::from_utf8(slip).expect("ASCII");
    let catalogue = Catalogue::build(all, StaticTable::builtin());
    let common = (0..60).map(|at| format!("{} ", SYLLABLES[at % SYLLABLES.len()])).collect::<String>();

    let mut group = criterion.benchmark_group("resolve among 100,000");
    for (case, name, query) in [
        ("exact name", known.title.as_str(), ""),
        ("slip", slip.as_str(), "in python"),
        ("described", known.description.as_str(), "how to do it in rust"),
        ("unknown", "zzyzx quux", "nothing at all"),
        ("500 bytes of common words", common.as_str(), common.as_str()),
    ] {
        group.bench_function(case, |bencher| {
            bencher.iter(|| catalogue.resolve(black_box(name), black_box(query), 10));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("catalogue");
    group.sample_size(10);
    group.bench_function("100 changes to 100,000", |bencher| {
        bencher.iter_batched(
            || entries(100),
            |changed| catalogue.with_changes(changed, &[]),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("build of 100,000", |bencher| {
        bencher.iter_batched(
            || entries(LIBRARIES),
            |all| Catalogue::build(all, StaticTable::builtin()),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, resolve);
criterion_main!(benches);
