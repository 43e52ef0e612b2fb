//! Bundles as a whole: what goes in comes out, and what is damaged is noticed.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

mod any;
mod damage;
mod revise;

fn draft(dimensions: Option<u32>) -> BundleDraft {
    BundleDraft {
        library: "/python/cpython".to_owned(),
        version: "3.12.1".to_owned(),
        embedder: dimensions.map(|dimensions| Embedder { id: "static-1".to_owned(), dimensions }),
    }
}

fn page(path: &str) -> Page {
    Page {
        path: path.to_owned(),
        url: format!("https://docs.example/{path}"),
        title: format!("About {path}"),
    }
}

fn snippet(page: u32, heading: &str, prose: &str, code: Option<&str>) -> Snippet {
    let mut blocks = vec![Block::Prose(prose.to_owned())];
    blocks.extend(code.map(|code| Block::Code { language: "python".to_owned(), code: code.to_owned() }));
    Snippet {
        page,
        anchors: vec![heading.to_lowercase().replace(' ', "-")],
        heading_path: vec!["Library".to_owned(), heading.to_owned()],
        blocks,
        tokens: prose.len() as u32 / 4,
        link_percent: 3,
    }
}

/// Pages, and snippets with their vectors.
type Sample = (Vec<Page>, Vec<(Snippet, Option<Vec<f32>>)>);

/// Four snippets on two pages; the third has no vector.
fn sample() -> Sample {
    let snippets = vec![
        (
            snippet(0, "Dump", "Serialize an object to a stream.", Some("json.dump(obj, fp)")),
            Some(vec![1.0, 0.0, 0.0]),
        ),
        (
            snippet(0, "Load", "Read an object back from a stream.", Some("json.load(fp)")),
            Some(vec![0.9, 0.1, 0.0]),
        ),
        (snippet(1, "Reader", "Iterates over rows of a file.", None), None),
        (snippet(1, "Reader", "A second part of the same section.", None), Some(vec![0.0, 0.0, 1.0])),
    ];
    (vec![page("library/json.html"), page("library/csv.html")], snippets)
}

fn build(dir: &Path, draft: BundleDraft, (pages, snippets): &Sample, graph_min: usize) -> BuiltBundle {
    let mut builder = BundleBuilder::new(dir, draft).unwrap().graph_from(graph_min);
    for (at, page) in pages.iter().enumerate() {
        assert_eq!(builder.add_page(page.clone()).unwrap(), at as u32);
    }
    for (at, (snippet, vector)) in snippets.iter().enumerate() {
        assert_eq!(builder.add_snippet(snippet, vector.as_deref()).unwrap(), SnippetIndex(at as u32));
    }
    builder.finish().unwrap()
}

fn path_of(dir: &Path, built: &BuiltBundle) -> PathBuf {
    let name = built.hash.to_string();
    dir.join(&name[..2]).join(format!("{name}.bundle"))
}

fn indexes(scored: Scored) -> Vec<u32> {
    scored.into_iter().map(|(SnippetIndex(index), _)| index).collect()
}

#[test]
fn what_went_in_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut sample = sample();
    sample.1[0].0.anchors.push("another".to_owned());
    sample.1[1].0.anchors.clear();
    let built = build(dir.path(), draft(Some(3)), &sample, GRAPH_MIN);
    let path = path_of(dir.path(), &built);
    assert_eq!(BundleHash::of(&fs::read(&path).unwrap()), built.hash);
    let bundle = Bundle::open(&path).unwrap();
    let meta = bundle.meta();
    assert_eq!((meta.library.as_str(), meta.version.as_str()), ("/python/cpython", "3.12.1"));
    assert_eq!((meta.pages, meta.snippets, meta.vectors), (2, 4, 3));
    assert_eq!((built.pages, built.snippets, built.tokens), (2, 4, meta.tokens));
    assert_eq!(meta.tokens, sample.1.iter().map(|(snippet, _)| u64::from(snippet.tokens)).sum::<u64>());
    assert_eq!(meta.embedder, draft(Some(3)).embedder);
    for (at, page) in sample.0.iter().enumerate() {
        assert_eq!(bundle.page(at as u32).unwrap(), *page);
    }
    for (at, (snippet, _)) in sample.1.iter().enumerate() {
        let index = SnippetIndex(at as u32);
        let facts = bundle.facts(index).unwrap();
        assert_eq!(bundle.snippet(index).unwrap(), *snippet);
        assert_eq!(bundle.find_id(facts.id), Some(index));
        assert_eq!((facts.page, facts.tokens), (snippet.page, snippet.tokens));
        let first = snippet.anchors.first().map(String::as_str);
        assert_eq!(bundle.section(index).unwrap(), (snippet.page, first));
        assert_eq!((facts.link_percent, facts.has_code), (3, snippet.has_code()));
        assert_eq!((bundle.id(index).unwrap(), bundle.simhash(index).unwrap()), (facts.id, facts.simhash));
    }
    assert!(matches!(
        bundle.snippet(SnippetIndex(4)),
        Err(BundleError::NoSuchRecord { index: 4, count: 4, .. })
    ));
    assert!(matches!(bundle.page(2), Err(BundleError::NoSuchRecord { what: "page", .. })));
    let sizes = bundle.sizes();
    assert_eq!(sizes.file, built.bytes);
    assert!(sizes.text + sizes.words + sizes.vectors < sizes.file && sizes.graph == 0);
}

#[test]
fn words_find_prose_code_and_headings_and_vectors_find_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(dir.path(), draft(Some(3)), &sample(), GRAPH_MIN);
    let bundle = Bundle::open(&path_of(dir.path(), &built)).unwrap();
    assert_eq!(indexes(bundle.words("how to serialize objects", 10).unwrap()), [0, 1]);
    assert_eq!(indexes(bundle.words("json.load", 1).unwrap()), [1]);
    assert_eq!(indexes(bundle.words("READER", 10).unwrap()), [2, 3]);
    assert_eq!(indexes(bundle.nearest(&[1.0, 0.0, 0.0], 2).unwrap()), [0, 1]);
    assert_eq!(indexes(bundle.nearest(&[1.0, 0.0, 0.0], 10).unwrap()), [0, 1, 3]);
    assert_eq!(bundle.cosines(&[0.0, 0.0, 2.0], &[SnippetIndex(3), SnippetIndex(2)]).unwrap(), [1.0, 0.0]);
    assert_eq!(bundle.vector(SnippetIndex(2)), None);
    let wrong = bundle.nearest(&[1.0], 1);
    assert!(matches!(wrong, Err(BundleError::Dimensions { expected: 3, found: 1 })));
}

#[test]
fn equal_drafts_give_equal_bundles() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for graph_min in [1, GRAPH_MIN] {
        let first = build(one.path(), draft(Some(3)), &sample(), graph_min);
        let second = build(other.path(), draft(Some(3)), &sample(), graph_min);
        assert_eq!(first, second);
    }
    let mut changed = sample();
    changed.1[0].0.tokens += 1;
    let first = build(one.path(), draft(Some(3)), &sample(), GRAPH_MIN);
    assert_ne!(build(one.path(), draft(Some(3)), &changed, GRAPH_MIN).hash, first.hash);
}

#[test]
fn an_id_survives_a_rebuild_in_which_other_snippets_change() {
    let dir = tempfile::tempdir().unwrap();
    let before = build(dir.path(), draft(Some(3)), &sample(), GRAPH_MIN);
    let mut changed = sample();
    changed.1.insert(0, (snippet(0, "New", "Something new.", None), None));
    changed.1[1].0.blocks.push(Block::Prose("More.".to_owned()));
    let after = build(dir.path(), draft(Some(3)), &changed, GRAPH_MIN);
    let (before, after) = (
        Bundle::open(&path_of(dir.path(), &before)).unwrap(),
        Bundle::open(&path_of(dir.path(), &after)).unwrap(),
    );
    for at in 0..4 {
        let id = before.id(SnippetIndex(at)).unwrap();
        assert_eq!(after.find_id(id), Some(SnippetIndex(at + 1)), "{at}");
    }
}

#[test]
fn a_bundle_may_be_empty_or_have_no_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let (pages, mut snippets) = sample();
    for (embedder, pages, snippets) in [
        (None, vec![], vec![]),
        (Some(3), pages.clone(), vec![]),
        (None, pages.clone(), snippets.iter().map(|(one, _)| (one.clone(), None)).collect()),
        (Some(3), pages, snippets.drain(..).map(|(one, _)| (one, None)).collect()),
    ] {
        let sample = (pages, snippets);
        let built = build(dir.path(), draft(embedder), &sample, 1);
        let bundle = Bundle::open(&path_of(dir.path(), &built)).unwrap();
        assert_eq!(bundle.meta().vectors, 0);
        assert_eq!(bundle.words("reader", 10).unwrap().len(), sample.1.len() / 2);
        assert_eq!(bundle.nearest(&[1.0, 0.0, 0.0], 10).unwrap(), []);
        assert_eq!(bundle.cosines(&[1.0], &[SnippetIndex(0)]).unwrap(), [0.0]);
        assert_eq!(bundle.find_id(SnippetId(1)), None);
        assert!(bundle.snippet(SnippetIndex(sample.1.len() as u32)).is_err());
    }
}

#[test]
fn a_graph_finds_what_the_scan_finds() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = vectors::tests::clustered(300, 16, 21);
    let snippets =
        vectors.iter().map(|vector| (snippet(0, "Same", "Same text.", None), Some(vector.clone())));
    let sample = (vec![page("a")], snippets.collect());
    let [graph, scan] = [1, GRAPH_MIN].map(|graph_min| {
        let built = build(dir.path(), draft(Some(16)), &sample, graph_min);
        Bundle::open(&path_of(dir.path(), &built)).unwrap()
    });
    assert!(graph.sizes().graph > 0 && scan.sizes().graph == 0);
    for query in vectors::tests::clustered(20, 16, 22) {
        for limit in [3, 200] {
            assert_eq!(graph.nearest(&query, limit).unwrap(), scan.nearest(&query, limit).unwrap());
        }
    }
}

/// Written by the first release of format 1. When this fails, nodes cannot read what they have: bump
/// the format and keep reading this one, or find out which dependency changed its bytes.
#[test]
fn a_bundle_of_format_one_can_still_be_read_and_searched() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle/fixtures/format-1.bundle");
    let bundle = Bundle::open(&path).unwrap();
    let (pages, snippets) = sample();
    assert_eq!(bundle.page(1).unwrap(), pages[1]);
    for (at, (snippet, _)) in snippets.iter().enumerate() {
        assert_eq!(bundle.snippet(SnippetIndex(at as u32)).unwrap(), *snippet);
    }
    assert_eq!(indexes(bundle.words("json.load streams", 10).unwrap()), [1, 0]);
    assert_eq!(indexes(bundle.nearest(&[0.0, 0.0, 1.0], 1).unwrap()), [3]);
    assert!(bundle.sizes().graph > 0);
    // A build of today has the same ids and simhashes, since these are kept elsewhere and compared.
    let dir = tempfile::tempdir().unwrap();
    let today = build(dir.path(), draft(Some(3)), &sample(), 1);
    let today = Bundle::open(&path_of(dir.path(), &today)).unwrap();
    for at in (0..4).map(SnippetIndex) {
        assert_eq!(today.facts(at).unwrap(), bundle.facts(at).unwrap());
    }
    assert_eq!(bundle.labelled(), 0, "bundles of before have no labels");
}

#[test]
fn labels_stay_with_their_snippet_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut builder = BundleBuilder::new(dir.path(), draft(None)).unwrap();
    builder.add_page(page("a")).unwrap();
    let labels: Labels = [Label::RoleMarker, Label::EncodedText].into_iter().collect();
    builder.add_snippet(&snippet(0, "A", "plain", None), None).unwrap();
    builder.add_labelled(&snippet(0, "B", "odd", None), None, labels).unwrap();
    let bundle = Bundle::open(&path_of(dir.path(), &builder.finish().unwrap())).unwrap();
    assert_eq!(bundle.facts(SnippetIndex(0)).unwrap().labels, Labels::NONE);
    assert_eq!(bundle.facts(SnippetIndex(1)).unwrap().labels, labels);
    assert_eq!(bundle.labelled(), 1);
    assert_eq!(bundle.label_counts(), [(Label::RoleMarker, 1), (Label::EncodedText, 1)]);
}

#[test]
fn the_builder_refuses_what_a_bundle_cannot_hold() {
    let dir = tempfile::tempdir().unwrap();
    let long = BundleDraft { version: "x".repeat(NAME_BYTES_MAX + 1), ..draft(None) };
    assert!(matches!(BundleBuilder::new(dir.path(), long), Err(BundleError::Limit { .. })));
    assert!(BundleBuilder::new(dir.path(), draft(Some(0))).is_err());
    let mut builder = BundleBuilder::new(dir.path(), draft(Some(3))).unwrap();
    let one = snippet(0, "A", "text", None);
    let refused = builder.add_snippet(&one, None);
    assert!(matches!(refused, Err(BundleError::NoSuchPage { page: 0, pages: 0 })));
    let large = Page { title: "x".repeat(PAGE_BYTES_MAX), ..page("a") };
    assert!(matches!(builder.add_page(large), Err(BundleError::Limit { .. })));
    builder.add_page(page("a")).unwrap();
    let large = snippet(0, "A", &"x".repeat(SNIPPET_BYTES_MAX), None);
    let refused = builder.add_snippet(&large, None).unwrap_err();
    assert!(matches!(refused, BundleError::Limit { limit: 1_048_576, .. }), "{refused}");
    assert!(refused.to_string().ends_with("exceeds the limit of 1048576"), "{refused}");
    for bad in [&[1.0][..], &[f32::NAN, 0.0, 0.0]] {
        assert!(builder.add_snippet(&one, Some(bad)).is_err());
    }
    let mut words_only = BundleBuilder::new(dir.path(), draft(None)).unwrap();
    words_only.add_page(page("a")).unwrap();
    let refused = words_only.add_snippet(&one, Some(&[1.0]));
    assert!(matches!(refused, Err(BundleError::Dimensions { expected: 0, found: 1 })));
}

#[test]
fn a_dropped_builder_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let builder = BundleBuilder::new(dir.path(), draft(None)).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    drop(builder);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn hostile_queries_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(dir.path(), draft(Some(3)), &sample(), GRAPH_MIN);
    let bundle = Bundle::open(&path_of(dir.path(), &built)).unwrap();
    for query in [
        "reader ".repeat(10_000).as_str(),
        "(((((\"\"''```~~~***???[[[{{{^^^:::",
        "\u{0}\u{1}\u{202e}\u{fffd}",
        "é".repeat(20_000).as_str(),
        "𝕵𝖘𝖔𝖓 ﷺ ｊｓｏｎ",
        "AND OR NOT",
    ] {
        bundle.words(query, 10).unwrap();
        bundle.words(query, usize::MAX).unwrap();
    }
    assert_eq!(indexes(bundle.words("ｊｓｏｎ", 10).unwrap()).len(), 2);
}

#[test]
fn a_bundle_is_read_from_many_threads_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let built = build(dir.path(), draft(Some(3)), &sample(), 1);
    let bundle = Bundle::open(&path_of(dir.path(), &built)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(indexes(bundle.words("rows", 1).unwrap()), [2]);
                    assert_eq!(indexes(bundle.nearest(&[0.0, 0.0, 1.0], 1).unwrap()), [3]);
                }
            });
        }
    });
}

/// Peak memory of this process in KiB.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "looks at the memory of the whole process: run it alone"]
#[cfg(target_os = "linux")]
fn a_large_bundle_is_built_and_opened_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let before = peak_kib();
    let mut builder = BundleBuilder::new(dir.path(), draft(Some(128))).unwrap();
    builder.add_page(page("a")).unwrap();
    let vectors = vectors::tests::clustered(100, 128, 31);
    let mut number = 1_u64;
    for at in 0..26_000_usize {
        let mut text = String::new();
        while text.len() < 1_000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few words are common, and most are rare.
            let rank = (30_000_f32).powf((number >> 40) as f32 / (1 << 24) as f32) as u32;
            text.push_str(&format!("word{rank:x}s "));
        }
        let snippet = snippet(0, &format!("Section {at}"), &text, None);
        builder.add_snippet(&snippet, Some(&vectors[at % vectors.len()])).unwrap();
    }
    let built = builder.finish().unwrap();
    let peak = peak_kib() - before;
    assert!(peak < 150 * 1024, "{peak} KiB to build {} bytes", built.bytes);
    let bundle = Bundle::open(&path_of(dir.path(), &built)).unwrap();
    bundle.words("word7 word77 word777", 10).unwrap();
    bundle.nearest(&vectors[0], 10).unwrap();
    println!("{peak} KiB to build, {:?}, {} KiB with it open", bundle.sizes(), peak_kib() - before);
}
