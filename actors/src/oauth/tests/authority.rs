//! Who may give what, and for how long it counts.

use super::*;

/// A client that `account` has made, and its secret.
async fn made(server: &Server, account: &AccountId, grants: &[&str]) -> (String, String) {
    let metadata = json!({ "client_name": "Tool", "grant_types": grants, "scope": "docs:read admin" });
    let may = [Scope::DocsRead, Scope::Admin];
    let registered = server.oauth.make_client(account, &metadata, &may).await.unwrap();
    (registered.client.id, registered.secret.unwrap())
}

impl Server {
    async fn is_operator(&self, is_operator: bool) {
        let accounts = &self.world.actors.accounts;
        accounts.manage_person(&self.person.account, None, Some(is_operator)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_for_operators_counts_as_long_as_its_person_is_one() {
    let server = Server::public().await;
    server.is_operator(true).await;
    let account = &server.person.account;
    let keys = &server.world.actors.api_keys;
    let both = vec![Scope::DocsRead, Scope::Admin];
    let key = keys.create(account, "laptop", both.clone(), None).await.unwrap();
    let (client, secret) = made(&server, account, &["client_credentials"]).await;
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
    let before = server.token(&form).await.unwrap();
    assert_eq!(before.scopes, both);
    assert_eq!(keys.verify(key.secret.reveal()).unwrap().scopes, both);

    server.is_operator(false).await;
    assert_eq!(keys.verify(key.secret.reveal()).unwrap().scopes, [Scope::DocsRead]);
    assert!(!server.is_good(&before.access_token));
    assert_eq!(server.token(&form).await.unwrap().scopes, [Scope::DocsRead]);
    assert_eq!(code_of(server.token(&format!("{form}&scope=admin")).await), "invalid_scope");

    // A machine's account has no person to be one.
    let machine = server.world.account.id.clone();
    let key = keys.create(&machine, "machine", both.clone(), None).await.unwrap();
    assert_eq!(keys.verify(key.secret.reveal()).unwrap().scopes, both);
}

#[tokio::test]
async fn a_device_gets_nothing_for_operators_from_anybody_else() {
    let server = Server::public().await;
    let (client, secret) =
        made(&server, &server.world.account.id, &["urn:ietf:params:oauth:grant-type:device_code"]).await;
    let shown = format!("client_id={client}&client_secret={secret}");
    let codes = server.oauth.start_device(&format!("{shown}&scope=admin"), None).await.unwrap();
    assert_eq!(
        code_of(server.oauth.device_question(&codes.user_code, &server.person).await),
        "invalid_scope"
    );
    assert_eq!(
        code_of(server.oauth.decide_device(&codes.user_code, &server.person, true).await),
        "invalid_scope"
    );
    let operator = Person { is_admin: true, ..server.person.clone() };
    server.oauth.decide_device(&codes.user_code, &operator, true).await.unwrap();
}

#[tokio::test]
async fn an_answer_gives_nothing_that_its_person_may_not_give_any_more() {
    let server = Server::public().await;
    let metadata = json!({
        "client_name": "Tool", "redirect_uris": ["https://tool.example/cb"], "scope": "docs:read admin",
    });
    let account = &server.world.account.id;
    let registered = server.oauth.make_client(account, &metadata, &[Scope::DocsRead, Scope::Admin]).await;
    let registered = registered.unwrap();
    let client = registered.client.id;
    let query = format!(
        "response_type=code&client_id={client}&scope=docs:read+admin&code_challenge={CHALLENGE}\
         &code_challenge_method=S256"
    );
    let operator = Person { is_admin: true, ..server.person.clone() };
    let Authorization::Ask(question) = server.oauth.authorize(&query, Some(&operator)).await.unwrap() else {
        panic!("nobody was asked")
    };
    assert_eq!(code_of(server.oauth.answer(&question.ticket, &server.person, true).await), "invalid_scope");
    let back = server.oauth.answer(&question.ticket, &operator, true).await.unwrap();
    // By the time the code is redeemed they are none.
    let form = format!(
        "grant_type=authorization_code&client_id={client}&client_secret={}&code={}&code_verifier={VERIFIER}",
        registered.secret.unwrap(),
        parameter(&back, "code").unwrap()
    );
    let tokens = server.token(&form).await.unwrap();
    assert_eq!(tokens.scopes, [Scope::DocsRead]);
    assert!(server.is_good(&tokens.access_token));
}

#[tokio::test]
async fn one_request_too_many_uses_nothing_up() {
    let server = Server::public().await;
    let tokens = server.redeem(&server.code().await).await.unwrap();
    let (code, refresh) = (server.code().await, tokens.refresh_token.unwrap());
    let issuer = &server.oauth.0.issuer;
    let places: Vec<_> = (0..issue::PLACES_MAX).map(|_| issuer.place().unwrap()).collect();
    assert!(matches!(server.redeem(&code).await, Err(OauthError::Busy)));
    assert!(matches!(server.refresh(&refresh).await, Err(OauthError::Busy)));
    drop(places);
    assert!(server.redeem(&code).await.is_ok());
    assert!(server.refresh(&refresh).await.is_ok());
}

#[tokio::test]
async fn nobody_writes_into_an_address_that_a_sign_in_is_fresh() {
    let server = Server::public().await;
    let asks = async |query: &str| server.oauth.authorize(query, Some(&server.person)).await.unwrap();
    let query = format!("{}&prompt=login", server.query());
    let Authorization::SignIn { query: marked } = asks(&query).await else { panic!("nobody signs in") };
    let mark = marked.split("signed_in_after=").nth(1).unwrap();
    // The session is older than the request.
    for forged in ["0", "1", mark] {
        let query = format!("{query}&signed_in_after={forged}");
        assert!(matches!(asks(&query).await, Authorization::SignIn { .. }), "{forged}");
    }
    let later = Person { signed_in_at: server.oauth.now().plus_millis(1_000), ..server.person.clone() };
    assert!(matches!(server.oauth.authorize(&marked, Some(&later)).await.unwrap(), Authorization::Ask(_)));
    // Of another request it says nothing.
    let other = query.replace(CHALLENGE, "JBbiqONGWPaAmwXk_8bT6UnlPfrn65D32eZlJS-zGG0");
    let other = format!("{other}&signed_in_after={mark}");
    assert!(matches!(
        server.oauth.authorize(&other, Some(&later)).await.unwrap(),
        Authorization::SignIn { .. }
    ));
}

#[tokio::test]
async fn case_085_nobody_is_led_to_whoever_registered_themselves_by_a_wrong_address() {
    let server = Server::public().await;
    let wrong = server.query().replace("response_type=code", "response_type=token");
    let at =
        async |query: &str, person: Option<&Person>| server.oauth.authorize(query, person).await.unwrap();
    assert!(matches!(at(&wrong, None).await, Authorization::Refused(_)));
    assert!(matches!(at(&wrong, Some(&server.person)).await, Authorization::Redirect(_)));
    // Nobody looks at a page there, and the client has to know.
    let silent = format!("{wrong}&prompt=none");
    assert!(matches!(at(&silent, None).await, Authorization::Redirect(_)));

    let metadata = json!({
        "client_name": "Tool", "redirect_uris": ["https://tool.example/cb"],
        "post_logout_redirect_uris": ["https://tool.example/bye"],
    });
    let stranger = server.oauth.register(&metadata).await.unwrap().client.id;
    let account = &server.world.account.id;
    let known = server.oauth.make_client(account, &metadata, &[Scope::DocsRead]).await.unwrap().client.id;
    let out = async |client: &str| {
        let query = format!("client_id={client}&post_logout_redirect_uri=https://tool.example/bye");
        match server.oauth.end_session(&query, None).await.unwrap() {
            EndSession::Nobody { then } => then,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(out(&stranger).await, None);
    assert_eq!(out(&known).await.unwrap(), "https://tool.example/bye");
    let wrong = format!("client_id={known}&response_type=token");
    assert!(matches!(at(&wrong, None).await, Authorization::Redirect(_)));
}

#[tokio::test]
async fn a_registration_is_changed_under_its_own_name_alone() {
    let world = World::new().await;
    let oauth = world.actors.oauth.clone();
    oauth.0.issuer.ready(Algorithm::Rs256).await.unwrap();
    let metadata = json!({ "client_name": "Web", "redirect_uris": ["https://app.example/cb"] });
    let registered = oauth.register(&metadata).await.unwrap();
    let (id, token) = (registered.client.id, registered.registration_token.unwrap());
    let change = async |extra: Value| {
        let mut metadata = metadata.clone();
        metadata.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        oauth.change_registration(&id, &token, &metadata).await
    };
    assert_eq!(code_of(change(json!({})).await), "invalid_client_metadata");
    assert_eq!(code_of(change(json!({ "client_id": "client_other" })).await), "invalid_client_metadata");
    let stolen = json!({ "client_id": id, "client_secret": "mine" });
    assert_eq!(code_of(change(stolen).await), "invalid_client_metadata");
    let right = json!({ "client_id": id, "client_secret": registered.secret.unwrap() });
    // What was shown to open it is told again, as RFC 7592, 3 has it.
    assert_eq!(change(right).await.unwrap().registration_token.unwrap(), token);
}
