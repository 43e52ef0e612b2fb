//! Adding a library by its URL, as Context7's clients do.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::git::{GitServer, Repository};
use twinmcp_tests::site::{Page, Site};
use twinmcp_tests::{Answer, NodeSetup, TestClient, TestNode, form};

#[tokio::test]
async fn a_library_that_is_here_is_a_duplicate_whatever_its_url_is_spelled_like() {
    let node = TestNode::empty().await;
    let owner = node.client();
    owner.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    owner.index("/websites/docs_example_com_guide", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    for (path, body) in [
        ("repo/github", json!({ "docsRepoUrl": "https://github.com/acme/kiln" })),
        ("repo/github", json!({ "docsRepoUrl": "https://www.github.com/acme/kiln.git/" })),
        ("repo/gitlab", json!({ "docsRepoUrl": "https://git.example.com/group/acme/kiln" })),
        ("repo/bitbucket", json!({ "docsRepoUrl": "https://bitbucket.org/acme/kiln" })),
        ("repo/git", json!({ "docsRepoUrl": "https://example.com/acme/kiln.git" })),
        ("website", json!({ "websiteUrl": "https://docs.example.com/guide/" })),
        (
            "website",
            json!({ "websiteUrl": "https://docs.example.com/guide/a/b", "websiteBaseUrl": "https://docs.example.com/guide/" }),
        ),
    ] {
        let refused = owner.post(&format!("/api/v2/add/{path}"), &body).await.expect(409);
        assert_eq!(refused.code(), "duplicate_repo", "{path} {body}");
        assert!(refused.json()["message"].as_str().unwrap().contains("/api/v1/refresh"), "{}", refused.text);
    }
}

#[tokio::test]
async fn what_cannot_be_added_is_refused_with_a_reason_in_context7s_shape() {
    let node = TestNode::empty().await;
    let owner = node.client();
    for (path, body, status, code) in [
        ("repo/github", json!({ "docsRepoUrl": "https://gitlab.com/acme/kiln" }), 400, "validation_error"),
        ("repo/github", json!({ "docsRepoUrl": "https://github.com/acme" }), 400, "validation_error"),
        ("repo/git", json!({ "docsRepoUrl": "git@github.com:acme/kiln.git" }), 400, "validation_error"),
        ("repo/git", json!({ "docsRepoUrl": "https://key@github.com/acme/kiln" }), 400, "validation_error"),
        (
            "repo/git",
            json!({ "docsRepoUrl": "https://github.com/acme/kiln", "private": true }),
            403,
            "private_not_supported",
        ),
        (
            "repo/git",
            json!({ "docsRepoUrl": "https://github.com/acme/kiln", "gitToken": "t" }),
            403,
            "private_not_supported",
        ),
        (
            "repo/git",
            json!({ "docsRepoUrl": "https://github.com/acme/kiln", "generateDocs": true }),
            403,
            "source_not_supported",
        ),
        (
            "website",
            json!({ "websiteUrl": "https://a.example", "websiteBaseUrl": "https://b.example" }),
            400,
            "validation_error",
        ),
        ("website", json!({}), 400, "validation_error"),
        ("llmstxt", json!({ "llmstxtUrl": "ftp://a.example/llms.txt" }), 400, "validation_error"),
        ("openapi", json!({ "openApiUrl": "openapi.json" }), 400, "validation_error"),
        ("confluence", json!({ "spaceKey": "DOCS" }), 403, "source_not_supported"),
        ("notion", json!({ "pageIds": ["1"] }), 403, "source_not_supported"),
    ] {
        let refused = owner.post(&format!("/api/v2/add/{path}"), &body).await.expect(status);
        assert_eq!(refused.code(), code, "{path} {body}");
        assert!(refused.json()["message"].as_str().is_some_and(|text| text.len() > 20), "{}", refused.text);
    }
    let (_, reader) = owner.create_key(&["docs:read"]).await;
    let body = json!({ "docsRepoUrl": "https://github.com/acme/kiln" });
    owner.with_key(&reader).post("/api/v2/add/repo/github", &body).await.expect(403);
    owner.anonymous().post("/api/v2/add/repo/github", &body).await.expect(401);
}

/// A node that may fetch from this machine, and need not be polite to it.
async fn fetching_node() -> TestNode {
    let setup = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"]));
    setup.with("fetch", "requests_per_second", 1_000).start().await
}

/// Waits for the job `id`; it must be done.
async fn done(client: &TestClient, id: &Value) -> Value {
    let job = client.ended_job(id.as_str().unwrap_or_default()).await;
    assert_eq!(job["state"], "done", "{job}");
    job
}

#[tokio::test]
async fn a_repository_is_added_by_its_url_and_read_again_when_its_branch_is_pushed() {
    let node = fetching_node().await;
    let owner = node.client();
    let folder = node.folder().join("served");
    let repository = Repository::create(&folder.join("acme/kiln.git"));
    let server = GitServer::start(&folder).await;
    docs::write_to(repository.folder(), &docs::kiln("1.0"));
    repository.commit(&[]);
    let body = json!({ "docsRepoUrl": server.url("acme/kiln.git") });
    let added = owner.post("/api/v2/add/repo/git", &body).await.expect(200).json();
    assert_eq!(added["libraryName"], "/acme/kiln");
    done(&owner, &added["jobId"]).await;
    let question = &QUESTIONS[0];
    assert!(owner.context("/acme/kiln", question.text, &[]).await.expect(200).text.contains(question.says));
    assert_eq!(owner.post("/api/v2/add/repo/git", &body).await.expect(409).code(), "duplicate_repo");

    let made = owner.post("/api/libraries/acme/kiln/webhook", &json!({})).await.expect(201).json();
    let push = async |reference: &str| {
        let body = json!({ "ref": reference, "project": { "default_branch": "main" } });
        let request = owner.anonymous().request(Method::POST, "/api/webhooks/acme/kiln").json(&body);
        let token = made["secret"].as_str().unwrap_or_default();
        owner.answer(request.header("x-gitlab-token", token)).await.expect(200).json()
    };
    repository.commit(&[("zebra.md", "# Zebra glaze\n\nStripes come from manganese.\n")]);
    assert_eq!(push("refs/heads/topic").await, json!({ "started": [], "waiting": [] }));
    assert_eq!(push("refs/tags/v9").await, json!({ "started": [], "waiting": [] }));
    let pushed = push("refs/heads/main").await;
    assert_eq!(done(&owner, &pushed["started"][0]).await["unchanged"], false);
    let answer = owner.context("/acme/kiln", "zebra stripes manganese", &[]).await.expect(200).text;
    assert!(answer.contains("Stripes come from manganese"), "{answer}");
    let told =
        owner.post("/api/v1/refresh", &json!({ "libraryName": "/acme/kiln" })).await.expect(200).json();
    assert_eq!(told, json!({ "message": "Refresh started successfully" }));
}

#[tokio::test]
async fn repositories_of_gitlab_and_bitbucket_are_added_from_a_host_of_ones_own() {
    let node = fetching_node().await;
    let owner = node.client();
    let folder = node.folder().join("served");
    let server = GitServer::start(&folder).await;
    for (service, path, library, mineral) in [
        ("gitlab", "ceramics/studio/glaze.git", "/studio/glaze", "manganese"),
        ("bitbucket", "acme/clay", "/acme/clay", "kaolinite"),
    ] {
        let repository = Repository::create(&folder.join(path));
        let page = format!("# Zebra stripes\n\nStripes come from {mineral}.\n");
        repository.commit(&[("docs/zebra.md", &page)]);
        let (add, body) = (format!("/api/v2/add/repo/{service}"), json!({ "docsRepoUrl": server.url(path) }));
        let added = owner.post(&add, &body).await.expect(200).json();
        assert_eq!(added["libraryName"], library);
        done(&owner, &added["jobId"]).await;
        let answer = owner.context(library, "what zebra stripes come from", &[]).await.expect(200).text;
        assert!(answer.contains(&format!("Stripes come from {mineral}")), "{service}: {answer}");
        assert_eq!(owner.post(&add, &body).await.expect(409).code(), "duplicate_repo", "{service}");
    }
}

#[tokio::test]
async fn an_openapi_document_is_added_by_its_url_and_named_after_it() {
    let node = fetching_node().await;
    let owner = node.client();
    let site = Site::start(|path, _| match path {
        "/kiln/openapi.json" => Page::of("application/json", docs::OPENAPI),
        _ => Page::status(404),
    })
    .await;
    let url = site.url("/kiln/openapi.json");
    let body = json!({ "openApiUrl": url });
    let added = owner.post("/api/v2/add/openapi", &body).await.expect(200).json();
    let library = "/openapi/127_0_0_1_kiln_openapi_json";
    assert_eq!(added["libraryName"], library);
    done(&owner, &added["jobId"]).await;
    let answer = owner.context(library, "light the burners of a kiln", &[]).await.expect(200).text;
    assert!(answer.contains("/kilns/{id}/fire") && answer.contains(&url), "{answer}");
    assert_eq!(owner.post("/api/v2/add/openapi", &body).await.expect(409).code(), "duplicate_repo");
}

#[tokio::test]
async fn an_llms_txt_is_added_by_its_url_with_the_pages_that_it_names_and_no_others() {
    let node = fetching_node().await;
    let owner = node.client();
    let site = Site::start(|path, _| match path {
        "/guide/llms.txt" => Page::text(
            "# Kiln\n\n- [Retries](/guide/retries.md)\n- [Glazes](/reference/glaze.html)\n- [Far](https://far.example/)\n",
        ),
        "/guide/retries.md" => Page::of("text/markdown", docs::one_page("1.0")),
        "/reference/glaze.html" => {
            Page::html("<h1>Zebra glaze</h1><p>Stripes come from manganese.</p><a href='unlisted'>more</a>")
        }
        "/reference/unlisted" => Page::html("<h1>Unlisted</h1>"),
        _ => Page::status(404),
    })
    .await;
    let body = json!({ "llmstxtUrl": site.url("/guide/llms.txt") });
    let added = owner.post("/api/v2/add/llmstxt", &body).await.expect(200).json();
    let library = "/llmstxt/127_0_0_1_guide_llms_txt";
    assert_eq!(added["libraryName"], library);
    done(&owner, &added["jobId"]).await;
    let mut asked = site.asked();
    asked.retain(|path| path != "/robots.txt");
    asked.sort();
    assert_eq!(asked, ["/guide/llms.txt", "/guide/retries.md", "/reference/glaze.html"]);
    for (question, page, says) in [
        (QUESTIONS[0].text, "/guide/retries.md", QUESTIONS[0].says),
        ("what zebra stripes come from", "/reference/glaze.html", "manganese"),
    ] {
        let answer = owner.context(library, question, &[]).await.expect(200).text;
        let first = answer.lines().find_map(|line| line.strip_prefix("Source: ")).unwrap_or_default();
        assert!(answer.contains(says) && first.starts_with(&site.url(page)), "{page}: {answer}");
    }
    assert_eq!(owner.post("/api/v2/add/llmstxt", &body).await.expect(409).code(), "duplicate_repo");
}

#[tokio::test]
async fn a_web_site_is_added_by_its_url_and_named_after_it() {
    let node = fetching_node().await;
    let owner = node.client();
    let site = Site::start(|path, _| match path {
        "/guide/" => Page::html("<h1>Glazes</h1><p>Stripes come from manganese.</p>"),
        _ => Page::status(404),
    })
    .await;
    let body = json!({ "websiteUrl": site.url("/guide/") });
    let added = owner.post("/api/v2/add/website", &body).await.expect(200).json();
    assert_eq!(added["libraryName"], "/websites/127_0_0_1_guide");
    done(&owner, &added["jobId"]).await;
    let answer = owner.context("/websites/127_0_0_1_guide", "stripes", &[]).await.expect(200).text;
    assert!(answer.contains("manganese"), "{answer}");
    // A site has no branches: whatever was pushed, its current version is read again.
    let job =
        owner.post("/api/libraries/websites/127_0_0_1_guide/refresh", &json!({})).await.expect(201).json();
    assert_eq!(done(&owner, &job["id"]).await["unchanged"], true);
}

async fn send_openapi(client: &TestClient, fields: &[(&str, Option<&str>, &str)]) -> Answer {
    let (kind, body) = form(fields);
    let request = client.request(Method::POST, "/api/v2/add/openapi-upload").header("content-type", kind);
    client.answer(request.body(body)).await
}

#[tokio::test]
async fn an_openapi_document_is_sent_as_a_form_and_becomes_a_library_of_its_title() {
    let node = TestNode::empty().await;
    let owner = node.client();
    let file = ("openapiFile", Some("openapi.json"), docs::OPENAPI);
    let added =
        send_openapi(&owner, &[file, ("later", None, "a field of a later client")]).await.expect(200).json();
    assert_eq!(added["libraryName"], "/docs/kiln_api");
    done(&owner, &added["jobId"]).await;
    let answer = owner.context("/docs/kiln_api", "light the burners of a kiln", &[]).await.expect(200).text;
    assert!(answer.contains("/kilns/{id}/fire"), "{answer}");
    assert_eq!(owner.get("/api/libraries/docs/kiln_api").await.expect(200).json()["title"], "Kiln API");

    // What is here is made anew only when it is forced, and only by its owner.
    assert_eq!(send_openapi(&owner, &[file]).await.expect(409).code(), "duplicate_repo");
    let yaml = "openapi: 3.1.0\ninfo:\n  title: Kiln API\npaths:\n  /glazes:\n    get:\n      summary: List every glaze of the kiln.\n";
    let forced = [
        ("openapiFile", Some("kiln.yml"), yaml),
        ("force", None, "true"),
        ("description", None, "Fires clay."),
    ];
    let added = send_openapi(&owner, &forced).await.expect(200).json();
    done(&owner, &added["jobId"]).await;
    let answer = owner.context("/docs/kiln_api", "list glazes", &[]).await.expect(200).text;
    assert!(answer.contains("List every glaze"), "{answer}");
    let named = [file, ("libraryTitle", None, "Ceramics, 2nd edition")];
    let added = send_openapi(&owner, &named).await.expect(200).json();
    assert_eq!(added["libraryName"], "/docs/ceramics_2nd_edition");
}

#[tokio::test]
async fn a_form_that_holds_no_openapi_document_is_refused_with_a_reason() {
    let node = TestNode::empty().await;
    let owner = node.client();
    let file = ("openapiFile", Some("openapi.json"), docs::OPENAPI);
    let large = format!("{{\"openapi\":\"3.0.0\",\"x\":\"{}\"}}", "x".repeat(8 << 20));
    let (kiln, long) = ("{\"kiln\":1}", "x".repeat(300));
    let many = [("other", None, "x"); 20];
    for (fields, status, words) in [
        (vec![], 400, "`openapiFile` is missing"),
        (vec![("libraryTitle", None, "Kiln")], 400, "`openapiFile` is missing"),
        (vec![("openapiFile", Some("kiln.json"), kiln)], 400, "no key `openapi` or `swagger`"),
        (vec![("openapiFile", Some("kiln.json"), "{")], 400, "no OpenAPI document"),
        (vec![("openapiFile", Some("kiln.json"), large.as_str())], 413, "8388608 bytes"),
        (vec![file, ("force", None, "yes")], 400, "`force` may only be `true`"),
        (vec![file, ("libraryTitle", None, &long)], 400, "`libraryTitle` may have"),
        (many.to_vec(), 400, "16 fields"),
    ] {
        let refused = send_openapi(&owner, &fields).await.expect(status);
        let told = refused.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains(words), "{told}");
    }
    let (kind, body) = form(&[file]);
    let half = owner.request(Method::POST, "/api/v2/add/openapi-upload").header("content-type", &kind);
    owner.answer(half.body(body[..body.len() / 2].to_owned())).await.expect(400);
    let bare = owner
        .request(Method::POST, "/api/v2/add/openapi-upload")
        .header("content-type", "multipart/form-data");
    owner.answer(bare.body(body)).await.expect(400);
    owner.post("/api/v2/add/openapi-upload", &json!({})).await.expect(415);
    let (_, reader) = owner.create_key(&["docs:read"]).await;
    send_openapi(&owner.with_key(&reader), &[file]).await.expect(403);
    send_openapi(&owner.anonymous(), &[file]).await.expect(401);
}
