use super::{parse, parse_mdx, sections};
use crate::ingest::parse::{Document, ParseLimits};
use twinmcp_storage::bundle::Block;

fn shown(document: &Document) -> String {
    let mut out = String::new();
    for section in &document.sections {
        out.push_str(&format!("{} {} #{}\n", section.level, section.heading, section.anchors.join(" #")));
        for piece in &section.pieces {
            match &piece.block {
                Block::Prose(text) => out.push_str(&format!("| {}\n", text.replace('\n', "\n| "))),
                Block::Code { language, code } => {
                    out.push_str(&format!("{language}> {}\n", code.replace('\n', "\n> ")))
                }
            }
        }
    }
    out
}

fn markdown(text: &str) -> String {
    shown(&parse("a.md", text, &ParseLimits::default()))
}

#[test]
fn markdown_becomes_sections_with_the_anchors_of_github() {
    for (text, expected) in [
        (
            "# A b\n\ntext\n\n## C `d()`\n\nmore\n\n## C d\n",
            "1 A b #a-b\n| text\n2 C d() #c-d\n| more\n2 C d #c-d-1\n",
        ),
        ("Title\n=====\n\nSub\n---\n", "1 Title #title\n2 Sub #sub\n"),
        ("## Custom {#mine .x}\n\na", "2 Custom #mine\n| a\n"),
        ("<a name=\"old\"></a>\n\n## New\n\nx", "2 New #new #old\n| x\n"),
        ("text before\n\n# A", "0  #\n| text before\n1 A #a\n"),
        ("    indented\n      code\n\nafter", "0  #\n> indented\n>   code\n| after\n"),
        ("```JS title=\"x\"\nlet a;\n```", "0  #\njavascript> let a;\n"),
        ("~~~\n```\ninner\n```\n~~~", "0  #\n> ```\n> inner\n> ```\n"),
        (
            "- one\n  - two\n\n    ```sh\n    run\n    ```\n- three",
            "0  #\n| - one\n|   - two\nbash> run\n| - three\n",
        ),
        ("1. a\n2. b\n\n   more", "0  #\n| 1. a\n| 2. b\n|   more\n"),
        (
            "| a | b |\n|---|---|\n| `x` | y \\| z |",
            "0  #\n| | a | b |\n| | --- | --- |\n| | `x` | y \\| z |\n",
        ),
        ("> [!WARNING]\n> careful", "0  #\n| Warning: careful\n"),
        ("a [link](http://x.y/z) ![img](a.png) **b** <br/>c", "0  #\n| a link b\n| c\n"),
        (
            "<div align=\"center\">\n<h1>Logo</h1>\n<img src=x>\n</div>\n\ntext <kbd>Ctrl</kbd>",
            "1 Logo #logo\n| text `Ctrl`\n",
        ),
        ("<details><summary>More</summary>\n\nhidden\n\n</details>", "0  #\n| More\n| hidden\n"),
        ("- [x] done\n- [ ] open", "0  #\n| - [x] done\n| - [ ] open\n"),
        ("```rust\nnever closed\n", "0  #\nrust> never closed\n"),
    ] {
        assert_eq!(markdown(text), expected, "{text}");
    }
}

#[test]
fn front_matter_names_the_page_and_its_description_leads_it() {
    let page = parse(
        "a.md",
        "---\ntitle: Hooks\ndescription: All of them.\n---\n## Use\n\nx\n",
        &ParseLimits::default(),
    );
    assert_eq!(page.title, "Hooks");
    assert_eq!(shown(&page), "0  #\n| All of them.\n2 Use #use\n| x\n");
    assert_eq!(parse("dir/a.md", "text", &ParseLimits::default()).title, "dir/a.md");
    assert_eq!(parse("a.md", "text\n\n# T\n", &ParseLimits::default()).title, "T");
}

#[test]
fn mdx_is_read_as_what_the_reader_sees() {
    let text = "---\ntitle: Start\n---\nimport X from './x'\n\n# Start\n\n<Steps>\n  <Step title=\"Install\">\n    Run:\n\n    ```bash\n    npm i\n    ```\n  </Step>\n</Steps>\n\nend {/* no */}\n";
    let page = parse_mdx("a.mdx", text, &ParseLimits::default());
    assert_eq!(shown(&page), "1 Start #start\n| Install:\n| Run:\nbash> npm i\n| end\n");
}

#[test]
fn sections_of_a_doc_comment_stand_below_their_item() {
    let found =
        sections("Adds.\n\n# Examples\n\n```\nadd()\n```\n\n## Deep\n\nx", 3, &ParseLimits::default());
    let found: Vec<_> =
        found.iter().map(|section| (section.level, section.heading.as_str(), section.pieces.len())).collect();
    assert_eq!(found, [(3, "", 1), (4, "Examples", 1), (5, "Deep", 1)]);
}

#[test]
fn limits_cut_a_page_short_and_lose_no_heading_before_that() {
    let text: String = (0..100).map(|number| format!("# H{number}\n\ntext\n\n")).collect();
    let limits = ParseLimits { sections: 10, pieces: 50, ..ParseLimits::default() };
    let page = parse("a.md", &text, &limits);
    assert_eq!(page.sections.len(), 10);
    assert_eq!(page.sections.iter().map(|section| section.pieces.len()).sum::<usize>(), 50);
    assert!(page.sections[9].pieces.iter().any(|piece| piece.text() == "H10"));
}

#[test]
fn forged_markdown_costs_no_more_than_its_length() {
    for unit in ["> ", "- ", "[", "*a_ ", "`", "# \n", "| a ", "<div>", "![](", "&#", "1. "] {
        let text = unit.repeat(20_000);
        let page = parse("a.md", &text, &ParseLimits::default());
        assert!(
            page.sections.iter().map(crate::ingest::parse::Section::len).sum::<usize>() <= text.len() * 8,
            "{unit}"
        );
    }
}
