//! Rust sources against the pages they should become.

use std::fmt::Write;

use proptest::prelude::*;
use twinmcp_storage::bundle::Block;

use super::*;

fn documents(files: &[(&str, &str)]) -> Vec<Document> {
    let mut sources = RustCrate::new("demo", "src/lib.rs", ParseLimits::default());
    for (path, source) in files {
        sources.add(path, source).unwrap();
    }
    sources.finish()
}

fn paths(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| document.path.as_str()).collect()
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

/// The only page of a crate whose root is `source`.
fn page(source: &str) -> String {
    let documents = documents(&[("src/lib.rs", source)]);
    assert_eq!(documents.len(), 1, "{:?}", paths(&documents));
    shown(&documents[0])
}

#[test]
fn each_kind_of_item_becomes_the_page_rustdoc_makes_of_it() {
    for (source, expected) in [
        (
            "/// Adds.\npub fn add<T>(left: T, right: T) -> T\nwhere\n    T: Add,\n{\n    left + right\n}\n",
            "1 demo::add\nrust> pub fn add<T>(left: T, right: T) -> T\nrust> where\nrust>     T: Add,\n| Adds.\n",
        ),
        (
            "/// A point.\n#[derive(Clone)]\npub struct Point<T = f32> {\n    /// Across.\n    pub x: T,\n    #[serde(skip)]\n    pub y: T,\n    cache: u8,\n}\n",
            "1 demo::Point\nrust> pub struct Point<T = f32> {\nrust>     pub x: T,\nrust>     pub y: T,\nrust>     /* private fields */\nrust> }\n| A point.\n2 Point::x #structfield.x\n| Across.\n",
        ),
        (
            "/// An id.\npub struct Id(pub u32, String);\n",
            "1 demo::Id\nrust> pub struct Id(pub u32, /* private */);\n| An id.\n",
        ),
        ("/// Nothing.\npub struct Unit;\n", "1 demo::Unit\nrust> pub struct Unit;\n| Nothing.\n"),
        (
            "/// Why.\npub enum Error {\n    /// Not there.\n    NotFound { path: String },\n    Io(std::io::Error), // other\n    #[doc(hidden)]\n    Secret,\n    Last = 9,\n}\n",
            "1 demo::Error\nrust> pub enum Error {\nrust>     NotFound { path: String },\nrust>     Io(std::io::Error),\nrust>     Last = 9,\nrust> }\n| Why.\n2 Error::NotFound #variant.NotFound\n| Not there.\n",
        ),
        (
            "/// Reads.\npub trait Read: Send {\n    /// What comes out.\n    type Item;\n    const MAX: usize = 9;\n    /// Fills.\n    fn fill(&mut self) -> usize;\n    fn done(&self) -> bool {\n        true\n    }\n}\n",
            "1 demo::Read\nrust> pub trait Read: Send {\nrust>     type Item;\nrust>     const MAX: usize;\nrust>     fn fill(&mut self) -> usize;\nrust>     fn done(&self) -> bool { ... }\nrust> }\n| Reads.\n2 Read::Item #associatedtype.Item\nrust> type Item;\n| What comes out.\n2 Read::fill #tymethod.fill\nrust> fn fill(&mut self) -> usize\n| Fills.\n",
        ),
        (
            "/// A list.\n#[macro_export]\nmacro_rules! list {\n    () => { Vec::new() };\n    ($($x:expr),+ $(,)?) => ({ vec![$($x),+] });\n}\n",
            "1 demo::list!\nrust> macro_rules! list {\nrust>     () => { ... };\nrust>     ($($x:expr),+ $(,)?) => { ... };\nrust> }\n| A list.\n",
        ),
        (
            "pub const LIMIT: usize = 1 << 4;\n/// Names.\npub static NAMES: [&str; 2] = [\"a\", \"b\"];\npub type Result<T> = std::result::Result<T, Error>;\npub fn bare() {}\n",
            "1 demo\n2 demo::LIMIT #constant.LIMIT\nrust> pub const LIMIT: usize = 1 << 4;\n2 demo::NAMES #static.NAMES\nrust> pub static NAMES: [&str; 2] = [\"a\", \"b\"];\n| Names.\n2 demo::Result #type.Result\nrust> pub type Result<T> = std::result::Result<T, Error>;\n2 demo::bare #fn.bare\nrust> pub fn bare()\n",
        ),
        (
            "/// Derives.\n#[proc_macro_derive(Show, attributes(show))]\npub fn derive_show(input: TokenStream) -> TokenStream { input }\n",
            "1 demo::Show\nrust> #[derive(Show)]\n| Derives.\n",
        ),
        (
            "/// Both.\npub union Bits { pub whole: u32, half: [u16; 2] }\n",
            "1 demo::Bits\nrust> pub union Bits {\nrust>     pub whole: u32,\nrust>     /* private fields */\nrust> }\n| Both.\n",
        ),
    ] {
        assert_eq!(page(source), expected, "{source}");
    }
}

#[test]
fn methods_are_entries_with_the_anchors_of_rustdoc() {
    let source = "/// A queue.\npub struct Queue<T>(Vec<T>);\n\
        impl<T> Queue<T> {\n    /// How many fit.\n    pub const MAX: usize = 8;\n\n    /// Adds one.\n    ///\n    /// # Panics\n    ///\n    /// When full.\n    pub fn push(\n        &mut self,\n        // what\n        item: T,\n    ) {\n        self.0.push(item)\n    }\n    pub(crate) fn hidden(&self) {}\n    fn private(&self) {}\n    pub fn len(&self) -> usize { 0 }\n}\nimpl<T> Drop for Queue<T> {\n    fn drop(&mut self) {}\n}\n";
    assert_eq!(
        page(source),
        "1 demo::Queue\nrust> pub struct Queue<T>(/* private */);\n| A queue.\n2 Queue::MAX #associatedconstant.MAX\nrust> pub const MAX: usize = 8;\n| How many fit.\n\
         2 Queue::push #method.push\nrust> pub fn push(\nrust>     &mut self,\nrust>     item: T,\nrust> )\n| Adds one.\n3 Panics #panics\n| When full.\n\
         2 Queue::len #method.len\nrust> pub fn len(&self) -> usize\n"
    );
}

#[test]
fn what_is_not_public_or_hidden_or_for_tests_is_left_out() {
    let source = "pub(crate) fn a() {}\nfn b() {}\n#[doc(hidden)]\npub fn c() {}\n#[cfg(test)]\npub mod tests { pub fn d() {} }\n#[cfg(all(test, unix))]\npub fn e() {}\nmacro_rules! f { () => {} }\nmod g { pub fn h() {} }\npub(super) struct I;\n";
    assert_eq!(documents(&[("src/lib.rs", source)]), []);
}

#[test]
fn examples_lose_their_hidden_lines_and_are_known_as_rust() {
    let source = "//! Start.\n//!\n//! ```\n//! # use demo::add;\n//! #\n//! #[derive(Debug)]\n//! let x = add(1);\n//! ##[kept]\n//! ```\n//!\n//! ```no_run,edition2021\n//! run();\n//! ```\n//!\n//! ```text\n//! # not rust\n//! ```\n//!\n//! ```toml\n//! # a comment\n//! a = 1\n//! ```\n//!\n//! # Features\n//!\n//! Many.\n";
    assert_eq!(
        page(source),
        "1 demo\n| Start.\nrust> #[derive(Debug)]\nrust> let x = add(1);\nrust> #[kept]\nrust> run();\n> # not rust\ntoml> # a comment\ntoml> a = 1\n2 Features #features\n| Many.\n"
    );
}

#[test]
fn block_comments_and_attributes_say_as_much_as_line_comments() {
    let source = "/**\n * Adds.\n *\n *     let x = 1;\n */\n#[deprecated(since = \"1.2\", note = \"use `plus`\")]\n#[cfg(feature = \"math\")]\n#[doc = \"More.\"]\npub fn add() {}\n";
    let page = page(source);
    assert!(
        page.contains("| Deprecated since 1.2: use `plus`\n| Needs the crate feature `math`.\n| Adds.\n"),
        "{page}"
    );
    assert!(page.contains("\n> let x = 1;\n| More.\n"), "{page}");
}

#[test]
fn headings_that_come_again_get_numbered_anchors() {
    let source = "/// A.\n///\n/// # Examples\n///\n/// x\npub struct A;\nimpl A {\n    /// B.\n    ///\n    /// # Examples\n    ///\n    /// y\n    pub fn b() {}\n}\n";
    let page = page(source);
    assert!(page.contains("2 Examples #examples\n") && page.contains("3 Examples #examples-1\n"), "{page}");
}

#[test]
fn modules_are_found_in_the_files_the_compiler_would_read() {
    let documents = documents(&[
        (
            "src/lib.rs",
            "//! Root.\npub mod net;\nmod private;\n#[path = \"odd/place.rs\"]\npub mod placed;\npub mod inline {\n    //! In.\n    pub mod deeper;\n}\npub use private::Kept as Renamed;\npub use other_crate::Thing;\npub use std::io::*;\n",
        ),
        ("src/net/mod.rs", "//! Net.\npub mod tcp;\nmod imp;\npub use self::imp::*;\n"),
        ("src/net/tcp.rs", "/// Connects.\npub fn connect() {}\n"),
        (
            "src/net/imp.rs",
            "/// Stream.\npub struct Stream;\nimpl super::super::private::Kept {\n    /// From elsewhere.\n    pub fn far(&self) {}\n}\n",
        ),
        ("src/private.rs", "/// Kept.\npub struct Kept;\n/// Not reached.\npub struct Lost;\n"),
        ("src/odd/place.rs", "/// Placed.\npub fn here() {}\n"),
        ("src/inline/deeper.rs", "//! Deeper.\n"),
        ("src/orphan.rs", "/// Never declared.\npub fn orphan() {}\n"),
    ]);
    assert_eq!(
        paths(&documents),
        [
            "demo/index.html",
            "demo/inline/deeper/index.html",
            "demo/inline/index.html",
            "demo/net/index.html",
            "demo/net/struct.Stream.html",
            "demo/net/tcp/fn.connect.html",
            "demo/placed/fn.here.html",
            "demo/struct.Renamed.html",
        ]
    );
    assert_eq!(
        shown(&documents[0]),
        "1 demo\n| Root.\n2 Re-exports #reexports\n| - `other_crate::Thing`\n| - `std::io::*`\n"
    );
    assert!(shown(&documents[7]).contains("2 Renamed::far #method.far\n"), "{}", shown(&documents[7]));
    assert_eq!(documents[5].title, "demo::net::tcp::connect");
}

#[test]
fn items_inside_a_macro_call_are_read_and_other_calls_are_not_in_the_way() {
    let documents = documents(&[
        (
            "src/lib.rs",
            "cfg_rt! {\n    pub mod task;\n    pub use crate::task::spawn;\n}\nlazy_static! { pub static ref X: u8 = { 1 }; }\nthread_local!(static Y: u8 = 2);\nbitflags! { pub struct Flags: u32 { const A = 1; } }\n",
        ),
        ("src/task.rs", "/// Spawns.\npub fn spawn() { let x = || {}; }\n"),
    ]);
    assert_eq!(paths(&documents), ["demo/task/fn.spawn.html"]);
}

#[test]
fn an_item_is_shown_where_it_is_exported_and_named_by_its_other_paths() {
    let documents = documents(&[
        ("src/lib.rs", "pub mod task;\npub use task::spawn;\n"),
        ("src/task/mod.rs", "mod spawn;\npub use self::spawn::spawn;\n"),
        ("src/task/spawn.rs", "/// Spawns a [`Task`], see [`x`](y).\npub fn spawn() {}\n"),
    ]);
    assert_eq!(paths(&documents), ["demo/fn.spawn.html"]);
    let page = shown(&documents[0]);
    assert!(page.contains("| Also known as `demo::task::spawn`.\n| Spawns a `Task`, see "), "{page}");
}

#[test]
fn an_item_of_an_old_edition_does_not_take_the_others_with_it() {
    let source = "type Action = Fn(u8) + Send;\nconst A: *const u8 = b\"a\" as *const u8 as *const _;\n/// B.\npub fn b() {}\n";
    assert!(page(source).starts_with("1 demo::b\n"));
}

#[test]
fn a_macro_that_only_adds_attributes_is_seen_through() {
    let source = "macro_rules! doc {\n    ($join:item) => {\n        /// Joins.\n        #[macro_export]\n        $join\n    };\n}\n#[cfg(doc)]\ndoc! { macro_rules! join { ($a:expr) => {}; } }\n#[cfg(not(doc))]\ndoc! { macro_rules! join { ($a:expr) => {}; } }\n";
    assert!(page(source).ends_with("rust>     ($a:expr) => { ... };\nrust> }\n| Joins.\n"));
}

#[test]
fn every_branch_of_cfg_if_is_read() {
    let documents = documents(&[
        (
            "src/lib.rs",
            "cfg_if::cfg_if! {\n    if #[cfg(unix)] {\n        mod unix;\n        pub use unix::*;\n    } else {\n        /// Other.\n        pub fn other() {}\n    }\n}\n",
        ),
        ("src/unix.rs", "/// Unix.\npub fn unix() {}\n"),
    ]);
    assert_eq!(paths(&documents), ["demo/fn.other.html", "demo/fn.unix.html"]);
}

#[test]
fn a_hidden_module_still_gives_what_is_exported_from_it() {
    let documents = documents(&[
        (
            "src/lib.rs",
            "#[doc(hidden)]\npub mod imp;\npub use imp::Shown;\n#[doc(hidden)]\npub use imp::Unseen;\n",
        ),
        (
            "src/imp.rs",
            "/// A.\npub struct Shown;\n/// B.\npub struct Unseen;\n/// C.\n#[macro_export]\nmacro_rules! c { () => {} }\n",
        ),
    ]);
    assert_eq!(paths(&documents), ["demo/macro.c.html", "demo/struct.Shown.html"]);
}

#[test]
fn of_two_declarations_of_a_module_the_public_one_counts() {
    for lib in
        ["cfg_a! { pub mod m; }\ncfg_not_a! { mod m; }\n", "cfg_not_a! { mod m; }\ncfg_a! { pub mod m; }\n"]
    {
        let documents = documents(&[("src/lib.rs", lib), ("src/m.rs", "/// A.\npub fn a() {}\n")]);
        assert_eq!(paths(&documents), ["demo/m/fn.a.html"]);
    }
}

#[test]
fn re_exports_in_a_circle_end() {
    let documents = documents(&[
        (
            "src/lib.rs",
            "mod a;\nmod b;\npub use a::*;\npub use a::x;\npub use self::gone::gone;\npub use crate::*;\n",
        ),
        ("src/a.rs", "pub use crate::b::*;\npub use crate::b::x;\npub use super::*;\n"),
        ("src/b.rs", "pub use crate::a::*;\npub use crate::a::x;\n/// Found.\npub fn found() {}\n"),
    ]);
    assert!(paths(&documents).contains(&"demo/fn.found.html"), "{:?}", paths(&documents));
}

#[test]
fn a_workspace_gives_one_crate_for_each_library_root() {
    let documents = documents(&[
        ("crates/first-one/src/lib.rs", "/// A.\npub fn a() {}\n"),
        ("second/src/lib.rs", "pub mod m;\n"),
        ("second/src/m.rs", "/// B.\npub fn b() {}\n"),
    ]);
    assert_eq!(paths(&documents), ["first_one/fn.a.html", "second/m/fn.b.html"]);
}

#[test]
fn one_file_by_itself_is_named_by_its_path() {
    let limits = ParseLimits::default();
    let documents = parse("src/sync/mpsc/mod.rs", "/// S.\npub fn s() {}\n", &limits).unwrap();
    assert_eq!((documents[0].path.as_str(), documents[0].title.as_str()), ("crate/fn.s.html", "crate::s"));
    assert_eq!(parse("a.rs", "", &limits).unwrap(), []);
    let small = ParseLimits { page_bytes: 3, ..limits };
    assert_eq!(parse("a.rs", "fn a() {}", &small), Err(ParseError::TooLarge { bytes: 9, limit: 3 }));
}

#[test]
fn what_is_not_rust_is_an_error_with_its_line() {
    for (source, line) in [
        ("fn a() {}\nfn (", "line 2"),
        ("pub fn a(\n  b c) {}", "line 2"),
        ("\"open", "line 1"),
        ("pub struct;", "line 1"),
    ] {
        let error = parse("a.rs", source, &ParseLimits::default()).unwrap_err();
        assert!(
            matches!(&error, ParseError::Syntax { reason } if reason.starts_with(line)),
            "{source}: {error}"
        );
    }
}

#[test]
fn no_nesting_exhausts_the_stack() {
    let deep = 10_000;
    let nested = |open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(deep), close.repeat(deep))
    };
    let parse = |source: String| parse("a.rs", &source, &ParseLimits::default());
    // In bodies and values nobody looks.
    for source in [
        format!("/// A.\npub fn a() {{ {} }}", nested("(", "1", ")")),
        format!("/// A.\npub fn a() {{ {} }}", nested("{", "1", "}")),
        format!("/// A.\npub fn a() {{ {}1 }}", "!".repeat(deep)),
        format!("/// A.\npub const A: u8 = {};", nested("(", "1", ")")),
        format!("/// A.\npub fn a() {{}}\nany!({});", nested("[", "1", "]")),
    ] {
        assert_eq!(parse(source).unwrap().len(), 1);
    }
    // Elsewhere it is refused.
    for source in [
        format!("pub fn a(x: {}) {{}}", nested("(", "u8", ")")),
        format!("pub type A = {}u8;", "&".repeat(deep)),
        format!("pub type A = {};", nested("A<", "u8", ">")),
        format!("pub type A = {};", nested("A<u8,", "u8", ">")),
        format!("pub type A = {}u8;", "fn() -> ".repeat(deep)),
        format!("pub type A = [u8; {}1];", "!".repeat(deep)),
        format!("#[x = {}]\npub fn a() {{}}", nested("(", "1", ")")),
        format!("pub enum A {{ B = {} }}", nested("(", "1", ")")),
        nested("mod m {", "", "}"),
        format!("use {};", nested("a::{", "b", "}")),
        format!("use {}b;", "a::".repeat(deep)),
    ] {
        assert!(matches!(parse(source.clone()), Err(ParseError::Syntax { .. })), "{}", &source[..40]);
    }
}

#[test]
fn sources_just_within_the_bounds_do_not_exhaust_the_stack_either() {
    let parse = |source: String| parse("a.rs", &source, &ParseLimits::default());
    for source in [
        format!("pub type A = {}u8;", "&".repeat(1_900)),
        format!("pub type A = {}u8{};", "A<".repeat(600), ">".repeat(600)),
        format!("pub type A = {}u8;", "fn() -> ".repeat(450)),
        format!("pub type A = [u8; {}1];", "!".repeat(1_900)),
        format!("pub fn a(x: {}u8{}) {{}}", "(".repeat(120), ")".repeat(120)),
    ] {
        assert!(parse(source.clone()).is_ok(), "{}", &source[..40]);
    }
}

#[test]
fn an_example_is_shown_as_code_under_what_it_says() {
    let item = "fn item() {\n    work();\n\n    more();\n}\n\n";
    let source = format!(
        "// Copyright\n\n//! Echo server.\n//!\n//! Run it.\n\n#![allow(x)]\nuse a;\n\n{}",
        item.repeat(150)
    );
    let document = example("examples/echo/main.rs", &source, &ParseLimits::default()).unwrap();
    assert_eq!(document.title, "Example: echo");
    let page = shown(&document);
    assert!(
        page.starts_with("1 Example: echo\n| Echo server.\n| Run it.\nrust> #![allow(x)]\nrust> use a;\n"),
        "{page}"
    );
    let blocks: Vec<&str> = document.sections[0].pieces.iter().skip(2).map(|piece| piece.text()).collect();
    assert!(
        blocks.len() > 1 && blocks.iter().all(|block| block.len() <= 3072 && !block.starts_with(' ')),
        "{}",
        blocks.len()
    );
    assert_eq!(blocks.join("\n").matches("more();").count(), 150);
}

#[test]
fn text_outside_ascii_does_not_shift_a_signature() {
    let source = "\u{feff}#!/usr/bin/env rust\n// größe 東京 🚀\n/// Ä.\npub fn ä(s: &'static str) -> char { 'ß' }\n/// B.\npub fn b() {}\n";
    let documents = documents(&[("src/lib.rs", source)]);
    assert!(shown(&documents[0]).contains("rust> pub fn b()\n"));
    assert!(shown(&documents[1]).contains("rust> pub fn ä(s: &'static str) -> char\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_is_read_or_refused(source in "\\PC{0,200}") {
        let _ = parse("a.rs", &source, &ParseLimits::default());
        let _ = example("examples/a.rs", &source, &ParseLimits::default());
    }

    #[test]
    fn any_mix_of_words_is_read_or_refused(words in proptest::collection::vec(
        prop::sample::select(vec![
            "pub", "fn", "struct", "enum", "impl", "trait", "mod", "use", "const", "static", "type", "macro_rules!", "a", "B", "=", "=>", "->",
            ";", ",", "::", "*", "<", ">", "{", "}", "(", ")", "[", "]", "#", "!", "///x\n", "//!y\n", "'a", "\"s\"", "1", "&", "where", "for", "self",
        ]), 0..40,
    )) {
        let _ = parse("a.rs", &words.join(" "), &ParseLimits::default());
    }
}
