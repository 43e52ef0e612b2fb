use super::parse;
use crate::ingest::parse::{Document, ParseLimits, Piece, Section};

fn read(text: &str) -> Document {
    parse("a.rst", text, &ParseLimits::default())
}

/// Level, heading and anchors of each section.
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
fn adornments_give_levels_and_titles_give_the_ids_of_docutils() {
    let text = "=====\nTitle\n=====\n\nIntro.\n\nFirst part: ``x``\n-----------------\n\n.. _my target:\n\nDeep\n~~~~\n\nText a\nText b\n\n\
                Deep\n~~~~\n\nAgain.\n\n2. Größe\n--------\nmore\n";
    let document = read(text);
    assert_eq!(
        outline(&document),
        [
            (1, "Title", vec!["title"]),
            (2, "First part: `x`", vec!["first-part-x"]),
            (3, "Deep", vec!["deep", "my-target"]),
            (3, "Deep", vec!["id1"]),
            (2, "2. Größe", vec!["grosze"]),
        ]
    );
    assert_eq!(document.title, "Title");
    assert_eq!(pieces(&document), ["Intro.", "Text a Text b", "Again.", "more"]);
}

#[test]
fn a_target_before_text_leads_to_its_section() {
    let document = read(
        "Title\n=====\n\nIntro.\n\n.. _Details:\n\nMore.\n\n.. _elsewhere: https://x.example/\n\nEnd.\n",
    );
    assert_eq!(outline(&document), [(1, "Title", vec!["title", "details"])]);
}

#[test]
fn a_target_named_as_its_title_is_the_one_to_link_to() {
    let document = read(".. _intro:\n\nIntro\n=====\n\nText.\n");
    assert_eq!(outline(&document), [(1, "Intro", vec!["intro", "id1"])]);
}

#[test]
fn code_keeps_its_language_and_loses_its_indentation() {
    let text = "Run this::\n\n    $ make\n\n      $ make install\n\nthen ::\n\n  x\n\n.. code-block:: python\n   :linenos:\n   :caption: C\n\n   \
                x = 1\n\n   y = 2\n\n.. highlight:: c\n\n::\n\n   int x;\n\n>>> 1 + 1\n2\n\n.. code::\n\n   last\n\nQuoted::\n\n> a\n> b\n\nend\n";
    let document = read(text);
    let found: Vec<(String, &str)> = document.sections[0]
        .pieces
        .iter()
        .map(|piece| match &piece.block {
            twinmcp_storage::bundle::Block::Code { language, code } => (language.clone(), code.as_str()),
            twinmcp_storage::bundle::Block::Prose(text) => ("-".to_owned(), text.as_str()),
        })
        .collect();
    let expected = [
        ("-", "Run this:"),
        ("", "$ make\n\n  $ make install"),
        ("-", "then"),
        ("", "x"),
        ("python", "x = 1\n\ny = 2"),
        ("c", "int x;"),
        ("python", ">>> 1 + 1\n2"),
        ("c", "last"),
        ("-", "Quoted:"),
        ("c", "> a\n> b"),
        ("-", "end"),
    ];
    assert_eq!(found, expected.map(|(language, text)| (language.to_owned(), text)));
}

#[test]
fn inline_markup_becomes_text() {
    for (text, expected) in [
        ("call ``f(x)`` *now* or **never**", "call `f(x)` now or never"),
        (":class:`~a.b.Name` and :func:`!run` of :mod:`json`", "`Name` and `run()` of `json`"),
        (":py:meth:`.Queue.get` :c:func:`PyList_New()`", "`Queue.get()` `PyList_New()`"),
        ("see :ref:`the guide <guide>` and :doc:`/intro`", "see the guide and /intro"),
        ("`Site <https://x.example>`_, `Other`__ and word_.", "Site, Other and word."),
        (":pep:`8` :rfc:`9110` :pep:`text <20>`", "PEP 8 RFC 9110 text"),
        ("`x`:sub: and `plain`", "x and plain"),
        ("a\\*b \\\\ c\\ d", "a*b \\ cd"),
        ("__init__ and my_name and 2 * 3 * 4", "__init__ and my_name and 2 * 3 * 4"),
        ("known [1]_ and [Knuth97]_ and a[1]", "known and [Knuth97] and a[1]"),
        ("an _`inline target` and *open", "an inline target and *open"),
        ("``a ` b``", "`` a ` b ``"),
        ("unclosed ``literal", "unclosed ``literal"),
        ("größe ``ü`` *ä*", "größe `ü` ä"),
    ] {
        assert_eq!(pieces(&read(text)), [expected], "{text}");
    }
}

#[test]
fn links_are_counted_so_that_link_lists_can_be_damped() {
    let document = read("`One <https://a.example>`_ :doc:`two`");
    assert_eq!(document.sections[0].pieces[0].link_bytes, 6);
}

#[test]
fn lists_stay_whole_and_nested() {
    let text = "- one\n  goes on\n- two\n\n  more of two\n\n  * inner\n\n- three\n\n1. first\n2. second\n\nAfter.\n\nterm\n   What it means.\nother : classifier\n   \
                Else.\n";
    assert_eq!(
        pieces(&read(text)),
        [
            "- one goes on\n- two\n\n  more of two\n  - inner\n- three\n1. first\n2. second",
            "After.",
            "- term: What it means.\n- other : classifier: Else."
        ]
    );
}

#[test]
fn code_inside_a_list_is_code() {
    let text = "#. Do::\n\n      make\n\n#. Then::\n\n      run\n";
    assert_eq!(pieces(&read(text)), ["- Do:", "make", "- Then:", "run"]);
}

#[test]
fn tables_become_tables() {
    let grid = "+-----+-------+\n| a   | b     |\n+=====+=======+\n| 1   | long  |\n|     | text  |\n+-----+-------+\n| 2   | x|y   |\n+-----+-------+\n";
    let simple = "===  =====\n a   b\n===  =====\n1    long\n     text\n2    ``x``\n===  =====\n";
    let list = ".. list-table:: Title\n   :header-rows: 1\n\n   * - a\n     - b\n   * - 1\n     - long\n       text\n";
    let csv = ".. csv-table::\n   :header: a, b\n\n   1, \"long, text\"\n   2, \"say \"\"x\"\"\"\n";
    assert_eq!(pieces(&read(grid)), ["| a | b |\n| --- | --- |\n| 1 | long text |\n| 2 | x\\|y |"]);
    assert_eq!(pieces(&read(simple)), ["| a | b |\n| --- | --- |\n| 1 | long text |\n| 2 | `x` |"]);
    assert_eq!(pieces(&read(list)), ["Title", "| a | b |\n| --- | --- |\n| 1 | long text |"]);
    assert_eq!(pieces(&read(csv)), ["| a | b |\n| --- | --- |\n| 1 | long, text |\n| 2 | say \"x\" |"]);
    let bare = "= =\nx y\n= =\n\nafter\n";
    assert_eq!(pieces(&read(bare)), ["= = x y = =", "after"], "one sign is no border");
}

#[test]
fn admonitions_and_versions_are_named() {
    let text = ".. note:: Be quick.\n   And good.\n\n.. warning::\n\n   Hot.\n\n   Very.\n\n.. versionadded:: 3.2\n\n.. versionchanged:: 3.4\n   New *x*.\n\n\
                .. deprecated:: 4.0 Use y.\n\n.. seealso:: Others.\n\n.. tab-item:: Linux\n\n   apt\n\n.. admonition:: Title\n   :class: tip\n\n   Body\n";
    assert_eq!(
        pieces(&read(text)),
        [
            "Note: Be quick. And good.",
            "Warning: Hot.",
            "Very.",
            "Added in version 3.2",
            "Changed in version 3.4: New x.",
            "Deprecated since version 4.0: Use y.",
            "See also: Others.",
            "Linux",
            "apt",
            "Title",
            "Body"
        ]
    );
}

#[test]
fn objects_are_entries_with_the_anchors_of_sphinx() {
    let text = ":mod:`json` --- JSON\n====================\n\n.. module:: json\n   :synopsis: Encode.\n\nIntro.\n\n.. function:: dump(obj, fp, *, skipkeys=False)\n              \
                dump(obj)\n\n   Serialize *obj*.\n\n   :param int obj: what\n   :returns: nothing\n   :raises ValueError: when it is not\n\n   .. versionadded:: 3.1\n\n\
                .. class:: JSONEncoder(*, indent=None)\n\n   Encodes.\n\n   .. method:: default(o)\n\n      Return.\n\n   .. attribute:: item_separator\n\n   Back in the class.\n\n\
                Back in the module.\n\n.. exception:: JSONDecodeError\n\n   Bad.\n";
    let document = read(text);
    assert_eq!(
        outline(&document),
        [
            (1, "`json` --- JSON", vec!["json-json", "module-json"]),
            (2, "json.dump()", vec!["json.dump"]),
            (2, "json.JSONEncoder", vec!["json.JSONEncoder"]),
            (3, "json.JSONEncoder.default()", vec!["json.JSONEncoder.default"]),
            (3, "json.JSONEncoder.item_separator", vec!["json.JSONEncoder.item_separator"]),
            (2, "json.JSONEncoder", vec!["json.JSONEncoder"]),
            (1, "`json` --- JSON", vec!["json-json", "module-json"]),
            (2, "json.JSONDecodeError", vec!["json.JSONDecodeError"]),
        ]
    );
    let dump: Vec<&str> = document.sections[1].pieces.iter().map(Piece::text).collect();
    assert_eq!(
        dump,
        [
            "dump(obj, fp, *, skipkeys=False)\ndump(obj)",
            "Serialize obj.",
            "- `obj` (int): what\n- Returns: nothing\n- Raises `ValueError`: when it is not",
            "Added in version 3.1"
        ]
    );
    assert_eq!(document.sections[5].pieces[0].text(), "Back in the class.");
    assert_eq!(document.sections[6].pieces[0].text(), "Back in the module.");
}

#[test]
fn other_domains_have_their_own_anchors() {
    let text = "CC\n==\n\n.. c:function:: PyObject* PyList_New(Py_ssize_t len)\n\n   New.\n\n.. c:macro:: Py_MAX(x, y)\n\n.. c:type:: PyObject\n\n   .. c:member:: int y[3]\n\n.. c:type:: int (*inquiry)(PyObject *self)\n\n\
                .. js:function:: $.ajax(url)\n\n.. program:: git commit\n\n.. option:: -a, --all <what>\n\n.. option:: dest\n\n.. envvar:: PYTHONPATH\n\n\
                .. confval:: html_theme\n\n.. rst:directive:: toctree\n\n.. cpp:function:: bool ns::run(int a)\n\n.. describe:: anything at all\n\n.. decorator:: wraps(f)\n\n.. data:: x: int = 1\n\n.. attribute:: __file__\n";
    let document = read(text);
    assert!(
        document.sections.iter().any(|section| section.level == 3 && section.anchors == ["c.PyObject.y"])
    );
    let found: Vec<(String, Vec<String>)> = document
        .sections
        .into_iter()
        .skip(1)
        .filter(|section| section.level == 2)
        .map(|section| (section.heading, section.anchors))
        .collect();
    let expected = [
        ("PyList_New()", vec!["c.PyList_New"]),
        ("Py_MAX()", vec!["c.Py_MAX"]),
        ("PyObject", vec!["c.PyObject"]),
        ("inquiry", vec!["c.inquiry"]),
        ("$.ajax()", vec!["$.ajax"]),
        ("-a, --all <what>", vec!["cmdoption-git-commit-a", "cmdoption-git-commit-all"]),
        ("dest", vec!["cmdoption-git-commit-arg-dest"]),
        ("PYTHONPATH", vec!["envvar-PYTHONPATH"]),
        ("html_theme", vec!["confval-html_theme"]),
        ("toctree", vec!["directive-toctree"]),
        ("ns::run()", vec![]),
        ("anything at all", vec![]),
        ("wraps()", vec!["wraps"]),
        ("x", vec!["x"]),
        ("__file__", vec!["file__"]),
    ];
    let expected: Vec<(String, Vec<String>)> = expected
        .into_iter()
        .map(|(heading, anchors)| (heading.to_owned(), anchors.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_text_of_the_page_is_left_out() {
    let text = ":orphan:\n:tocdepth: 2\n\n.. A comment\n   goes on.\n\nTitle\n=====\n\n.. toctree::\n   :maxdepth: 2\n\n   intro\n   guide\n\n\
                .. include:: /etc/passwd\n\n.. raw:: html\n\n   <script>x</script>\n\n.. |v| replace:: version 3\n\n.. index:: single: x\n\n.. only:: html\n\n   Shown |v| and |unknown|.\n\n\
                ..\n   Silent.\n\n----------\n\n.. [1] A footnote.\n\n__ https://anonymous.example\n\n| line one\n| line two\n\n.. unknown-thing:: argument\n\n   content\n";
    assert_eq!(
        pieces(&read(text)),
        ["Shown version 3 and unknown.", "[1] A footnote.", "line one\nline two", "argument", "content"]
    );
}

#[test]
fn a_page_cannot_grow_by_its_substitutions() {
    let text = format!(".. |a| replace:: {}\n\n{}\n", "x".repeat(1000), "|a| ".repeat(10_000));
    let length: usize = pieces(&read(&text)).iter().map(|piece| piece.len()).sum();
    assert!(length < 2 * text.len(), "{length} of {}", text.len());
}

#[test]
fn pages_made_to_be_slow_or_deep_are_read_once() {
    let deep: String = (0..2_000).map(|depth| format!("{}.. note::\n\n", " ".repeat(depth))).collect();
    let nested: String = (0..2_000).map(|depth| format!("{}- x\n\n", "  ".repeat(depth))).collect();
    for text in [
        deep,
        nested,
        "*a ".repeat(200_000),
        "``a ".repeat(200_000),
        "`a ".repeat(200_000),
        "|a ".repeat(200_000),
        ":a:`b ".repeat(100_000),
        "[a".repeat(200_000),
        "a_".repeat(200_000),
        "H\n=\n\n".repeat(50_000),
        ".. function:: f()\n".repeat(50_000),
        "+--+--+\n".repeat(50_000),
        "== ==\n".repeat(50_000),
        "term\n  ".repeat(50_000),
        "x::\n\n".repeat(100_000),
        ".. [".repeat(100_000),
        "\t\n".repeat(100_000),
        format!("+{}+\n{}", "-".repeat(400_000), "| x\n".repeat(100_000)),
    ] {
        let document = read(&text);
        let length: usize = document.sections.iter().map(Section::len).sum();
        assert!(length <= text.len() * 12 + 64);
    }
}
