//! Visits to web sites on loopback: what is fetched, what is left alone, and what ends a visit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinmcp_storage::clock::{SystemClock, SystemEntropy};
use twinmcp_storage::ids::JobId;
use twinmcp_storage::jobs::Source as JobSource;

use crate::ingest::Material;
use crate::ingest::fetch::{FetchConfig, FetchError, Fetched, Fetcher};
use crate::ingest::source::{Source, SourceLimits};
use crate::jobs::Progress;
use crate::outbound::{Outbound, OutboundConfig, SystemResolver};
use crate::tests::site::{Page, Site};

struct Visitor {
    fetcher: Fetcher,
    data: TempDir,
    reports: Mutex<Vec<Progress>>,
}

impl Visitor {
    fn new(config: FetchConfig) -> Self {
        let data = tempfile::tempdir().unwrap();
        let networks = vec!["127.0.0.1".parse().unwrap()];
        let outbound = OutboundConfig { allowed_networks: networks, ..OutboundConfig::default() };
        let outbound = Outbound::new(outbound, Arc::new(SystemResolver)).unwrap();
        let config = FetchConfig { requests_per_second: 10_000.0, ..config };
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let fetcher = Fetcher::new(&config, outbound, data.path(), clock, entropy);
        Self { fetcher, data, reports: Mutex::default() }
    }

    async fn visit(&self, url: &str) -> Result<Fetched, FetchError> {
        let id: JobId = "job_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap();
        let report = |progress| self.reports.lock().unwrap().push(progress);
        self.fetcher.fetch(&id, &JobSource::Web { url: url.to_owned() }, &report).await
    }

    /// Path and URL of each page, without the site's own address.
    async fn pages(&self, site: &Site, start: &str) -> Vec<(String, String)> {
        let fetched = self.visit(&site.url(start)).await.unwrap();
        let Material::Pages { spool, .. } = &fetched.material else { panic!("pages") };
        let source = Source::open_pages(spool.folder(), SourceLimits::default()).unwrap();
        let prefix = site.url("");
        let page = |file: crate::ingest::source::SourceFile| {
            (file.path, file.url.unwrap().strip_prefix(&prefix).unwrap().to_owned())
        };
        source.map(|file| page(file.unwrap())).collect()
    }

    async fn urls(&self, site: &Site, start: &str) -> Vec<String> {
        self.pages(site, start).await.into_iter().map(|(_, url)| url).collect()
    }

    /// The sentence that a visit ends with.
    async fn sentence(&self, site: &Site, start: &str) -> String {
        match self.visit(&site.url(start)).await {
            Ok(fetched) => panic!("fetched {fetched:?}"),
            Err(error) => error.to_string(),
        }
    }
}

fn visitor() -> Visitor {
    Visitor::new(FetchConfig::default())
}

#[tokio::test]
async fn a_site_is_walked_along_its_links_within_its_folder() {
    let site = Site::start(|path, _| match path {
        "/docs/" => Page::html(
            "<a href='guide/#x'>guide</a><a href='guide/?utm_source=y'>again</a><a href='/blog/'>blog</a>\
             <a href='https://elsewhere.example/'>far</a><a href='a.png'>picture</a><a href='hidden' rel='nofollow'>h</a>\
             <a href='gone'>gone</a><a href='file.bin'>file</a><a href='moved'>m</a><a href='left'>l</a>",
        ),
        "/docs/guide/" => Page::html("<a href='../deep?b=2&a=1'>deep</a><a href='../copy'>copy</a>"),
        "/docs/deep?a=1&b=2" => Page::html("<meta name=robots content=nofollow><a href='never'>x</a>"),
        "/docs/copy" => Page::html("<link rel=canonical href='/docs/original'>"),
        "/docs/original" => Page::html("<link rel=canonical href='/docs/original/'><a href='secret'>s</a><a href='notes'>n</a>"),
        "/docs/secret" => Page::html("<meta name=robots content='noindex'><a href='beyond'>b</a>"),
        "/docs/beyond" => Page::html("beyond").with("x-robots-tag", "noindex"),
        "/docs/notes" => Page::of("text/markdown", "# Notes\n"),
        "/docs/file.bin" => Page::of("application/octet-stream", [0_u8, 1, 2]),
        "/docs/moved" => Page::moved("/docs/guide/"),
        "/docs/left" => Page::moved("/blog/"),
        _ => Page::status(404),
    })
    .await;
    let visitor = visitor();
    let pages = visitor.pages(&site, "/docs/").await;
    let page = |path: &str, url: &str| (path.to_owned(), url.to_owned());
    assert_eq!(
        pages,
        [
            page("index.html", "/docs/"),
            page("deep~a_1_b_2.html", "/docs/deep?a=1&b=2"),
            page("guide/index.html", "/docs/guide/"),
            page("notes.md", "/docs/notes"),
            page("original.html", "/docs/original"),
        ]
    );
    let counts = site.counts();
    for left_alone in ["/blog/", "/docs/a.png", "/docs/hidden", "/docs/never"] {
        assert_eq!(counts.get(left_alone), None, "{left_alone}");
    }
    assert_eq!(counts["/docs/beyond"], 1);
    let last = visitor.reports.lock().unwrap().last().cloned().unwrap();
    assert_eq!((last.pages, last.failed), (5, 1), "{last:?}");
    assert!(last.problems[0].contains("/docs/gone` answers with status 404"), "{last:?}");
    assert_eq!(last.left_out, [("left", 1), ("status", 1)].into());
    assert_eq!(std::fs::read_dir(visitor.data.path().join("spool")).unwrap().count(), 0, "a spool is left");
}

#[tokio::test]
async fn a_site_that_names_its_pages_is_not_walked() {
    let site = Site::start(|path, _| match path {
        "/" => Page::html("<a href='/unlisted'>x</a>"),
        "/robots.txt" => Page::text("User-agent: *\nDisallow: /private\n"),
        "/llms.txt" => Page::text(
            "# Kiln\n\n- [One](/one.md)\n- [Two](/two)\n- [P](/private)\n- [Far](https://b.example/)\n",
        ),
        "/one.md" => Page::text("# One\n"),
        "/two" => Page::html("two"),
        _ => Page::status(404),
    })
    .await;
    assert_eq!(visitor().urls(&site, "/").await, ["/one.md", "/two"]);
    assert!(!site.asked().iter().any(|path| matches!(path.as_str(), "/private" | "/unlisted")));
    assert_eq!(visitor().urls(&site, "/llms.txt").await, ["/one.md", "/two"]);
}

#[tokio::test]
async fn the_whole_documentation_in_one_file_is_preferred() {
    let site = Site::start(|path, _| match path {
        "/docs/" => Page::html("<a href='/docs/unlisted'>x</a>"),
        "/docs/llms-full.txt" => Page::text(&format!(
            "# One\nSource: /docs/one\n\n{}\n# Two\nSource: /docs/two\n\nTwo.\n",
            "Text of one. ".repeat(30)
        )),
        // The page of a program that answers everything.
        _ => Page::html("app"),
    })
    .await;
    for start in ["/docs/", "/docs/llms-full.txt"] {
        let pages = visitor().pages(&site, start).await;
        let expected = [("one.md", "/docs/one"), ("two.md", "/docs/two")];
        assert_eq!(pages, expected.map(|(path, url)| (path.to_owned(), url.to_owned())), "{start}");
    }
}

#[tokio::test]
async fn a_file_of_pages_ends_at_the_limits_too() {
    let site = Site::start(|path, _| match path {
        "/llms-full.txt" => {
            Page::text(&(0..40).map(|page| format!("# {page}\nSource: /{page}\nText.\n")).collect::<String>())
        }
        _ => Page::status(404),
    })
    .await;
    let limits = FetchConfig::default;
    for (config, pages) in [
        (FetchConfig { pages_max: 3, ..limits() }, 3),
        (FetchConfig { bytes_max: 25, ..limits() }, 3),
        (FetchConfig { timeout: Duration::ZERO, ..limits() }, 1),
        (limits(), 40),
    ] {
        let fetched = Visitor::new(config.clone()).visit(&site.url("/llms-full.txt")).await.unwrap();
        assert_eq!(fetched.progress.pages, pages, "{config:?}");
        let told = fetched.progress.problems.iter().any(|problem| problem.contains("pages were taken"));
        assert_eq!(told, pages < 40, "{:?}", fetched.progress);
    }
}

#[tokio::test]
async fn site_maps_are_followed_into_lists_of_lists() {
    let map =
        |entries: String, root: &str| Page::of("application/xml", format!("<{root}>{entries}</{root}>"));
    let site = Site::start(move |path, _| match path {
        "/docs/" => Page::html("<a href='/docs/unlisted'>x</a>"),
        "/robots.txt" => Page::text("Sitemap: http://127.0.0.2:1/nobody.xml\n"),
        "/sitemap.xml" => map(
            "<sitemap><loc>/maps/1.xml</loc></sitemap><sitemap><loc>/maps/gone.xml</loc></sitemap>".into(),
            "sitemapindex",
        ),
        "/maps/1.xml" => {
            let pages = ["/docs/one", "/docs/two", "/blog/post"];
            map(pages.map(|page| format!("<url><loc>{page}</loc></url>")).concat(), "urlset")
        }
        "/docs/one" | "/docs/two" => Page::html(path),
        _ => Page::status(404),
    })
    .await;
    let visitor = visitor();
    assert_eq!(visitor.urls(&site, "/docs/").await, ["/docs/one", "/docs/two"]);
    let totals: Vec<_> = visitor.reports.lock().unwrap().iter().filter_map(|told| told.pages_total).collect();
    assert!(totals.iter().all(|total| *total == 2) && !totals.is_empty(), "{totals:?}");
    // A map where no node asks is told; one that is not there is not.
    let last = visitor.reports.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.left_out, [("address", 1)].into(), "{last:?}");
    assert!(last.problems[0].contains("a node fetches from public addresses only"), "{last:?}");
    assert_eq!(visitor.urls(&site, "/maps/1.xml").await, ["/docs/one", "/docs/two"]);
}

#[tokio::test]
async fn site_maps_without_end_are_asked_for_only_so_often() {
    let base = Arc::new(OnceLock::<String>::new());
    let known = Arc::clone(&base);
    let site = Site::start(move |path, _| match path {
        "/docs/" => Page::html("text"),
        "/robots.txt" => {
            let base = known.get().unwrap();
            Page::text(&(0..300).map(|map| format!("Sitemap: {base}/maps/{map}.xml\n")).collect::<String>())
        }
        // Each names further ones, and none a page.
        _ if path.starts_with("/maps/") => {
            let lists = (0..10).map(|list| format!("<sitemap><loc>{path}{list}</loc></sitemap>"));
            Page::of("application/xml", format!("<sitemapindex>{}</sitemapindex>", lists.collect::<String>()))
        }
        _ => Page::status(404),
    })
    .await;
    base.set(site.url("")).unwrap();
    assert_eq!(visitor().urls(&site, "/docs/").await, ["/docs/"]);
    let maps = site.asked().iter().filter(|path| path.starts_with("/maps/")).count();
    assert_eq!(maps, super::VISIT_SITEMAPS_MAX);
    // A visit that is out of time asks for none.
    let late = Visitor::new(FetchConfig { timeout: Duration::ZERO, ..FetchConfig::default() });
    assert_eq!(late.urls(&site, "/docs/").await, ["/docs/"]);
    assert!(!site.asked().iter().any(|path| path.starts_with("/maps/")));
}

#[tokio::test]
async fn one_document_flows_in_as_it_is_called() {
    let site = Site::start(|path, _| match path {
        "/api/openapi.json" => Page::of("application/json", "{\"openapi\": \"3.1.0\"}"),
        "/notes/llms.txt" => Page::text("# Kiln\n\nNo links, all there is.\n"),
        _ => Page::status(404),
    })
    .await;
    let page = |path: &str, url: &str| vec![(path.to_owned(), url.to_owned())];
    assert_eq!(visitor().pages(&site, "/api/openapi.json").await, page("openapi.json", "/api/openapi.json"));
    assert_eq!(visitor().pages(&site, "/notes/llms.txt").await, page("llms.txt", "/notes/llms.txt"));
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let date = "Wed, 03 Jan 2024 10:00:00 GMT";
    let changed = Arc::new(AtomicBool::new(false));
    let is_changed = Arc::clone(&changed);
    let site = Site::start(move |path, _| match path {
        "/" => Page::html(
            "<a href='/same'>s</a><a href='/new'>n</a><a href='/private'>p</a><a href='/dated'>d</a><a href='/moved'>m</a>\
             <a href='/both'>b</a>",
        )
        .with("etag", "\"1\""),
        "/same" => Page::html("same").with("etag", "\"2\""),
        "/dated" => Page::html("dated").with("last-modified", date),
        "/moved" if is_changed.load(Ordering::SeqCst) => {
            Page::html("moved").with("last-modified", "Thu, 01 Feb 2024 09:00:00 GMT")
        }
        "/moved" => Page::html("moved").with("last-modified", date),
        // Changed within the second that its date tells.
        "/both" => {
            let tag = if is_changed.load(Ordering::SeqCst) { "\"5\"" } else { "\"4\"" };
            Page::html("both").with("last-modified", date).with("etag", tag)
        }
        "/new" => Page::html("new"),
        "/private" => Page::html("private").with("etag", "\"3\"").with("cache-control", "private, no-store"),
        _ => Page::status(404),
    })
    .await;
    let visitor = visitor();
    let first = visitor.urls(&site, "/").await;
    assert_eq!(first.len(), 7, "{first:?}");
    assert!(!site.asked().iter().any(|path| path.starts_with("304")));
    changed.store(true, Ordering::SeqCst);
    assert_eq!(visitor.urls(&site, "/").await, first);
    let counts = site.counts();
    for path in ["304 /", "304 /same", "/new", "/private", "304 /dated", "/moved", "/both"] {
        assert_eq!(counts.get(path), Some(&1), "{path} in {counts:?}");
    }
    visitor.fetcher.sweep(|_| false);
}

#[tokio::test]
async fn a_site_that_asks_for_a_moment_gets_it() {
    let site = Site::start(|path, times| match (path, times) {
        ("/robots.txt", 0) => Page::status(503).with("retry-after", "0"),
        ("/robots.txt", 1) => Page::status(429).with("retry-after", "0"),
        ("/", 0) => Page::status(503).with("retry-after", "0"),
        ("/", 1) => Page::status(429).with("retry-after", "Fri, 01 Jan 1999 00:00:00 GMT"),
        ("/", _) => Page::html("at last"),
        _ => Page::status(404),
    })
    .await;
    assert_eq!(visitor().urls(&site, "/").await, ["/"]);
    let busy = Site::start(|path, _| match path {
        "/" => Page::status(503).with("retry-after", "86400"),
        _ => Page::status(404),
    })
    .await;
    let sentence = visitor().sentence(&busy, "/").await;
    assert!(sentence.contains("still answers with status 503"), "{sentence}");
    assert_eq!(busy.counts()["/"], 1, "a day is not waited for");
}

#[tokio::test]
async fn a_site_is_read_no_faster_than_its_rules_ask_for() {
    let site = Site::start(|path, _| match path {
        "/robots.txt" => Page::text("User-agent: *\nCrawl-delay: 1\n"),
        "/llms.txt" => Page::text("# Kiln\n\n- [One](/one.md)\n- [Two](/two.md)\n"),
        "/one.md" | "/two.md" => Page::text("# Page\n"),
        _ => Page::status(404),
    })
    .await;
    let began = Instant::now();
    assert_eq!(visitor().urls(&site, "/llms.txt").await, ["/one.md", "/two.md"]);
    // Between the list and its pages lie two pauses, which no machine makes shorter.
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_start_that_cannot_be_read_says_why() {
    let site = Site::start(|path, _| match path {
        "/robots.txt" => Page::text("User-agent: twinmcp\nDisallow: /private/\n"),
        "/inside" => Page::moved("http://127.0.0.2:1/"),
        "/circle" => Page::moved("/circle2"),
        "/circle2" => Page::moved("/circle"),
        "/empty" => Page::html("<meta name=robots content=noindex>"),
        _ => Page::status(404),
    })
    .await;
    for (start, says) in [
        ("/private/", "robots.txt does not let this program read"),
        ("/nothing", "answers with status 404; look at the address in a browser"),
        ("/inside", "an address of the machine itself"),
        ("/circle", "redirects in a circle"),
        ("/empty", "found no page to read"),
    ] {
        let sentence = visitor().sentence(&site, start).await;
        assert!(sentence.contains(says), "{start}: {sentence}");
    }
    for (pause, asked) in [("0", 3), ("86400", 1)] {
        let down = Site::start(move |path, _| match path {
            "/robots.txt" => Page::status(500).with("retry-after", pause),
            _ => Page::html("x"),
        })
        .await;
        let sentence = visitor().sentence(&down, "/").await;
        assert!(sentence.contains("cannot be read now"), "{sentence}");
        assert_eq!(down.asked(), vec!["/robots.txt"; asked]);
    }
}

#[tokio::test]
async fn a_site_that_sends_its_visitors_on_begins_where_they_arrive() {
    let site = Site::start(|path, _| match path {
        "/" => Page::moved("/en/latest/"),
        "/en/latest/" => Page::html("<a href='one'>1</a><a href='/en/old/'>old</a>"),
        "/en/latest/one" | "/en/old/" => Page::html("text"),
        _ => Page::status(404),
    })
    .await;
    assert_eq!(visitor().urls(&site, "/").await, ["/en/latest/", "/en/latest/one"]);
}

/// `/0.html` leads to `/1.html`, and so on.
fn endless(path: &str) -> Page {
    match path.trim_start_matches('/').trim_end_matches(".html").parse::<u32>() {
        Ok(number) => Page::html(&format!("<a href='/{}.html'>next</a>", number + 1)),
        Err(_) => Page::status(404),
    }
}

#[tokio::test]
async fn a_site_ends_at_each_limit_and_says_so() {
    let limits = FetchConfig::default;
    for (config, pages) in [
        (FetchConfig { pages_max: 4, ..limits() }, 4),
        (FetchConfig { depth_max: 2, ..limits() }, 3),
        (FetchConfig { bytes_max: 1, ..limits() }, 1),
        (FetchConfig { timeout: Duration::ZERO, ..limits() }, 1),
    ] {
        let site = Site::start(|path, _| endless(path)).await;
        let visitor = Visitor::new(config.clone());
        assert_eq!(visitor.urls(&site, "/0.html").await.len(), pages, "{config:?}");
        let fetched = visitor.visit(&site.url("/0.html")).await.unwrap();
        let told = fetched.progress.problems.iter().any(|problem| problem.contains("were not fetched"));
        assert_eq!(told, config.depth_max > 2, "{:?}", fetched.progress);
    }
}

#[tokio::test]
async fn a_page_with_endless_parameters_is_not_followed_endlessly() {
    let site = Site::start(|path, _| match path {
        "/robots.txt" | "/llms.txt" | "/llms-full.txt" | "/sitemap.xml" => Page::status(404),
        _ => {
            let number: u64 = path.rsplit('=').next().and_then(|text| text.parse().ok()).unwrap_or_default();
            let links = (1..=5).map(|next| format!("<a href='/list?sort={}'>sort</a>", number * 5 + next));
            Page::html(&links.collect::<String>())
        }
    })
    .await;
    let pages = visitor().urls(&site, "/list").await;
    assert_eq!(pages.len(), 21, "{pages:?}");
}

#[tokio::test]
async fn a_site_that_stops_answering_fails_the_visit() {
    let site = Site::start(|path, _| match path {
        "/" => Page::html(&(0..40).map(|page| format!("<a href='/{page}'>x</a>")).collect::<String>()),
        "/robots.txt" | "/llms.txt" | "/llms-full.txt" | "/sitemap.xml" => Page::status(404),
        _ => Page::status(503).with("retry-after", "3600"),
    })
    .await;
    let sentence = visitor().sentence(&site, "/").await;
    assert!(
        sentence
            .contains("failed 20 times one after the other; what was there before is kept: try again later"),
        "{sentence}"
    );
}
