//! Python packages against the pages they should become.

use std::fmt::Write;

use proptest::prelude::*;
use twinmcp_storage::bundle::Block;

use super::*;

fn documents(files: &[(&str, &str)]) -> Vec<Document> {
    let mut package = PythonPackage::new(ParseLimits::default());
    for (path, source) in files {
        package.add(path, source).unwrap();
    }
    package.finish()
}

/// A page as lines: `level heading #anchor`, `| prose`, `language> code`.
fn shown(document: &Document) -> String {
    let mut out = String::new();
    for section in &document.sections {
        let anchors: String = section.anchors.iter().map(|anchor| format!(" #{anchor}")).collect();
        writeln!(out, "{} {}{anchors}", section.level, section.heading).unwrap();
        for piece in &section.pieces {
            let (mark, text) = match &piece.block {
                Block::Prose(prose) => ("|".to_owned(), prose),
                Block::Code { language, code } => (format!("{language}>"), code),
            };
            for line in text.lines() {
                writeln!(out, "{}", format!("{mark} {line}").trim_end()).unwrap();
            }
        }
    }
    out
}

fn page(source: &str) -> String {
    let documents = documents(&[("kit.py", source)]);
    assert_eq!(documents.len(), 1, "{documents:?}");
    shown(&documents[0])
}

/// The text of a function with this docstring.
fn said(docstring: &str) -> String {
    let page = page(&format!("def f():\n    r'''{docstring}'''\n"));
    page.strip_prefix("1 kit\n2 f() #kit.f\npython> def f()\n").unwrap().to_owned()
}

#[test]
fn functions_and_classes_become_sections() {
    let source = "\"\"\"Small parts.\n\nFor all.\n\"\"\"\nimport os\nfrom typing import overload\n\nLIMIT: int = 3\n\"\"\"How many.\"\"\"\n_own = 1\n\n\
        @deprecated(\"use `get`\")\nasync def fetch(\n    url: str,\n    *,\n    retries: int = 3,  # tries\n) -> bytes:\n    \"\"\"Fetches.\"\"\"\n    return b\"\"\n\n\
        def _hidden(): ...\n\n\
        class Client(Base, metaclass=Meta):\n    \"\"\"Calls.\"\"\"\n\n    timeout: float = 5.0\n\n    def __init__(self, base: str) -> None:\n        \"\"\"Opens.\"\"\"\n\n    @property\n    def is_closed(self) -> bool:\n        \"\"\"Whether it ended.\"\"\"\n        return True\n\n    @is_closed.setter\n    def is_closed(self, value): ...\n\n    @classmethod\n    def of(cls) -> \"Client\": ...\n\n    def __enter__(self):\n        \"\"\"Itself.\"\"\"\n\n    def __repr__(self): ...\n\n    def _own(self):\n        \"\"\"No.\"\"\"\n";
    assert_eq!(
        page(source),
        "1 kit\n| Small parts.\n| For all.\n\
         2 LIMIT #kit.LIMIT\npython> LIMIT: int = 3\n| How many.\n\
         2 fetch() #kit.fetch\npython> async def fetch(\npython>     url: str,\npython>     *,\npython>     retries: int = 3,\npython> ) -> bytes\n| Deprecated: use `get`\n| Fetches.\n\
         2 Client #kit.Client\npython> class Client(Base, metaclass=Meta):\npython>     timeout: float = 5.0\npython>     def __init__(self, base: str) -> None\npython>     @classmethod\npython>     def of(cls) -> \"Client\"\n| Calls.\n| Opens.\n\
         3 Client.is_closed #kit.Client.is_closed\npython> @property\npython> def is_closed(self) -> bool\n| Whether it ended.\n\
         3 Client.__enter__() #kit.Client.__enter__\npython> def __enter__(self)\n| Itself.\n"
    );
}

#[test]
fn docstrings_of_every_style_say_the_same() {
    let expected = "| Gets it.\n| Args:\n| - `url` (str): Where it is, in full.\n| - `retries`: How often.\n| Returns: The bytes.\n";
    assert_eq!(
        said(
            "Gets it.\n\n    Args:\n        url (str): Where it is,\n            in full.\n        retries: How often.\n\n    Returns:\n        The bytes.\n    "
        ),
        expected
    );
    assert_eq!(
        said(
            "Gets it.\n\n    Parameters\n    ----------\n    url : str\n        Where it is,\n        in full.\n    retries\n        How often.\n\n    Returns\n    -------\n    bytes\n        The bytes.\n    "
        ),
        "| Gets it.\n| Parameters:\n| - `url` (str): Where it is, in full.\n| - `retries`: How often.\n| Returns:\n| - `bytes`: The bytes.\n"
    );
    assert_eq!(
        said(
            "Gets it.\n\n    :param str url: Where it is,\n        in full.\n    :param retries: How often.\n    :type retries: int, optional\n    :param \\*\\*more: The rest.\n    :raises ValueError: Never.\n    :return: The bytes.\n    :rtype: bytes\n    "
        ),
        "| Gets it.\n| Parameters:\n| - `url`: Where it is, in full.\n| - `retries` (int, optional): How often.\n| - `**more`: The rest.\n| Raises `ValueError`: Never.\n| Returns: The bytes.\n| Return type: bytes\n"
    );
}

#[test]
fn examples_are_code() {
    let doctest = "python> >>> get(1)\npython> 1\n";
    for (docstring, expected) in [
        ("Gets.\n\n    >>> get(1)\n    1\n\n    Ends.\n    ", format!("| Gets.\n{doctest}| Ends.\n")),
        (
            "Gets.\n\n    Example:\n        >>> get(1)\n        1\n    ",
            format!("| Gets.\n| Example:\n{doctest}"),
        ),
        (
            "Gets.\n\n    Examples\n    --------\n    One.\n\n    >>> get(1)\n    1\n    ",
            format!("| Gets.\n| Examples:\n| One.\n{doctest}"),
        ),
        (
            "Gets.\n\n    Example:\n        x = get(1)\n        use(x)\n    ",
            "| Gets.\n| Example:\npython> x = get(1)\npython> use(x)\n".to_owned(),
        ),
        ("Gets::\n\n        get(1)\n\n    Ends.\n    ", "| Gets:\npython> get(1)\n| Ends.\n".to_owned()),
        (
            "Gets.\n\n    .. code-block:: toml\n       :linenos:\n\n       a = 1\n    ",
            "| Gets.\ntoml> a = 1\n".to_owned(),
        ),
        ("Gets.\n\n    ```js\n    get(`1`)\n    ```\n    ", "| Gets.\njavascript> get(`1`)\n".to_owned()),
    ] {
        assert_eq!(said(docstring), expected, "{docstring}");
    }
}

#[test]
fn the_markup_of_docstrings_is_read() {
    for (docstring, expected) in [
        ("Uses ``x`` of :class:`~kit.Client` and :py:meth:`run`.", "| Uses `x` of `Client` and `run`.\n"),
        (
            "See `the guide <https://x.example>`_ and `other`_, `plain`.",
            "| See the guide and other, `plain`.\n",
        ),
        (
            "Old.\n\n    .. deprecated:: 2.0\n        Use that.\n    .. versionadded:: 1.5\n    .. note:: Slow.\n    ",
            "| Old.\n| Deprecated since version 2.0: Use that.\n| New in version 1.5.\n| Note: Slow.\n",
        ),
        ("A.\n\n    .. _target:\n\n    B.\n    ", "| A.\n| B.\n"),
        ("An `open tick.", "| An `open tick.\n"),
    ] {
        assert_eq!(said(docstring), expected, "{docstring}");
    }
}

#[test]
fn what_is_public_stands_under_its_shortest_name() {
    let documents = documents(&[
        (
            "kit/__init__.py",
            "\"\"\"Kit.\"\"\"\nfrom ._client import *\nfrom .core import Command as Command, helper\nfrom . import types\nimport os\n__all__ = ['Client', \"Command\"]\n__all__ += ['late']\ndef late(): ...\ndef unlisted(): ...\n",
        ),
        ("kit/_client.py", "class Client:\n    '''Calls.'''\nclass Other:\n    '''Not listed.'''\n"),
        ("kit/core.py", "class Command: ...\ndef helper():\n    '''Helps.'''\ndef _own(): ...\n"),
        ("kit/types.py", "from .core import helper\nif True:\n    Id = int\nelse:\n    Id = str\n"),
        ("kit/_private/deep.py", "def unseen(): ...\n"),
        ("single.py", "def alone(): ...\n"),
    ]);
    let pages: Vec<String> = documents
        .iter()
        .map(|document| {
            let headings: Vec<&str> =
                document.sections.iter().map(|section| section.heading.as_str()).collect();
            format!("{}: {}", document.path, headings.join(" "))
        })
        .collect();
    assert_eq!(
        pages,
        [
            "kit/__init__.py: kit late() Client Command",
            "single.py: single alone()",
            "kit/core.py: kit.core helper()",
            "kit/types.py: kit.types Id",
        ]
    );
}

#[test]
fn an_init_without_a_list_gives_what_it_imports_from_its_own_package() {
    let documents = documents(&[
        (
            "src/kit/__init__.py",
            "from typing import List\nfrom kit.api import get, _own\nfrom .sub import thing\n",
        ),
        ("src/kit/api.py", "from .sub import thing\ndef get(): ...\ndef _own(): ...\n"),
        ("src/kit/sub/__init__.py", "def thing(): ...\n"),
    ]);
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].title, "kit");
    assert!(
        shown(&documents[0]).contains("2 get() #kit.get\n")
            && shown(&documents[0]).contains("2 thing() #kit.thing\n")
    );
}

#[test]
fn a_stub_gives_the_signature_and_the_source_the_text() {
    let documents = documents(&[
        (
            "kit/__init__.py",
            "class A:\n    '''Text.'''\n    def run(self, x):\n        '''Runs.'''\ndef get(x):\n    '''Gets.'''\n",
        ),
        (
            "kit/__init__.pyi",
            "from typing import overload\nclass A:\n    def run(self, x: int) -> str: ...\n@overload\ndef get(x: int) -> int: ...\n@overload\ndef get(x: str) -> str: ...\n",
        ),
    ]);
    assert_eq!(
        shown(&documents[0]),
        "1 kit\n2 A #kit.A\npython> class A:\npython>     def run(self, x: int) -> str\n| Text.\n3 A.run() #kit.A.run\npython> def run(self, x)\n| Runs.\n\
         2 get() #kit.get\npython> @overload\npython> def get(x: int) -> int\npython> @overload\npython> def get(x: str) -> str\n| Gets.\n"
    );
}

#[test]
fn what_stands_around_an_error_is_read() {
    let page = page("def before():\n    '''B.'''\n\ndef (((\n\ndef after():\n    '''A.'''\n");
    assert!(page.contains("before()") && page.contains("after()"), "{page}");
}

#[test]
fn the_names_a_program_imports_are_known() {
    let mut package = PythonPackage::new(ParseLimits::default());
    for path in ["yaml/__init__.py", "yaml/nodes.py", "_yaml/__init__.py", "six.py"] {
        package.add(path, "x = 1\n").unwrap();
    }
    assert_eq!(package.import_names(), ["six", "yaml"]);
}

#[test]
fn no_nesting_exhausts_the_stack_and_no_garbage_takes_long() {
    let deep = 20_000;
    let classes: String = (0..500).map(|depth| format!("{}class A{depth}:\n", " ".repeat(depth))).collect();
    for source in [
        format!("A = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        "(".repeat(deep),
        "def a(b=".repeat(deep),
        "if x:".repeat(deep),
        classes,
        "\"\"\"".repeat(deep + 1),
        format!("'''{}'''", "Args:\n  a: ".repeat(deep)),
    ] {
        let _ = parse("a.py", &source, &ParseLimits::default());
    }
    let small = ParseLimits { page_bytes: 3, ..ParseLimits::default() };
    assert_eq!(parse("a.py", "a = 1", &small), Err(ParseError::TooLarge { bytes: 5, limit: 3 }));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        text in "(def |class |from |import |async |@|__all__|'''|\"\"\"|Args:|:param |>>> |\\.\\. |::|----|[()\\[\\]:=,.\n `a-c]){0,80}",
    ) {
        let _ = parse("a.py", &text, &ParseLimits::default());
        let _ = docstring::markdown(&text);
    }
}
