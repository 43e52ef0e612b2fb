//! A whole question of one library of 20,000 snippets, from its text to ranked passages.
//!
//! `cargo bench -p twinmcp-actors --bench query`; the reach is 300 µs. The library is made up, of
//! English words as common as they are in documentation; `examples/retrieval_eval` times real ones.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run stops")]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use twinmcp_actors::embedding::{Embedder as _, StaticTable};
use twinmcp_actors::search::passages;
use twinmcp_storage::bundle::{Block, Bundle, BundleDraft, BundleStore, Embedder, Page, Snippet};

const SNIPPETS: u32 = 20_000;
const SNIPPETS_PER_PAGE: u32 = 20;
const WORDS_PER_SNIPPET: usize = 160;

/// The commonest words first. What is not here gets a number, so that there are rare words too.
const WORDS: &str = "the a to of is in and for it be this if that as with an are value by on can or not will \
    from object function you method when type use string which class file returns name default has used \
    list set data example module same all only new any request query index table row column thread lock \
    event error server client key number code call argument time first option stream buffer read write";

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    /// Words by Zipf's law: the n-th is n times rarer than the first.
    fn text(&mut self, words: usize) -> String {
        let common: Vec<&str> = WORDS.split_whitespace().collect();
        let mut text = String::new();
        for _ in 0..words {
            let rank = 30_000_f32.powf(self.unit()) as usize - 1;
            match common.get(rank) {
                Some(word) => text.push_str(word),
                None => text.push_str(&format!("{}{rank}", common[rank % common.len()])),
            }
            text.push(' ');
        }
        text
    }
}

fn library(store: &BundleStore) -> Arc<Bundle> {
    let table = StaticTable::builtin();
    let embedder = Embedder { id: table.id().to_owned(), dimensions: table.dimensions() as u32 };
    let draft =
        BundleDraft { library: "/bench/query".to_owned(), version: "1".to_owned(), embedder: Some(embedder) };
    let mut builder = store.builder(draft).unwrap();
    let mut numbers = Numbers(1);
    for at in 0..SNIPPETS {
        if at % SNIPPETS_PER_PAGE == 0 {
            let path = format!("page-{at}.html");
            builder.add_page(Page { url: String::new(), title: path.clone(), path }).unwrap();
        }
        let heading_path = vec![numbers.text(2), numbers.text(3)];
        let text = numbers.text(WORDS_PER_SNIPPET);
        let embedding = table.embed_snippet(&heading_path, &text).unwrap();
        let snippet = Snippet {
            page: at / SNIPPETS_PER_PAGE,
            anchors: vec![format!("section-{at}")],
            heading_path,
            blocks: vec![Block::Prose(text)],
            tokens: embedding.tokens as u32,
            link_percent: 0,
        };
        builder.add_snippet(&snippet, Some(&embedding.vector)).unwrap();
    }
    store.open(builder.finish().unwrap().hash).unwrap()
}

fn query(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = BundleStore::open_dir(dir.path(), NonZeroUsize::MIN).unwrap();
    let bundle = library(&store);
    let mut group = criterion.benchmark_group("question of 20,000 snippets");
    let mut numbers = Numbers(2);
    for words in [3, 9, 24] {
        let questions: Vec<String> = (0..64).map(|_| numbers.text(words)).collect();
        let mut next = questions.iter().cycle();
        group.bench_function(format!("{words} words"), |bencher| {
            bencher.iter_batched(
                || next.next().unwrap(),
                |question| {
                    passages::ranked(&bundle, StaticTable::builtin(), None, black_box(question), |_| ())
                        .unwrap()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, query);
criterion_main!(benches);
