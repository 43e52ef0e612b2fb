//! What a node tells of sign-ins, tokens and keys: that families of `docs/identity.md` are there, and count what was done.

use serde_json::json;
use twinmcp_tests::{NodeSetup, TestClient, TestNode};

use super::app::{App, Tokens, signed_in};
use super::{Browser, PASSWORD};

/// The sum of the series of `family`, which the node tells of, that have all of these labels.
async fn value(client: &TestClient, family: &str, labels: &[(&str, &str)]) -> f64 {
    let scraped = client.get("/api/metrics").await.expect(200).text;
    let has =
        |series: &str| labels.iter().all(|(name, value)| series.contains(&format!("{name}=\"{value}\"")));
    let of_family = |series: &str| {
        series.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', ' ']))
    };
    let lines = scraped.lines().filter_map(|line| line.rsplit_once(' '));
    let found: Vec<_> = lines.filter(|(series, _)| of_family(series)).collect();
    assert!(!found.is_empty(), "the node tells nothing of {family}");
    let of_labels = found.iter().filter(|(series, _)| has(series));
    of_labels.map(|(_, value)| value.parse::<f64>().expect("a value is a number")).sum()
}

#[tokio::test]
async fn sign_ins_locks_and_hashes_are_counted() {
    let setup =
        NodeSetup::default().with("accounts", "lock_after", 5).with("accounts", "lock_seconds", 3_600);
    let node = setup.start().await;
    let client = node.client();
    signed_in(&node, "ada@example.org").await;
    let mut browser = Browser::at(&node);
    for _ in 0..5 {
        browser.sign_in("ada@example.org", "not mine at all").await.expect(401);
    }
    browser.sign_in("ada@example.org", PASSWORD).await.expect(429);
    let logins = "twinmcp_accounts_login_attempts_total";
    for (outcome, count) in [("ok", 1.0), ("wrong", 5.0), ("locked", 1.0)] {
        let labels = [("method", "password"), ("outcome", outcome)];
        assert_eq!(value(&client, logins, &labels).await, count, "{outcome}");
    }
    assert_eq!(value(&client, "twinmcp_accounts_lockouts_total", &[("reason", "name")]).await, 1.0);
    // One for the account that was made, one each for a sign-in that was not turned away before.
    assert_eq!(value(&client, "twinmcp_accounts_password_hash_duration_seconds_count", &[]).await, 7.0);
    assert_eq!(value(&client, "twinmcp_accounts_sessions", &[("kind", "password")]).await, 1.0);
    assert_eq!(value(&client, "twinmcp_accounts_sessions", &[("kind", "passkey")]).await, 0.0);
}

#[tokio::test]
async fn tokens_are_counted_as_they_are_given_and_taken_back() {
    let node = TestNode::empty().await;
    let client = node.client();
    let mut browser = signed_in(&node, "ada@example.org").await;
    let web = App::confidential(&node).await;
    let code = web.code(&mut browser, &[]).await;
    let tokens = Tokens::of(&web.redeem(&client, &code, &[]).await.expect(200));
    let next = Tokens::of(&web.refresh(&client, &tokens.refresh, &[]).await.expect(200));
    let third = Tokens::of(&web.refresh(&client, &next.refresh, &[]).await.expect(200));
    web.refresh(&client, &tokens.refresh, &[]).await.expect(400);
    web.refresh(&client, &third.refresh, &[]).await.expect(400);
    web.ask(&client, "/api/oauth/introspect", &[("token", &third.access)]).await.expect(200);
    let other = web.tokens(&client, &mut browser, &[]).await;
    web.ask(&client, "/api/oauth/revoke", &[("token", &other.refresh)]).await.expect(200);
    client.anonymous().post("/api/oauth/register", &json!({})).await.expect(400);

    let requests = "twinmcp_oauth_requests_total";
    for (endpoint, grant, outcome, count) in [
        ("token", "authorization_code", "ok", 2.0),
        ("token", "refresh_token", "ok", 2.0),
        ("token", "refresh_token", "invalid_grant", 2.0),
        ("introspect", "none", "ok", 1.0),
        ("revoke", "none", "ok", 1.0),
        ("register", "none", "ok", 1.0),
        ("register", "none", "invalid_redirect_uri", 1.0),
    ] {
        let labels = [("endpoint", endpoint), ("grant_type", grant), ("outcome", outcome)];
        assert_eq!(value(&client, requests, &labels).await, count, "{labels:?}");
    }
    let durations = "twinmcp_oauth_request_duration_seconds_count";
    assert_eq!(value(&client, durations, &[("endpoint", "token")]).await, 6.0);
    let issued = "twinmcp_oauth_tokens_issued_total";
    for (kind, grant, count) in [
        ("access", "authorization_code", 2.0),
        ("refresh", "authorization_code", 2.0),
        ("id", "authorization_code", 2.0),
        ("access", "refresh_token", 2.0),
    ] {
        assert_eq!(
            value(&client, issued, &[("type", kind), ("grant", grant)]).await,
            count,
            "{kind} {grant}"
        );
    }
    assert_eq!(value(&client, "twinmcp_oauth_refresh_reuse_total", &[]).await, 1.0);
    let revoked = "twinmcp_oauth_tokens_revoked_total";
    assert_eq!(value(&client, revoked, &[("reason", "refresh_reuse")]).await, 1.0);
    assert_eq!(value(&client, revoked, &[("reason", "client")]).await, 1.0);
    let age = value(&client, "twinmcp_oauth_signing_key_age_seconds", &[("kid_state", "current")]).await;
    assert!((0.0..3_600.0).contains(&age), "{age}");
    let scraped = client.get("/api/metrics").await.expect(200).text;
    assert!(scraped.contains("twinmcp_oauth_signing_key_age_seconds{kid_state=\"current\"}"), "{scraped}");
    assert!(!scraped.contains("Web") && !scraped.contains(&web.id), "no label is of a client's choosing");
}
