//! The pages of people, as a browser without JavaScript sends them. What they look like is told by
//! [`clients::browser`](crate::clients).

use reqwest::Method;
use twinmcp_tests::TestNode;

use super::{Browser, PASSWORD, form_token, letter, link, open, person};

#[tokio::test]
async fn a_person_signs_up_in_changes_things_and_leaves_by_forms() {
    let node = open().start().await;
    let mut browser = Browser::at(&node);
    let sent = browser.submit("/signup", "/signup", &[("email", "ada@example.org"), ("name", "Ada")]).await;
    assert!(sent.expect(200).text.contains("Look into your mail"));
    let (_, token) = link(&letter(&node, "ada@example.org", "Confirm").await);
    let page = format!("/verify?token={token}");
    // Looking uses nothing up.
    assert!(browser.get(&page).await.expect(200).text.contains("ada@example.org"));
    let short = browser.submit(&page, &page, &[("password", "short")]).await.expect(400);
    assert!(short.text.contains("role=\"alert\"") && short.text.contains("at least 8"), "{}", short.text);
    browser.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200);
    browser.get(&page).await.expect(403);

    let fields = [("email", "ada@example.org"), ("password", PASSWORD), ("return_to", "/libraries?q=kiln")];
    let began =
        browser.submit("/signin?return_to=/libraries%3Fq%3Dkiln", "/signin", &fields).await.expect(303);
    assert_eq!(began.header("location"), "/libraries?q=kiln");
    assert!(browser.session().is_some());
    assert_eq!(browser.get("/signin").await.expect(303).header("location"), "/settings");

    let settings = browser.get("/settings").await.expect(200).text;
    assert!(settings.contains("This session") && settings.contains("(confirmed)"), "{settings}");
    let named =
        browser.submit("/settings", "/settings/name", &[("name", "Ada <b>Lovelace</b>")]).await.expect(303);
    assert_eq!(named.header("location"), "/settings?done=name");
    let settings = browser.get("/settings?done=name").await.expect(200).text;
    assert!(settings.contains("Ada &#60;b&#62;Lovelace") && settings.contains("The name was changed."));
    let wrong = [("current", "not mine at all"), ("new", "an even better one")];
    let wrong = browser.submit("/settings", "/settings/password", &wrong).await.expect(403);
    assert!(wrong.text.contains("current password is wrong"), "{}", wrong.text);
    let changed = [("current", PASSWORD), ("new", "an even better one")];
    browser.submit("/settings", "/settings/password", &changed).await.expect(303);
    let left = browser.submit("/settings", "/signout", &[]).await.expect(303);
    assert_eq!((left.header("location"), browser.session()), ("/signin", None));
    assert_eq!(browser.get("/settings").await.expect(303).header("location"), "/signin?return_to=/settings");

    let reset = browser.submit("/reset", "/reset", &[("email", "ada@example.org")]).await.expect(200);
    assert!(reset.text.contains("If somebody has an account"));
    let (_, token) = link(&letter(&node, "ada@example.org", "Choose another password").await);
    let page = format!("/reset?token={token}");
    browser.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200);
    let fields = [("email", "ada@example.org"), ("password", PASSWORD)];
    browser.submit("/signin", "/signin", &fields).await.expect(303);
    browser.submit("/settings", "/settings/delete", &[("password", PASSWORD)]).await.expect(200);
    let gone = browser.submit("/signin", "/signin", &fields).await.expect(401);
    assert!(gone.text.contains("the password is wrong") && gone.text.contains("value=\"ada@example.org\""));
}

#[tokio::test]
async fn who_waits_for_a_letter_goes_on_to_where_they_were_going_in_that_browser_alone() {
    let node = open().start().await;
    let mut browser = Browser::at(&node);
    let way = "/signin?return_to=%2Flibraries%3Fq%3Dkiln";
    let shown = browser.get(way).await.expect(200).text;
    for page in ["/signup", "/reset"] {
        assert!(shown.contains(&format!("href=\"{page}?return_to=%2Flibraries%3Fq%3Dkiln\"")), "{shown}");
    }
    let (sign_up, ada) = ("/signup?return_to=/libraries%3Fq%3Dkiln", ("email", "ada@example.org"));
    let wrong = browser.submit(sign_up, sign_up, &[("email", "nobody"), ("name", "Ada")]).await.expect(400);
    assert!(wrong.text.contains("action=\"/signup?return_to=%2Flibraries%3Fq%3Dkiln\""), "{}", wrong.text);
    browser.submit(sign_up, sign_up, &[ada, ("name", "Ada")]).await.expect(200);
    let (_, token) = link(&letter(&node, "ada@example.org", "Confirm").await);
    let page = format!("/verify?token={token}");
    let done = browser.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200).text;
    assert!(done.contains(&format!("href=\"{way}\"")), "{done}");
    assert!(!browser.cookies.contains_key("__Host-twinmcp-onward"), "it is gone to once");

    let reset = "/reset?return_to=/device%3Fuser_code%3DBCDF-GHJK";
    browser.submit(reset, reset, &[ada]).await.expect(200);
    let (_, token) = link(&letter(&node, "ada@example.org", "Choose another password").await);
    let page = format!("/reset?token={token}");
    // Whoever asked for the letter may be somebody else, who would lead its reader somewhere.
    let mut other = Browser::at(&node);
    let done = other.submit(&page, &page, &[("password", PASSWORD)]).await.expect(200).text;
    assert!(done.contains("href=\"/signin\""), "{done}");
    for away in ["//evil.example", "https://evil.example/", "/libraries;x"] {
        let mut led = Browser::at(&node);
        let path = twinmcp_tests::with_parameters("/reset", &[("return_to", away)]);
        led.submit(&path, &path, &[ada]).await.expect(200);
        let kept = led.cookies.get("__Host-twinmcp-onward").map_or("", String::as_str);
        assert!(matches!(kept, "" | "/settings"), "{kept}");
    }
}

#[tokio::test]
async fn case_075_and_076_a_form_of_another_site_or_browser_is_refused() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    let (mut victim, mut attacker) = (Browser::at(&node), Browser::at(&node));
    victim.get("/signin").await.expect(200);
    let foreign = form_token(&attacker.get("/signin").await.expect(200).text);
    let own = form_token(&victim.get("/signin").await.expect(200).text);
    let fields = |token: &str| {
        let token = token.to_owned();
        move |browser: &Browser| {
            let fields =
                [("email", "ada@example.org"), ("password", PASSWORD), ("form_token", token.as_str())];
            browser.form("/signin", &fields)
        }
    };
    for (token, code) in [("", "form_expired"), (&*foreign, "form_expired"), ("x", "form_expired")] {
        let refused = victim.send(fields(token)(&victim)).await.expect(403);
        assert!(refused.text.contains(code), "{}", refused.text);
    }
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://localhost:1")] {
        let refused = victim.send(fields(&own)(&victim).header(name, value)).await.expect(403);
        assert!(refused.text.contains("cross_site"), "{}", refused.text);
    }
    let mut without_cookies = Browser::at(&node);
    without_cookies.send(fields(&own)(&without_cookies.clone())).await.expect(403);
    let json = victim.request(Method::POST, "/signin").json(&serde_json::json!({ "form_token": own }));
    victim.send(json).await.expect(415);
    assert_eq!(victim.session(), None);
    victim.send(fields(&own)(&victim)).await.expect(303);
    // The form of the page before the sign-in is not one of the session.
    let old = victim.form("/settings/name", &[("name", "x"), ("form_token", &own)]);
    victim.send(old).await.expect(403);
}

#[tokio::test]
async fn case_081_to_084_pages_are_not_framed_kept_or_told_of_and_a_sign_in_ends_in_303() {
    let node = open().start().await;
    person(&node.client(), "ada@example.org").await;
    let mut browser = Browser::at(&node);
    for signed_in in [false, true] {
        if signed_in {
            let fields = [("email", "ada@example.org"), ("password", PASSWORD)];
            let began = browser.submit("/signin", "/signin", &fields).await;
            assert_eq!((began.status, began.header("location")), (303, "/settings"));
            assert_eq!(began.header("cache-control"), "no-store");
        }
        for path in ["/signin", "/signup", "/reset", "/verify?token=x", "/settings"] {
            let page = browser.get(path).await;
            let policy = page.header("content-security-policy");
            for part in
                ["default-src 'none'", "frame-ancestors 'none'", "script-src 'self'", "form-action 'self'"]
            {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            for (name, value) in [
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(page.header(name), value, "{path}: {name}");
            }
            for inline in
                ["<style", " style=", "onclick=", "onload=", "javascript:", "src=\"http", "href=\"http"]
            {
                assert!(!page.text.contains(inline), "{path} has {inline}");
            }
        }
    }
}

#[tokio::test]
async fn case_085_a_sign_in_leads_to_paths_of_this_service_alone() {
    let node = TestNode::empty().await;
    person(&node.client(), "ada@example.org").await;
    for (asked, leads_to) in [
        ("/libraries", "/libraries"),
        ("//evil.example", "/settings"),
        ("/\\evil.example", "/settings"),
        ("https://evil.example/", "/settings"),
        ("javascript:alert(1)", "/settings"),
        ("/a\r\nset-cookie: x=y", "/settings"),
    ] {
        let mut browser = Browser::at(&node);
        let fields = [("email", "ada@example.org"), ("password", PASSWORD), ("return_to", asked)];
        let began = browser.submit("/signin", "/signin", &fields).await.expect(303);
        assert_eq!(began.header("location"), leads_to, "{asked}");
        // Also for somebody who is signed in already.
        let again = twinmcp_tests::with_parameters("/signin", &[("return_to", asked)]);
        let request = browser.request(Method::GET, &again);
        assert_eq!(browser.send(request).await.expect(303).header("location"), leads_to, "{asked}");
    }
}
