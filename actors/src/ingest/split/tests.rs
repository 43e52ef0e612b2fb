use super::{Cut, SplitSettings, cuts, split};
use crate::ingest::parse::{Document, Section};
use proptest::prelude::*;
use twinmcp_storage::bundle::{Block, Snippet};

/// One token a word.
fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn text(count: usize) -> String {
    (0..count).map(|number| format!("w{number}")).collect::<Vec<_>>().join(" ")
}

fn section(level: u8, heading: &str, prose: &[&str]) -> Section {
    let mut section = Section::new(level, heading, vec![heading.to_lowercase()]);
    for prose in prose {
        section.push_prose(*prose, 0);
    }
    section
}

fn page(sections: Vec<Section>) -> Document {
    Document { path: "a.md".to_owned(), title: "T".to_owned(), sections, repairs: Vec::new() }
}

fn cut(sections: Vec<Section>) -> Vec<Cut> {
    cuts(&page(sections), 7, &SplitSettings::default(), &words)
}

fn paths(cuts: &[Cut]) -> Vec<String> {
    cuts.iter()
        .map(|cut| format!("{} #{}", cut.snippet.heading_path.join(" > "), cut.snippet.anchors.join(" #")))
        .collect()
}

#[test]
fn a_section_that_fits_is_one_snippet_with_its_path() {
    let sections =
        vec![section(1, "T", &[&text(200)]), section(2, "A", &[&text(200)]), section(3, "B", &[&text(300)])];
    let cuts = cut(sections);
    assert_eq!(paths(&cuts), ["T #t", "T > A #a", "T > A > B #b"]);
    assert_eq!((cuts[2].snippet.page, cuts[2].snippet.tokens), (7, 303));
}

#[test]
fn a_function_with_its_examples_is_one_snippet() {
    let sections = vec![
        section(1, "T", &[&text(400)]),
        section(2, "push", &["signature"]),
        section(3, "Panics", &["never"]),
        section(3, "Examples", &[&text(300)]),
        section(2, "pop", &[&text(300)]),
    ];
    let cuts = cut(sections);
    assert_eq!(paths(&cuts), ["T #t", "T > push #push #panics #examples", "T > pop #pop"]);
    assert!(cuts[1].snippet.text().starts_with("signature\n\n### Panics\n\nnever\n\n### Examples"));
}

#[test]
fn sections_of_a_small_page_stay_apart_unless_they_are_tiny() {
    let sections = vec![
        section(1, "T", &[&text(20)]),
        section(2, "A", &[&text(100)]),
        section(2, "B", &[&text(100)]),
        section(2, "C", &[&text(10)]),
        section(2, "D", &[&text(10)]),
    ];
    assert_eq!(paths(&cut(sections)), ["T #t", "T > A #a", "T > B #b", "T #c #d"]);
}

#[test]
fn tiny_siblings_join_and_their_headings_stay_in_the_text() {
    let mut sections = vec![section(1, "T", &[&text(400)]), section(2, "Flags", &[&text(400)])];
    sections.extend((0..12).map(|number| section(3, &format!("F{number}"), &[&text(30)])));
    let cuts = cut(sections);
    let joined: Vec<_> = cuts
        .iter()
        .filter(|cut| cut.snippet.heading_path.last().is_some_and(|last| last == "Flags"))
        .collect();
    assert!(joined.len() >= 2 && cuts.len() < 8, "{:?}", paths(&cuts));
    for number in 0..12 {
        let heading = format!("F{number}");
        let holders = cuts.iter().filter(|cut| cut.snippet.anchors.contains(&heading.to_lowercase())).count();
        assert_eq!(holders, 1, "{heading}");
    }
    assert!(joined.last().is_some_and(|cut| cut.snippet.text().contains("### F11")));
}

#[test]
fn a_heading_without_text_leads_its_first_child() {
    let cuts = cut(vec![
        section(1, "T", &[]),
        section(2, "A", &[]),
        section(3, "B", &[&text(400)]),
        section(3, "C", &[&text(400)]),
    ]);
    assert_eq!(paths(&cuts), ["T > A > B #b #t #a", "T > A > C #c"]);
    assert_eq!(cuts[0].covers.iter().map(|cover| cover.bytes > 0).collect::<Vec<_>>(), [false, false, true]);
    assert!(cut(vec![section(1, "T", &[]), section(2, "A", &[])]).is_empty());
}

#[test]
fn a_long_section_is_cut_between_paragraphs_into_like_parts() {
    let paragraphs: Vec<String> = (0..10).map(|_| text(100)).collect();
    let paragraphs: Vec<&str> = paragraphs.iter().map(String::as_str).collect();
    let cuts = cut(vec![section(2, "A", &paragraphs)]);
    assert_eq!(cuts.iter().map(|cut| cut.snippet.tokens).collect::<Vec<_>>(), [402, 402, 202]);
    assert_eq!(paths(&cuts), ["T > A #a"; 3]);
}

#[test]
fn an_introduction_moves_with_the_code_it_announces() {
    let mut one = section(2, "A", &[&text(300), "For example:"]);
    one.push_code("rust", text(300));
    let cuts = cut(vec![one]);
    assert_eq!(cuts.len(), 2);
    assert!(cuts[1].snippet.text().starts_with("For example:\nw0"));
}

#[test]
fn a_code_block_stays_whole_up_to_the_cap_and_is_cut_at_blank_lines_beyond() {
    let mut one = section(2, "A", &[&text(100)]);
    one.push_code("rust", text(2000));
    let whole = cut(vec![one]);
    assert_eq!(whole.len(), 1);
    let functions: Vec<String> =
        (0..30).map(|number| format!("fn f{number}() {{\n{}\n\n    end\n}}", text(98))).collect();
    let mut huge = Section::new(2, "A", Vec::new());
    huge.push_code("rust", functions.join("\n\n"));
    let parts = cut(vec![huge]);
    assert!(parts.len() >= 7);
    let joined: Vec<String> = parts.iter().map(|cut| cut.snippet.text()).collect();
    assert_eq!(
        joined.join("\n\n").split_whitespace().collect::<Vec<_>>(),
        functions.join(" ").split_whitespace().collect::<Vec<_>>()
    );
    assert!(parts.iter().all(|cut| cut.snippet.tokens <= 450 + 1 && cut.snippet.has_code()));
}

#[test]
fn long_lists_tables_and_lines_are_cut_and_rows_keep_their_heading() {
    let rows: String = (0..300).map(|number| format!("| r{number} | x |\n")).collect();
    let table = cut(vec![section(2, "A", &[&format!("| a | b |\n| --- | --- |\n{rows}")])]);
    assert!(table.len() > 3);
    assert!(
        table.iter().all(|cut| cut.snippet.text().starts_with("| a | b |\n| --- | --- |\n| r")),
        "{table:?}"
    );
    let items: String = (0..200).map(|number| format!("- item {number} of a list\n")).collect();
    assert!(cut(vec![section(2, "A", &[&items])]).iter().all(|cut| cut.snippet.text().starts_with("- item")));
    let endless = cut(vec![section(2, "A", &["x".repeat(100_000).as_str(), &text(5_000)])]);
    assert!(endless.iter().all(|cut| cut.snippet.tokens <= 452));
}

#[test]
fn the_share_of_link_text_is_measured() {
    let mut one = Section::new(2, "A", Vec::new());
    one.push_prose("- abcd\n- efgh", 8);
    let snippets = split(&page(vec![one]), 0, &SplitSettings::default(), &words);
    assert_eq!(snippets[0].link_percent, 61);
}

#[test]
fn a_page_without_headings_goes_by_its_title_and_deep_paths_are_shortened() {
    let mut lead = Section::default();
    lead.push_prose("only text", 0);
    assert_eq!(paths(&cut(vec![lead])), ["T #"]);
    let deep: Vec<Section> =
        (1..30).map(|level| section(level, &format!("H{level}"), &[&text(400)])).collect();
    let cuts = cut(deep);
    let last = &cuts.last().unwrap().snippet.heading_path;
    assert_eq!((last.len(), last[0].as_str(), last[7].as_str()), (8, "T", "H29"));
}

fn documents() -> impl Strategy<Value = Document> {
    let piece =
        (any::<bool>(), 1_usize..260, 0_usize..4).prop_map(|(code, count, lines)| (code, count, lines));
    let one = (0_u8..6, prop::collection::vec(piece, 0..5));
    prop::collection::vec(one, 1..14).prop_map(|sections| {
        let mut number = 0;
        let sections = sections.into_iter().enumerate().map(|(index, (level, pieces))| {
            let heading = if level == 0 { String::new() } else { format!("Heading{index}") };
            let mut section = Section::new(level, heading, vec![format!("a{index}")]);
            for (code, count, lines) in pieces {
                number += 1;
                let body = format!("p{number} {}", text(count)).replace(" w5", &"\n".repeat(lines));
                if code { section.push_code("x", body) } else { section.push_prose(body, 0) }
            }
            section
        });
        page(sections.collect())
    })
}

fn codes(snippets: &[Snippet]) -> Vec<&str> {
    let blocks = snippets.iter().flat_map(|snippet| &snippet.blocks);
    blocks
        .filter_map(|block| if let Block::Code { code, .. } = block { Some(code.as_str()) } else { None })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_code_block_stands_whole_in_exactly_one_snippet(document in documents()) {
        let snippets = split(&document, 0, &SplitSettings::default(), &words);
        let expected: Vec<&str> = document.sections.iter().flat_map(|section| &section.pieces)
            .filter(|piece| matches!(piece.block, Block::Code { .. })).map(|piece| piece.text()).collect();
        prop_assert_eq!(codes(&snippets), expected);
    }

    #[test]
    fn no_word_and_no_heading_of_a_section_with_text_is_lost(document in documents()) {
        let cuts = cuts(&document, 0, &SplitSettings::default(), &words);
        let text: Vec<String> = cuts.iter().map(|cut| cut.snippet.text()).collect();
        let body: Vec<&str> = text.iter().flat_map(|text| text.split_whitespace()).filter(|word| !word.starts_with("Heading") && *word != "###").collect();
        let source: Vec<&str> = document.sections.iter().flat_map(|section| &section.pieces).flat_map(|piece| piece.text().split_whitespace()).collect();
        prop_assert_eq!(body, source);
        for cut in &cuts {
            for cover in &cut.covers {
                let section = &document.sections[cover.section];
                let named = cut.snippet.heading_path.contains(&section.heading) || cut.snippet.text().contains(&format!("### {}", section.heading));
                prop_assert!(section.heading.is_empty() || cover.bytes == 0 || named);
                prop_assert!(section.anchors.iter().all(|anchor| cut.snippet.anchors.contains(anchor)));
            }
        }
    }

    #[test]
    fn the_stated_tokens_are_those_of_path_and_blocks(document in documents()) {
        for snippet in split(&document, 0, &SplitSettings::default(), &words) {
            let marks = snippet.text().matches("### ").count();
            prop_assert_eq!(snippet.tokens as usize + marks, words(&snippet.heading_path.join(" ")) + words(&snippet.text()));
        }
    }
}
