use super::parse;
use crate::ingest::parse::{Document, ParseLimits, Parsed, SkipReason};
use twinmcp_storage::bundle::Block;

fn read(path: &str, html: &str) -> Parsed {
    parse(path, html, &ParseLimits::default()).unwrap()
}

fn document(html: &str) -> Document {
    match read("page.html", html) {
        Parsed::Document(document) => document,
        Parsed::Skipped(reason) => panic!("skipped: {reason:?}"),
    }
}

/// A page as lines: `level heading #anchors`, then text, then code behind its language and `>`.
fn shown(html: &str) -> String {
    let mut out = String::new();
    for section in document(html).sections {
        out.push_str(&format!("{} {} #{}\n", section.level, section.heading, section.anchors.join(" #")));
        for piece in section.pieces {
            match piece.block {
                Block::Prose(text) => out.push_str(&format!("| {}\n", text.replace('\n', "\n| "))),
                Block::Code { language, code } => {
                    out.push_str(&format!("{language}> {}\n", code.replace('\n', "\n> ")));
                }
            }
        }
    }
    out
}

const SPHINX: &str = r##"<!DOCTYPE html><html><head><title>functools — Tools &#8212; Python docs</title></head><body>
<div class="related" role="navigation"><h3>Navigation</h3><ul><li><a href="x">index</a></li></ul></div>
<div class="document"><div class="documentwrapper"><div class="bodywrapper"><div class="body" role="main">
<section id="module-functools"><span id="functools-tools"></span>
<h1><a class="reference" href="#module-functools"><code class="xref"><span class="pre">functools</span></code></a> — Tools<a class="headerlink" href="#module-functools" title="Permalink">¶</a></h1>
<p>The <a class="reference internal" href="#x"><code>functools</code></a> module
 is for <em>higher-order</em> functions.</p>
<dl class="py function">
<dt class="sig sig-object py" id="functools.lru_cache"><span class="sig-prename descclassname">@functools.</span><span class="sig-name descname">lru_cache</span><span class="sig-paren">(</span><em>user_function</em><span class="sig-paren">)</span><a class="headerlink" href="#functools.lru_cache">¶</a></dt>
<dt class="sig sig-object py"><span class="sig-prename descclassname">@functools.</span><span class="sig-name descname">lru_cache</span><span class="sig-paren">(</span><em>maxsize=128</em><span class="sig-paren">)</span></dt>
<dd><p>Decorator to memoize.</p>
<div class="highlight-default notranslate"><div class="highlight"><pre><span></span><span class="nd">@lru_cache</span>
<span class="k">def</span> <span class="nf">f</span><span class="p">():</span> <span class="k">pass</span>
</pre></div></div>
<dl class="py method"><dt class="sig sig-object py" id="functools.lru_cache.cache_info"><span class="sig-name descname">cache_info</span><span class="sig-paren">(</span><span class="sig-paren">)</span></dt>
<dd><p>Statistics.</p></dd></dl>
<p>Still about the decorator.</p>
</dd></dl>
<div class="contents topic"><p>Contents</p><ul><li>here</li></ul></div><p>Back to the module.</p>
<div class="admonition note"><p class="admonition-title">Note</p><p>Mind the size.</p></div>
</section></div></div></div>
<div class="sphinxsidebar"><p>Quick search</p></div></div></body></html>"##;

#[test]
fn sphinx_entries_become_sections_and_text_after_them_returns_to_its_own() {
    assert_eq!(
        shown(SPHINX),
        "1 functools — Tools #module-functools #functools-tools\n\
         | The `functools` module is for higher-order functions.\n\
         2 functools.lru_cache() #functools.lru_cache\n\
         python> @functools.lru_cache(user_function)\n> @functools.lru_cache(maxsize=128)\n\
         | Decorator to memoize.\n\
         python> @lru_cache\n> def f(): pass\n\
         3 functools.lru_cache.cache_info() #functools.lru_cache.cache_info\n\
         python> cache_info()\n\
         | Statistics.\n\
         2 functools.lru_cache() #functools.lru_cache\n\
         | Still about the decorator.\n\
         1 functools — Tools #module-functools #functools-tools\n\
         | Back to the module.\n\
         | Note: Mind the size.\n"
    );
    assert_eq!(document(SPHINX).title, "functools — Tools");
}

#[test]
fn old_sphinx_keeps_the_permalink_first_among_many_ids() {
    let html = r##"<body><div id="hd"><h1>Django docs</h1></div><div id="bd"><div class="yui-b"><div class="section" id="s-hsts">
<span id="s-std-setting-HSTS"></span><span id="hsts"></span><span id="std-setting-HSTS"></span><h2><code>HSTS</code><a class="headerlink" href="#hsts">¶</a></h2>
<p>Default: <code>0</code>, and a text that is long enough to be the main content.</p></div></div></div><div id="ft">footer</div></body>"##;
    assert_eq!(
        shown(html),
        "2 HSTS #hsts #std-setting-HSTS #s-std-setting-HSTS #s-hsts\n| Default: `0`, and a text that is long enough to be the main content.\n"
    );
}

#[test]
fn rustdoc_methods_are_named_after_their_type_and_inherited_ones_are_left_out() {
    let html = r##"<html><head><meta name="generator" content="rustdoc"></head><body class="rustdoc struct"><nav class="sidebar"><a>Vec</a></nav><main><section id="main-content" class="content">
<div class="main-heading"><h1 class="fqn"><span>Struct <a href="../index.html">std</a>::<wbr><a href="#">Vec</a><button id="copy-path">x</button></span></h1><span class="out-of-band"><a class="srclink" href="s">source</a></span></div>
<div class="docblock item-decl"><pre class="rust struct"><code>pub struct Vec&lt;T&gt; {<br>&nbsp;&nbsp;/* private */ }</code></pre></div>
<details class="rustdoc-toggle top-doc" open><summary class="hideme"><span>Expand description</span></summary><div class="docblock"><p>A growable array.</p>
<h2 id="examples"><a href="#examples">Examples</a></h2><div class="example-wrap"><pre class="rust rust-example-rendered"><code><span class="kw">let</span> v = vec![1];</code></pre><a class="test-arrow" href="r">Run</a></div></div></details>
<h2 id="implementations" class="small-section-header">Implementations<a href="#implementations" class="anchor"></a></h2><div id="implementations-list">
<details open><summary><section id="impl" class="impl has-srclink"><span class="rightside">1.0</span><a href="#impl" class="anchor"></a><h3 class="code-header in-band">impl&lt;T&gt; Vec&lt;T&gt;</h3></section></summary><div class="impl-items">
<details open><summary><section id="method.new" class="method"><a href="#method.new" class="anchor"></a><h4 class="code-header">pub fn <a href="#method.new" class="fnname">new</a>() -&gt; Vec&lt;T&gt;</h4></section></summary><div class="docblock"><p>Makes an empty one.</p></div></details></div></details></div>
<h2 id="trait-implementations">Trait Implementations</h2><div id="trait-implementations-list"><details><summary><section id="impl-Clone"><h3 class="code-header">impl Clone for Vec</h3></section></summary><div><section id="method.clone"><h4 class="code-header">fn clone()</h4></section><div class="docblock">Returns a copy.</div></div></details></div>
<h2 id="blanket-implementations">Blanket Implementations</h2><div id="blanket-implementations-list"><h3 class="code-header">impl Any</h3></div>
</section></main></body></html>"##;
    assert_eq!(
        shown(html),
        "1 Struct std::Vec #copy-path\nrust> pub struct Vec<T> {\n>   /* private */ }\n| A growable array.\n\
         2 Examples #examples\nrust> let v = vec![1];\n\
         2 Implementations #implementations\n\
         4 Vec::new #method.new #implementations-list #impl\nrust> pub fn new() -> Vec<T>\n| Makes an empty one.\n\
         2 Trait Implementations #trait-implementations\n| - `impl Clone for Vec`\n"
    );
}

#[test]
fn docbook_entries_with_ids_are_sections_and_notes_are_not() {
    let html = r##"<?xml version="1.0"?><html><head><title>Settings</title></head><body id="docContent"><div class="navheader"><table><tr><th>Nav</th></tr></table></div>
<div class="sect1" id="RUNTIME"><div class="titlepage"><h2 class="title">20.3. Settings</h2></div><div class="toc"><dl><dt>x</dt></dl></div>
<div class="variablelist"><dl class="variablelist"><dt id="GUC-MAX"><span class="term"><code class="varname">max</code> (<code>integer</code>)</span></dt><dd><p>How many.</p>
<div class="note"><h3 class="title">Note</h3><p>Costs memory.</p></div></dd></dl></div>
<pre class="programlisting">
SELECT 1;
</pre></div><div class="navfooter">next</div></body></html>"##;
    assert_eq!(
        shown(html),
        "2 20.3. Settings #RUNTIME\n3 max (integer) #GUC-MAX\n| How many.\n| Note: Costs memory.\n2 20.3. Settings #RUNTIME\n> SELECT 1;\n"
    );
}

#[test]
fn node_headings_keep_their_legacy_anchors() {
    let html = r##"<body class="alt apidoc"><div id="column2"><ul><li><a>fs</a></li></ul></div><div id="apicontent"><h2>File system<span><a class="mark" href="#file-system" id="file-system">#</a></span><a aria-hidden="true" class="legacy" id="fs_file_system"></a></h2>
<div class="api_metadata"><details class="changelog"><summary>History</summary><table><tr><td>v1</td></tr></table></details></div><ul><li><code>path</code> <a href="u" class="type">&lt;string&gt;</a> the file<ul><li>inner</li></ul></li><li>two</li></ul>
<pre><code class="language-mjs">import fs from &#39;node:fs&#39;;</code></pre></div></body>"##;
    assert_eq!(
        shown(html),
        "2 File system #file-system #fs_file_system\n| - `path` <string> the file\n|   - inner\n| - two\njavascript> import fs from 'node:fs';\n"
    );
}

#[test]
fn mdbook_and_docusaurus_lose_their_frames() {
    let mdbook = r##"<body><div id="sidebar"><ol><li>Chapter</li></ol></div><div id="content" class="content"><main><h1 id="refs"><a class="header" href="#refs">References</a></h1>
<p>Here is a text about references which is long enough.</p><pre><pre class="playground"><code class="language-rust editable"><span class="boring">fn main() {
</span>let x = 1;
<span class="boring">}
</span></code></pre></pre></main><nav class="nav-wrapper">Next</nav></div></body>"##;
    assert_eq!(
        shown(mdbook),
        "1 References #refs\n| Here is a text about references which is long enough.\nrust> let x = 1;\n"
    );
    let docusaurus = r##"<body><nav class="navbar">Docs</nav><main class="docMainContainer"><article><nav class="theme-doc-breadcrumbs">Home</nav><div class="theme-doc-markdown markdown"><header><h1>Install</h1></header>
<p>Run this command in your project folder to begin.</p><div class="language-bash codeBlockContainer"><pre tabindex="0" class="prism-code language-bash"><code><span class="token-line">npm i<br></span><span class="token-line">npm start<br></span></code></pre><button>Copy</button></div>
<h2 class="anchor" id="next">Next<a href="#next" class="hash-link">&#8203;</a></h2><p>Done.</p></div><footer class="theme-doc-footer"><a>Edit this page</a></footer></article><div class="theme-doc-toc-desktop">On this page</div></main></body>"##;
    assert_eq!(
        shown(docusaurus),
        "1 Install #\n| Run this command in your project folder to begin.\nbash> npm i\n> npm start\n2 Next #next\n| Done.\n"
    );
}

#[test]
fn tables_lists_and_definitions_stay_readable() {
    let html = r##"<body><h1>T</h1><table><caption>Sizes</caption><thead><tr><th>Name</th><th>Bytes</th></tr></thead><tbody><tr><td><code>u8</code></td><td>1 | one</td></tr></tbody></table>
<ol><li><p>First</p><pre>code</pre><p>then</p></li><li>Second<br>line</li></ol><dl><dt>term</dt><dd>meaning</dd></dl>
<table class="highlighttable"><tr><td class="linenos"><pre>1</pre></td><td class="code"><pre>x = 1</pre></td></tr></table></body>"##;
    assert_eq!(
        shown(html),
        "1 T #\n| Sizes\n| \n| | Name | Bytes |\n| | --- | --- |\n| | `u8` | 1 \\| one |\n\
         | 1. First\n> code\n|   then\n| 2. Second\n|   line\n| - term\n|   meaning\n> x = 1\n"
    );
}

#[test]
fn link_text_is_counted_and_titles_lose_the_name_of_the_site() {
    let page = document(
        "<head><title>Guide | Site</title></head><body><p><a href='a'>one</a> and <a href='b'>three</a></p></body>",
    );
    assert_eq!(page.title, "Guide");
    assert_eq!(page.sections[0].pieces[0].link_bytes, 3 + 6);
}

#[test]
fn pages_that_only_list_or_redirect_are_skipped_with_a_reason() {
    let rustdoc = "<html><head><meta name='generator' content='rustdoc'></head><body class='rustdoc mod'><h1>All</h1></body></html>";
    for (path, html, reason) in [
        ("genindex.html", "<h1>Index</h1>", SkipReason::GeneratedIndex),
        ("genindex-A.html", "<h1>Index</h1>", SkipReason::GeneratedIndex),
        ("en/search.html", "<h1>Search</h1>", SkipReason::GeneratedIndex),
        ("py-modindex.html", "", SkipReason::GeneratedIndex),
        ("std/all.html", rustdoc, SkipReason::GeneratedIndex),
        ("404.html", "<h1>Not found</h1>", SkipReason::NotFoundPage),
        ("src/alloc/vec.rs.html", "<pre>fn</pre>", SkipReason::SourceListing),
        ("_modules/json.html", "<pre>def</pre>", SkipReason::SourceListing),
        ("a.html", "<meta http-equiv='refresh' content='0;URL=b.html'><p>moved</p>", SkipReason::Redirect),
    ] {
        assert_eq!(read(path, html), Parsed::Skipped(reason), "{path}");
    }
    assert!(matches!(read("library/all.html", "<body><p>All about it.</p></body>"), Parsed::Document(_)));
}

#[test]
fn what_is_never_closed_is_read_all_the_same() {
    for (html, text) in [
        ("<p>one<p>two<ul><li>a<li>b</ul>after", "0  #\n| one\n| two\n| - a\n| - b\n| after\n"),
        ("<h1>T<h2>U</h2>text", "1 T #\n2 U #\n| text\n"),
        ("<div><b>bold<p>para</div>tail", "0  #\n| bold\n| para\n| tail\n"),
        ("text <a href=\"x>never closed", "0  #\n| text\n"),
        ("a < b and c <3 d", "0  #\n| a < b and c <3 d\n"),
        ("before<script>if (a < b) {}</script>after<!-- gone", "0  #\n| beforeafter\n"),
        ("<pre>a\n  b", "0  #\n> a\n>   b\n"),
        ("</p></div>stray", "0  #\n| stray\n"),
    ] {
        assert_eq!(shown(html), text, "{html}");
    }
}

#[test]
fn forged_pages_cost_no_more_than_their_length() {
    let many = 100_000;
    let long = |open: &str, close: &str| format!("{}deep{}", open.repeat(many), close.repeat(many));
    for html in [
        long("<div>", "</div>"),
        long("<div>", ""),
        long("<b>", "<p>"),
        long("<ul><li>", ""),
        long("<table><tr><td>", ""),
        long("<dl><dt id=a>", ""),
        long("<blockquote>", "</b>"),
        long("<a href=x>", "</i>"),
        format!("<p {}>deep", "a=1 ".repeat(many)),
        format!("<p a=\"{}", "<".repeat(many)),
        format!("deep{}", "<!--".repeat(many)),
        format!("deep{}", "&".repeat(many)),
    ] {
        let page = document(&html);
        let text: usize = page.sections.iter().map(crate::ingest::parse::Section::len).sum();
        assert!(text <= html.len() * 2, "{} of {}", text, html.len());
    }
}

#[test]
fn what_no_browser_shows_is_left_out_and_panels_of_tabs_are_read() {
    for (hidden, is_read) in [
        (r#"<p hidden>Secret</p>"#, false),
        (r#"<p HIDDEN="">Secret</p>"#, false),
        (r#"<div style="display:none"><p>Secret</p></div>"#, false),
        (r#"<p>Seen <span STYLE="color: red; DISPLAY : None !important">Secret</span> too</p>"#, false),
        (r#"<p style="display&#58; none">Secret</p>"#, false),
        (r#"<p style="visibility: hidden">Secret</p>"#, false),
        (r#"<h2>Seen <span hidden>Secret</span></h2><p>Text.</p>"#, false),
        (r#"<pre>seen <span style="display:none">Secret</span></pre>"#, false),
        (r#"<table><tr><td>Seen<td hidden>Secret<tr style="display:none"><td>Secret</table>"#, false),
        (r#"<div role="tabpanel" hidden><p>Secret</p></div>"#, true),
        (r#"<div hidden="until-found"><p>Secret</p></div>"#, true),
        (r#"<p style="display: block; color: none">Secret</p>"#, true),
        (r#"<p data-hidden="hidden" class="hidden-lg">Secret</p>"#, true),
    ] {
        let text = shown(&format!(
            "<body><main><h1>Title</h1><p>Seen.</p>{hidden}<p>Seen at last.</p></main></body>"
        ));
        assert_eq!(text.contains("Secret"), is_read, "{hidden}: {text}");
        assert!(text.contains("Seen at last."), "{hidden}: {text}");
    }
}
