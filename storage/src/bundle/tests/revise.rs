//! A bundle written once more with other vectors.

use super::*;

fn rows(vectors: &[Option<[f32; 2]>]) -> RowsBuilder {
    let mut rows = RowsBuilder::new(2).unwrap();
    vectors.iter().for_each(|vector| rows.push(vector.as_ref().map(|vector| vector.as_slice())).unwrap());
    rows
}

fn embedder(id: &str) -> Embedder {
    Embedder { id: id.to_owned(), dimensions: 2 }
}

/// A store with the sample in it.
fn store(dir: &Path) -> (BundleStore, std::sync::Arc<Bundle>) {
    let store = BundleStore::open_dir(dir, 8.try_into().unwrap()).unwrap();
    let built = build(dir, draft(Some(3)), &sample(), 1);
    let bundle = store.open(built.hash).unwrap();
    (store, bundle)
}

const BETTER: [Option<[f32; 2]>; 4] = [Some([0.0, 1.0]), Some([1.0, 0.0]), Some([1.0, 1.0]), None];

fn assert_same_documentation(one: &Bundle, other: &Bundle) {
    for at in 0..4 {
        let index = SnippetIndex(at);
        assert_eq!(one.snippet(index).unwrap(), other.snippet(index).unwrap());
        assert_eq!(one.facts(index).unwrap(), other.facts(index).unwrap());
    }
    assert_eq!(one.page(1).unwrap(), other.page(1).unwrap());
    // An earlier build gave other weights to the same words.
    let words = |bundle: &Bundle| indexes(bundle.words("json.load streams", 10).unwrap());
    assert_eq!(words(one), words(other));
}

#[test]
fn better_vectors_make_another_bundle_of_the_same_documentation() {
    let dir = tempfile::tempdir().unwrap();
    let (store, before) = store(dir.path());
    let built = store.revise(&before, Replace::First, embedder("static-1+better"), rows(&BETTER)).unwrap();
    let after = store.open(built.hash).unwrap();
    assert_same_documentation(&before, &after);
    assert_eq!(after.meta().embedder, Some(embedder("static-1+better")));
    assert_eq!((after.meta().vectors, built.snippets, built.pages), (3, 4, 2));
    assert_eq!(indexes(after.nearest(&[1.0, 0.0], 10).unwrap()), [1, 2, 0]);
    // The one before is what it was.
    assert_eq!(BundleHash::of(&fs::read(before.path()).unwrap()).to_string(), {
        let name = before.path().file_stem().unwrap();
        name.to_str().unwrap()
    });
    let again = store.revise(&before, Replace::First, embedder("static-1+better"), rows(&BETTER)).unwrap();
    assert_eq!(again, built, "equal vectors give an equal bundle");
}

#[test]
fn a_second_set_stands_beside_the_first_and_either_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, before) = store(dir.path());
    assert!(before.second().is_none());
    let built = store.revise(&before, Replace::Second, embedder("service"), rows(&BETTER)).unwrap();
    let both = store.open(built.hash).unwrap();
    assert_same_documentation(&before, &both);
    assert_eq!(both.nearest(&[1.0, 0.0, 0.0], 10).unwrap(), before.nearest(&[1.0, 0.0, 0.0], 10).unwrap());
    let second = both.second().unwrap();
    assert_eq!(*second.embedder(), embedder("service"));
    assert_eq!(indexes(second.nearest(&[1.0, 0.0], 1).unwrap()), [1]);
    assert_eq!(second.cosines(&[0.0, 1.0], &[SnippetIndex(3), SnippetIndex(0)]).unwrap(), [0.0, 1.0]);
    assert_eq!(second.vector(SnippetIndex(3)), None);
    assert!(both.sizes().vectors > before.sizes().vectors);

    let upgraded = store.revise(&both, Replace::First, embedder("static-1+better"), rows(&BETTER)).unwrap();
    let upgraded = store.open(upgraded.hash).unwrap();
    assert_eq!(upgraded.meta().embedder, Some(embedder("static-1+better")));
    assert_eq!(*upgraded.second().unwrap().embedder(), embedder("service"));
    let other = store.revise(&upgraded, Replace::Second, embedder("other"), rows(&[None; 4])).unwrap();
    assert!(store.open(other.hash).unwrap().second().is_none(), "a set without vectors is none");
}

#[test]
fn vectors_of_another_number_of_snippets_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, before) = store(dir.path());
    let refused = store.revise(&before, Replace::First, embedder("x"), rows(&BETTER[..3]));
    assert!(matches!(refused, Err(BundleError::NoSuchRecord { what: "vector", index: 3, count: 4 })));
    let wide = Embedder { dimensions: 3, ..embedder("x") };
    assert!(store.revise(&before, Replace::Second, wide, rows(&BETTER)).is_err());
    assert_eq!(store.list().unwrap().len(), 1);
}

/// Written by the first release of format 2; see the one of format 1.
#[test]
fn a_bundle_of_format_two_can_still_be_read_and_searched() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle/fixtures/format-2.bundle");
    let bundle = Bundle::open(&path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert_same_documentation(&store(dir.path()).1, &bundle);
    let second = bundle.second().unwrap();
    assert_eq!(*second.embedder(), embedder("service"));
    assert_eq!(indexes(second.nearest(&[1.0, 0.0], 2).unwrap()), [1, 2]);
}

#[test]
#[ignore = "writes the fixture of a format when that format is new"]
fn write_the_fixture_of_this_format() {
    let dir = tempfile::tempdir().unwrap();
    let (store, before) = store(dir.path());
    let built = store.revise(&before, Replace::Second, embedder("service"), rows(&BETTER)).unwrap();
    let fixture = format!("src/bundle/fixtures/format-{FORMAT}.bundle");
    fs::copy(store.path(built.hash), Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture)).unwrap();
}
