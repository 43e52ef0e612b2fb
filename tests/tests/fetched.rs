//! Documentation that lies elsewhere: web sites and git repositories, fetched by the node itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::git::{GitServer, Repository};
use twinmcp_tests::site::{Page, Site};
use twinmcp_tests::{NodeSetup, TestClient, TestNode, eventually};

/// How a site tells its pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Links,
    Map,
    List,
}

/// A node that may fetch from this machine, and need not be polite to it.
async fn node() -> TestNode {
    let networks = json!(["127.0.0.1"]);
    let setup = NodeSetup::default().with("outbound", "allowed_networks", networks);
    setup.with("fetch", "requests_per_second", 1_000).start().await
}

/// Kiln's documentation below `/docs/`. Once `changed`, the page on retries is another.
async fn kiln_site(told: Told, robots: &'static str, changed: Arc<AtomicBool>) -> Site {
    Site::start(move |path, _| {
        let version = if changed.load(Ordering::SeqCst) { "changed" } else { "first" };
        let files = docs::kiln(version);
        let each = |entry: &dyn Fn(&str) -> String| -> String {
            files.iter().map(|(path, _)| entry(path)).collect()
        };
        match path {
            "/robots.txt" => Page::text(robots),
            "/docs/" if told == Told::Links => {
                Page::html(&each(&|path| format!("<a href='{path}'>{path}</a> ")))
            }
            "/docs/" => Page::html("<p>Kiln fires pots."),
            "/docs/sitemap.xml" if told == Told::Map => {
                let pages = each(&|path| format!("<url><loc>/docs/{path}</loc></url>"));
                Page::of("application/xml", format!("<urlset>{pages}</urlset>"))
            }
            "/docs/llms.txt" if told == Told::List => {
                Page::text(&format!("# Kiln\n\n{}", each(&|path| format!("- [{path}](/docs/{path})\n"))))
            }
            _ => {
                let file =
                    path.strip_prefix("/docs/").and_then(|path| files.iter().find(|(name, _)| name == path));
                let Some((name, text)) = file else { return Page::status(404) };
                let kind = if name.ends_with(".md") { "text/markdown" } else { "text/html" };
                // Only one page tells its version.
                let etag = if name == QUESTIONS[0].page { version } else { "first" };
                Page::of(kind, text.clone()).with("etag", &format!("\"{etag}\""))
            }
        }
    })
    .await
}

/// How often the node refused to ask another host, or gave up, for that reason.
async fn refusals(client: &TestClient, reason: &str) -> u64 {
    let metrics = client.get("/api/metrics").await.expect(200).text;
    let reason = format!("reason=\"{reason}\"");
    let counts = metrics.lines().filter(|line| line.starts_with("twinmcp_outbound_refusals_total{"));
    counts
        .filter(|line| line.contains(&reason))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

async fn first_page(client: &TestClient, library: &str, text: &str) -> String {
    let body = json!({ "libraryId": library, "query": text });
    let answer = client.post("/api/mcp/query-docs", &body).await.expect(200).json();
    answer["snippets"][0]["pageUrl"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_web_site_is_found_by_its_list_by_its_map_or_by_its_links_and_answers_link_to_it() {
    let node = node().await;
    for told in [Told::Links, Told::Map, Told::List] {
        let site = kiln_site(told, "", Arc::default()).await;
        let library = format!("/websites/{}", format!("{told:?}").to_lowercase());
        let start = site.url("/docs/");
        let arguments = ["index", &start, "--library", &library, "--version", "1"];
        node.cli().run(&arguments).await.expect(0);
        for question in QUESTIONS {
            let page = first_page(&node.client(), &library, question.text).await;
            assert_eq!(page, site.url(&format!("/docs/{}", question.page)), "{told:?}");
        }
    }
    assert_eq!(node.files("spool"), Vec::<std::path::PathBuf>::new(), "spools go with their jobs");
}

#[tokio::test]
async fn a_refresh_sends_only_what_changed() {
    let (node, changed) = (node().await, Arc::new(AtomicBool::new(false)));
    let site = kiln_site(Told::Links, "", Arc::clone(&changed)).await;
    let start = site.url("/docs/");
    let arguments = ["index", &start, "--library", "/websites/kiln", "--version", "1"];
    node.cli().run(&arguments).await.expect(0);
    assert!(!site.asked().iter().any(|path| path.starts_with("304 ")));
    changed.store(true, Ordering::SeqCst);
    node.cli().run(&arguments).await.expect(0);

    let asked = site.counts();
    for (path, _) in docs::kiln("") {
        let expected = if path == QUESTIONS[0].page { "" } else { "304 " };
        assert_eq!(asked.get(&format!("{expected}/docs/{path}")), Some(&1), "{path} in {asked:?}");
    }
    let answer = node.client().context("/websites/kiln", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains("since changed"), "{}", answer.text);
}

#[tokio::test]
async fn a_page_that_tells_only_its_date_is_read_again_once_the_date_has_moved() {
    let (node, changed) = (node().await, Arc::new(AtomicBool::new(false)));
    let moved = Arc::clone(&changed);
    let site = Site::start(move |path, _| {
        let (date, metal) = match moved.load(Ordering::SeqCst) {
            false => ("Wed, 03 Jan 2024 10:00:00 GMT", "manganese"),
            true => ("Thu, 01 Feb 2024 09:00:00 GMT", "cobalt"),
        };
        match path {
            "/docs/" => Page::html("<h1>Glazes</h1><p>See <a href='zebra'>stripes</a>.</p>")
                .with("last-modified", "Tue, 02 Jan 2024 10:00:00 GMT"),
            "/docs/zebra" => Page::html(&format!("<h1>Zebra glaze</h1><p>Stripes come from {metal}.</p>"))
                .with("last-modified", date),
            _ => Page::status(404),
        }
    })
    .await;
    let start = site.url("/docs/");
    node.cli().run(&["index", &start, "--library", "/websites/kiln", "--version", "1"]).await.expect(0);
    assert!(!site.asked().iter().any(|path| path.starts_with("304 ")));

    let client = node.client();
    let refresh = async || {
        let job = client.post("/api/libraries/websites/kiln/refresh", &json!({})).await.expect(201).json();
        let job = client.ended_job(job["id"].as_str().unwrap_or_default()).await;
        assert_eq!(job["state"], "done", "{job}");
        let mut pages = site.asked();
        pages.retain(|path| path.ends_with("/docs/") || path.ends_with("/docs/zebra"));
        let answer = client.context("/websites/kiln", "zebra stripes come from", &[]).await.expect(200).text;
        (job["unchanged"].clone(), pages, answer)
    };
    let (unchanged, pages, answer) = refresh().await;
    assert_eq!((unchanged, pages), (json!(true), vec!["304 /docs/".into(), "304 /docs/zebra".into()]));
    assert!(answer.contains("manganese"), "{answer}");
    changed.store(true, Ordering::SeqCst);
    let (unchanged, pages, answer) = refresh().await;
    assert_eq!((unchanged, pages), (json!(false), vec!["304 /docs/".into(), "/docs/zebra".into()]));
    assert!(answer.contains("cobalt") && !answer.contains("manganese"), "{answer}");
    // The new date is the one that is asked with from now on.
    let (unchanged, pages, answer) = refresh().await;
    assert_eq!((unchanged, pages), (json!(true), vec!["304 /docs/".into(), "304 /docs/zebra".into()]));
    assert!(answer.contains("cobalt"), "{answer}");
}

#[tokio::test]
async fn what_robots_txt_forbids_is_not_asked_for() {
    let node = node().await;
    let rules = "User-agent: *\nDisallow: /\n\nUser-agent: TwinMCP\nDisallow: /docs/reference/\n";
    let site = kiln_site(Told::Links, rules, Arc::default()).await;
    let start = site.url("/docs/");
    node.cli().run(&["index", &start, "--library", "/websites/kiln", "--version", "1"]).await.expect(0);
    let asked = site.asked();
    assert!(asked.iter().any(|path| path == "/docs/guide/retries.md"), "{asked:?}");
    assert!(!asked.iter().any(|path| path.starts_with("/docs/reference/")), "{asked:?}");

    let closed = kiln_site(Told::Links, "User-agent: *\nDisallow: /docs/\n", Arc::default()).await;
    let start = closed.url("/docs/");
    let refused =
        node.cli().run(&["index", &start, "--library", "/websites/closed", "--version", "1"]).await.expect(1);
    assert!(refused.stderr.contains("robots.txt does not let this program read"), "{}", refused.stderr);
    assert_eq!(closed.asked(), ["/robots.txt"]);
}

#[tokio::test]
async fn a_node_asks_nobody_inside_unless_its_operator_allows_it() {
    let node = TestNode::empty().await;
    let client = node.client();
    let site = kiln_site(Told::Links, "", Arc::default()).await;
    let ask = |url: &str| json!({ "library": "/websites/kiln", "version": "1", "website": url });
    let port = site.url("").rsplit(':').next().map(str::to_owned).unwrap_or_default();
    for (url, says) in [
        (site.url("/docs/"), "outbound.allowed_networks"),
        (format!("http://0x7f.1:{port}/docs/"), "outbound.allowed_networks"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "link-local"),
        ("https://me:hunter2@docs.example/".to_owned(), "password; leave it out"),
        ("ftp://docs.example/".to_owned(), "use https"),
        ("docs.example".to_owned(), "begin with https://"),
    ] {
        let refused = client.post("/api/jobs", &ask(&url)).await.expect(400);
        assert_eq!(refused.code(), "url_refused", "{url}");
        assert!(refused.text.contains(says), "{url}: {}", refused.text);
    }
    let git =
        json!({ "library": "/acme/kiln", "git": { "url": "http://127.0.0.1:1/kiln.git", "tag": "v1" } });
    assert_eq!(client.post("/api/jobs", &git).await.expect(400).code(), "url_refused");
    for (reason, count) in [("address", 4), ("userinfo", 1), ("scheme", 1), ("url", 1)] {
        assert_eq!(refusals(&client, reason).await, count, "{reason}");
    }

    // Where a name leads is known once somebody asks.
    let job =
        client.post("/api/jobs", &ask(&format!("http://localhost:{port}/docs/"))).await.expect(201).json();
    let job = client.ended_job(job["id"].as_str().unwrap_or_default()).await;
    assert_eq!(job["state"], "failed", "{job}");
    let message = job["message"].as_str().unwrap_or_default();
    assert!(message.contains("a node fetches from public addresses only"), "{message}");
    assert_eq!(site.asked(), Vec::<String>::new());

    assert!(refusals(&client, "address").await > 4, "one refused on the way is counted too");
    assert!(!node.log().contains("hunter2"), "a password came into the log");
}

#[tokio::test]
async fn a_git_repository_is_indexed_at_its_tag() {
    let node = node().await;
    let folder = node.folder().join("served");
    let repository = Repository::create(&folder.join("acme/kiln.git"));
    let server = GitServer::start(&folder).await;
    for version in ["v1", "v2"] {
        docs::write_to(repository.folder(), &docs::kiln(version));
        repository.commit(&[]);
        repository.git(&["tag", version]);
    }
    let url = server.url("acme/kiln.git");
    node.cli().run(&["index", &url, "--version", "v1"]).await.expect(0);
    let client = node.client();
    let answer = client.context("/acme/kiln/v1", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains("since v1"), "{}", answer.text);

    let asked = json!({ "library": "/acme/kiln", "git": { "url": url, "tag": "v2" } });
    let job = client.post("/api/jobs", &asked).await.expect(201).json();
    assert_eq!(job["version"], "v2");
    let job = client.ended_job(job["id"].as_str().unwrap_or_default()).await;
    assert_eq!(job["state"], "done", "{job}");
    let answer = client.context("/acme/kiln/v2", QUESTIONS[0].text, &[]).await.expect(200);
    assert!(answer.text.contains("since v2"), "{}", answer.text);

    let missing = node.cli().run(&["index", &url, "--tag", "v9"]).await.expect(1);
    assert!(missing.stderr.contains("has no tag `v9`"), "{}", missing.stderr);
    let two = json!({ "library": "/acme/kiln", "git": { "url": url, "tag": "v2", "branch": "main" } });
    client.post("/api/jobs", &two).await.expect(400);
    let unnamed = json!({ "library": "/acme/kiln", "git": { "url": url } });
    client.post("/api/jobs", &unnamed).await.expect(400);
}

/// A site so slow to ask that a visit is seen at work.
async fn at_work(client: &TestClient, site: &Site) -> String {
    let asked = json!({ "library": "/websites/kiln", "version": "1", "website": site.url("/docs/") });
    let job = client.post("/api/jobs", &asked).await.expect(201).json();
    let id = job["id"].as_str().unwrap_or_default().to_owned();
    eventually("the first page", async || {
        let job = client.get(&format!("/api/jobs/{id}")).await.expect(200).json();
        let fetching = job["progress"]["stage"] == "fetch" && job["progress"]["pages"].as_u64() > Some(0);
        fetching.then_some(())
    })
    .await;
    id
}

async fn slow_node() -> TestNode {
    let networks = json!(["127.0.0.1"]);
    let setup = NodeSetup::default().with("outbound", "allowed_networks", networks);
    setup.with("fetch", "requests_per_second", 2).start().await
}

#[tokio::test]
async fn a_visit_is_cancelled_between_pages_and_leaves_nothing() {
    let node = slow_node().await;
    let client = node.client();
    let site = kiln_site(Told::List, "", Arc::default()).await;
    let id = at_work(&client, &site).await;
    client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.expect(200);
    eventually("the spool to go", async || node.files("spool").is_empty().then_some(())).await;
    assert_eq!(client.ended_job(&id).await["state"], "cancelled");
    client.context("/websites/kiln", QUESTIONS[0].text, &[]).await.expect(404);
}

#[tokio::test]
async fn a_visit_that_a_crash_interrupts_goes_on_after_the_restart() {
    let mut node = slow_node().await;
    let site = kiln_site(Told::List, "", Arc::default()).await;
    let id = at_work(&node.client(), &site).await;
    node.restart().await;
    let job = node.client().ended_job(&id).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("done"), &json!(2)), "{job}");
    assert!(site.asked().iter().any(|path| path.starts_with("304 ")), "what was fetched before is not kept");
    node.client().context("/websites/kiln", QUESTIONS[0].text, &[]).await.expect(200);
}

#[tokio::test]
async fn a_source_that_could_not_be_fetched_is_counted_by_its_reason() {
    let node = node().await;
    let client = node.client();
    let site = Site::start(|path, _| match path {
        "/robots.txt" => Page::text("User-agent: *\nDisallow: /private/\n"),
        "/circle/" => Page::moved("/circle/"),
        "/brotli/" => Page::of("text/plain", "x").with("content-encoding", "br"),
        "/cut/" => Page::of("text/plain", "no gzip at all").with("content-encoding", "gzip"),
        "/large/" => Page::of("text/plain", vec![b'a'; (16 << 20) + 1]),
        _ => Page::status(404),
    })
    .await;
    let start = async |library: &str, body: serde_json::Value| {
        let mut asked = body;
        (asked["library"], asked["version"]) = (library.into(), "1".into());
        let job = client.post("/api/jobs", &asked).await.expect(201).json();
        let ended = client.ended_job(job["id"].as_str().unwrap_or_default()).await;
        assert_eq!(ended["state"], "failed", "{ended}");
    };
    start("/websites/gone", json!({ "website": site.url("/docs/") })).await;
    start("/websites/private", json!({ "website": site.url("/private/") })).await;
    start("/acme/none", json!({ "git": { "url": site.url("/acme/none.git") } })).await;
    // What a site sends that is not taken is a refusal of the guard too.
    let refused = ["redirects", "encoding", "damaged", "body_bytes"];
    for (path, reason) in ["/circle/", "/brotli/", "/cut/", "/large/"].into_iter().zip(refused) {
        let library = format!("/websites/{}", path.trim_matches('/'));
        start(&library, json!({ "website": site.url(path) })).await;
        assert_eq!(refusals(&client, reason).await, 1, "{reason}");
    }
    let metrics = client.get("/api/metrics").await.expect(200).text;
    for reason in ["status", "robots", "not_public"].into_iter().chain(refused) {
        let counted = metrics.lines().any(|line| {
            line.starts_with("twinmcp_ingest_failures_total{")
                && line.contains("stage=\"fetch\"")
                && line.contains(&format!("reason=\"{reason}\""))
                && line.ends_with(" 1")
        });
        let failures: Vec<_> = metrics.lines().filter(|line| line.contains("ingest_failures")).collect();
        assert!(counted, "{reason}: {failures:#?}");
    }
}
