use super::{Format, ParseError, ParseLimits, Parsed, Repair, SkipReason, page_url, parse};
use proptest::prelude::*;

fn read(path: &str, bytes: &[u8]) -> Parsed {
    parse(path, bytes, &ParseLimits::default()).unwrap()
}

fn text(path: &str, bytes: &[u8]) -> String {
    match read(path, bytes) {
        Parsed::Document(document) => document
            .sections
            .iter()
            .flat_map(|section| &section.pieces)
            .map(super::Piece::text)
            .collect::<Vec<_>>()
            .join("\n"),
        Parsed::Skipped(reason) => format!("{reason:?}"),
    }
}

#[test]
fn the_format_is_told_by_name_and_corrected_by_content() {
    for (path, bytes, expected) in [
        ("a.md", "# H\n\n*x*", "x"),
        ("a.html", "<p><i>x</i></p>", "x"),
        ("a.txt", "*x*", "*x*"),
        ("a.txt", "<!DOCTYPE html><p>x</p>", "x"),
        ("llms.txt", "# H\n\n- [x](y)\n", "- x"),
        ("README", "plain *x*", "plain *x*"),
        ("a.rst", "*x* ``y``", "x `y`"),
        ("topics/db.txt", "DB\n==\n\n.. note:: *x*\n", "Note: x"),
        ("unknown.bin", "x", "UnknownFormat"),
        ("a.md", "# only a heading", "NoText"),
    ] {
        assert_eq!(text(path, bytes.as_bytes()), expected, "{path}");
    }
    assert_eq!(read("x.dat", &[0, 1, 2, 3, 4, 5, 6, 7]), Parsed::Skipped(SkipReason::Binary));
    assert_eq!(Format::of_name("src/lib.rs"), Some(Format::Rust));
}

fn repairs(path: &str, bytes: &[u8]) -> Vec<Repair> {
    match read(path, bytes) {
        Parsed::Document(document) => document.repairs,
        Parsed::Skipped(reason) => panic!("{path} is skipped: {reason:?}"),
    }
}

#[test]
fn what_had_to_be_done_to_a_page_is_told() {
    let utf16 = |units: &[u16]| units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>();
    let deep = |levels: usize| format!("<p>{}text", "<div>".repeat(levels)).into_bytes();
    let mut both = deep(300);
    both.extend(b"\0 \xff");
    for (path, bytes, expected) in [
        ("a.md", "größe".as_bytes().to_vec(), vec![]),
        ("a.md", b"\xef\xbb\xbfplain\r\n".to_vec(), vec![]),
        ("a.md", b"gr\xf6\xdfe".to_vec(), vec![Repair::Encoding]),
        ("a.md", [b"\xff".as_slice(), "größe".as_bytes()].concat(), vec![Repair::Encoding]),
        ("a.md", b"\xef\xbb\xbfcut \xc3".to_vec(), vec![Repair::Encoding]),
        ("a.md", b"te\0xt".to_vec(), vec![Repair::Nul]),
        ("a.md", utf16(&[0xfeff, 0x61]), vec![]),
        ("a.md", utf16(&[0xfeff, 0x61, 0xd800]), vec![Repair::Encoding]),
        ("a.md", [utf16(&[0xfeff, 0x61]), vec![0x62]].concat(), vec![Repair::Encoding]),
        ("a.html", deep(200), vec![]),
        ("a.html", deep(300), vec![Repair::Nesting]),
        ("a.html", both, vec![Repair::Nesting, Repair::Encoding, Repair::Nul]),
    ] {
        assert_eq!(repairs(path, &bytes), expected, "{path}: {bytes:?}");
    }
}

#[test]
fn every_encoding_gives_the_same_text() {
    for bytes in [
        "größe €".as_bytes().to_vec(),
        [b"\xef\xbb\xbf".as_slice(), "größe €".as_bytes()].concat(),
        b"gr\xf6\xdfe \x80".to_vec(),
        b"g\0r\xf6\xdfe \x80".to_vec(),
        "\u{feff}größe €".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "\u{feff}größe €".encode_utf16().flat_map(u16::to_be_bytes).collect(),
    ] {
        assert_eq!(text("a.md", &bytes), "größe €", "{bytes:?}");
    }
    let declared = b"<meta charset=\"utf-8\"><p>a \xff b \xc3\xb6</p>";
    assert_eq!(text("a.html", declared), "a \u{fffd} b ö");
    let latin = b"<meta http-equiv=Content-Type content='text/html; charset=ISO-8859-1'><p>\xe9\xc3\xb6</p>";
    assert_eq!(text("a.html", latin), "éÃ¶");
    assert_eq!(repairs("a.html", latin), []);
    assert_eq!(repairs("a.html", declared), [Repair::Encoding]);
    assert_eq!(text("a.md", b"a\r\n\r\n    x\r\n    y\rz"), "a\nx\ny\nz");
}

#[test]
fn a_page_beyond_its_limit_is_refused() {
    let limits = ParseLimits { page_bytes: 3, ..ParseLimits::default() };
    assert_eq!(parse("a.md", b"four", &limits), Err(ParseError::TooLarge { bytes: 4, limit: 3 }));
}

#[test]
fn the_address_of_a_page_is_its_base_and_its_path() {
    for (base, path, url) in [
        ("https://x.y/docs", "a b/ü.html", "https://x.y/docs/a%20b/%C3%BC.html"),
        ("https://x.y/docs/", "/a.html", "https://x.y/docs/a.html"),
        ("", "a#b?.md", "a%23b%3F.md"),
    ] {
        assert_eq!(page_url(base, path), url);
    }
}

/// Pieces of markup in any order: more likely to reach odd states than random bytes.
fn markup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<div>",
        "</div>",
        "<p>",
        "<h1 id=a>",
        "</h1>",
        "<h2>",
        "<ul>",
        "<li>",
        "</ul>",
        "<pre>",
        "</pre>",
        "<code>",
        "</code>",
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<dl>",
        "<dt id=x>",
        "<dd>",
        "</dl>",
        "<a href=#x>",
        "</a>",
        "<br>",
        "<!--",
        "-->",
        "<script>",
        "</script>",
        "<main>",
        "<article>",
        "&lt;",
        "&#x41;",
        "&",
        "text",
        " ",
        "\n",
        "\n\n",
        "# H",
        "```",
        "- ",
        "> ",
        "|a|b|\n|-|-|\n",
        "`",
        "[x](y)",
        "    ",
        "---\n",
        "title: x\n",
        ":::note\n",
        "!!! tip\n",
        "<Tab title=\"x\">",
        "</Tab>",
        "{/*",
        "*/}",
        "import a\n",
        "export {",
        "=====\n",
        "::\n\n    x",
        ".. code:: py\n",
        ".. note:: x\n",
        ".. function:: f(x)\n",
        ".. _a:\n",
        "..\n",
        "   ",
        ":name: x\n",
        ":role:`",
        "``",
        "*",
        "|",
        "|a| ",
        "a_",
        "+--+--+\n",
        "== ==\n",
        ">>> ",
        "== H\n",
        "----\n",
        "====\n",
        "[source,x]\n",
        "|===\n",
        "<<a,b>>",
        "https://x[y]",
        "{a}",
        ":a: b\n",
        "term:: x\n",
        "* ",
        ". ",
        "+\n",
        "ifdef::env-x[]\n",
        "openapi: 3.0.0\n",
        "paths:\n",
        "  /a: {get: {}}\n",
        "{",
        "}",
        "\"cells\":[",
        "ü",
        "\u{200b}",
        "<section class=\"method\" id=\"method.x\">",
        "<h4 class=code-header>",
    ]);
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_under_any_name_give_bounded_text_and_never_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        name in prop::sample::select(vec!["a.md", "a.mdx", "a.html", "a.txt", "a.rst", "a.adoc", "a.ipynb", "a.yaml", "b", "README"]),
    ) {
        if let Ok(Parsed::Document(document)) = parse(name, &bytes, &ParseLimits::default()) {
            let length: usize = document.sections.iter().map(super::Section::len).sum();
            // A byte becomes at most one character of three bytes, and lists, tables and code get their signs.
            prop_assert!(length <= bytes.len() * 12 + 64);
        }
    }

    #[test]
    fn any_markup_under_any_name_gives_bounded_text_and_never_a_panic(
        text in markup(),
        name in prop::sample::select(vec!["a.md", "a.mdx", "a.html", "a.txt", "a.rst", "a.adoc", "a.ipynb", "a.yaml"]),
    ) {
        if let Ok(Parsed::Document(document)) = parse(name, text.as_bytes(), &ParseLimits::default()) {
            let length: usize = document.sections.iter().map(super::Section::len).sum();
            prop_assert!(length <= text.len() * 12 + 64, "{} of {}", length, text.len());
            prop_assert!(!document.title.is_empty());
        }
    }
}

/// Prints path, level, heading and anchors of every section below `READ_DOCS`, to be compared with what a generator made of the
/// same sources: `READ_DOCS=folder cargo nextest run -p twinmcp-actors --run-ignored only --no-capture sections_of_documentation_of_this_machine`.
#[test]
#[ignore = "reads documentation that lies on this machine"]
fn sections_of_documentation_of_this_machine() {
    use crate::ingest::source::{Source, SourceLimits};
    let folder = std::env::var("READ_DOCS").unwrap();
    for file in Source::open(std::path::Path::new(&folder), SourceLimits::default()).unwrap().flatten() {
        match parse(&file.path, &file.bytes, &ParseLimits::default()) {
            Ok(Parsed::Document(document)) => {
                for section in &document.sections {
                    println!(
                        "{}\t{}\t{}\t{}",
                        file.path,
                        section.level,
                        section.heading,
                        section.anchors.join(" ")
                    );
                    if std::env::var_os("READ_TEXT").is_some() {
                        section.pieces.iter().for_each(|piece| println!("{}\n", piece.text()));
                    }
                }
            }
            other => println!("{}\t{other:?}", file.path),
        }
    }
}
