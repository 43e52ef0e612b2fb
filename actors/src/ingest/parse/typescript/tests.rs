//! TypeScript packages against the pages they should become.

use std::fmt::Write;

use proptest::prelude::*;
use twinmcp_storage::bundle::Block;

use super::*;

fn documents(entries: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<Document> {
    let entries: Vec<(String, String)> =
        entries.iter().map(|(subpath, file)| ((*subpath).to_owned(), (*file).to_owned())).collect();
    let mut package = TypeScriptPackage::new("kit", &entries, ParseLimits::default());
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

/// The only page of a package whose only declaration file is `source`.
fn page(source: &str) -> String {
    let documents = documents(&[("", "index.d.ts")], &[("index.d.ts", source)]);
    assert_eq!(documents.len(), 1, "{documents:?}");
    shown(&documents[0])
}

#[test]
fn each_kind_of_declaration_becomes_a_section() {
    for (source, expected) in [
        (
            "/** Adds. */\nexport declare function add<T>(\n  left: T, // first\n  right: T\n): T;\n",
            "2 add() #add\ntypescript> function add<T>(\ntypescript>   left: T,\ntypescript>   right: T\ntypescript> ): T;\n| Adds.\n",
        ),
        (
            "export declare const LIMIT: number;\n/** Sum. */\nexport declare const sum: (a: number) => number;\n",
            "2 LIMIT #LIMIT\ntypescript> const LIMIT: number\n2 sum() #sum\ntypescript> const sum: (a: number) => number\n| Sum.\n",
        ),
        (
            "/** How. */\nexport interface Options extends Base {\n  /** Milliseconds. */\n  timeout?: number;\n  retries: number;\n  (call: string): void;\n}\n",
            "2 Options #Options\ntypescript> interface Options extends Base {\ntypescript>     timeout?: number;\ntypescript>     retries: number;\ntypescript>     (call: string): void;\ntypescript> }\n| How.\n3 Options.timeout #Options.timeout\ntypescript> timeout?: number\n| Milliseconds.\n",
        ),
        (
            "export type Id = string | number;\nexport declare enum Level {\n  /** Quiet. */\n  Low = 1,\n  High\n}\n",
            "2 Id #Id\ntypescript> type Id = string | number;\n2 Level #Level\ntypescript> enum Level {\ntypescript>   Low = 1,\ntypescript>   High\ntypescript> }\n3 Level.Low #Level.Low\n| Quiet.\n",
        ),
        (
            "export declare class Client<T> extends Base {\n  private secret: string;\n  #own: number;\n  /** @internal */\n  _raw(): void;\n  _silent(): void;\n  static of(): Client<any>;\n  /** Closes. */\n  close(force: boolean): Promise<void>;\n  /** Soon. */\n  close(): Promise<void>;\n}\n",
            "2 Client #Client\ntypescript> class Client<T> extends Base {\ntypescript>     static of(): Client<any>;\ntypescript>     close(force: boolean): Promise<void>;\ntypescript>     close(): Promise<void>;\ntypescript> }\n3 Client.close() #Client.close\ntypescript> close(force: boolean): Promise<void>\ntypescript> close(): Promise<void>\n| Closes.\n| Soon.\n",
        ),
        (
            "export declare namespace util {\n  /** Trims. */\n  function trim(text: string): string;\n  namespace deep { type A = 1; }\n}\n",
            "2 util #util\ntypescript> namespace util\n3 util.trim() #util.trim\ntypescript> function trim(text: string): string;\n| Trims.\n3 util.deep #util.deep\ntypescript> namespace deep\n4 deep.A #util.deep.A\ntypescript> type A = 1;\n",
        ),
        (
            "export declare function get(id: string): string;\n/** Many. */\nexport declare function get(ids: string[]): string[];\n",
            "2 get() #get\ntypescript> function get(id: string): string;\ntypescript> function get(ids: string[]): string[];\n| Many.\n",
        ),
    ] {
        assert_eq!(page(source), format!("1 kit\n{expected}"), "{source}");
    }
}

#[test]
fn the_tags_of_a_comment_become_text_and_examples_code() {
    let source = "/**\n * Waits for {@link Client} or {@link https://x.example the end}, {@code now}.\n *\n * @summary Short.\n * @description Short. And more.\n * @remarks Slow.\n * @template T - The kind.\n * @param {string} name - The name,\n *   in full.\n * @param [limit=3] How many.\n * @returns {Promise<T>} What came.\n * @throws {Error} Late.\n * @deprecated Use\n *   `next`.\n * @example\n * const x = await wait(\"a\");\n * @example With a fence\n * ```js\n * // @ts-check\n * wait();\n * ```\n * @since 2.0\n * @category Time\n */\nexport function wait<T>(name: string, limit?: number): Promise<T>;\n";
    assert_eq!(
        page(source),
        "1 kit\n2 wait() #wait\ntypescript> function wait<T>(name: string, limit?: number): Promise<T>;\n\
         | Deprecated: Use `next`.\n| Waits for `Client` or the end, `now`.\n| Short. And more.\n| Slow.\n| Type parameters:\n| - `T`: The kind.\n\
         | Parameters:\n| - `name`: The name, in full.\n| - `limit`: How many.\n| Returns: What came.\n| Throws: Late.\n| Since: 2.0\n\
         typescript> const x = await wait(\"a\");\n| With a fence\njavascript> // @ts-check\njavascript> wait();\n"
    );
}

#[test]
fn re_exports_are_followed_to_what_they_mean() {
    let documents = documents(
        &[("", "index.d.cts"), ("/fp", "fp.js"), ("/parts/*", "parts/*.js")],
        &[
            (
                "index.d.ts",
                "import Client, { Base } from './client.js';\nimport * as core from \"./core\";\nexport { Client as default, Base };\nexport { core };\nexport { a as renamed } from './a.ts';\nexport * from './all';\nexport * as ns from './core/index';\nexport { outside } from 'other';\n",
            ),
            ("index.d.cts", "export declare const twin: 1;\n"),
            (
                "client.d.ts",
                "/** Calls. */\nexport default class Client {}\nexport interface Base {}\ninterface Hidden {}\n",
            ),
            ("core/index.d.ts", "/** Deep. */\nexport declare function deep(): void;\n"),
            ("a.d.ts", "/** A. */\nexport declare const a: 1;\nexport declare const unseen: 2;\n"),
            ("all.d.ts", "export * from './all';\nexport declare type All = 1;\nexport default All;\n"),
            ("fp.d.ts", "export * from './a';\n"),
            ("parts/one.d.ts", "export declare const one: 1;\n"),
            ("parts/two.d.ts", "export declare const two: 2;\n"),
        ],
    );
    let headings = |document: &Document| {
        document.sections.iter().map(|section| section.heading.clone()).collect::<Vec<_>>().join(" ")
    };
    let pages: Vec<(String, String)> =
        documents.iter().map(|document| (document.path.clone(), headings(document))).collect();
    let expected = [
        ("index.d.ts", "kit renamed All Client Base core.deep()"),
        ("fp.d.ts", "kit/fp unseen"),
        ("parts/one.d.ts", "kit/parts/one one"),
        ("parts/two.d.ts", "kit/parts/two two"),
    ];
    assert_eq!(pages, expected.map(|(path, headings)| (path.to_owned(), headings.to_owned())));
}

#[test]
fn modules_that_a_file_declares_are_pages_of_their_own() {
    let documents = documents(
        &[("", "index.d.ts")],
        &[
            ("index.d.ts", "/// <reference path=\"fs.d.ts\" />\ndeclare function setup(): void;\n"),
            (
                "fs.d.ts",
                "declare module \"fs\" {\n  /** Reads. */\n  function read(path: string): string;\n}\ndeclare module \"node:fs\" { export * from \"fs\"; }\ndeclare module \"*.svg\" { const x: string; }\n",
            ),
        ],
    );
    let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["fs", "kit"]);
    assert!(
        shown(&documents[0])
            .contains("2 read() #read\ntypescript> function read(path: string): string;\n| Reads.\n")
    );
    assert!(shown(&documents[1]).contains("2 setup() #setup\n"));
}

#[test]
fn sources_are_read_where_nothing_declares_them() {
    let files = [
        (
            "src/index.ts",
            "export * from './add';\n/** Opens. */\nexport async function open(path: string): Promise<void> {\n  await x();\n}\nexport const twice = (n: number): number => n * 2;\nexport class Box<T> {\n  /** What is in it. */\n  value: T = make();\n  private count = 0;\n  get(): T { return this.value; }\n}\nfunction hidden() {}\n",
        ),
        (
            "src/add.ts",
            "export function add(a: number): number;\nexport function add(a: string): string;\nexport function add(a: any) { return a; }\n",
        ),
    ];
    let page = shown(&documents(&[("", "dist/index.d.ts")], &files)[0]);
    assert_eq!(
        page,
        "1 kit\n2 add() #add\ntypescript> function add(a: number): number;\ntypescript> function add(a: string): string;\n\
         2 open() #open\ntypescript> async function open(path: string): Promise<void>\n| Opens.\n\
         2 twice() #twice\ntypescript> const twice = (n: number): number => …\n\
         2 Box #Box\ntypescript> class Box<T> {\ntypescript>     value: T;\ntypescript>     get(): T;\ntypescript> }\n3 Box.value #Box.value\ntypescript> value: T\n| What is in it.\n"
    );
    let built = documents(
        &[("", "dist/index.d.ts")],
        &[&[("dist/index.d.ts", "export declare const built: 1;\n")][..], &files].concat(),
    );
    assert!(shown(&built[0]).contains("built") && !shown(&built[0]).contains("open"));
}

#[test]
fn what_stands_around_an_error_is_read() {
    let page = page(
        "/** Before. */\nexport declare function before(): void;\nexport declare function (((;\n/** After. */\nexport declare function after(): void;\n",
    );
    assert!(page.contains("before()") && page.contains("after()"), "{page}");
}

#[test]
fn hidden_symbols_and_files_that_only_list_others_leave_nothing() {
    for source in [
        "",
        "/** @internal */\nexport declare const a: 1;\n",
        "declare const b: 1;\nexport {};\n",
        "export * from './gone';\n",
    ] {
        assert_eq!(documents(&[("", "index.d.ts")], &[("index.d.ts", source)]), [], "{source}");
    }
}

#[test]
fn a_file_comment_introduces_its_page() {
    let page = page(
        "/**\n * @packageDocumentation\n * Everything for *time*.\n */\n\n/** A. */\nexport declare const a: 1;\n",
    );
    assert!(page.starts_with("1 kit\n| Everything for time.\n2 a #a\n"), "{page}");
}

#[test]
fn no_nesting_exhausts_the_stack_and_no_garbage_takes_long() {
    let deep = 20_000;
    for source in [
        format!("export type A = {}1{};", "[".repeat(deep), "]".repeat(deep)),
        "namespace a {".repeat(deep),
        "export declare class A { m(): ".repeat(deep),
        "(".repeat(deep),
        "/** ".repeat(deep),
        "export * as a from './x';".repeat(deep),
    ] {
        let _ = parse("a.d.ts", &source, &ParseLimits::default());
    }
    let small = ParseLimits { page_bytes: 3, ..ParseLimits::default() };
    assert_eq!(parse("a.ts", "let a", &small), Err(ParseError::TooLarge { bytes: 5, limit: 3 }));
}

#[test]
fn re_exports_in_a_circle_end() {
    let documents = documents(
        &[("", "index.d.ts")],
        &[
            (
                "index.d.ts",
                "export * from './b';\nexport { x } from './b';\nexport * as me from './index';\n",
            ),
            (
                "b.d.ts",
                "export * from './index';\nexport { x } from './index';\nexport declare const found: 1;\n",
            ),
        ],
    );
    assert!(shown(&documents[0]).contains("2 found #found\n"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        text in "(export |declare |class |interface |namespace |function |const |type |/\\*\\* |\\*/|@param |[{}()<>;:=,.\n a-c'\"*]){0,80}",
    ) {
        let _ = parse("a.d.ts", &text, &ParseLimits::default());
        let _ = parse("a.ts", &text, &ParseLimits::default());
    }
}
