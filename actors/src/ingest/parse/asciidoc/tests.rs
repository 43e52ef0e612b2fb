use super::parse;
use crate::ingest::parse::{Document, ParseLimits, Piece, Section};
use twinmcp_storage::bundle::Block;

fn read(text: &str) -> Document {
    parse("a.adoc", text, &ParseLimits::default())
}

fn outline(document: &Document) -> Vec<(u8, &str, Vec<&str>)> {
    document
        .sections
        .iter()
        .map(|section| {
            (section.level, section.heading.as_str(), section.anchors.iter().map(String::as_str).collect())
        })
        .collect()
}

fn pieces(document: &Document) -> Vec<&str> {
    document.sections.iter().flat_map(|section| &section.pieces).map(Piece::text).collect()
}

#[test]
fn titles_give_levels_and_the_ids_of_asciidoctor() {
    let text = "// a comment\n= The Guide\nJane Doe <jane@example.com>\nv1.0, 2024-01-01\n:toc:\n\nIntro.\n\n== Getting Started!\n\n[[own-id]]\n=== With an Id\n\n\
                [#other]\n=== Other\n\n=== In Line [[inline-id]]\n\n== Getting Started!\n\n:idprefix:\n:idseparator: -\n\n== What's new in v2.0\n\nText.\n\nTwo Lines\n---------\n\nmore\n";
    assert_eq!(
        outline(&read(text)),
        [
            (1, "The Guide", vec!["_the_guide"]),
            (2, "Getting Started!", vec!["_getting_started"]),
            (3, "With an Id", vec!["own-id"]),
            (3, "Other", vec!["other"]),
            (3, "In Line", vec!["inline-id"]),
            (2, "Getting Started!", vec!["_getting_started_2"]),
            (2, "What's new in v2.0", vec!["whats-new-in-v2-0"]),
            (2, "Two Lines", vec!["two-lines"]),
        ]
    );
    assert_eq!(pieces(&read(text)), ["Intro.", "Text.", "more"]);
}

#[test]
fn ids_stay_short_and_equal_titles_are_told_apart_without_end() {
    let long = "x".repeat(65);
    let text = format!(":idprefix: {long}\n:idseparator: {long}\n\n== One Two\n\nText.\n");
    assert_eq!(read(&text).sections[0].anchors, ["_one_two"]);
    let text = format!(":idseparator: {}\n\n== {}\n", "y".repeat(64), "ab ".repeat(120));
    let text = text + "\nText.\n";
    assert_eq!(read(&text).sections[0].anchors[0].len(), 512);
    let document = read(&"== Same\n\nText.\n\n".repeat(1_500));
    let ids: std::collections::HashSet<&String> =
        document.sections.iter().flat_map(|section| &section.anchors).collect();
    assert_eq!(ids.len(), 1_500);
    assert_eq!(document.sections[1_499].anchors, ["_same_1500"]);
}

#[test]
fn code_keeps_its_language() {
    let text = ":source-language: ruby\n\n.Hello\n[source,Java]\n----\nint x; // <1>\n\nint y;\n----\n<1> A number.\n<2> Other.\n\n[source]\n----\nputs 1\n----\n\n\
                ....\nplain\n....\n\n```rust\nfn f() {}\n```\n\n[,yaml]\n----\na: 1\n----\n\n[source,bash]\nls -l\ncd\n\n literal\n   deeper\n\n----\nopen to the end\n";
    let found: Vec<(String, String)> = read(text).sections[0]
        .pieces
        .iter()
        .map(|piece| match &piece.block {
            Block::Code { language, code } => (language.clone(), code.clone()),
            Block::Prose(text) => ("-".to_owned(), text.clone()),
        })
        .collect();
    let expected = [
        ("-", "Hello"),
        ("java", "int x; // <1>\n\nint y;"),
        ("-", "1. A number.\n2. Other."),
        ("ruby", "puts 1"),
        ("", "plain"),
        ("rust", "fn f() {}"),
        ("yaml", "a: 1"),
        ("bash", "ls -l\ncd"),
        ("", "literal\n  deeper"),
        ("", "open to the end"),
    ];
    assert_eq!(found, expected.map(|(language, text)| (language.to_owned(), text.to_owned())));
}

#[test]
fn inline_markup_becomes_text() {
    for (text, expected) in [
        ("a *bold* _word_ and `code` +lit+", "a bold word and `code` lit"),
        ("un**con**strained m``on``o", "unconstrained m`on`o"),
        ("`+a*b*c+` and `x_y`", "`a*b*c` and `x_y`"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("see <<own-id,the part>> or <<other_part>>", "see the part or other part"),
        ("https://x.example[the site^] and https://y.example/z", "the site and https://y.example/z"),
        ("link:file.html[File,role=x] xref:page.adoc#_some_part[] xref:a.adoc[*B*]", "File some part *B*"),
        ("press kbd:[Ctrl+C], menu:File[Save] footnote:[An aside.]", "press Ctrl+C, File > Save (An aside.)"),
        ("image:a.png[x]no picture, [[id]]no id, [.red]#only# text", "no picture, no id, only text"),
        ("\\*kept* and \\{name}", "*kept* and {name}"),
        ("((shown)) (((hidden, away)))", "shown"),
        ("C{pp} {unknown} {nbsp}x", "C++ {unknown}  x"),
        ("line one +\nline two", "line one line two"),
        ("größe *ü* `ä`", "größe ü `ä`"),
    ] {
        assert_eq!(pieces(&read(text)), [expected], "{text}");
    }
}

#[test]
fn attributes_are_put_in_and_cannot_make_a_page_grow() {
    let document = read(":version: 2.1\n:full: v{version}\n\nUse {full}.\n\n:!version:\n\nNow {version}.\n");
    assert_eq!(pieces(&document), ["Use v2.1.", "Now {version}."]);
    let text = format!(":a: {}\n\n{}\n", "x".repeat(1_000), "{a} ".repeat(10_000));
    let length: usize = pieces(&read(&text)).iter().map(|piece| piece.len()).sum();
    assert!(length < 3 * text.len(), "{length} of {}", text.len());
}

#[test]
fn lists_stay_whole_and_nested() {
    let text = "* one\ngoes on\n** inner\n*** deepest\n* two\n+\nmore of two\n\n. first\n. second\n\nAfter.\n\nterm:: What it means.\nother::\nElse.\n<path>...:: Where.\n\n* [x] done\n";
    assert_eq!(
        pieces(&read(text)),
        [
            "- one goes on\n  - inner\n    - deepest\n- two\n\n  more of two\n  - first\n  - second",
            "After.",
            "- term: What it means.\n- other: Else.\n- <path>...: Where.\n  - [x] done"
        ]
    );
}

#[test]
fn tables_become_tables() {
    let named = "[%header,cols=\"1,2\"]\n|===\n|a |b\n\n|1\n|long\ntext\n|2 |x \\| y\n|===\n";
    let bare = "|===\n|Name |Value\n\n|`n` |1\n|m |2\n|===\n";
    let csv = "[format=csv]\n|===\na,b\n|===\n";
    let escaped = "|===\n|a 2+|x \\| 2+\n|===\n";
    assert_eq!(pieces(&read(escaped)), ["|  |  |\n| --- | --- |\n| a | x \\| 2+ |"]);
    assert_eq!(pieces(&read(named)), ["| a | b |\n| --- | --- |\n| 1 | long text |\n| 2 | x \\| y |"]);
    assert_eq!(pieces(&read(bare)), ["| Name | Value |\n| --- | --- |\n| `n` | 1 |\n| m | 2 |"]);
    assert_eq!(pieces(&read(csv)), ["|  |  |\n| --- | --- |\n| a | b |"]);
}

#[test]
fn admonitions_are_named_and_blocks_of_blocks_read_in_place() {
    let text = "NOTE: Be quick.\n\n[WARNING]\n====\nHot.\n\nVery.\n====\n\n[TIP]\nSmall.\n\n.Aside\n****\nIn the sidebar.\n****\n\n[quote,Someone]\n____\nSaid.\n____\n\n--\nOpen.\n--\n";
    assert_eq!(
        pieces(&read(text)),
        [
            "Note: Be quick.",
            "Warning: Hot.",
            "Very.",
            "Tip: Small.",
            "Aside",
            "In the sidebar.",
            "Said.",
            "Open."
        ]
    );
}

#[test]
fn what_is_no_text_is_left_out() {
    let text = "include::/etc/passwd[]\n\nimage::a.png[]\n\n////\nhidden\n////\n\n++++\n<script>x</script>\n++++\n\nifdef::env-github[]\nOnly there.\n\
                ifdef::x[]\ninner\nendif::[]\nendif::[]\n\nifndef::env-github[]\nShown.\nendif::[]\n\nifdef::anything[]\nAlso.\nendif::anything[]\n\n'''\n\ntoc::[]\n\nEnd.\n";
    assert_eq!(pieces(&read(text)), ["Shown.", "Also.", "End."]);
}

#[test]
fn pages_made_to_be_slow_or_deep_are_read_once() {
    for text in [
        "*a ".repeat(200_000),
        "`a ".repeat(200_000),
        "``a ".repeat(200_000),
        "{a".repeat(200_000),
        "<<a".repeat(100_000),
        "link:".repeat(100_000),
        "[[a".repeat(100_000),
        "((a".repeat(100_000),
        "====\n".repeat(100_000),
        "== H\n\n".repeat(50_000),
        "ifdef::env-a[]\n".repeat(100_000),
        "|===\n|a\n|===\n".repeat(20_000),
        "* a\n".repeat(50_000),
        "a::\n".repeat(50_000),
        "----\n".repeat(50_001),
        ":a: {a}{a}{a}\n".repeat(20_000),
        "+\n".repeat(100_000),
        format!("|===\n{}\n|===\n", "|".repeat(300_000)),
    ] {
        let document = read(&text);
        let length: usize = document.sections.iter().map(Section::len).sum();
        assert!(length <= text.len() * 12 + 64, "{length} of {}", text.len());
    }
}
