//! Codes by text message at one node, with a carrier that is a web service on this machine.

use serde_json::json;
use twinmcp_tests::{NodeSetup, TestNode};

use super::app::{App, field, signed_in};
use super::authenticator::{Enrolled, answer, enrol};
use super::carrier::{Carrier, NUMBER, add_phone, confirm, offer, send};
use super::signer::read;
use super::{Browser, PASSWORD, form_token, letter};

const EMAIL: &str = "ada@example.org";

/// A browser that has shown the password.
async fn challenged(node: &TestNode) -> Browser {
    let mut browser = Browser::at(node);
    browser.sign_in(EMAIL, PASSWORD).await.expect(202);
    browser
}

async fn with_carrier() -> (Carrier, TestNode) {
    let carrier = Carrier::start().await;
    let node = carrier.on(NodeSetup::default()).start().await;
    (carrier, node)
}

#[tokio::test]
async fn a_phone_is_added_with_the_code_that_it_was_sent() {
    let (carrier, node) = with_carrier().await;
    let mut ada = signed_in(&node, EMAIL).await;
    for number in ["", "436601234567", "+43", "+43660x1234567"] {
        assert_eq!(offer(&mut ada, number).await.expect(400).code(), "invalid_number", "{number}");
    }
    Browser::at(&node).post("/api/auth/mfa/sms", &json!({ "number": NUMBER })).await.expect(401);
    assert!(carrier.texts().is_empty());
    let offered = offer(&mut ada, "+43 (660) 123-45.67").await.expect(200);
    assert_eq!(offered.header("cache-control"), "no-store");
    let offered = offered.json();
    assert_eq!((&offered["to"], &offered["expires_in"]), (&json!("…67"), &json!(300)));
    let (sent, code) = (carrier.texts().pop().unwrap(), carrier.code());
    assert_eq!(sent["to"], NUMBER);
    let text = format!("{code} is your code for TwinMCP. Give it to nobody.\n\n@127.0.0.1 #{code}");
    assert_eq!(sent["text"], text);

    // Sent, and no factor.
    Browser::at(&node).sign_in(EMAIL, PASSWORD).await.expect(200);
    assert_eq!(confirm(&mut ada, &offered, &carrier.wrong()).await.expect(403).code(), "wrong_code");
    let mut eve = signed_in(&node, "eve@example.org").await;
    assert_eq!(confirm(&mut eve, &offered, &code).await.expect(403).code(), "offer_refused");
    assert!(ada.get("/api/auth/mfa").await.expect(200).json()["sms"].is_null());
    let mut other = Browser::at(&node);
    other.sign_in(EMAIL, PASSWORD).await.expect(200);

    let added = confirm(&mut ada, &offered, &format!(" {code} ")).await.expect(200).json();
    assert_eq!(added["backup_codes"].as_array().unwrap().len(), 10);
    other.get("/api/auth/session").await.expect(401);
    assert_eq!(ada.get("/api/auth/mfa").await.expect(200).json()["sms"]["to"], "…67");
    assert_eq!(
        ada.get("/api/auth/account").await.expect(200).json()["factors"]["sms"]["to"],
        "…67",
        "an export tells of it"
    );
    for path in ["/api/auth/mfa", "/api/auth/account", "/mfa", "/settings"] {
        let shown = ada.get(path).await.expect(200).text;
        assert!(!shown.contains("6601234567") && shown.contains("…67") != (path == "/settings"), "{path}");
    }
    assert_eq!(offer(&mut ada, NUMBER).await.expect(409).code(), "factor_exists", "one phone an account");
    letter(&node, EMAIL, "Your second factors were changed").await;
    let audit = node.client().get("/api/audit/export").await.expect(200).text;
    assert!(audit.contains("second_factor.code_sent") && !audit.contains("6601234567"), "{audit}");

    ada.delete("/api/auth/mfa/sms").await.expect(204);
    assert_eq!(ada.delete("/api/auth/mfa/sms").await.expect(404).code(), "factor_not_found");
    Browser::at(&node).sign_in(EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_code_is_sent_to_who_asks_and_is_good_in_that_sign_in_once() {
    let (carrier, node) = with_carrier().await;
    let mut ada = signed_in(&node, EMAIL).await;
    add_phone(&mut ada, &carrier).await;
    let mut browser = Browser::at(&node);
    assert_eq!(send(&mut browser).await.expect(401).code(), "sign_in_expired", "before the password");
    let asked = browser.sign_in(EMAIL, PASSWORD).await.expect(202).json();
    assert_eq!(asked["factors"], json!(["sms", "backup_code"]));
    browser.get("/signin/factor").await.expect(200);
    assert_eq!(carrier.texts().len(), 1, "nothing is sent that nobody asked for");
    let crossed = browser.request(reqwest::Method::POST, "/api/auth/mfa/challenge/sms");
    browser.send(crossed.header("sec-fetch-site", "cross-site")).await.expect(403);

    let before = browser.cookies["__Host-twinmcp-pending"].clone();
    let sent = send(&mut browser).await.expect(200);
    assert_eq!(sent.json(), json!({ "to": "…67", "expires_in": 300 }));
    let pending = browser.cookies["__Host-twinmcp-pending"].clone();
    assert_ne!(pending, before);
    let code = carrier.code();
    let mut other = challenged(&node).await;
    assert_eq!(
        answer(&mut other, "sms", &code).await.expect(403).code(),
        "wrong_code",
        "none was sent there"
    );
    assert_eq!(answer(&mut browser, "sms", &carrier.wrong()).await.expect(403).code(), "wrong_code");
    assert_eq!(answer(&mut browser, "totp", &code).await.expect(403).code(), "wrong_code");
    let began = answer(&mut browser, "sms", &code).await.expect(200).json();
    assert_eq!(began["session"]["methods"], json!(["pwd", "sms", "mfa"]));
    let mut again = challenged(&node).await;
    again.cookies.insert("__Host-twinmcp-pending".to_owned(), pending);
    assert_eq!(answer(&mut again, "sms", &code).await.expect(403).code(), "wrong_code", "it was used");
    // Of two the newer one is good.
    send(&mut other).await.expect(200);
    let first = carrier.code();
    send(&mut other).await.expect(200);
    if first != carrier.code() {
        answer(&mut other, "sms", &first).await.expect(403);
    }
    answer(&mut other, "sms", &carrier.code()).await.expect(200);

    // A program is told, and its wish for two factors is met.
    let (client, app) = (node.client(), App::public(&node).await);
    let code = app.code(&mut browser, &[("acr_values", "aal2")]).await;
    let given = app.redeem(&client, &code, &[]).await.expect(200).json();
    let claims = read(given["id_token"].as_str().expect("openid was asked for")).1;
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("aal2"), &json!(["pwd", "sms", "mfa"])));
}

#[tokio::test]
async fn case_103_wrong_codes_of_messages_lock_the_second_step_as_all_others_do() {
    let (carrier, node) = with_carrier().await;
    let mut ada = signed_in(&node, EMAIL).await;
    let backup_codes = add_phone(&mut ada, &carrier).await;
    let mut browser = challenged(&node).await;
    send(&mut browser).await.expect(200);
    let (code, wrong) = (carrier.code(), carrier.wrong());
    for number in 0..10 {
        let (factor, code) = if number % 2 == 0 { ("sms", &wrong) } else { ("totp", &code) };
        assert_eq!(answer(&mut browser, factor, code).await.expect(403).code(), "wrong_code", "{number}");
    }
    for (factor, code) in [("sms", &code), ("backup_code", &backup_codes[0])] {
        assert_eq!(answer(&mut browser, factor, code).await.expect(429).code(), "too_many_attempts");
    }
    let texts = carrier.texts().len();
    assert_eq!(send(&mut browser).await.expect(429).code(), "too_many_attempts");
    assert_eq!(carrier.texts().len(), texts, "nothing is sent that would not be taken");
    let metrics = node.client().get("/api/metrics").await.expect(200).text;
    assert!(
        metrics.contains(r#"twinmcp_mfa_attempts_total{method="sms",outcome="wrong"} 5"#)
            && metrics.contains(r#"twinmcp_mfa_texts_total{outcome="sent"} 2"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn messages_are_limited_for_an_account_to_a_number_and_from_a_network() {
    let carrier = Carrier::start().await;
    let setup = carrier.on(NodeSetup::default()).with("sms", "per_hour", 2);
    let node = setup.with("sms", "network_per_hour", 4).start().await;
    let mut ada = signed_in(&node, EMAIL).await;
    add_phone(&mut ada, &carrier).await;
    let mut browser = challenged(&node).await;
    send(&mut browser).await.expect(200);
    let full = send(&mut browser).await.expect(429);
    assert_eq!(full.code(), "too_many_texts");
    assert!((3_000..=3_600).contains(&full.header("retry-after").parse::<u64>().unwrap()));
    answer(&mut browser, "sms", &carrier.code()).await.expect(200);

    let mut eve = signed_in(&node, "eve@example.org").await;
    // What is offered counts apart from what signs in: Ada's one has been there.
    offer(&mut eve, NUMBER).await.expect(200);
    assert_eq!(offer(&mut eve, NUMBER).await.expect(429).code(), "too_many_texts", "the same phone");
    offer(&mut eve, "+436601234568").await.expect(200);
    assert_eq!(
        offer(&mut eve, "+436601234560").await.expect(429).code(),
        "too_many_texts",
        "the same account"
    );
    let mut grace = signed_in(&node, "grace@example.org").await;
    assert_eq!(offer(&mut grace, "+436601234561").await.expect(429).code(), "too_many_texts", "the network");
    assert_eq!(carrier.texts().len(), 4);
    let metrics = node.client().get("/api/metrics").await.expect(200).text;
    assert!(metrics.contains(r#"twinmcp_mfa_texts_total{outcome="limited"} 4"#), "{metrics}");
}

#[tokio::test]
async fn a_carrier_that_is_down_is_told_and_locks_nobody() {
    let carrier = Carrier::start().await;
    let node = carrier.on(NodeSetup::default()).with("sms", "per_hour", 2).start().await;
    let mut ada = signed_in(&node, EMAIL).await;
    carrier.answers(503);
    let down = offer(&mut ada, NUMBER).await.expect(503);
    assert_eq!((down.code().as_str(), down.header("retry-after")), ("text_not_sent", "10"));
    let tries = carrier.texts();
    assert_eq!(tries.len(), 3);
    assert!(tries.iter().all(|one| one == &tries[0]), "one message has one id: {tries:?}");
    // A refusal is not tried again, and counts for nobody.
    carrier.answers(400);
    for _ in 0..4 {
        offer(&mut ada, NUMBER).await.expect(503);
    }
    assert_eq!(carrier.texts().len(), 3 + 4);
    carrier.answers(202);
    add_phone(&mut ada, &carrier).await;

    carrier.answers(403);
    let mut browser = challenged(&node).await;
    assert_eq!(send(&mut browser).await.expect(503).code(), "text_not_sent");
    let page = browser.submit("/signin/factor", "/signin/factor/sms", &[]).await.expect(503).text;
    assert!(page.contains("role=\"alert\"") && page.contains("The text message could not be sent"), "{page}");
    assert!(page.contains("name=\"factor\" value=\"backup_code\""), "other ways stay open: {page}");
    carrier.answers(202);
    send(&mut browser).await.expect(200);
    answer(&mut browser, "sms", &carrier.code()).await.expect(200);
    let log = node.log();
    assert!(log.contains("a code was not sent to a phone") && !log.contains("6601234567"), "{log}");
}

#[tokio::test]
async fn a_message_is_not_enough_to_change_what_is_stronger() {
    let (carrier, node) = with_carrier().await;
    let mut ada = signed_in(&node, EMAIL).await;
    let Enrolled { app, .. } = enrol(&mut ada).await;
    assert!(add_phone(&mut ada, &carrier).await.is_empty(), "codes come with the first factor");
    let mut thief = challenged(&node).await;
    send(&mut thief).await.expect(200);
    answer(&mut thief, "sms", &carrier.code()).await.expect(200);
    let nothing = json!({});
    for refused in [
        thief.delete("/api/auth/mfa/totp").await,
        thief.post("/api/auth/mfa/totp", &nothing).await,
        thief.post("/api/auth/mfa/backup-codes", &nothing).await,
    ] {
        assert_eq!(refused.expect(403).code(), "stronger_factor_needed");
    }
    let page = thief.submit("/mfa", "/mfa/totp/remove", &[]).await.expect(403).text;
    assert!(page.contains("a code by text message is not enough"), "{page}");
    // What they took over they may give up, and add nothing in its place.
    thief.delete("/api/auth/mfa/sms").await.expect(204);
    assert_eq!(offer(&mut thief, "+436601234568").await.expect(403).code(), "stronger_factor_needed");

    let mut owner = challenged(&node).await;
    answer(&mut owner, "totp", &app.next()).await.expect(200);
    owner.delete("/api/auth/mfa/totp").await.expect(204);
}

#[tokio::test]
async fn a_phone_is_what_the_policy_asks_for_and_an_operator_takes_it_away() {
    let carrier = Carrier::start().await;
    let node = carrier.on(NodeSetup::default()).with("mfa", "required", "everybody").start().await;
    let mut ada = signed_in(&node, EMAIL).await;
    assert_eq!(ada.get("/api/auth/session").await.expect(403).code(), "second_factor_required");
    add_phone(&mut ada, &carrier).await;
    let session = ada.get("/api/auth/session").await.expect(200).json();
    assert_eq!(ada.delete("/api/auth/mfa/sms").await.expect(409).code(), "factor_required");
    let id = session["account"]["id"].as_str().unwrap();
    node.client().delete(&format!("/api/accounts/{id}/mfa")).await.expect(204);
    ada.get("/api/auth/session").await.expect(401);
    ada.sign_in(EMAIL, PASSWORD).await.expect(200);
    add_phone(&mut ada, &carrier).await;
}

#[tokio::test]
async fn phones_are_added_used_and_removed_by_forms() {
    let (carrier, node) = with_carrier().await;
    let mut ada = signed_in(&node, EMAIL).await;
    let led = "return_to=%2Flibraries";
    let page = format!("/mfa?{led}");
    let wrong = ada.submit(&page, &format!("/mfa/sms?{led}"), &[("number", "0660")]).await.expect(400).text;
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("begins with `+`"), "{wrong}");
    let asked = ada.submit(&page, &format!("/mfa/sms?{led}"), &[("number", "+43 660 1234567")]).await;
    let asked = asked.expect(200);
    assert_eq!(asked.header("cache-control"), "no-store");
    let action = format!("action=\"/mfa/sms/confirm?{led}\"");
    assert!(asked.text.contains(&action) && !asked.text.contains("6601234567"), "{}", asked.text);
    let (token, ticket) = (form_token(&asked.text), field(&asked.text, "ticket"));
    let confirmed = async |browser: &mut Browser, code: &str| {
        let fields = [("form_token", token.as_str()), ("ticket", ticket.as_str()), ("code", code)];
        let request = browser.form(&format!("/mfa/sms/confirm?{led}"), &fields);
        browser.send(request.header("sec-fetch-site", "same-origin")).await
    };
    let wrong = confirmed(&mut ada, &carrier.wrong()).await.expect(403).text;
    assert!(wrong.contains("The code is wrong") && wrong.contains(&action), "{wrong}");
    let added = confirmed(&mut ada, &carrier.code()).await.expect(200).text;
    assert!(added.contains("href=\"/libraries\"") && added.contains("download="), "{added}");
    assert!(ada.get("/settings").await.expect(200).text.contains("ask for a code by text message"));
    ada.submit("/settings", "/signout", &[]).await.expect(303);

    let fields = [("email", EMAIL), ("password", PASSWORD), ("return_to", "/libraries")];
    let led = ada.submit("/signin", "/signin", &fields).await.expect(303).header("location").to_owned();
    let page = ada.get(&led).await.expect(200).text;
    assert!(page.contains("Send a code to the number …67") && !page.contains("value=\"sms\""), "{page}");
    let to = ("return_to", "/libraries");
    let sent = ada.submit(&led, "/signin/factor/sms", &[to]).await.expect(303);
    assert_eq!(sent.header("location"), led);
    let page = ada.get(&led).await.expect(200).text;
    assert!(
        page.contains("A code was sent to the number …67") && page.contains("Send another code"),
        "{page}"
    );
    let wrong = [to, ("factor", "sms"), ("code", &carrier.wrong())];
    let wrong = ada.submit(&led, "/signin/factor", &wrong).await.expect(403).text;
    assert!(wrong.contains("role=\"alert\"") && wrong.contains("value=\"sms\""), "{wrong}");
    let right = [to, ("factor", "sms"), ("code", &carrier.code())];
    let began = ada.submit(&led, "/signin/factor", &right).await.expect(303);
    assert_eq!(began.header("location"), "/libraries");
    let page = ada.get("/mfa").await.expect(200).text;
    assert!(page.contains("To the number …67") && page.contains("10 of them are left"), "{page}");
    let removed = ada.submit("/mfa", "/mfa/sms/remove", &[]).await.expect(303);
    assert_eq!(removed.header("location"), "/mfa?done=1");
    Browser::at(&node).sign_in(EMAIL, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn nobody_hears_of_text_messages_where_there_is_no_carrier() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = NodeSetup::default().on(folder.path()).start().await;
    let mut ada = signed_in(&node, EMAIL).await;
    for path in ["/mfa", "/settings", "/.well-known/openid-configuration"] {
        let shown = ada.get(path).await.expect(200).text;
        assert!(!shown.contains("Text messages") && !shown.contains("text message"), "{path}: {shown}");
        // By its names of paths, fields and values: the id of a sign-in can hold these letters by chance.
        assert!(!shown.contains("/sms") && !shown.contains("\"sms"), "{path}: {shown}");
    }
    assert_eq!(offer(&mut ada, NUMBER).await.expect(409).code(), "sms_unavailable");
    node.stop().await;

    let carrier = Carrier::start().await;
    let mut node = carrier.on(NodeSetup::default().on(folder.path())).start().await;
    let mut ada = Browser::at(&node);
    ada.sign_in(EMAIL, PASSWORD).await.expect(200);
    let backup_codes = add_phone(&mut ada, &carrier).await;
    node.stop().await;

    // It was switched off again: who has a phone still has to show something, and can take it away.
    let node = NodeSetup::default().on(folder.path()).start().await;
    let mut ada = Browser::at(&node);
    let asked = ada.sign_in(EMAIL, PASSWORD).await.expect(202).json();
    assert_eq!(asked["factors"], json!(["backup_code"]));
    assert_eq!(send(&mut ada).await.expect(409).code(), "sms_unavailable");
    assert!(!ada.get("/signin/factor").await.expect(200).text.contains("Send a code"));
    answer(&mut ada, "backup_code", &backup_codes[0]).await.expect(200);
    assert!(ada.get("/mfa").await.expect(200).text.contains("This service sends none at present"));
    let settings = ada.get("/settings").await.expect(200).text;
    assert!(
        settings.contains("Sign-ins ask for a backup code, while no text messages are sent."),
        "{settings}"
    );
    ada.delete("/api/auth/mfa/sms").await.expect(204);
    assert!(!ada.get("/mfa").await.expect(200).text.contains("Text messages"));
}
