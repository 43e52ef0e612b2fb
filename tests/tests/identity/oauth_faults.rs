//! The authorization server on machines that fail: a process that is killed while it redeems codes, and clocks that are wrong.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;
use twinmcp_tests::{
    Answer, Chance, NodeSetup, TestClient, TestCluster, eventually, left_out, variable, with_parameters,
};

use super::app::{App, Tokens, VERIFIER, opens, signed_in};
use super::authenticator::{self, enrol, not_at_the_end_of_a_step};
use super::signer::{self, Signer};
use super::{Browser, PASSWORD, client_keys};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Codes that are redeemed at once when the node is killed.
const CODES: usize = 16;

/// One request for tokens; nothing when the node was gone before it answered.
async fn try_redeem(client: &TestClient, app: &App, code: &str) -> Option<Answer> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", &app.id),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", &app.redirect_uri),
    ];
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = client.anonymous().request(Method::POST, "/api/oauth/token");
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"));
    client.try_answer(request).await.ok()
}

/// Rounds: `TWINMCP_CRASH_ROUNDS`, 4 unless set; `TWINMCP_SEED` repeats when the node is killed.
#[tokio::test]
async fn case_119_a_code_that_was_used_stays_used_when_the_node_is_killed() {
    // Its name does not go with the port, which is another one after each start.
    let mut node = NodeSetup::default().with("http", "public_url", "http://localhost:3000").start().await;
    let app = App::public(&node).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let (mut chance, mut lost, mut unused) = (Chance::new(), 0, 0);
    for _ in 0..variable("TWINMCP_CRASH_ROUNDS").unwrap_or(4) {
        let mut codes = Vec::new();
        for _ in 0..CODES {
            codes.push(app.code(&mut browser, &[]).await);
        }
        let (tell, mut told) = unbounded_channel();
        let requests = codes.iter().cloned().map(|code| {
            let (client, app, tell) = (node.client(), app.clone(), tell.clone());
            tokio::spawn(async move {
                let answer = try_redeem(&client, &app, &code).await;
                // Nobody listens any more once the test has failed.
                let _ = tell.send(());
                answer
            })
        });
        let requests: Vec<_> = requests.collect();
        for _ in 0..chance.below(CODES as u64) {
            told.recv().await;
        }
        node.kill().await;
        let before: Vec<_> = join_all(requests).await.into_iter().map(Result::unwrap).collect();
        node.restart().await;
        browser = browser.moved_to(&node);
        let client = node.client();
        for (code, before) in codes.iter().zip(before) {
            if let Some(given) = before {
                let tokens = Tokens::of(&given.expect(200));
                assert!(opens(&client, &tokens.access).await, "what was answered is there");
                app.refresh(&client, &tokens.refresh, &[]).await.expect(200);
                assert_eq!(app.redeem(&client, code, &[]).await.expect(400).code(), "invalid_grant");
                continue;
            }
            // No answer came: it was used, then nothing comes of it any more; or it was not, then it is good, once.
            match app.redeem(&client, code, &[]).await {
                answer if answer.status == 200 => unused += 1,
                answer => {
                    assert_eq!(answer.expect(400).code(), "invalid_grant");
                    lost += 1;
                }
            }
            assert_eq!(app.redeem(&client, code, &[]).await.expect(400).code(), "invalid_grant");
        }
    }
    println!("no answer came for {} codes: {lost} had been used, {unused} had not", lost + unused);
}

/// The library that tells a process another time, where Debian's `libfaketime` is installed.
fn wrong_clocks() -> Option<PathBuf> {
    let machine = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    Some(PathBuf::from(machine)).filter(|library| library.is_file())
}

/// `setup` on a clock that is wrong by what the file `shift` says, e.g. `+30`, at each start.
fn shifted(setup: NodeSetup, library: &Path, shift: &Path) -> NodeSetup {
    let library = format!("LD_PRELOAD={}", library.display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", shift.display());
    setup.under(&["env", &library, &file, "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"])
}

#[tokio::test]
async fn case_064_and_066_what_has_waited_ten_minutes_for_its_person_is_over() {
    let Some(library) = wrong_clocks() else {
        left_out("libfaketime is not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let setup = NodeSetup::default().with("http", "public_url", "http://localhost:3000");
    let mut node = shifted(setup, &library, &clock).start().await;
    let metadata = json!({
        "client_name": "Television", "redirect_uris": ["https://app.example/cb"],
        "grant_types": ["authorization_code", DEVICE], "token_endpoint_auth_method": "none",
    });
    let app = App::register(&node, &metadata).await;
    let mut browser = signed_in(&node, "ada@example.org").await;
    let request = reqwest::Url::parse(&format!("http://x{}", app.authorize(&[]))).unwrap();
    let request: Vec<(String, String)> = request.query_pairs().into_owned().collect();
    let request: Vec<_> = request.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let client = node.client();
    let pushed = app.ask(&client, "/api/oauth/par", &request).await.expect(201).json();
    let pushed = [("client_id", app.id.as_str()), ("request_uri", pushed["request_uri"].as_str().unwrap())];
    let pushed = with_parameters("/api/oauth/authorize", &pushed);
    browser.get(&pushed).await.expect(200);
    let start = async |client: &TestClient| {
        app.ask(client, "/api/oauth/device_authorization", &[]).await.expect(200).json()
    };
    let poll = async |client: &TestClient, codes: &Value| {
        let fields = [("grant_type", DEVICE), ("device_code", codes["device_code"].as_str().unwrap())];
        app.ask(client, "/api/oauth/token", &fields).await.expect(400).code()
    };
    let codes = start(&client).await;
    assert_eq!(poll(&client, &codes).await, "authorization_pending");
    let typed = format!("/device?user_code={}", codes["user_code"].as_str().unwrap());
    browser.get(&typed).await.expect(200);

    std::fs::write(&clock, "+601").unwrap();
    node.restart().await;
    let (client, mut browser) = (node.client(), browser.moved_to(&node));
    assert_eq!(poll(&client, &codes).await, "expired_token");
    browser.get("/api/auth/session").await.expect(200);
    assert_eq!(browser.get(&pushed).await.expect(400).header("location"), "");
    browser.get(&typed).await.expect(400);
    // What begins then waits.
    assert_eq!(poll(&client, &start(&client).await).await, "authorization_pending");
}

#[tokio::test]
async fn case_118_clocks_that_differ_by_a_minute_refuse_no_token_and_keep_none() {
    let Some(library) = wrong_clocks() else {
        left_out("libfaketime is not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = |number: usize| folder.path().join(number.to_string());
    for (number, shift) in [(1, "+30"), (2, "+0"), (3, "-30")] {
        std::fs::write(clock(number), shift).unwrap();
    }
    let mut cluster = TestCluster::start_as(3, 0, async |number| {
        let setup = TestCluster::setup(number).with("http", "public_url", "http://localhost:3000");
        shifted(setup.with("oauth", "access_token_seconds", 30), &library, &clock(number))
    })
    .await;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let at = |answer: &Answer| answer.header("ratelimit-reset").parse::<u64>().unwrap();
    let clocks = [0, 2].map(|place| cluster.client(place));
    let read = [clocks[0].get("/api/libraries").await, clocks[1].get("/api/libraries").await];
    assert!(at(&read[0]) > now + 20 && at(&read[1]) < now - 10, "the clocks are not wrong: {read:?}");

    let app = App::public(&cluster.nodes[0]).await;
    let ada = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let machine = json!({ "client_name": "b", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&cluster.client(0), &machine).await;
    let is_good_everywhere = async |token: &str| {
        for place in 0..3 {
            let client = cluster.client(place);
            eventually("every node to take the token", async || opens(&client, token).await.then_some(()))
                .await;
        }
    };
    // A code of one node is redeemed at the next, and what comes of it is good at each and refreshed at the one after that.
    for place in 0..3 {
        let client = |step: usize| cluster.client((place + step) % 3);
        let mut browser = ada.moved_to(&cluster.nodes[place]);
        let asked = async || browser.clone().get("/api/auth/session").await;
        eventually("the session on every node", async || (asked().await.status == 200).then_some(())).await;
        let code = app.code(&mut browser, &[]).await;
        let tokens = Tokens::of(&app.redeem(&client(1), &code, &[]).await.expect(200));
        is_good_everywhere(&tokens.access).await;
        let tokens = Tokens::of(&app.refresh(&client(2), &tokens.refresh, &[]).await.expect(200));
        is_good_everywhere(&tokens.access).await;
        let given =
            machine.ask(&client(0), "/api/oauth/token", &[("grant_type", "client_credentials")]).await;
        is_good_everywhere(&Tokens::of(&given.expect(200)).access).await;
    }

    // What a client signed, on a clock that is right.
    let signer = Signer::new("k1");
    let key = json!({ "jwks": signer.jwks() });
    let signs = client_keys::machine(&cluster.client(1), &key).await;
    let issuer = client_keys::issuer(&cluster.client(1)).await;
    let assertion = |changes: &[(&str, Value)]| signer.sign(&client_keys::claims(&signs, &issuer, changes));
    for place in 0..3 {
        let client = cluster.client(place);
        let given = eventually("the client on every node", async || {
            let answer = client_keys::ask(&client, &assertion(&[]), &[]).await;
            (answer.status == 200).then_some(answer)
        });
        is_good_everywhere(&Tokens::of(&given.await).access).await;
        let late = assertion(&[("exp", json!(signer::now() - 95)), ("iat", json!(signer::now() - 155))]);
        client_keys::ask(&client, &late, &[]).await.expect(401);
    }

    // Codes of an app, which are good for half a minute: each person sets one up at one node and signs in at the next.
    not_at_the_end_of_a_step().await;
    let mut apps = Vec::new();
    for place in 0..3 {
        let email = format!("grace{place}@example.org");
        let mut browser = signed_in(&cluster.nodes[place], &email).await;
        apps.push((email, enrol(&mut browser).await.app));
    }
    for (place, (email, app)) in apps.iter().enumerate() {
        let mut browser = Browser::at(&cluster.nodes[(place + 1) % 3]);
        let code = app.shown_later().await;
        browser.sign_in(email, PASSWORD).await.expect(202);
        authenticator::answer(&mut browser, "totp", &code).await.expect(200);
        browser.sign_in(email, PASSWORD).await.expect(202);
        authenticator::answer(&mut browser, "totp", &code).await.expect(403);
    }

    // Of the node that is right: 30 s, and a minute more. Another one that is so far on, and half a minute besides, believes it no more.
    let right = cluster.client(1);
    let given = machine.ask(&right, "/api/oauth/token", &[("grant_type", "client_credentials")]);
    let token = Tokens::of(&given.await.expect(200)).access;
    is_good_everywhere(&token).await;
    std::fs::write(clock(3), "+120").unwrap();
    cluster.nodes[2].restart().await;
    assert!(!opens(&cluster.client(2), &token).await);
    assert!(opens(&cluster.client(1), &token).await);
}
