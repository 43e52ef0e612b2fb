//! Any draft, any bytes, any sections.

use proptest::prelude::*;

use super::damage::{full_bundle, open_bytes};
use super::*;
use crate::bundle::partial;

fn any_block() -> impl Strategy<Value = Block> {
    prop_oneof![
        "\\PC{0,40}".prop_map(Block::Prose),
        ("[a-z]{0,5}", "\\PC{0,40}").prop_map(|(language, code)| Block::Code { language, code }),
    ]
}

fn any_snippet() -> impl Strategy<Value = Snippet> {
    let strings = || prop::collection::vec("\\PC{0,12}", 0..4);
    (0..3_u32, strings(), strings(), prop::collection::vec(any_block(), 0..4), any::<u32>(), any::<u8>())
        .prop_map(|(page, anchors, heading_path, blocks, tokens, link_percent)| Snippet {
            page,
            anchors,
            heading_path,
            blocks,
            tokens,
            link_percent,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_draft_reads_back(
        snippets in prop::collection::vec((any_snippet(), prop::option::of(prop::collection::vec(-9_f32..9.0, 5))), 0..12),
        graph_min in prop_oneof![Just(1), Just(usize::MAX)],
        query in "\\PC{0,30}",
    ) {
        let dir = tempfile::tempdir().unwrap();
        let sample = (["a", "b", "c"].map(page).to_vec(), snippets);
        let built = build(dir.path(), draft(Some(5)), &sample, graph_min);
        let bundle = Bundle::open(&path_of(dir.path(), &built)).unwrap();
        for (at, (snippet, vector)) in sample.1.iter().enumerate() {
            let index = SnippetIndex(at as u32);
            prop_assert_eq!(&bundle.snippet(index).unwrap(), snippet);
            prop_assert_eq!(bundle.find_id(bundle.id(index).unwrap()), Some(index));
            let zero = vector.as_ref().is_none_or(|vector| vector.iter().all(|value| *value == 0.0));
            prop_assert_eq!(bundle.vector(index).is_none(), zero);
        }
        bundle.words(&query, 5).unwrap();
        bundle.nearest(&[1.0, 0.0, 0.0, 0.0, 0.0], 5).unwrap();
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        tail in prop::collection::vec(any::<u8>(), 0..3_000),
        header in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = if header { b"TMCPBNDL\x01\0\0\0".to_vec() } else { Vec::new() };
        bytes.extend(tail);
        prop_assert!(open_bytes(dir.path(), &bytes).is_err());
    }

    /// Whole hashes around contents that make no sense, as a faulty builder could write them.
    #[test]
    fn any_sections_are_refused_without_a_panic(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 10),
        keep in prop::collection::vec(any::<bool>(), 10),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, entries) = full_bundle(dir.path());
        let mut out = partial::SectionWriter::create(dir.path()).unwrap();
        for ((entry, content), keep) in entries.iter().zip(&contents).zip(&keep) {
            let whole = &bytes[entry.offset as usize..entry.end() as usize];
            out.section(entry.section, if *keep { whole } else { content }).unwrap();
        }
        let (hash, _) = out.publish().unwrap();
        if let Ok(bundle) = Bundle::open(&partial::path_of(dir.path(), hash)) {
            for at in 0..6 {
                let _ = bundle.snippet(SnippetIndex(at));
                let _ = bundle.page(at);
                let _ = bundle.facts(SnippetIndex(at));
            }
            bundle.words("json reader", 5).unwrap();
            bundle.nearest(&[1.0, 0.0, 0.0], 5).unwrap();
        }
    }
}
