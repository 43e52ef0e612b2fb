//! People: sign-up, sign-in, sessions, passwords and locks.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use twinmcp_tests::{Links, NodeSetup, TestCluster, TestNode, eventually};

use super::app::{App, signed_in};
use super::{Browser, PASSWORD, letter, link, open, person};
use crate::fresh;

#[tokio::test]
async fn a_person_signs_up_by_a_letter_in_by_a_password_and_out() {
    let node = open().with("telemetry", "log", "trace").start().await;
    let mut browser = Browser::at(&node);
    browser
        .post("/api/auth/sign-up", &json!({ "email": "Ada@Example.org", "name": "Ada" }))
        .await
        .expect(204);
    let letter = letter(&node, "ada@example.org", "Confirm").await;
    let whole = letter.replace("=\r\n", "");
    assert!(whole.contains("within 24 hours"), "a third of what an invitation has: {whole}");
    let (before, token) = link(&letter);
    assert_eq!(before, format!("{}/verify?", node.url()));
    let used = json!({ "token": token, "password": PASSWORD });
    browser.post("/api/auth/verify", &used).await.expect(204);
    assert_eq!(browser.post("/api/auth/verify", &used).await.expect(403).code(), "link_refused");
    assert_eq!(browser.get("/api/auth/session").await.expect(401).code(), "unauthenticated");

    let told = browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    assert_eq!(told.header("cache-control"), "no-store");
    let told = told.json();
    assert_eq!((&told["account"]["name"], &told["account"]["email_verified"]), (&json!("Ada"), &json!(true)));
    assert_eq!(told["session"]["methods"], json!(["pwd"]));
    assert_eq!(browser.get("/api/auth/session").await.expect(200).json(), told);

    // Another browser, seen and ended from here.
    let mut other = Browser::at(&node);
    let id = other.sign_in("ada@example.org", PASSWORD).await.expect(200).json()["session"]["id"].take();
    let listed = browser.get("/api/auth/sessions").await.expect(200).json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2, "{listed}");
    let path = format!("/api/auth/sessions/{}", id.as_str().unwrap());
    browser.delete(&path).await.expect(204);
    browser.delete(&path).await.expect(404);
    other.get("/api/auth/session").await.expect(401);
    let secret = browser.session().unwrap().clone();
    browser.post("/api/auth/sign-out", &json!({})).await.expect(204);
    assert_eq!(browser.session(), None);
    browser.cookies.insert("__Host-twinmcp".to_owned(), secret.clone());
    browser.get("/api/auth/session").await.expect(401);

    // What was secret stands in no log.
    let log = node.log();
    for hidden in [PASSWORD, &token, &secret] {
        assert!(!log.contains(hidden), "a secret stands in the log");
    }
}

#[tokio::test]
async fn an_account_is_its_persons_alone_and_goes_with_its_keys() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let eve = person(&node.client(), "eve@example.org").await;
    let (mut ada, mut other) = (Browser::at(&node), Browser::at(&node));
    ada.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let eves = other.sign_in("eve@example.org", PASSWORD).await.expect(200).json();
    // Somebody else's session answers like one that is not there.
    let path = format!("/api/auth/sessions/{}", eves["session"]["id"].as_str().unwrap());
    assert_eq!(ada.delete(&path).await.expect(404).code(), "account_not_found");
    other.get("/api/auth/session").await.expect(200);

    let machine =
        json!({ "client_name": "Nightly", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let made = other.post("/api/clients", &machine).await.expect(201).json();
    let export = other.get("/api/auth/account").await.expect(200).json();
    assert_eq!(export["account"]["email"], "eve@example.org");
    assert_eq!(export["clients"][0]["client_id"], made["client_id"]);
    assert!(!export.to_string().contains(made["client_secret"].as_str().unwrap()), "{export}");
    assert!(!export.to_string().contains("argon2"), "{export}");
    let wrong = other.post("/api/auth/account/delete", &json!({ "password": "not mine at all" })).await;
    assert_eq!(wrong.expect(403).code(), "wrong_password");
    other.post("/api/auth/account/delete", &json!({ "password": PASSWORD })).await.expect(204);
    assert_eq!(other.sign_in("eve@example.org", PASSWORD).await.expect(401).code(), "wrong_credentials");
    let listed = node.client().get("/api/accounts").await.expect(200).text;
    assert!(listed.contains("ada@example.org") && !listed.contains(eve["id"].as_str().unwrap()), "{listed}");
}

#[tokio::test]
async fn an_operator_lets_people_in_and_out_from_a_terminal() {
    let node = TestNode::empty().await;
    let create = ["admin", "account", "create", "--email", "bob@example.org", "--name", "Bob", "--admin"];
    let made = node.cli().run(&create).await.expect(0);
    let (_, token) = link(&made.stdout);
    let mut browser = Browser::at(&node);
    browser.post("/api/auth/verify", &json!({ "token": token, "password": PASSWORD })).await.expect(204);
    let told = browser.sign_in("bob@example.org", PASSWORD).await.expect(200).json();
    assert_eq!(told["account"]["operator"], true);
    let listed = node.cli().run(&["admin", "account", "list"]).await.expect(0).stdout;
    assert!(listed.contains("bob@example.org") && listed.contains("operator"), "{listed}");
    let id = told["account"]["id"].as_str().unwrap();
    node.cli().run(&["admin", "account", "disable", id]).await.expect(0);
    browser.get("/api/auth/session").await.expect(401);
    assert_eq!(browser.sign_in("bob@example.org", PASSWORD).await.expect(401).code(), "wrong_credentials");
    node.cli().run(&["admin", "account", "enable", id]).await.expect(0);
    browser.sign_in("bob@example.org", PASSWORD).await.expect(200);
    // A person's key is no operator's.
    let (_, reader) = node.client().create_key(&["docs:read"]).await;
    let reader = node.client().with_key(&reader);
    assert_eq!(reader.get("/api/accounts").await.expect(403).code(), "insufficient_scope");
    assert_eq!(
        browser.post("/api/auth/sign-up", &json!({ "email": "a@b.example" })).await.expect(403).code(),
        "sign_up_closed"
    );
}

#[tokio::test]
async fn case_088_a_node_does_not_start_under_an_address_without_tls() {
    let refused =
        NodeSetup::default().with("http", "public_url", "http://docs.example.org").try_start().await;
    let told = refused.expect_err("the node does not start");
    assert!(told.contains("http.public_url") && told.contains("https://"), "{told}");
}

#[tokio::test]
async fn case_089_and_090_the_cookie_is_this_hosts_alone_and_new_with_each_sign_in() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let mut browser = Browser::at(&node);
    // What somebody else has put there is not taken up.
    let planted = "ab".repeat(32);
    browser.cookies.insert("__Host-twinmcp".to_owned(), planted.clone());
    let began = browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let cookie = began.header("set-cookie");
    for part in ["__Host-twinmcp=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains(&planted), "{cookie}");
    let first = browser.session().unwrap().clone();
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    assert_ne!(browser.session(), Some(&first));
    // The one that this browser had before has ended.
    let mut old = Browser::at(&node);
    old.cookies.insert("__Host-twinmcp".to_owned(), first);
    old.get("/api/auth/session").await.expect(401);
}

#[tokio::test]
async fn case_076_what_another_site_sends_is_refused_with_and_without_a_session() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let mut browser = Browser::at(&node);
    let sign_in = json!({ "email": "ada@example.org", "password": PASSWORD });
    let from_elsewhere = [
        ("origin", "http://localhost:5173"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for (name, value) in from_elsewhere {
        let request = browser.request(Method::POST, "/api/auth/sign-in").json(&sign_in).header(name, value);
        assert_eq!(browser.send(request).await.expect(403).code(), "cross_site", "{name}: {value}");
        assert_eq!(browser.session(), None);
    }
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    for (name, value) in from_elsewhere {
        for (method, path) in [
            (Method::POST, "/api/auth/sign-out"),
            (Method::DELETE, "/api/auth/sessions"),
            (Method::POST, "/api/auth/password"),
            (Method::POST, "/api/auth/account/delete"),
        ] {
            let request = browser.request(method, path).json(&json!({})).header(name, value);
            assert_eq!(
                browser.send(request).await.expect(403).code(),
                "cross_site",
                "{name}: {value} {path}"
            );
        }
    }
    browser.get("/api/auth/session").await.expect(200);
}

#[tokio::test]
async fn case_086_links_begin_with_the_configured_address_whatever_a_request_says() {
    let node = open().with("http", "public_url", "https://docs.example.org").start().await;
    person(&node.client(), "ada@example.org").await;
    let client = node.client().anonymous();
    for (path, to, subject) in [
        ("/api/auth/reset/request", "ada@example.org", "Choose another password"),
        ("/api/auth/sign-up", "new@example.org", "Confirm"),
    ] {
        let request = client.request(Method::POST, path).json(&json!({ "email": to }));
        let request = request
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "http")
            .header("forwarded", "host=evil.example;proto=http")
            .header("host", "127.0.0.1:9");
        client.answer(request).await.expect(204);
        let letter = letter(&node, to, subject).await;
        assert!(link(&letter).0.starts_with("https://docs.example.org/"), "{letter}");
        assert!(!letter.contains("evil.example") && !letter.contains("127.0.0.1:9"), "{letter}");
    }
    let request =
        client.request(Method::POST, "/api/auth/reset/request").json(&json!({ "email": "ada@example.org" }));
    client.answer(request.header("host", "evil.example")).await.expect(403);
}

#[tokio::test]
async fn case_086_a_forged_address_neither_evades_a_lock_nor_moves_it_to_somebody_else() {
    // Directly at the node; and through a proxy, which writes whom it was asked by behind what it was sent.
    for (proxies, address) in [(json!([]), "127.0.0.1"), (json!(["127.0.0.1"]), "198.51.100.1")] {
        let setup = NodeSetup::default().with("accounts", "address_lock_after", 5);
        let node = setup.with("http", "trusted_proxies", &proxies).start().await;
        person(&node.client(), "ada@example.org").await;
        let is_proxied = proxies != json!([]);
        let passed_on =
            |claimed: &str| if is_proxied { format!("{claimed}, {address}") } else { claimed.to_owned() };
        let sign_in = async |claimed: &str, forwarded_for: String, email: &str, password: &str| {
            let client = node.client().anonymous();
            let request = client.request(Method::POST, "/api/auth/sign-in");
            let request = request.json(&json!({ "email": email, "password": password }));
            let request = request.header("x-forwarded-for", forwarded_for).header("x-real-ip", claimed);
            client.answer(request.header("forwarded", format!("for=\"{claimed}\""))).await
        };
        for number in 0..5 {
            let claimed = format!("203.0.113.{number}");
            let email = format!("user{number}@example.org");
            let wrong = sign_in(&claimed, passed_on(&claimed), &email, "wrong password").await.expect(401);
            assert_eq!(wrong.code(), "wrong_credentials", "{proxies}");
        }
        for claimed in ["203.0.113.1", "203.0.113.77", "192.0.2.1, 203.0.113.78", "::1", "127.0.0.1"] {
            let locked = sign_in(claimed, passed_on(claimed), "ada@example.org", PASSWORD).await.expect(429);
            assert_eq!(locked.code(), "too_many_attempts", "{proxies}: {claimed}");
        }
        let events = node.client().get_with("/api/audit", &[("action", "sign_in.")]).await.expect(200).json();
        let events = events["events"].as_array().unwrap();
        assert!(!events.is_empty() && events.iter().all(|event| event["address"] == address), "{events:?}");
        if is_proxied {
            // Whoever they said they were is not locked out.
            let own = "203.0.113.1";
            sign_in(own, own.to_owned(), "ada@example.org", PASSWORD).await.expect(200);
        } else {
            Browser::at(&node).sign_in("ada@example.org", PASSWORD).await.expect(429);
        }
    }
}

#[tokio::test]
async fn who_signs_in_at_one_node_is_known_at_the_next_however_late_that_hears_of_it() {
    let links = Links::default();
    let cluster = fresh::cluster(&links).await;
    person(&cluster.client(0), "ada@example.org").await;
    links.delay_between(1, 3, fresh::FAR);
    links.delay_between(2, 3, fresh::FAR);
    for _ in 0..3 {
        let mut browser = Browser::at(&cluster.nodes[0]);
        browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
        // With nothing but the cookies that the browser was given.
        browser.moved_to(&cluster.nodes[2]).get("/api/auth/session").await.expect(200);
    }
}

#[tokio::test]
async fn case_091_a_session_ends_on_every_node() {
    let cluster = TestCluster::start(3, 0).await;
    person(&cluster.client(0), "ada@example.org").await;
    let mut first = Browser::at(&cluster.nodes[0]);
    // Applied here before it is answered; elsewhere a moment later.
    first.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let mut others: Vec<_> = cluster.nodes[1..].iter().map(|node| first.moved_to(node)).collect();
    for other in &mut others {
        eventually("the session on every node", async || {
            (other.get("/api/auth/session").await.status == 200).then_some(())
        })
        .await;
    }
    first.post("/api/auth/sign-out", &json!({})).await.expect(204);
    for other in &mut others {
        eventually("the end of the session on every node", async || {
            (other.get("/api/auth/session").await.status == 401).then_some(())
        })
        .await;
    }
    // A change of the password on one node ends sessions that began on another.
    first.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let mut second = Browser::at(&cluster.nodes[1]);
    second.sign_in("ada@example.org", PASSWORD).await.expect(200);
    let changed = json!({ "current": PASSWORD, "new": "an even better one" });
    second.post("/api/auth/password", &changed).await.expect(204);
    second.get("/api/auth/session").await.expect(200);
    eventually("the end of other sessions", async || {
        (first.get("/api/auth/session").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn case_093_and_094_no_answer_tells_who_has_an_account() {
    let node = open().start().await;
    person(&node.client(), "ada@example.org").await;
    let disabled = person(&node.client(), "bob@example.org").await;
    let path = format!("/api/accounts/{}", disabled["id"].as_str().unwrap());
    node.client().patch(&path, &json!({ "disabled": true })).await.expect(200);
    for (path, body) in [
        ("/api/auth/sign-in", json!({ "password": "wrong password" })),
        ("/api/auth/sign-up", json!({ "name": "Ada" })),
        ("/api/auth/reset/request", json!({})),
    ] {
        let mut told = Vec::new();
        for email in ["ada@example.org", "nobody@example.org", "bob@example.org"] {
            let mut body = body.clone();
            body["email"] = email.into();
            let answer = Browser::at(&node).post(path, &body).await;
            let mut said = answer.text.clone();
            let id = answer.header("x-request-id").to_owned();
            said = said.replace(&id, "");
            let names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
            told.push((answer.status, said, names));
        }
        assert!(told.iter().all(|answer| *answer == told[0]), "{path}: {told:?}");
    }
    // They differ in what the mailbox gets, and in nothing else.
    letter(&node, "ada@example.org", "You have an account already").await;
    letter(&node, "nobody@example.org", "Confirm").await;
    letter(&node, "ada@example.org", "Choose another password").await;
}

#[tokio::test]
async fn case_095_ten_wrong_passwords_lock_the_address_for_the_right_one_too() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let mut told = Vec::new();
    for email in ["ada@example.org", "nobody@example.org"] {
        let mut browser = Browser::at(&node);
        for _ in 0..10 {
            assert_eq!(
                browser.sign_in(email, "wrong password").await.expect(401).code(),
                "wrong_credentials"
            );
        }
        let locked = browser.sign_in(email, "wrong password").await.expect(429);
        assert!((1..=60).contains(&locked.header("retry-after").parse::<u64>().unwrap()));
        let right = browser.sign_in(email, PASSWORD).await.expect(429);
        assert_eq!((locked.code(), right.code()), ("too_many_attempts".to_owned(), locked.code()));
        assert_eq!(browser.session(), None);
        told.push(locked.code());
    }
    assert_eq!(told[0], told[1], "an address that nobody has is locked like one that somebody has");
}

#[tokio::test]
async fn case_096_the_same_limit_holds_over_three_nodes() {
    let cluster = TestCluster::start(3, 0).await;
    person(&cluster.client(0), "ada@example.org").await;
    // Two wrong ones are reported together, so each of two other nodes may know of one more.
    let (limit, slack) = (10, 2);
    let mut wrong = 0;
    loop {
        let node = &cluster.nodes[wrong % 3];
        match Browser::at(node).sign_in("ada@example.org", "wrong password").await.status {
            401 => wrong += 1,
            429 => break,
            other => panic!("{other}"),
        }
        assert!(wrong <= limit + slack, "{wrong} wrong passwords were taken");
    }
    assert!(wrong >= limit, "locked after {wrong}");
    for node in &cluster.nodes {
        eventually("the lock on every node", async || {
            (Browser::at(node).sign_in("ada@example.org", PASSWORD).await.status == 429).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn case_097_one_password_tried_on_many_people_locks_where_it_comes_from() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let (mut browser, mut taken, began) = (Browser::at(&node), 0, Instant::now());
    for number in 0..1_000 {
        let answer = browser.sign_in(&format!("user{number}@example.org"), "Summer2026!").await;
        match answer.status {
            401 => taken += 1,
            _ => assert_eq!(answer.expect(429).code(), "too_many_attempts"),
        }
    }
    // As many as is configured by nothing, and one more after each lock that ended meanwhile, which is 60 s at least.
    let locks_ended = began.elapsed().as_secs() / 60;
    assert!((50..=50 + locks_ended).contains(&taken), "{taken} were tried");
    Browser::at(&node).sign_in("ada@example.org", PASSWORD).await.expect(429);
}

#[tokio::test]
async fn case_098_a_flood_of_sign_ins_is_turned_away_and_others_are_answered() {
    let setup =
        NodeSetup::default().with("accounts", "hash_threads", 1).with("accounts", "hashes_waiting_max", 4);
    let node = setup.with("accounts", "address_lock_after", 100_000).start().await;
    let client = node.client();
    let mut ada = signed_in(&node, "ada@example.org").await;
    let machine =
        json!({ "client_name": "build", "grant_types": ["client_credentials"], "scope": "docs:read" });
    let machine = App::made_by(&client, &machine).await;
    // It ends once the others have been answered, and not before.
    let (tried, is_over) = (Cell::new(0), Cell::new(false));
    let flood = (0..20).map(async |_| {
        let (mut browser, mut answers) = (Browser::at(&node), Vec::new());
        while !is_over.get() {
            tried.set(tried.get() + 1);
            let email = format!("user{}@example.org", tried.get());
            answers.push(browser.sign_in(&email, "wrong password").await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answers
    });
    let others = async {
        for _ in 0..10 {
            client.get("/api/libraries").await.expect(200);
            client.anonymous().get("/.well-known/jwks.json").await.expect(200);
            ada.get("/api/auth/session").await.expect(200);
            let grant = [("grant_type", "client_credentials")];
            machine.ask(&client, "/api/oauth/token", &grant).await.expect(200);
        }
        is_over.set(true);
    };
    let (answers, ()) = tokio::join!(join_all(flood), others);
    let answers = answers.concat();
    let turned_away: Vec<_> = answers.iter().filter(|answer| answer.status != 401).collect();
    let is_bounded = !turned_away.is_empty() && turned_away.len() < answers.len();
    assert!(is_bounded, "{} of {}", turned_away.len(), answers.len());
    for answer in turned_away {
        assert_eq!((answer.status, answer.header("retry-after")), (429, "1"), "{}", answer.text);
        assert_eq!(answer.code(), "too_many_sign_ins");
    }
    Browser::at(&node).sign_in("ada@example.org", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn case_099_and_100_passwords_are_taken_whole_and_kept_as_argon2id() {
    let node = TestNode::empty().await;
    let long = "Zürich ".repeat(60);
    let asked = json!({ "email": "ada@example.org", "password": long });
    node.client().post("/api/accounts", &asked).await.expect(201);
    let mut browser = Browser::at(&node);
    // The same letters, put together by another keyboard.
    browser.sign_in("ada@example.org", &long.replace('ü', "u\u{308}")).await.expect(200);
    browser.sign_in("ada@example.org", &long[..72]).await.expect(401);
    for (password, status) in
        [("x".repeat(1_025), 400), ("nul\0nul\0nul".to_owned(), 400), ("x".repeat(2 << 20), 413)]
    {
        assert_eq!(
            browser.sign_in("ada@example.org", &password).await.status,
            status,
            "{} bytes",
            password.len()
        );
    }
    let short = json!({ "email": "bob@example.org", "password": "short" });
    assert_eq!(node.client().post("/api/accounts", &short).await.expect(400).code(), "password_refused");

    assert!(node.file_with(&["$argon2id$v=19$m=19456,t=2,p=1$"]).is_some(), "not kept as Argon2id");
    assert_eq!(node.file_with(&["Zürich Zürich"]), None, "readable");
}

#[tokio::test]
async fn case_109_a_link_to_another_password_works_once_and_ends_every_session() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let mut browser = Browser::at(&node);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(200);
    browser.post("/api/auth/reset/request", &json!({ "email": "ada@example.org" })).await.expect(204);
    let (_, first) = link(&letter(&node, "ada@example.org", "Choose another password").await);
    let used = |token: &str, password: &str| json!({ "token": token, "password": password });
    browser.post("/api/auth/reset", &used(&first, "short")).await.expect(400);
    browser.post("/api/auth/reset", &used(&first, "the second password")).await.expect(204);
    browser.get("/api/auth/session").await.expect(401);
    browser.sign_in("ada@example.org", PASSWORD).await.expect(401);
    for token in [&first, &"ab".repeat(32), "nonsense"] {
        let again = browser.post("/api/auth/reset", &used(token, "the third password")).await;
        assert_eq!(again.expect(403).code(), "link_refused");
    }

    // A link that was sent before another e-mail address was confirmed.
    browser.sign_in("ada@example.org", "the second password").await.expect(200);
    browser.post("/api/auth/reset/request", &json!({ "email": "ada@example.org" })).await.expect(204);
    let second = eventually("another letter", async || {
        let (_, token) = link(&letter(&node, "ada@example.org", "Choose another password").await);
        (token != first).then_some(token)
    })
    .await;
    let changed = json!({ "password": "the second password", "email": "ada@example.com" });
    browser.post("/api/auth/email", &changed).await.expect(204);
    let (_, email) = link(&letter(&node, "ada@example.com", "Confirm").await);
    browser.post("/api/auth/verify", &json!({ "token": email })).await.expect(204);
    let late = browser.post("/api/auth/reset", &used(&second, "the third password")).await;
    assert_eq!(late.expect(403).code(), "link_refused");
    browser.sign_in("ada@example.com", "the second password").await.expect(200);
}
