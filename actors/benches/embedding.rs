//! What embedding costs: a question, a snippet of about 230 tokens, and counting its tokens.
//!
//! The reach is 27,000 snippets per CPU-second (37 µs each) and 1-16 µs a question.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use twinmcp_actors::embedding::{Embedder, StaticTable};

const HEADING_PATH: [&str; 3] = ["tokio::sync", "mpsc", "Sender::send_timeout"];

/// Prose, identifiers and code as they come in documentation.
const SNIPPET: &str = "Sends a value, waiting until there is capacity, but only for a limited time.

Shares the same success and error conditions as `send`, adding one more condition for an unsuccessful send, which is
when the provided timeout has elapsed, and there is no capacity available.

In the following example, each call to `send_timeout` will block until the previously sent value was received, unless the timeout has elapsed.

use tokio::sync::mpsc;
use tokio::time::{sleep, Duration};

#[tokio::main]
async fn main() {
    let (tx, mut rx) = mpsc::channel(1);
    tokio::spawn(async move {
        for i in 0..10 {
            if let Err(e) = tx.send_timeout(i, Duration::from_millis(100)).await {
                println!(\"send error: #{:?}\", e);
                return;
            }
        }
    });
}
";

fn embedding(criterion: &mut Criterion) {
    let table = StaticTable::builtin();
    let path = HEADING_PATH.map(str::to_owned);
    let snippet = table.embed_snippet(&path, SNIPPET).map_or(0, |embedding| embedding.tokens);
    assert!((200..300).contains(&snippet), "{snippet} tokens");

    let mut group = criterion.benchmark_group("embedding");
    group.bench_function("query", |bencher| {
        bencher.iter(|| table.embed_query(black_box("how do I stop waiting for a channel after some time")));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("snippet", |bencher| {
        bencher.iter(|| table.embed_snippet(black_box(&path), black_box(SNIPPET)));
    });
    group.bench_function("tokens", |bencher| bencher.iter(|| table.count_tokens(black_box(SNIPPET))));
    group.finish();
}

criterion_group!(benches, embedding);
criterion_main!(benches);
