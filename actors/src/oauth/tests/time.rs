//! What ends with time, at a node whose clock is moved by hand.

use twinmcp_cluster::ClusterKey;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::ManualClock;
use twinmcp_storage::oauth::pushed;

use super::*;

/// How long a request waits for its person: ten minutes.
const WAITS_MS: u64 = 600_000;
const PUSH: &str = "/api/oauth/par";

/// The authorization server of the same node on a clock that stands still at this moment until it is moved. That of the log goes on.
fn by_hand(server: &Server) -> (Oauth, Arc<ManualClock>) {
    let inner = &*server.oauth.0;
    let clock = Arc::new(ManualClock::at(server.oauth.now()));
    let told: Arc<dyn Clock> = clock.clone();
    let oauth = Oauth(Arc::new(Inner {
        config: inner.config.clone(),
        resources: Resources::new(&inner.config.issuer),
        cluster: inner.cluster.clone(),
        clock: Arc::clone(&told),
        entropy: Arc::clone(&inner.entropy),
        issuer: Issuer::new(Arc::clone(&inner.entropy)),
        documents: Documents::new(inner.outbound.clone(), Arc::clone(&told)),
        outbound: inner.outbound.clone(),
        key_sets: KeySets::new(inner.outbound.clone(), told),
        pace: Pace::new(),
        proofs: Proofs::new(&SystemEntropy).unwrap(),
        policy: inner.policy.clone(),
        verified: Cache::new(VERIFIED_MAX),
        misshown: Misshown::default(),
        audit: Audit::new(inner.cluster.clone()),
        metrics: Metrics::new(),
    }));
    // The key of every world.
    let keys = ClusterKeys::unkept(ClusterKey::new([7; 32]));
    KeysActor { oauth: oauth.clone(), keys }.take_in().unwrap();
    (oauth, clock)
}

/// A node with a client that has no browser.
async fn television() -> Server {
    Server::start(json!({
        "client_name": "Television",
        "token_endpoint_auth_method": "none",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
    }))
    .await
}

impl Server {
    async fn device_codes(&self, oauth: &Oauth) -> DeviceCodes {
        oauth.start_device(&format!("client_id={}", self.client), None).await.unwrap()
    }

    /// What a device is told that has no tokens yet.
    async fn poll(&self, oauth: &Oauth, codes: &DeviceCodes) -> Refused {
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id={}&device_code={}",
            self.client, codes.device_code
        );
        match token(oauth, &form).await {
            Err(OauthError::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn case_064_a_pushed_request_waits_ten_minutes_for_its_person_and_no_longer() {
    let server = Server::public().await;
    let (oauth, clock) = by_hand(&server);
    let form = server.query();
    let push = TokenRequest { form: &form, authorization: None, proof: None, path: PUSH };
    let (uri, life_s) = oauth.push(push).await.unwrap();
    assert_eq!(life_s, WAITS_MS / 1000);
    let query = format!("client_id={}&request_uri={uri}", server.client);
    let ask = async |person: Option<&Person>| oauth.authorize(&query, person).await.unwrap();
    clock.advance_millis(WAITS_MS - 1_000);
    assert!(matches!(ask(Some(&server.person)).await, Authorization::Ask(_)));
    assert!(matches!(ask(None).await, Authorization::SignIn { .. }));
    clock.set(server.oauth.now().plus_millis(WAITS_MS));
    for person in [Some(&server.person), None] {
        match ask(person).await {
            Authorization::Refused(refused) => assert_eq!(refused.code, ErrorCode::InvalidRequestUri),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn case_064_a_pushed_request_that_ends_while_its_person_thinks_gives_no_code() {
    let server = Server::public().await;
    // This node does not see the time pass; what counts is the log's.
    let (oauth, _) = by_hand(&server);
    let uri = "urn:ietf:params:oauth:request_uri:of-a-moment";
    let push = pushed::Command::Push {
        hash: SecretHash::of(uri),
        client: server.client.clone(),
        parameters: server.query(),
        ttl_ms: 1,
    };
    oauth.propose(oauth::Command::Pushed(push)).await.unwrap();
    let pushed_at = server.oauth.now();
    let query = format!("client_id={}&request_uri={uri}", server.client);
    let Authorization::Ask(question) = oauth.authorize(&query, Some(&server.person)).await.unwrap() else {
        panic!("nobody was asked")
    };
    server.world.until("its end", || server.oauth.now() > pushed_at.plus_millis(1)).await;
    let late = oauth.answer(&question.ticket, &server.person, true).await;
    assert_eq!(code_of(late), "invalid_request_uri");
}

#[tokio::test]
async fn case_065_after_slow_down_the_interval_before_is_too_short() {
    let server = television().await;
    let (oauth, clock) = by_hand(&server);
    let codes = server.device_codes(&oauth).await;
    assert_eq!(codes.interval_s, 5);
    // How long it waits, and the seconds it is told to wait from then on, if that was too short.
    for (waits_ms, slower_s) in [
        (0, None),
        (4_000, Some(10)),
        (5_000, Some(15)),
        (10_000, Some(20)),
        (20_000, None),
        // It stays so long, also after an answer that was in time (RFC 8628, 3.5).
        (15_000, Some(25)),
        (25_000, None),
    ] {
        clock.advance_millis(waits_ms);
        let told = server.poll(&oauth, &codes).await;
        let right = if slower_s.is_some() { ErrorCode::SlowDown } else { ErrorCode::AuthorizationPending };
        assert_eq!(told.code, right, "after {waits_ms} ms");
        let said = slower_s.is_none_or(|seconds| told.description.contains(&format!("every {seconds} ")));
        assert!(said, "{}", told.description);
    }
    // Another device is as quick as before.
    let other = server.device_codes(&oauth).await;
    for _ in 0..2 {
        clock.advance_millis(5_000);
        assert_eq!(server.poll(&oauth, &other).await.code, ErrorCode::AuthorizationPending);
    }
}

#[tokio::test]
async fn case_066_a_device_code_ends_after_ten_minutes_allowed_or_not() {
    let server = television().await;
    let (oauth, clock) = by_hand(&server);
    let (waiting, allowed) = (server.device_codes(&oauth).await, server.device_codes(&oauth).await);
    assert_eq!(waiting.expires_in_s, WAITS_MS / 1000);
    oauth.decide_device(&allowed.user_code, &server.person, true).await.unwrap();
    clock.advance_millis(WAITS_MS - 1_000);
    assert_eq!(server.poll(&oauth, &waiting).await.code, ErrorCode::AuthorizationPending);
    clock.set(server.oauth.now().plus_millis(WAITS_MS));
    for codes in [&waiting, &allowed] {
        assert_eq!(server.poll(&oauth, codes).await.code, ErrorCode::ExpiredToken);
    }
    // Nobody can allow it any more.
    let (code, person) = (&waiting.user_code, &server.person);
    assert_eq!(code_of(oauth.device_question(code, person).await), "invalid_grant");
    assert_eq!(code_of(oauth.decide_device(code, person, true).await), "invalid_grant");
    assert_eq!(server.poll(&oauth, &waiting).await.code, ErrorCode::ExpiredToken);
}
