//! Tokens for which nothing is left: what was allowed or asked for is for operators, and whoever gave it is none.

use super::*;

/// A client of the machine's own account that may be for operators alone, and what it shows.
async fn made(server: &Server, account: &AccountId, grant: &str, scope: &str) -> (String, String) {
    let metadata = json!({
        "client_name": "Console", "grant_types": [grant], "scope": scope, "redirect_uris": ["https://console.example/cb"],
    });
    let may = [Scope::DocsRead, Scope::OpenId, Scope::Admin];
    let registered = server.oauth.make_client(account, &metadata, &may).await.unwrap();
    let id = registered.client.id;
    let shown = format!("client_id={id}&client_secret={}", registered.secret.unwrap());
    (id, shown)
}

impl Server {
    /// Whoever was an operator when they allowed it.
    fn operator(&self) -> Person {
        Person { is_admin: true, ..self.person.clone() }
    }

    async fn make_operator(&self) {
        self.world.actors.accounts.manage_person(&self.person.account, None, Some(true)).await.unwrap();
    }

    /// The form that redeems a code with which an operator has allowed `scope`.
    async fn allowed(&self, (client, shown): &(String, String), scope: &str) -> String {
        let query = format!(
            "response_type=code&client_id={client}&scope={scope}&code_challenge={CHALLENGE}\
             &code_challenge_method=S256"
        );
        let Authorization::Ask(question) =
            self.oauth.authorize(&query, Some(&self.operator())).await.unwrap()
        else {
            panic!("nobody was asked")
        };
        let back = self.oauth.answer(&question.ticket, &self.operator(), true).await.unwrap();
        let code = parameter(&back, "code").unwrap();
        format!("grant_type=authorization_code&{shown}&code={code}&code_verifier={VERIFIER}")
    }
}

#[tokio::test]
async fn a_code_of_whoever_is_no_operator_any_more_is_refused_and_not_used_up() {
    let server = Server::public().await;
    let account = server.world.account.id.clone();
    let client = made(&server, &account, "authorization_code", "docs:read admin").await;
    let form = server.allowed(&client, "admin").await;
    for _ in 0..2 {
        assert_eq!(code_of(server.token(&form).await), "invalid_grant");
    }
    assert_eq!(code_of(server.token(&format!("{form}&scope=admin")).await), "invalid_scope");
    server.make_operator().await;
    assert_eq!(server.token(&form).await.unwrap().scopes, [Scope::Admin]);
    // One that was used ends what came of it, whatever is asked for besides.
    let used = format!("{form}&scope=docs:read");
    assert_eq!(code_of(server.token(&used).await), "invalid_grant");
}

#[tokio::test]
async fn a_device_of_whoever_is_no_operator_any_more_is_refused_and_its_code_not_used_up() {
    let server = Server::public().await;
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let (_, shown) = made(&server, &server.world.account.id, grant, "admin").await;
    let codes = server.oauth.start_device(&format!("{shown}&scope=admin"), None).await.unwrap();
    server.oauth.decide_device(&codes.user_code, &server.operator(), true).await.unwrap();
    let form = format!("grant_type={grant}&{shown}&device_code={}", codes.device_code);
    assert_eq!(code_of(server.token(&form).await), "invalid_grant");
    server.make_operator().await;
    assert_eq!(server.token(&form).await.unwrap().scopes, [Scope::Admin]);
}

#[tokio::test]
async fn a_refresh_that_asks_for_nothing_that_is_left_uses_nothing_up() {
    let server = Server::public().await;
    let metadata = json!({
        "client_name": "Console", "scope": "docs:read admin", "redirect_uris": ["https://console.example/cb"],
    });
    let may = [Scope::DocsRead, Scope::Admin];
    let registered = server.oauth.make_client(&server.world.account.id, &metadata, &may).await.unwrap();
    let shown =
        format!("client_id={}&client_secret={}", registered.client.id, registered.secret.as_deref().unwrap());
    let form = server.allowed(&(registered.client.id, shown.clone()), "docs:read+admin").await;
    let tokens = server.token(&form).await.unwrap();
    assert_eq!(tokens.scopes, [Scope::DocsRead]);
    let refresh = format!("grant_type=refresh_token&{shown}&refresh_token={}", tokens.refresh_token.unwrap());
    for scope in ["admin", "+", "chat"] {
        assert_eq!(
            code_of(server.token(&format!("{refresh}&scope={scope}")).await),
            "invalid_scope",
            "{scope}"
        );
    }
    // Whoever asks for all that they were allowed gets what is left of it, and is told so.
    let again = server.token(&format!("{refresh}&scope=docs:read+admin")).await.unwrap();
    assert_eq!(again.scopes, [Scope::DocsRead]);
}

#[tokio::test]
async fn a_program_that_may_nothing_any_more_gets_no_token() {
    let server = Server::public().await;
    server.make_operator().await;
    let (_, shown) = made(&server, &server.person.account, "client_credentials", "admin openid").await;
    let form = format!("grant_type=client_credentials&{shown}");
    assert_eq!(server.token(&form).await.unwrap().scopes, [Scope::Admin]);
    let accounts = &server.world.actors.accounts;
    accounts.manage_person(&server.person.account, None, Some(false)).await.unwrap();
    assert_eq!(code_of(server.token(&form).await), "invalid_scope");
}
