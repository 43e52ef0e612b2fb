//! Tokens bound to a key, over the endpoints (RFC 9449).

use super::*;

/// A program that proves a key.
struct Program {
    key: PrivateKey,
}

impl Program {
    fn new() -> Self {
        Self { key: PrivateKey::generate(Algorithm::Es256).unwrap() }
    }

    fn proof(&self, oauth: &Oauth, path: &str) -> String {
        let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let mut jti = [0; 16];
        SystemEntropy.fill(&mut jti).unwrap();
        let head = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.public() });
        let claims = json!({
            "jti": URL_SAFE_NO_PAD.encode(jti), "htm": "POST", "htu": format!("{ISSUER}{path}"),
            "iat": oauth.now().as_secs(), "nonce": oauth.0.proofs.nonce(oauth.now()),
        });
        let message = format!("{}.{}", part(head), part(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()).unwrap()))
    }

    async fn token(&self, oauth: &Oauth, form: &str) -> Result<Tokens, OauthError> {
        let path = "/api/oauth/token";
        let proof = self.proof(oauth, path);
        oauth.token(TokenRequest { form, authorization: None, proof: Some(&proof), path }).await
    }
}

/// The key that `token` is bound to.
fn bound_to(oauth: &Oauth, token: &str) -> Option<String> {
    oauth.verify(token).unwrap().unwrap().thumbprint()
}

#[tokio::test]
async fn a_pushed_request_binds_its_code_to_the_key_that_came_with_it() {
    let server = Server::public().await;
    let (program, thief) = (Program::new(), Program::new());
    let path = "/api/oauth/par";
    let push = async |program: &Program, form: &str| {
        let proof = program.proof(&server.oauth, path);
        server.oauth.push(TokenRequest { form, authorization: None, proof: Some(&proof), path }).await
    };
    let named = format!("{}&dpop_jkt={CHALLENGE}", server.query());
    assert_eq!(code_of(push(&program, &named).await), "invalid_dpop_proof", "it names another key");

    let (uri, _) = push(&program, &server.query()).await.unwrap();
    let query = format!("client_id={}&request_uri={uri}", server.client);
    let Authorization::Ask(question) = server.oauth.authorize(&query, Some(&server.person)).await.unwrap()
    else {
        panic!("nobody was asked")
    };
    let back = server.oauth.answer(&question.ticket, &server.person, true).await.unwrap();
    let form = format!(
        "grant_type=authorization_code&client_id={}&code={}&code_verifier={VERIFIER}\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcb",
        server.client,
        parameter(&back, "code").unwrap()
    );
    assert_eq!(code_of(thief.token(&server.oauth, &form).await), "invalid_grant");
}

#[tokio::test]
async fn a_client_with_a_secret_refreshes_with_another_key_and_one_without_with_its_own_alone() {
    let server = Server::public().await;
    let (first, second) = (Program::new(), Program::new());
    let web = json!({ "client_name": "Web", "redirect_uris": ["http://127.0.0.1:4711/cb"] });
    let registered = server.oauth.register(&web).await.unwrap();
    let secret = format!("&client_secret={}", registered.secret.unwrap());
    let web = Server { client: registered.client.id, ..server };
    let code = web.code().await;
    let redeem = format!(
        "grant_type=authorization_code&client_id={}{secret}&code={code}&code_verifier={VERIFIER}\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcb",
        web.client
    );
    let tokens = first.token(&web.oauth, &redeem).await.unwrap();
    let before = bound_to(&web.oauth, &tokens.access_token).unwrap();
    let refresh = |token: &str| {
        format!("grant_type=refresh_token&client_id={}{secret}&refresh_token={token}", web.client)
    };
    let form = refresh(&tokens.refresh_token.unwrap());
    assert_eq!(code_of(web.token(&form).await), "invalid_dpop_proof", "without a proof nothing is used up");
    let tokens = second.token(&web.oauth, &form).await.unwrap();
    assert_eq!(tokens.token_type, "DPoP");
    assert_ne!(bound_to(&web.oauth, &tokens.access_token).unwrap(), before);
}

#[tokio::test]
async fn a_program_without_a_secret_that_proves_its_key_may_lose_an_answer() {
    let server = Server::public().await;
    let (program, thief) = (Program::new(), Program::new());
    let form = format!(
        "grant_type=authorization_code&client_id={}&code={}&code_verifier={VERIFIER}\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcb",
        server.client,
        server.code().await
    );
    let tokens = program.token(&server.oauth, &form).await.unwrap();
    let form = format!(
        "grant_type=refresh_token&client_id={}&refresh_token={}",
        server.client,
        tokens.refresh_token.unwrap()
    );
    let lost = program.token(&server.oauth, &form).await.unwrap();
    let again = program.token(&server.oauth, &form).await.unwrap();
    assert_eq!(lost.refresh_token, again.refresh_token);
    // Whoever has the token and another key ends the family.
    assert_eq!(code_of(thief.token(&server.oauth, &form).await), "invalid_grant");
    assert!(!server.is_good(&again.access_token));
}
