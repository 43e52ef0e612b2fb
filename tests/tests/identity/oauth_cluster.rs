//! The authorization server on three nodes: what is single-use is used once, whoever is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{DEADLINE, Links, NodeSetup, TestCluster, eventually};

use super::Browser;
use super::app::{App, Tokens, VERIFIER, opens, parameter, signed_in};
use super::client_keys::{ask_proving, proof};
use super::signer::{Signer, read};

/// Where the service is for all of its nodes.
const ISSUER: &str = "http://localhost:3000";

/// Clients that want tokens at the same moment while keys follow each other.
const AT_ONCE: usize = 4;

async fn cluster() -> TestCluster {
    TestCluster::start_as(3, 0, async |number| setup(number)).await
}

fn setup(number: usize) -> NodeSetup {
    let setup = TestCluster::setup(number).with("http", "public_url", ISSUER);
    setup.with("oauth", "key_seconds", 8).with("oauth", "key_publish_seconds", 2)
}

/// How often a code is raced for; `TWINMCP_RACES` overrides it.
fn races() -> usize {
    twinmcp_tests::variable("TWINMCP_RACES").and_then(|races| races.try_into().ok()).unwrap_or(1_000)
}

#[tokio::test]
async fn case_002_what_came_of_a_code_that_comes_twice_is_dead_on_every_node() {
    let cluster = cluster().await;
    let app = App::confidential(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let code = app.code(&mut browser, &[]).await;
    let tokens = Tokens::of(&app.redeem(&cluster.client(0), &code, &[]).await.expect(200));
    let both = [&tokens.access, &tokens.refresh];
    // At the resource, and at introspection; the token endpoint would use the refresh token up.
    let everywhere = async |good: bool| {
        for place in 0..3 {
            let client = cluster.client(place);
            eventually("every node to know", async || {
                let mut known = opens(&client, &tokens.access).await == good;
                for token in both {
                    let told = app.ask(&client, "/api/oauth/introspect", &[("token", token)]).await;
                    known &= told.status == 200 && told.json()["active"] == good;
                }
                known.then_some(())
            })
            .await;
        }
    };
    everywhere(true).await;
    assert_eq!(app.redeem(&cluster.client(1), &code, &[]).await.expect(400).code(), "invalid_grant");
    everywhere(false).await;
    for place in 0..3 {
        let refused = app.refresh(&cluster.client(place), &tokens.refresh, &[]).await.expect(400);
        assert_eq!(refused.code(), "invalid_grant", "node {place}");
    }
    everywhere(false).await;
}

#[tokio::test]
async fn case_003_a_code_sent_to_two_nodes_at_once_is_good_once() {
    let cluster = cluster().await;
    let app = App::public(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    app.code(&mut browser, &[]).await;
    let path = app.authorize(&[]);
    let race = async |number: usize| {
        let asked = browser.request(Method::GET, &path);
        let sent = browser.client.answer(asked).await.expect(303);
        let code = parameter(sent.header("location"), "code").unwrap();
        let (one, two) = (cluster.client(number % 3), cluster.client((number + 1) % 3));
        let answers = tokio::join!(app.redeem(&one, &code, &[]), app.redeem(&two, &code, &[]));
        let mut statuses = [answers.0.status, answers.1.status];
        statuses.sort_unstable();
        statuses
    };
    let outcomes: Vec<_> = stream::iter(0..races()).map(race).buffer_unordered(8).collect().await;
    let wrong: Vec<_> = outcomes.iter().filter(|statuses| **statuses != [200, 400]).collect();
    assert!(wrong.is_empty(), "{} of {} races: {wrong:?}", wrong.len(), outcomes.len());
}

#[tokio::test]
async fn case_033_a_refresh_token_sent_to_two_nodes_at_once_has_one_successor_at_most() {
    let cluster = cluster().await;
    let app = App::public(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    for number in 0..races() / 10 {
        let tokens = app.tokens(&cluster.client(0), &mut browser, &[]).await;
        let (one, two) = (cluster.client(number % 3), cluster.client((number + 1) % 3));
        let answers =
            tokio::join!(app.refresh(&one, &tokens.refresh, &[]), app.refresh(&two, &tokens.refresh, &[]));
        let given: Vec<_> =
            [answers.0, answers.1].into_iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(given.len(), 1, "one is first, and the other ends the family");
        let next = Tokens::of(&given[0]).refresh;
        app.refresh(&cluster.client(2), &next, &[]).await.expect(400);
    }
}

#[tokio::test]
async fn case_058_and_091_and_113_what_is_taken_away_at_one_node_is_gone_at_all() {
    let cluster = cluster().await;
    let app = App::public(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let everywhere = async |token: &str, good: bool| {
        let began = Instant::now();
        for node in 0..3 {
            let client = cluster.client(node);
            eventually("every node to know", async || (opens(&client, token).await == good).then_some(()))
                .await;
        }
        began.elapsed()
    };
    let tokens = app.tokens(&cluster.client(1), &mut browser, &[]).await;
    everywhere(&tokens.access, true).await;
    app.ask(&cluster.client(2), "/api/oauth/revoke", &[("token", &tokens.refresh)]).await.expect(200);
    let took = everywhere(&tokens.access, false).await;
    println!("a revocation is known on every node after {} ms", took.as_millis());

    let tokens = app.tokens(&cluster.client(1), &mut browser, &[]).await;
    everywhere(&tokens.access, true).await;
    let mut elsewhere = browser.moved_to(&cluster.nodes[2]);
    elsewhere.post("/api/auth/sign-out", &json!({})).await.expect(204);
    everywhere(&tokens.access, false).await;

    let machine =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&cluster.client(0), &machine).await;
    let grant = [("grant_type", "client_credentials")];
    let given = eventually("the client on node 2", async || {
        let answer = machine.ask(&cluster.client(1), "/api/oauth/token", &grant).await;
        (answer.status == 200).then_some(answer)
    });
    let token = Tokens::of(&given.await).access;
    everywhere(&token, true).await;
    let keys = cluster.client(0).get("/api/signing-keys").await.expect(200).json();
    for key in keys["keys"].as_array().unwrap() {
        let kid = key["kid"].as_str().unwrap();
        cluster.client(1).delete(&format!("/api/signing-keys/{kid}")).await;
    }
    everywhere(&token, false).await;
}

#[tokio::test]
async fn case_062_a_proof_is_taken_once_and_by_the_node_whose_nonce_it_carries() {
    const TOKEN: &str = "/api/oauth/token";
    let cluster = cluster().await;
    let app = App::public(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let signer = Signer::new("k1");
    let at_token = |nonce: &str| proof(&signer, ("POST", &format!("{ISSUER}{TOKEN}")), nonce, None);
    let code = app.code(&mut browser, &[]).await;
    let redeem = [
        ("grant_type", "authorization_code"),
        ("client_id", app.id.as_str()),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
        ("redirect_uri", app.redirect_uri.as_str()),
    ];
    let asked = ask_proving(&cluster.client(0), &redeem, &at_token("")).await.expect(400);
    assert_eq!(asked.code(), "use_dpop_nonce");
    let first = at_token(asked.header("dpop-nonce"));
    let given = ask_proving(&cluster.client(0), &redeem, &first).await.expect(200);
    assert_eq!(given.json()["token_type"], "DPoP");
    let tokens = Tokens::of(&given);

    // Whoever has read that request cannot refresh with its proof, wherever; nothing is used up by the try.
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", app.id.as_str()),
        ("refresh_token", tokens.refresh.as_str()),
    ];
    for place in 0..3 {
        eventually("the client on every node", async || {
            let asked = ask_proving(&cluster.client(place), &refresh, &at_token("")).await;
            (asked.status == 400).then(|| assert_eq!(asked.code(), "use_dpop_nonce"))
        })
        .await;
    }
    for (place, code) in [(0, "invalid_dpop_proof"), (1, "use_dpop_nonce"), (2, "use_dpop_nonce")] {
        let refused = ask_proving(&cluster.client(place), &refresh, &first).await.expect(400);
        assert_eq!(refused.code(), code, "node {place}");
        assert_eq!(refused.header("dpop-nonce").is_empty(), place == 0, "node {place}");
    }
    let asked = ask_proving(&cluster.client(1), &refresh, &at_token("")).await.expect(400);
    let own = at_token(asked.header("dpop-nonce"));
    let access = Tokens::of(&ask_proving(&cluster.client(1), &refresh, &own).await.expect(200)).access;

    // The same at a resource, one after the other and at once.
    let show = async |place: usize, proof: &str| {
        let client = cluster.client(place).anonymous();
        let request = client.request(Method::GET, "/api/libraries").header("dpop", proof);
        client.answer(request.header("authorization", format!("DPoP {access}"))).await
    };
    let at_resource =
        |nonce: &str| proof(&signer, ("GET", &format!("{ISSUER}/api/libraries")), nonce, Some(&access));
    let mut nonces = Vec::new();
    for place in 0..3 {
        let nonce = eventually("every node to know the key of the token", async || {
            let asked = show(place, &at_resource("")).await.expect(401);
            (asked.code() == "use_dpop_nonce").then(|| asked.header("dpop-nonce").to_owned())
        });
        nonces.push(nonce.await);
    }
    for (place, nonce) in nonces.iter().enumerate() {
        let (next, last) = ((place + 1) % 3, (place + 2) % 3);
        let shown = at_resource(nonce);
        show(place, &shown).await.expect(200);
        assert_eq!(show(place, &shown).await.expect(401).code(), "invalid_dpop_proof", "node {place}");
        for other in [next, last] {
            assert_eq!(show(other, &shown).await.expect(401).code(), "use_dpop_nonce", "node {other}");
        }
        let shown = at_resource(nonce);
        let at_once =
            tokio::join!(show(place, &shown), show(next, &shown), show(place, &shown), show(last, &shown));
        let mut statuses = [at_once.0.status, at_once.1.status, at_once.2.status, at_once.3.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401, 401, 401], "node {place}");
    }
}

#[tokio::test]
async fn case_110_and_112_keys_follow_each_other_while_tokens_are_asked_for_and_none_is_refused() {
    let cluster = TestCluster::start_as(3, 0, async |number| {
        setup(number).with("limits", "oauth_burst", 100_000).with("limits", "key_burst", 100_000)
    })
    .await;
    let machine =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&cluster.client(0), &machine).await;
    let ask = async |number: usize| {
        let grant = [("grant_type", "client_credentials")];
        machine.ask(&cluster.client(number % 3), "/api/oauth/token", &grant).await
    };
    for node in 0..3 {
        eventually("the client on every node", async || (ask(node).await.status == 200).then_some(())).await;
    }
    let shown = async |node: usize| -> BTreeSet<String> {
        let keys = cluster.client(node).anonymous().get("/.well-known/jwks.json").await.expect(200).json();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].to_string()).collect()
    };
    let round = async |number: usize| {
        let before = [shown(0).await, shown(1).await, shown(2).await];
        let token = Tokens::of(&ask(number).await.expect(200)).access;
        let kid = read(&token).0["kid"].to_string();
        for (node, before) in before.into_iter().enumerate() {
            assert!(opens(&cluster.client(node), &token).await, "token {number} at node {node}");
            assert!(before.contains(&kid), "key {kid} has signed before node {node} showed it: {before:?}");
        }
        (kid, token)
    };
    let mut rounds = pin!(stream::iter(0..).map(round).buffer_unordered(AT_ONCE));
    let mut signed = BTreeMap::new();
    let three_keys = async {
        while signed.len() < 3 {
            signed.extend(rounds.next().await);
        }
    };
    let waited = tokio::time::timeout(DEADLINE, three_keys).await;
    assert!(waited.is_ok(), "{} keys signed tokens", signed.len());
    // For as long as a token of its lives, a key is shown: these live for minutes.
    let client = cluster.client(0);
    let now = shown(0).await;
    for (kid, token) in signed {
        assert!(now.contains(&kid) && opens(&client, &token).await, "{kid} of {now:?}");
    }
}

#[tokio::test]
async fn case_120_without_a_quorum_nothing_is_redeemed_and_afterwards_once_at_most() {
    let mut cluster = cluster().await;
    let app = App::public(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let known = app.tokens(&cluster.client(0), &mut browser, &[]).await;
    let code = app.code(&mut browser, &[]).await;
    for node in [1, 2] {
        cluster.nodes[node].kill().await;
    }
    let alone = cluster.client(0);
    let refused = app.redeem(&alone, &code, &[]).await.expect(503);
    assert_eq!(refused.code(), "temporarily_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    assert!(opens(&alone, &known.access).await, "what was given goes on");
    for node in [1, 2] {
        cluster.nodes[node].restart().await;
    }
    // The one that was refused may have been taken after all: then it is known as used. It is never good twice.
    let mut given = 0;
    for node in 0..3 {
        let answer = eventually("a leader", async || {
            let answer = app.redeem(&cluster.client(node), &code, &[]).await;
            (answer.status != 503).then_some(answer)
        });
        given += usize::from(answer.await.status == 200);
    }
    assert!(given <= 1, "{given} times");
    let mut later = Browser::at(&cluster.nodes[2]);
    eventually("sign-in again", async || {
        let answer = later.sign_in("ada@example.org", super::PASSWORD).await;
        (answer.status == 200).then_some(())
    })
    .await;
    app.tokens(&cluster.client(1), &mut later, &[]).await;
}

#[tokio::test]
async fn case_120_a_code_of_a_node_that_is_cut_off_is_good_once_where_the_leader_is() {
    let links = Links::default();
    let cluster = TestCluster::start_as(3, 0, async |number| {
        let setup = setup(number);
        let address = links.before(number, setup.peers()).await;
        // Of a code: longer than a busy machine takes for all of this.
        setup.with("cluster", "address", address).with("oauth", "code_seconds", 600)
    })
    .await;
    let app = App::public(&cluster.nodes[0]).await;
    let mut browser = signed_in(&cluster.nodes[0], "ada@example.org").await;
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(app.code(&mut browser, &[]).await);
    }
    links.cut(1, &[2, 3]);
    let cut_off = cluster.client(0);
    for refused in join_all(codes.iter().map(|code| app.redeem(&cut_off, code, &[]))).await {
        assert_eq!(refused.expect(503).code(), "temporarily_unavailable");
    }

    // Where two of three are left. A try that is told 503 there, because they are electing yet, may have been taken: that code
    // is good once more or not at all.
    let (mut given, mut unclear) = (Vec::new(), Vec::new());
    for code in &codes {
        cluster.leader(1, Some(1)).await;
        let answer = app.redeem(&cluster.client(1), code, &[]).await;
        if answer.status == 503 {
            unclear.push(code);
        } else {
            answer.expect(200);
            given.push(code);
        }
    }
    assert!(!given.is_empty(), "not one of {} codes was good", codes.len());
    let again = async |code: &&String, place: usize| {
        let client = cluster.client(place);
        let told = eventually("a leader", async || {
            let answer = app.redeem(&client, code, &[]).await;
            (answer.status != 503).then_some(answer)
        });
        told.await
    };
    let refused = async |place: usize| {
        for code in &given {
            assert_eq!(again(code, place).await.expect(400).code(), "invalid_grant");
        }
    };
    refused(2).await;
    links.heal();
    refused(0).await;
    for code in &unclear {
        let mut issued = 0;
        for place in 0..3 {
            issued += usize::from(again(code, place).await.status == 200);
        }
        assert!(issued <= 1, "a code was good {issued} times");
    }
}
