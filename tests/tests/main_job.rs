//! The main job: point it at documentation, ask, get the right passage.

use serde_json::{Value, json};
use twinmcp_tests::docs::{self, BASE_URL, QUESTIONS};
use twinmcp_tests::{TestClient, TestNode, eventually};

async fn index_from_the_command_line(node: &TestNode, version: &str) {
    let folder = node.folder().join(format!("kiln-{version}"));
    docs::write_to(&folder, &docs::kiln(version));
    let folder = folder.display().to_string();
    let arguments =
        ["index", &folder, "--library", "/acme/kiln", "--version", version, "--base-url", BASE_URL];
    node.cli().run(&arguments).await.expect(0);
}

async fn ask(client: &TestClient, library: &str, query: &str) -> Value {
    let body = json!({ "libraryId": library, "query": query });
    client.post("/api/mcp/query-docs", &body).await.expect(200).json()
}

/// The code and the prose of an answer's first snippet.
fn first_text(answer: &Value) -> String {
    let blocks = answer["snippets"][0]["blocks"].as_array().expect("an answer has a snippet with blocks");
    blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_folder_of_markdown_and_html_answers_with_the_right_passage_first_and_links_to_it() {
    let node = TestNode::empty().await;
    index_from_the_command_line(&node, "1.0").await;

    let anonymous = node.client().anonymous();
    let library = anonymous.until_resolved("kiln", "/acme/kiln").await;
    let search = [("libraryName", "kiln"), ("query", "retry a firing")];
    let found = anonymous.get_with("/api/v2/libs/search", &search).await.expect(200).json();
    assert_eq!(found["results"][0], library, "{found}");
    assert_eq!(library["state"], "finalized");
    assert_eq!(library["versions"], json!(["1.0"]));
    assert!(library["totalSnippets"].as_i64() >= Some(5), "a passage a page at least: {library}");

    for question in QUESTIONS {
        let page = format!("{BASE_URL}{}", question.page);

        let typed = ask(&anonymous, "/acme/kiln", question.text).await;
        let first = &typed["snippets"][0];
        assert_eq!(first["pageUrl"], page.as_str(), "{}: {typed}", question.text);
        let anchors = first["anchors"].as_array().cloned().unwrap_or_default();
        assert!(anchors.contains(&json!(question.anchor)), "{}: {typed}", question.text);
        // The link leads to a place that the passage covers.
        let links: Vec<Value> =
            anchors.iter().filter_map(Value::as_str).map(|it| json!(format!("{page}#{it}"))).collect();
        assert!(links.contains(&first["url"]), "{}: {typed}", question.text);
        assert!(first_text(&typed).contains(question.says), "{}: {typed}", question.text);

        let text = anonymous.context("/acme/kiln", question.text, &[]).await.expect(200);
        assert!(text.header("content-type").starts_with("text/plain"), "{}", text.header("content-type"));
        assert_eq!(text.header("x-twinmcp-version"), "1.0");
        let first = text.text.split("--------------------------------").next().unwrap_or_default();
        assert!(first.contains(&format!("Source: {page}#")), "{}: {first}", question.text);
        assert!(first.contains(question.says), "{}: {first}", question.text);

        let json =
            anonymous.context("/acme/kiln", question.text, &[("type", "json")]).await.expect(200).json();
        let told = json["codeSnippets"].as_array().into_iter().flatten().map(|snippet| &snippet["codeId"]);
        let told = told.chain(json["infoSnippets"].as_array().into_iter().flatten().map(|it| &it["pageId"]));
        assert!(told.into_iter().any(|link| links.contains(link)), "{}: {json}", question.text);
    }
}

#[tokio::test]
async fn each_version_answers_for_itself_and_no_version_stands_in_for_another() {
    let node = TestNode::empty().await;
    index_from_the_command_line(&node, "1.0").await;
    index_from_the_command_line(&node, "2.0").await;
    let client = node.client();
    let query = QUESTIONS[0].text;

    for (asked, answering) in [
        ("/acme/kiln", "2.0"),
        ("/acme/kiln/1.0", "1.0"),
        ("/acme/kiln@1.0", "1.0"),
        ("/acme/kiln/2.0", "2.0"),
    ] {
        let answer = client.context(asked, query, &[]).await.expect(200);
        assert_eq!(answer.header("x-twinmcp-version"), answering, "{asked}");
        assert!(answer.text.contains(&format!("since {answering}")), "{asked}: {}", answer.text);
        let ends = format!("Version: {answering} of /acme/kiln · indexed ");
        assert!(
            answer.text.trim_end().lines().last().unwrap_or_default().starts_with(&ends),
            "{}",
            answer.text
        );
    }

    let unknown = client.context("/acme/kiln/3.0", query, &[]).await.expect(404);
    let expected = "Tag \"3.0\" not found for library \"/acme/kiln\". Available tags: 2.0, 1.0";
    assert_eq!(unknown.json(), json!({ "error": "tag_not_found", "message": expected }));

    let library = client.get("/api/libraries/acme/kiln").await.expect(200).json();
    assert_eq!(library["current_version"], "2.0");
    client.delete("/api/libraries/acme/kiln/versions/2.0").await.expect(204);
    let answer = client.context("/acme/kiln", query, &[]).await.expect(200);
    assert_eq!(answer.header("x-twinmcp-version"), "1.0");
    client.context("/acme/kiln/2.0", query, &[]).await.expect(404);

    client.delete("/api/libraries/acme/kiln").await.expect(204);
    let gone = client.context("/acme/kiln", query, &[]).await.expect(404);
    assert_eq!(gone.code(), "library_not_found");
    eventually("the library's name to be forgotten", async || {
        let search = client.get("/api/v2/libs/search?libraryName=kiln").await.expect(200);
        (!search.text.contains("/acme/kiln")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_answer_has_more_tokens_than_were_asked_for() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/big", "1", "docs.tar", docs::tar(&docs::made_up(30, 10))).await;
    let query = "topic of the stream buffer";

    let mut snippets_before = 0;
    for tokens in [1_u64, 40, 120, 300, 1_000, 5_000] {
        let asked = [("tokens", tokens.to_string())];
        let asked: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let text = client.context("/acme/big", query, &asked).await;
        let json = client.context("/acme/big", query, &[&asked[..], &[("type", "json")]].concat()).await;
        assert_eq!(text.status, json.status, "{tokens}");
        if text.status == 404 {
            assert_eq!(text.code(), "no_snippets_found", "{tokens}");
            assert_eq!(snippets_before, 0, "{tokens} tokens hold no snippet, but fewer do");
            continue;
        }
        let json = json.expect(200).json();
        let all = |kind: &str| json[kind].as_array().cloned().unwrap_or_default();
        let (code, info) = (all("codeSnippets"), all("infoSnippets"));
        let counted: u64 = code.iter().filter_map(|it| it["codeTokens"].as_u64()).sum::<u64>()
            + info.iter().filter_map(|it| it["contentTokens"].as_u64()).sum::<u64>();
        assert!(counted <= tokens, "{counted} tokens counted, {tokens} asked for");
        // A word is a token at least, so this holds whatever counts.
        let words = u64::try_from(text.text.split_whitespace().count()).expect("a small number");
        assert!(words <= tokens, "{words} words, {tokens} tokens asked for: {}", text.text);
        assert!(
            code.len() + info.len() >= snippets_before,
            "{tokens} tokens hold fewer snippets than less did"
        );
        snippets_before = code.len() + info.len();
    }
    assert!(snippets_before > 10, "5,000 tokens hold {snippets_before} snippets");
    assert_eq!(
        client.context("/acme/big", query, &[("tokens", "0")]).await.expect(400).code(),
        "validation_error"
    );
}
