//! The front as clients meet it, around an endpoint that says who it saw.

use std::sync::atomic::{AtomicUsize, Ordering};

use poem::test::{TestClient, TestResponse};
use poem::{EndpointExt, Route, endpoint, get};
use serde_json::Value;
use tokio::sync::Notify;
use twinmcp_actors::usage::LimitsConfig;
use twinmcp_cluster::ClusterError;
use twinmcp_storage::clock::{ManualClock, SystemEntropy, Timestamp};
use twinmcp_storage::scope::Scope;

use super::*;
use crate::telemetry::Readiness;

const KEY: &str = "tmcp_good";
/// How far the log of this node is, for ever.
const APPLIED: u64 = 41;

fn config(http: HttpConfig, limits: LimitsConfig) -> FrontConfig {
    let readiness = Arc::new(Readiness::new());
    readiness.set(true);
    let key = test_key(&[Scope::DocsRead]);
    FrontConfig {
        in_flight: Arc::new(Semaphore::new(http.in_flight_max)),
        http,
        anonymous_reads: true,
        limits: Limits::new(&limits),
        verify: Box::new(move |secret| match secret {
            KEY => Ok(key.clone()),
            _ => Err(VerifyError::Refused),
        }),
        admit: Box::new(|_| Err(AdmitError::Refused)),
        issuer: "https://node.example".to_owned(),
        signed_in: Box::new(|_| Ok(None)),
        clock: Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000))),
        entropy: Arc::new(SystemEntropy),
        readiness,
        fresh: Fresh::new(AgreedState {
            applied: Box::new(|| APPLIED),
            reach: Box::new(|wanted, _| {
                Box::pin(async move { Err(ClusterError::Behind { wanted, applied: APPLIED }) })
            }),
            linearize: Box::new(|_| Box::pin(async { Err(ClusterError::NoLeader) })),
        }),
    }
}

fn who() -> impl Endpoint<Output = Response> {
    endpoint::make(|request: Request| async move {
        let identity = Identity::of(request.extensions());
        let bytes = request.into_body().into_bytes().await?;
        let name = identity.caller.map_or("anonymous", |_| "test");
        Ok::<_, poem::Error>(format!("{name} {}", bytes.len()).into_response())
    })
    .map_to_response()
}

fn client_with(config: FrontConfig) -> TestClient<Front<Route>> {
    let routes = Route::new()
        .at("/api/v2/context", get(who()).post(who()))
        .at("/api/jobs", get(who()).post(who()))
        .at("/api/health", get(who()))
        .at("/mcp", get(who()).post(who()))
        .at("/api/panic", get(endpoint::make_sync(|_| -> Response { panic!("on purpose") })));
    TestClient::new(Front::new(routes, config))
}

fn client() -> TestClient<Front<Route>> {
    client_with(config(HttpConfig::default(), LimitsConfig::default()))
}

async fn json(response: TestResponse) -> Value {
    let text = response.0.into_body().into_string().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

#[tokio::test]
async fn every_answer_carries_the_id_of_its_request_which_is_the_trace_of_the_caller() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    for path in ["/api/jobs", "/api/nowhere", "/api/panic"] {
        let response = client().get(path).header("traceparent", &parent).send().await;
        response.assert_header("x-request-id", trace);
    }
}

#[tokio::test]
async fn a_bad_key_is_refused_in_every_header_and_never_served_as_anonymous() {
    for (name, value) in [
        ("authorization", "Bearer tmcp_bad"),
        ("authorization", "Basic dXNlcg=="),
        ("context7-api-key", "tmcp_bad"),
        ("context7_api_key", "Bearer tmcp_bad"),
        ("x-api-key", ""),
        ("x_api_key", "tmcp_bad"),
    ] {
        let response = client().get("/api/v2/context").header(name, value).send().await;
        response.assert_status(StatusCode::UNAUTHORIZED);
        response.assert_header_exist("www-authenticate");
        response.assert_header_exist("ratelimit-limit");
        assert_eq!(json(response).await["error"], "invalid_api_key", "{name}: {value}");
    }
    let response =
        client().get("/api/v2/context").header("authorization", format!("Bearer {KEY}")).send().await;
    response.assert_text("test 0").await;
    client().get("/api/v2/context").send().await.assert_text("anonymous 0").await;
}

#[tokio::test]
async fn errors_have_the_shape_of_their_path() {
    let bad = |path: &'static str| async move {
        json(client().get(path).header("x-api-key", "bad").send().await).await
    };
    assert_eq!(bad("/api/v2/context").await["error"], "invalid_api_key");
    assert_eq!(bad("/mcp").await["error"]["data"]["code"], "invalid_api_key");
    assert_eq!(bad("/api/jobs").await["code"], "invalid_api_key");
    let response = client().get("/nowhere").send().await;
    response.assert_status(StatusCode::NOT_FOUND);
    response.assert_content_type("application/problem+json");
    assert_eq!(json(response).await["code"], "not_found");
    let response = client().delete("/api/jobs").send().await;
    assert_eq!(json(response).await["code"], "method_not_allowed");
}

#[tokio::test]
async fn limits_are_told_on_every_answer_and_refusals_say_whose_limit_it_was() {
    let limits =
        LimitsConfig { anonymous_per_minute: 1, anonymous_burst: 1, key_burst: 2, ..LimitsConfig::default() };
    let client = client_with(config(HttpConfig::default(), limits));
    let first = client.get("/api/v2/context").send().await;
    first.assert_status_is_ok();
    first.assert_header("ratelimit-limit", "1");
    first.assert_header("ratelimit-remaining", "0");
    let reset: u64 = first.0.header("ratelimit-reset").unwrap().parse().unwrap();
    assert!((1_001..=1_060).contains(&reset), "{reset}");

    let refused = client.get("/api/v2/context").send().await;
    refused.assert_status(StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.0.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let body = json(refused).await;
    assert_eq!(
        (body["error"].as_str(), body["limited_by"].as_str()),
        (Some("rate_limit_exceeded"), Some("address"))
    );

    // A key has an allowance of its own; probes have none to use up.
    let keyed = client.get("/api/v2/context").header("x-api-key", KEY).send().await;
    keyed.assert_header("ratelimit-limit", "2");
    let probe = client.get("/api/health").send().await;
    probe.assert_status_is_ok();
    assert!(probe.0.header("ratelimit-limit").is_none());
}

#[tokio::test]
async fn limits_and_endpoints_see_the_same_address_and_a_trusted_proxy_may_tell_it() {
    for (proxies, other, seen) in [
        (vec!["127.0.0.1".to_owned()], StatusCode::OK, "203.0.113.9"),
        (Vec::new(), StatusCode::TOO_MANY_REQUESTS, "127.0.0.1"),
    ] {
        let limits = LimitsConfig { anonymous_per_minute: 1, anonymous_burst: 1, ..LimitsConfig::default() };
        let http = HttpConfig { trusted_proxies: proxies, ..HttpConfig::default() };
        let whence = endpoint::make_sync(|request: Request| address_of(&request).to_string());
        let routes = Route::new().at("/api/x", get(whence));
        let client = TestClient::new(Front::new(routes, config(http, limits)));
        let from = |address: &str| client.get("/api/x").header("x-forwarded-for", address);
        from("203.0.113.9").send().await.assert_text(seen).await;
        from("203.0.113.10").send().await.assert_status(other);
        from("203.0.113.9").send().await.assert_status(StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test]
async fn a_full_node_answers_503_and_still_answers_probes() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, go) = (Arc::clone(&entered), Arc::clone(&leave));
    let slow = endpoint::make(move |_| {
        let (inside, go) = (Arc::clone(&inside), Arc::clone(&go));
        async move {
            inside.notify_one();
            go.notified().await;
            Ok::<_, poem::Error>(())
        }
    });
    let routes = Route::new().at("/api/jobs", get(slow)).at("/api/health", get(who()));
    let http = HttpConfig { in_flight_max: 1, ..HttpConfig::default() };
    let client = Arc::new(TestClient::new(Front::new(routes, config(http, LimitsConfig::default()))));
    let first = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.get("/api/jobs").send().await.0.status() }
    });
    entered.notified().await;
    let refused = client.get("/api/jobs").send().await;
    refused.assert_status(StatusCode::SERVICE_UNAVAILABLE);
    refused.assert_header("retry-after", "1");
    assert_eq!(json(refused).await["code"], "overload");
    client.get("/api/health").send().await.assert_status_is_ok();
    leave.notify_one();
    assert_eq!(first.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn changes_tell_how_far_the_log_is_and_who_carries_more_is_turned_away_whoever_they_are() {
    let client = client();
    client.post("/api/jobs").send().await.assert_header("twinmcp-log-index", "41");
    for quiet in
        [client.get("/api/jobs"), client.post("/mcp"), client.post("/api/jobs").header("x-api-key", "bad")]
    {
        quiet.send().await.assert_header_is_not_exist("twinmcp-log-index");
    }
    let carrying = |index: &str| client.get("/api/jobs").header("twinmcp-log-index", index);
    carrying("41").send().await.assert_status_is_ok();
    for (request, status, code) in [
        // The key is not looked at: it may be one that this node does not know yet.
        (carrying("42").header("x-api-key", "bad"), 503, "behind"),
        (carrying("soon"), 400, "validation_error"),
        (client.get("/api/jobs").header("twinmcp-consistency", "linearizable"), 503, "busy"),
        (client.get("/api/jobs").header("twinmcp-consistency", "strong"), 400, "validation_error"),
        (client.get("/api/jobs").header("cookie", "__Host-twinmcp-log-index=42"), 503, "behind"),
    ] {
        let refused = request.send().await;
        refused.assert_status(StatusCode::from_u16(status).unwrap());
        refused.assert_content_type("application/problem+json");
        assert_eq!(refused.0.header("retry-after"), (status == 503).then_some("1"));
        assert_eq!(json(refused).await["code"], code);
    }
    // Probes are answered by what is here.
    client.get("/api/health").header("twinmcp-log-index", "42").send().await.assert_status_is_ok();
}

#[tokio::test]
async fn a_browser_keeps_how_far_the_log_is() {
    let client = client();
    let changed = client.post("/api/jobs").header("cookie", "__Host-twinmcp=secret").send().await;
    let kept = "__Host-twinmcp-log-index=41; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax";
    changed.assert_header("set-cookie", kept);
    client.post("/api/jobs").send().await.assert_header_is_not_exist("set-cookie");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_its_length_is_told_or_not() {
    let http = HttpConfig { body_bytes_max: 1024, ..HttpConfig::default() };
    let client = client_with(config(http, LimitsConfig::default()));
    client.post("/api/jobs").body(vec![b'x'; 1024]).send().await.assert_text("anonymous 1024").await;
    for told in [true, false] {
        let pieces = futures_util::stream::iter(vec![Ok::<_, std::io::Error>(vec![b'x'; 1025])]);
        let mut request = client.post("/api/jobs").body(poem::Body::from_bytes_stream(pieces));
        if told {
            request = request.header("content-length", "1025");
        }
        let response = request.send().await;
        response.assert_status(StatusCode::PAYLOAD_TOO_LARGE);
        response.assert_header("connection", "close");
        assert_eq!(json(response).await["code"], "body_too_large");
    }
}

#[tokio::test]
async fn a_request_ends_at_its_deadline() {
    let never = endpoint::make(|_| futures_util::future::pending::<Result<(), poem::Error>>());
    let http = HttpConfig { request_timeout_ms: 1, ..HttpConfig::default() };
    let routes = Route::new().at("/api/jobs", get(never));
    let client = TestClient::new(Front::new(routes, config(http, LimitsConfig::default())));
    let response = client.get("/api/jobs").send().await;
    response.assert_status(StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(json(response).await["code"], "timeout");
}

#[tokio::test]
async fn a_panic_ends_its_request_and_nothing_else() {
    let client = client();
    let response = client.get("/api/panic").send().await;
    response.assert_status(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json(response).await;
    assert_eq!(body["code"], "internal_error");
    assert!(!body.to_string().contains("on purpose"), "{body}");
    client.get("/api/jobs").send().await.assert_status_is_ok();
}

#[tokio::test]
async fn pages_of_other_sites_get_nothing_and_those_of_allowed_ones_may_read_the_answer() {
    let http =
        HttpConfig { allowed_origins: vec!["https://app.example.com".to_owned()], ..HttpConfig::default() };
    let client = client_with(config(http, LimitsConfig::default()));
    let refused = client
        .get("/mcp")
        .header("host", "localhost:3000")
        .header("origin", "https://evil.example")
        .send()
        .await;
    refused.assert_status(StatusCode::FORBIDDEN);
    assert!(refused.0.header("access-control-allow-origin").is_none());
    assert_eq!(json(refused).await["error"]["data"]["code"], "origin_not_allowed");
    let rebound = client.post("/mcp").header("host", "evil.example:3000").send().await;
    rebound.assert_status(StatusCode::FORBIDDEN);
    assert_eq!(json(rebound).await["error"]["data"]["code"], "host_not_allowed");
    for origin in ["https://app.example.com", "http://localhost:5173"] {
        let response =
            client.get("/api/jobs").header("host", "localhost:3000").header("origin", origin).send().await;
        response.assert_status_is_ok();
        response.assert_header("access-control-allow-origin", origin);
    }
}

#[tokio::test]
async fn a_preflight_lists_every_header_that_clients_send() {
    let response = client()
        .options("/mcp")
        .header("origin", "http://localhost:6274")
        .header("access-control-request-method", "POST")
        .send()
        .await;
    response.assert_status(StatusCode::NO_CONTENT);
    response.assert_header("access-control-allow-origin", "http://localhost:6274");
    let allowed = response.0.header("access-control-allow-headers").unwrap().to_lowercase();
    let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
    for name in [
        "content-type",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "x-api-key",
        "context7-api-key",
        "x-context7-api-key",
        "authorization",
    ] {
        assert!(allowed.contains(&name), "{name}");
    }
    assert!(response.0.header("x-context7-auth-prompt").is_none());
}

#[tokio::test]
async fn an_upload_reaches_its_endpoint_in_pieces_whatever_its_size() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let upload = endpoint::make(move |request: Request| {
        let counted = Arc::clone(&counted);
        async move {
            let bytes = request.into_body().into_bytes().await?;
            counted.store(bytes.len(), Ordering::SeqCst);
            Ok::<_, poem::Error>(())
        }
    });
    let http = HttpConfig { body_bytes_max: 1024, ..HttpConfig::default() };
    let routes = Route::new().at("/api/jobs/uploads", poem::post(upload));
    let client = TestClient::new(Front::new(routes, config(http, LimitsConfig::default())));
    client.post("/api/jobs/uploads").body(vec![0; 100_000]).send().await.assert_status_is_ok();
    assert_eq!(seen.load(Ordering::SeqCst), 100_000);
}

#[tokio::test]
async fn a_node_that_is_not_ready_closes_each_connection_with_its_answer() {
    let config = config(HttpConfig::default(), LimitsConfig::default());
    let readiness = Arc::clone(&config.readiness);
    let client = TestClient::new(Front::new(Route::new().at("/api/x", who()), config));
    let response = client.get("/api/x").send().await;
    response.assert_header_is_not_exist("connection");
    readiness.set(false);
    let response = client.get("/api/x").send().await;
    response.assert_status_is_ok();
    response.assert_header("connection", "close");
}
