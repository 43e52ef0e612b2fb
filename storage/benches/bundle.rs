//! A bundle of 20,000 snippets of about 1 KB, made up: opened, asked by words, asked by vectors.
//!
//! `cargo bench -p twinmcp-storage --bench bundle`; compare figures of one run with each other.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run stops")]

use std::hint::black_box;
use std::num::NonZeroUsize;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use twinmcp_storage::bundle::{
    Block, Bundle, BundleDraft, BundleStore, Embedder, Page, RowsBuilder, Snippet, SnippetIndex, VectorGraph,
};

const SNIPPETS: u32 = 20_000;
const DIMENSIONS: usize = 128;
const WORDS_PER_SNIPPET: usize = 160;
const VOCABULARY: u64 = 30_000;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn unit(&mut self) -> f32 {
        self.next() as f32 / (1_u64 << 31) as f32
    }

    /// A word, common ones far more often than rare ones, as in prose.
    fn word(&mut self) -> String {
        let rank = (VOCABULARY as f32).powf(self.unit()) as u64;
        let letters = b"etaoinshrdlu";
        let mut word = String::new();
        let mut rest = rank.wrapping_mul(2_654_435_761) % 1_000_003 + 12;
        while rest > 0 {
            word.push(char::from(letters[(rest % 12) as usize]));
            rest /= 12;
        }
        if rank.is_multiple_of(9) { format!("{word}_{rank}") } else { word }
    }

    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.unit() - 0.5).collect()
    }
}

fn snippet(numbers: &mut Numbers, at: u32) -> Snippet {
    Snippet {
        page: at / 20,
        anchors: vec![format!("section-{at}")],
        heading_path: vec![numbers.text(2), numbers.text(3)],
        blocks: vec![Block::Prose(numbers.text(WORDS_PER_SNIPPET))],
        tokens: 230,
        link_percent: 0,
    }
}

fn build(store: &BundleStore, snippets: u32) -> Bundle {
    let embedder = Some(Embedder { id: "made up".to_owned(), dimensions: DIMENSIONS as u32 });
    let draft = BundleDraft { library: "/bench/bundle".to_owned(), version: "1".to_owned(), embedder };
    let mut builder = store.builder(draft).unwrap();
    let mut numbers = Numbers(1);
    for at in 0..snippets {
        if at % 20 == 0 {
            let path = format!("page-{at}.html");
            builder
                .add_page(Page { url: format!("https://docs.example/{path}"), title: path.clone(), path })
                .unwrap();
        }
        let snippet = snippet(&mut numbers, at);
        builder.add_snippet(&snippet, Some(&numbers.vector())).unwrap();
    }
    Bundle::open(&store.path(builder.finish().unwrap().hash)).unwrap()
}

fn bundle(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = BundleStore::open_dir(dir.path(), NonZeroUsize::MIN).unwrap();
    let mut group = criterion.benchmark_group("bundle");
    group.sample_size(10);
    group.bench_function("build 2,000 snippets", |bencher| bencher.iter(|| build(&store, 2_000)));
    let bundle = build(&store, SNIPPETS);
    group.bench_function("open", |bencher| bencher.iter(|| Bundle::open(bundle.path()).unwrap()));
    group.sample_size(100);
    let mut numbers = Numbers(2);
    for words in [3, 10, 48] {
        let queries: Vec<String> = (0..64).map(|_| numbers.text(words)).collect();
        let mut next = queries.iter().cycle();
        group.bench_function(format!("words, {words} in the query"), |bencher| {
            bencher.iter_batched(
                || next.next().unwrap(),
                |query| bundle.words(black_box(query), 100).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    let vector = numbers.vector();
    group.bench_function("nearest", |bencher| {
        bencher.iter(|| bundle.nearest(black_box(&vector), 100).unwrap())
    });
    let candidates: Vec<SnippetIndex> = (0..100).map(|at| SnippetIndex(at * 199)).collect();
    group.bench_function("cosines of 100", |bencher| {
        bencher.iter(|| bundle.cosines(black_box(&vector), &candidates).unwrap());
    });
    group.bench_function("facts of 100", |bencher| {
        bencher.iter(|| candidates.iter().map(|at| bundle.facts(*at).unwrap().tokens).sum::<u32>());
    });
    group
        .bench_function("one snippet", |bencher| bencher.iter(|| bundle.snippet(SnippetIndex(777)).unwrap()));
    group.finish();
}

fn graph(criterion: &mut Criterion) {
    let mut numbers = Numbers(3);
    let mut rows = RowsBuilder::new(DIMENSIONS).unwrap();
    (0..2_000).for_each(|_| rows.push(Some(&numbers.vector())).unwrap());
    let rows = rows.finish();
    let query = numbers.vector();
    let mut group = criterion.benchmark_group("graph of 2,000 rows");
    group.sample_size(10);
    group.bench_function("build", |bencher| {
        bencher.iter(|| VectorGraph::build(&rows, 1, NonZeroUsize::MIN).unwrap());
    });
    let graph = VectorGraph::build(&rows, 1, NonZeroUsize::MIN).unwrap();
    group.bench_function("search", |bencher| bencher.iter(|| graph.search(black_box(&query), 10).unwrap()));
    group.finish();
}

criterion_group!(benches, bundle, graph);
criterion_main!(benches);
