//! Libraries known by name: loaded in bulk, resolved before anybody has indexed them.

use reqwest::Method;
use serde_json::{Value, json};
use twinmcp_tests::{TestClient, TestNode, docs, eventually};

const LINES: &str = r#"{"id":"/npm/kilnjs","title":"kilnjs","description":"Fires clay in the browser","ecosystem":"npm","popularity":80,"versions":["2.0.0","1.0.0"]}
{"id":"/pypi/kilnpy","title":"kilnpy","description":"Fires clay from Python","ecosystem":"pypi","popularity":60,"versions":[]}
"#;

async fn import(client: &TestClient, lines: &str, dry_run: bool) -> Value {
    let request = client.request(Method::POST, &format!("/api/libraries/import?dry_run={dry_run}"));
    let request = request.header("content-type", "application/octet-stream").body(lines.to_owned());
    client.answer(request).await.expect(200).json()
}

/// Waits until `name` resolves to `id` first; what is told of it.
async fn resolved(client: &TestClient, name: &str, id: &str) -> Value {
    eventually("an imported library to be resolved", async || {
        let found = client.get_with("/api/v2/libs/search", &[("libraryName", name)]).await.expect(200).json();
        (found["results"][0]["id"] == id).then(|| found["results"][0].clone())
    })
    .await
}

#[tokio::test]
async fn an_imported_library_is_resolved_and_says_how_to_index_it_until_somebody_does() {
    let node = TestNode::empty().await;
    let owner = node.client();
    let report = import(&owner, LINES, false).await;
    assert_eq!((&report["lines"], &report["added"], &report["failed"]), (&json!(2), &json!(2), &json!(0)));

    let found = resolved(&owner.anonymous(), "kilnjs", "/npm/kilnjs").await;
    assert_eq!(found["state"], "initial");
    assert_eq!(
        (&found["totalSnippets"], &found["stars"], &found["trustScore"]),
        (&json!(-1), &json!(-1), &json!(-1.0))
    );
    assert_eq!(found["versions"], json!(["2.0.0", "1.0.0"]));
    let text =
        owner.post("/api/mcp/resolve-library-id", &json!({ "libraryName": "kilnjs", "query": "" })).await;
    let text = text.expect(200).json()["text"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("/npm/kilnjs") && !text.contains("Code Snippets"), "{text}");

    let refused = owner.context("/npm/kilnjs", "glaze", &[]).await.expect(404);
    assert_eq!(refused.code(), "library_not_indexed");
    assert!(refused.text.contains("twinmcp index SOURCE --library /npm/kilnjs"), "{}", refused.text);
    assert_eq!(owner.context("/npm/nobody", "glaze", &[]).await.expect(404).code(), "library_not_found");
    let shown = owner.get("/api/libraries/npm/kilnjs").await.expect(200).json();
    assert_eq!((&shown["versions"], &shown["popularity"]), (&json!([]), &json!(80)));

    owner.index("/npm/kilnjs", "2.0.0", "docs.tar", docs::tar(&docs::kiln("2.0.0"))).await;
    owner.context("/npm/kilnjs", "glaze colour codes", &[]).await.expect(200);
    let found = eventually("the indexed library in answers", async || {
        let found = resolved(&owner, "kilnjs", "/npm/kilnjs").await;
        (found["state"] == "finalized").then_some(found)
    })
    .await;
    assert_eq!(found["versions"], json!(["2.0.0"]), "only what answers");
    let shown = owner.get("/api/libraries/npm/kilnjs").await.expect(200).json();
    assert_eq!(shown["known_versions"], json!(["2.0.0", "1.0.0"]));

    // First the documentation goes, then what is known.
    owner.delete("/api/libraries/npm/kilnjs").await.expect(204);
    assert_eq!(owner.context("/npm/kilnjs", "glaze", &[]).await.expect(404).code(), "library_not_indexed");
    owner.delete("/api/libraries/npm/kilnjs").await.expect(204);
    assert_eq!(owner.context("/npm/kilnjs", "glaze", &[]).await.expect(404).code(), "library_not_found");
    owner.delete("/api/libraries/npm/kilnjs").await.expect(404);
}

#[tokio::test]
async fn an_import_tells_bad_lines_takes_the_others_and_changes_nothing_the_second_time() {
    let mut node = TestNode::empty().await;
    let owner = node.client();
    let mixed = format!("{LINES}\nno json\n{{\"id\":\"kiln\"}}\n{{\"id\":\"/npm/clay\",\"popularity\":101}}");
    let report = import(&owner, &mixed, true).await;
    assert_eq!((&report["dry_run"], &report["added"]), (&json!(true), &json!(2)));
    assert_eq!(owner.get("/api/libraries/npm/kilnjs").await.status, 404, "a dry run changes nothing");

    let report = import(&owner, &mixed, false).await;
    assert_eq!((&report["added"], &report["failed"]), (&json!(2), &json!(3)));
    let lines: Vec<u64> =
        report["problems"].as_array().into_iter().flatten().filter_map(|it| it["line"].as_u64()).collect();
    assert_eq!(lines, [4, 5, 6], "{report}");
    let report = import(&owner, LINES, false).await;
    assert_eq!(
        (&report["added"], &report["changed"], &report["unchanged"]),
        (&json!(0), &json!(0), &json!(2))
    );
    let report = import(&owner, &LINES.replace("Fires clay from", "Burns clay from"), false).await;
    assert_eq!((&report["changed"], &report["unchanged"]), (&json!(1), &json!(1)));

    node.restart().await;
    let owner = node.client();
    let found = resolved(&owner, "kilnpy", "/pypi/kilnpy").await;
    assert_eq!(found["description"], "Burns clay from Python");
}

#[tokio::test]
async fn only_an_operator_imports_and_forgets() {
    let node = TestNode::empty().await;
    let owner = node.client();
    import(&owner, LINES, false).await;
    let (_, writer) = owner.create_key(&["libraries:write", "jobs:write", "docs:read"]).await;
    for (client, status) in [(owner.anonymous(), 401), (owner.with_key(&writer), 403)] {
        let request = client.request(Method::POST, "/api/libraries/import");
        let request = request.header("content-type", "application/octet-stream").body(LINES);
        client.answer(request).await.expect(status);
    }
    owner.with_key(&writer).delete("/api/libraries/npm/kilnjs").await.expect(404);
    owner.get("/api/libraries/npm/kilnjs").await.expect(200);
}

#[tokio::test]
async fn a_file_is_imported_packed_or_not_and_libraries_are_kept_from_a_terminal() {
    let node = TestNode::empty().await;
    let cli = node.cli();
    let (plain, packed) = (node.folder().join("catalogue.jsonl"), node.folder().join("catalogue.jsonl.zst"));
    std::fs::write(&plain, LINES).unwrap();
    std::fs::write(&packed, zstd::encode_all(LINES.as_bytes(), 3).unwrap()).unwrap();
    let (plain, packed) = (plain.display().to_string(), packed.display().to_string());

    let told = cli.run(&["admin", "library", "import", &plain, "--dry-run"]).await.expect(0).stdout;
    assert_eq!(told.trim(), "2 lines: 2 would be added, 0 would be changed, 0 known already");
    let report = cli.run(&["admin", "library", "import", &packed, "--json"]).await.expect(0).json();
    assert_eq!(report["added"], 2);
    std::fs::write(&plain, format!("{LINES}oops\n")).unwrap();
    let told = cli.run(&["admin", "library", "import", &plain]).await.expect(1);
    assert!(told.stdout.contains("2 known already"), "{}", told.stdout);
    assert!(
        told.stderr.contains("line 3: ") && told.stderr.contains("1 lines were not taken"),
        "{}",
        told.stderr
    );
    cli.run(&["admin", "library", "import", "/no/such/file"]).await.expect(2);

    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    let table = cli.run(&["admin", "library", "list"]).await.expect(0).stdout;
    assert!(table.contains("/acme/kiln") && !table.contains("kilnjs"), "{table}");
    let told =
        cli.run(&["admin", "library", "describe", "/acme/kiln", "--alias", "oven", "--trust", "8.5"]).await;
    let told = told.expect(0).json();
    assert_eq!((&told["aliases"], &told["trust"]), (&json!(["oven"]), &json!(8.5)));
    cli.run(&["admin", "library", "remove", "/acme/kiln", "--version", "9"]).await.expect(1);
    cli.run(&["admin", "library", "remove", "/acme/kiln"]).await.expect(0);
    cli.run(&["admin", "library", "remove", "/npm/kilnjs"]).await.expect(0);
    cli.run(&["admin", "library", "describe", "/npm/kilnjs"]).await.expect(1);
}
