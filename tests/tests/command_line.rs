//! The command line: results on standard output, words on standard error, and exit codes that scripts rely on.

use serde_json::Value;
use twinmcp_tests::docs::{self, BASE_URL, QUESTIONS};
use twinmcp_tests::{Cli, TestNode, run};

#[tokio::test]
async fn commands_exit_with_0_when_done_1_when_refused_2_when_misused_and_3_without_a_node() {
    let node = TestNode::empty().await;
    let cli = node.cli();
    let folder = node.folder().join("kiln");
    docs::write_to(&folder, &docs::kiln("1.0"));
    let folder = folder.display().to_string();
    let index = ["index", &folder, "--library", "/acme/kiln", "--version", "1.0", "--base-url", BASE_URL];

    for (arguments, code) in [
        (&index[..], 0),
        (&["resolve", "kiln"], 0),
        (&["query", "/acme/kiln", "glaze", "colour", "codes"], 0),
        (&["admin", "key", "list"], 0),
        (&["--version"], 0),
        (&["--help"], 0),
        (&["query", "/no/such", "anything"], 1),
        (&["query", "/acme/kiln/9.9", "anything"], 1),
        (&["admin", "key", "revoke", "key_00000000000000000000000000"], 1),
        (&["index", "/no/such/folder", "--library", "/a/b"], 2),
        (&["index", &folder], 2),
        (&["index", &folder, "--library", "no slash"], 2),
        (&["query", "/acme/kiln"], 2),
        (&["query", "/acme/kiln", "x", "--tokens", "0"], 2),
        (&["fly"], 2),
        (&["resolve", "kiln", "--url", "not a url"], 2),
        (&["resolve", "kiln", "--url", "http://127.0.0.1:1"], 3),
        (&["index", &folder, "--library", "/a/b", "--url", "http://127.0.0.1:1"], 3),
    ] {
        let ended = cli.run(arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        if code != 0 {
            assert_eq!(ended.stdout, "", "{arguments:?}");
            assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {}", ended.stderr);
        }
    }
    let nobody = Cli::new(node.url(), None, &node.folder());
    let refused = nobody.run(&["admin", "key", "list"]).await.expect(1);
    assert!(refused.stderr.contains("API key"), "{}", refused.stderr);
}

#[tokio::test]
async fn results_are_text_for_people_and_json_for_programs() {
    let node = TestNode::empty().await;
    let cli = node.cli();
    let folder = node.folder().join("kiln");
    docs::write_to(&folder, &docs::kiln("1.0"));
    let folder = folder.display().to_string();
    let index =
        ["index", &folder, "--library", "/acme/kiln", "--version", "1.0", "--base-url", BASE_URL, "--json"];
    let job = cli.run(&index).await.expect(0).json();
    assert_eq!(job["state"], "done", "{job}");

    let question = &QUESTIONS[1];
    let text = cli.run(&["query", "/acme/kiln", question.text]).await.expect(0).stdout;
    let rest = node.client().context("/acme/kiln", question.text, &[]).await.expect(200).text;
    assert_eq!(text, rest);
    let json = cli.run(&["query", "/acme/kiln", question.text, "--json"]).await.expect(0).json();
    assert_eq!(json["snippets"][0]["pageUrl"], format!("{BASE_URL}{}", question.page), "{json}");
    node.client().until_resolved("kiln", "/acme/kiln").await;
    let resolved = cli.run(&["resolve", "kiln", "--json"]).await.expect(0).json();
    assert_eq!(resolved["libraries"][0]["id"], "/acme/kiln", "{resolved}");

    let made = ["admin", "key", "create", "ci", "--scope", "docs:read,jobs:write"];
    let secret = cli.run(&made).await.expect(0).stdout;
    node.client().with_key(secret.trim()).get("/api/jobs").await.expect(200);
    let listed = cli.run(&["admin", "key", "list", "--json"]).await.expect(0).json();
    let keys = listed["keys"].as_array().cloned().unwrap_or_default();
    let id =
        keys.iter().find(|key| key["name"] == "ci").and_then(|key| key["id"].as_str()).expect("the new key");
    cli.run(&["admin", "key", "revoke", id]).await.expect(0);
    node.client().with_key(secret.trim()).get("/api/jobs").await.expect(401);

    let document: Value = cli.run(&["openapi"]).await.expect(0).json();
    let served = node.client().get("/api/openapi.json").await.expect(200).json();
    assert_eq!(document, served);
}

#[tokio::test]
async fn a_lockfile_makes_one_library_of_each_package_found_on_this_machine() {
    let node = TestNode::empty().await;
    docs::cargo_project(&node.folder());
    let lock = node.folder().join("project/Cargo.lock").display().to_string();
    let index = || {
        let mut command = node.cli().command(&["index", &lock]);
        command.env("CARGO_HOME", node.folder().join("cargo"));
        run(command, "")
    };
    let told = index().await.expect(0);
    assert!(told.stdout.contains("/crates/kiln 1.4.2"), "{told:?}");
    let answer =
        node.client().context("/crates/kiln/1.4.2", "retry with exponential backoff", &[]).await.expect(200);
    assert!(answer.text.contains("RetryPolicy"), "{}", answer.text);
    // What is there is not indexed again.
    let jobs =
        async || node.client().get("/api/jobs").await.expect(200).json()["jobs"].as_array().map(Vec::len);
    let before = jobs().await;
    index().await.expect(0);
    assert_eq!(jobs().await, before);
}

#[tokio::test]
async fn npm_and_python_lockfiles_index_what_lies_beside_them() {
    let node = TestNode::empty().await;
    let folder = node.folder();
    docs::npm_project(&folder);
    docs::python_project(&folder);
    for (lock, indexed, missing) in [
        ("web/package-lock.json", "/npm/@acme/kiln 3.1.0", "(gone 1.0.0): run `npm ci`"),
        ("py/requirements.txt", "/pypi/kiln-py 0.9.0", "(absent 2.0): run `pip install -r requirements.txt`"),
        ("py/uv.lock", "/pypi/throwing 1.2.0", "(unsynced 3.0): run `uv sync`"),
        ("py/poetry.lock", "/pypi/drying 4.1.0", "(uninstalled 5.0): run `poetry install`"),
    ] {
        let lock = folder.join(lock).display().to_string();
        let (indexed, missing) =
            (format!("indexed {indexed}: "), format!("1 package is not on this machine {missing}"));
        let brings_its_package = async |arguments: &[&str]| {
            let ended = node.cli().run(arguments).await.expect(0);
            assert!(
                ended.stdout.starts_with(&indexed) && ended.stderr.contains(&missing),
                "{lock}: {ended:?}"
            );
            assert_eq!(ended.stdout.lines().count(), 1, "{lock}: {ended:?}");
        };
        brings_its_package(&["index", &lock]).await;
        // What is there is indexed again only when that is asked for.
        assert_eq!(node.cli().run(&["index", &lock]).await.expect(0).stdout, "", "{lock}");
        brings_its_package(&["index", &lock, "--again"]).await;
    }
    for (library, question, answer) in [
        ("/npm/@acme/kiln", "fire with a schedule", "fire(schedule: Schedule): Promise<Report>"),
        (
            "/pypi/kiln-py/0.9.0",
            "how long does it take to cool",
            "def cooling_time(peak: float, *, slow: bool = False) -> float",
        ),
        ("/pypi/throwing/1.2.0", "how fast the wheel turns", "def wheel_speed(clay: float) -> float"),
        ("/pypi/drying/4.1.0", "how many days a pot dries", "def shelf_days(wall: float) -> int"),
    ] {
        let found = node.client().context(library, question, &[]).await.expect(200);
        assert!(found.text.contains(answer), "{library}: {}", found.text);
    }
    // Known under the name that programs import it by, and without the scope.
    node.client().until_resolved("kilnlib", "/pypi/kiln-py").await;
    node.client().until_resolved("kiln", "/npm/@acme/kiln").await;
}

#[tokio::test]
async fn a_job_is_cancelled_when_its_command_is_interrupted() {
    let node = TestNode::empty().await;
    let folder = node.folder().join("big");
    docs::write_to(&folder, &docs::made_up(800, 8));
    let folder = folder.display().to_string();
    let mut command = node.cli().command(&["index", &folder, "--library", "/acme/big", "--version", "1"]);
    let child =
        command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let client = node.client();
    let id = twinmcp_tests::eventually("the job at work", async || {
        let job = client.get("/api/jobs").await.expect(200).json()["jobs"][0].clone();
        let at_work = job["state"] == "running" && job["progress"]["pages"].as_u64() > Some(0);
        at_work.then(|| job["id"].as_str().map(str::to_owned)).flatten()
    })
    .await;
    let pid = child.id().expect("the command runs").to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(client.ended_job(&id).await["state"], "cancelled");
}

#[tokio::test]
async fn completions_are_scripts_the_shell_accepts_and_a_closed_pipe_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::new("http://127.0.0.1:1", None, home.path());
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.run(&["completions", shell]).await.expect(0).stdout;
        assert!(script.contains("quickstart") && script.contains("resolve"), "{shell}");
        if shell == "bash" {
            let mut check = tokio::process::Command::new("bash");
            check.arg("-n");
            run(check, &script).await.expect(0);
        }
    }
    cli.run(&["completions", "no-such-shell"]).await.expect(2);
    let mut piped = tokio::process::Command::new("bash");
    let program = twinmcp_tests::twinmcp();
    piped.args(["-c", "set -o pipefail; \"$0\" openapi | head -c 1"]).arg(program);
    run(piped, "").await.expect(0);
}

#[tokio::test]
async fn a_configuration_is_checked_by_key_and_line_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::new("http://127.0.0.1:1", None, home.path());
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let wrong =
        file("wrong.toml", "[http]\nlisten = \"nowhere\"\nin_flight = 3\n\n[limits]\nkey_burst = 0\n");
    let told = cli.run(&["config", "check", &wrong]).await.expect(1);
    for (key, line) in [("listen", "2"), ("in_flight", "3"), ("key_burst", "6")] {
        let named = told.stderr.lines().any(|text| text.contains(key) && text.contains(line));
        assert!(named, "{key} in line {line}: {}", told.stderr);
    }
    cli.run(&["serve", "--config", &wrong]).await.expect(2);
    cli.run(&["config", "check", "/no/such/file.toml"]).await.expect(1);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../twinmcp.sample.toml");
    cli.run(&["config", "check", sample]).await.expect(0);
}
