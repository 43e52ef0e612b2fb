//! Another provider, as a test plays it: the protocol of OpenID Connect, or of GitHub, over a real socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;
use twinmcp_tests::service::{Asked, Service, Told};
use twinmcp_tests::{Answer, NodeSetup};

use super::Browser;
use super::app::{base64url, basic, parameter};
use super::signer::{Signer, now};

/// Who the node is there.
pub(super) const CLIENT: &str = "twinmcp";
pub(super) const SECRET: &str = "secret-of-the-node";
const CODE: &str = "code-of-the-provider";

/// A provider, and what it is told to say.
pub(super) struct Provider {
    pub(super) service: Service,
    /// Where the node's secret is kept.
    folder: TempDir,
    play: Arc<Mutex<Play>>,
}

/// What the provider says.
pub(super) struct Play {
    pub(super) signer: Signer,
    /// Changes of the claims of the ID token.
    pub(super) claims: Vec<(&'static str, Value)>,
    /// Changes of the metadata.
    pub(super) metadata: Vec<(&'static str, Value)>,
    /// What is answered in place of tokens.
    pub(super) instead: Option<Told>,
    /// The ID token, when it is not to be a right one.
    pub(super) id_token: Option<String>,
    /// What `/userinfo` tells.
    pub(super) userinfo: Value,
    /// Somebody's addresses at GitHub.
    pub(super) emails: Value,
    challenge: String,
    nonce: String,
}

impl Provider {
    /// One without anybody.
    pub(super) async fn start() -> Self {
        let play = Arc::new(Mutex::new(Play {
            signer: Signer::new("k1"),
            claims: Vec::new(),
            metadata: Vec::new(),
            instead: None,
            id_token: None,
            userinfo: json!({ "sub": "ada-17" }),
            emails: json!([]),
            challenge: String::new(),
            nonce: String::new(),
        }));
        let answers = Arc::clone(&play);
        let service = Service::start(move |asked| lock(&answers).answer(asked)).await;
        let folder = TempDir::new().expect("a temporary folder can be made");
        Self { service, folder, play }
    }

    /// What it says, to be changed.
    pub(super) fn play(&self) -> MutexGuard<'_, Play> {
        lock(&self.play)
    }

    pub(super) fn issuer(&self) -> String {
        self.service.url("").trim_end_matches('/').to_owned()
    }

    /// A node that people sign in to with it.
    pub(super) fn setup(&self, kind: &str, more: &str) -> NodeSetup {
        let file = self.folder.path().join("secret");
        std::fs::write(&file, SECRET).expect("the temporary folder takes a file");
        let provider = format!(
            "[{{ name = \"corp\", title = \"Corp\", kind = \"{kind}\", url = \"{}\", client_id = \"{CLIENT}\", client_secret_file = \"{}\"{more} }}]",
            self.issuer(),
            file.display(),
        );
        let setup = NodeSetup::default().with("outbound", "allowed_networks", json!(["127.0.0.1"]));
        setup.with("upstream", "providers", provider)
    }

    /// Leads somebody who was sent to it back, signed in: the path at the node. `changes` are made to what it brings.
    pub(super) fn back(&self, sent: &str, changes: &[(&str, &str)]) -> String {
        let url = Url::parse(sent).expect("somebody is sent to an address");
        assert!(sent.starts_with(&self.issuer()), "{sent}");
        let sent = |name: &str| parameter(url.as_str(), name).unwrap_or_default();
        assert_eq!((sent("client_id"), sent("response_type")), (CLIENT.to_owned(), "code".to_owned()));
        assert_eq!(sent("code_challenge_method"), "S256");
        let mut play = self.play();
        (play.challenge, play.nonce) = (sent("code_challenge"), sent("nonce"));
        let back = Url::parse(&sent("redirect_uri")).expect("it says where to go back to");
        let (state, issuer) = (sent("state"), self.issuer());
        let mut parameters = vec![("code", CODE), ("state", &state), ("iss", &issuer)];
        parameters.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        parameters.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        twinmcp_tests::with_parameters(back.path(), &parameters)
    }

    /// Signs somebody in: from the node to the provider and back.
    pub(super) async fn sign_in(&self, browser: &mut Browser, return_to: &str) -> Answer {
        let path = twinmcp_tests::with_parameters("/upstream/corp", &[("return_to", return_to)]);
        let sent = browser.get(&path).await.expect(303).header("location").to_owned();
        let back = self.back(&sent, &[]);
        browser.get(&back).await
    }
}

fn lock(play: &Mutex<Play>) -> MutexGuard<'_, Play> {
    play.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Play {
    fn answer(&self, asked: &Asked) -> Told {
        let path = asked.path.split('?').next().unwrap_or_default();
        let issuer = format!("http://{}", asked.header("host"));
        match path {
            "/.well-known/openid-configuration" => {
                let mut metadata = json!({
                    "issuer": issuer,
                    "authorization_endpoint": format!("{issuer}/authorize"),
                    "token_endpoint": format!("{issuer}/token"),
                    "jwks_uri": format!("{issuer}/jwks"),
                    "userinfo_endpoint": format!("{issuer}/userinfo"),
                    "authorization_response_iss_parameter_supported": true,
                });
                change(&mut metadata, &self.metadata);
                Told::json(&metadata)
            }
            "/jwks" => Told::json(&self.signer.jwks()),
            "/token" | "/login/oauth/access_token" => self.tokens(asked, &issuer),
            "/userinfo" if asked.header("authorization") == "Bearer access" => Told::json(&self.userinfo),
            "/api/v3/user" if asked.header("authorization") == "Bearer access" => {
                Told::json(&json!({ "id": 583_231, "login": "octocat", "name": null }))
            }
            "/api/v3/user/emails" if asked.header("authorization") == "Bearer access" => {
                Told::json(&self.emails)
            }
            _ => Told::status(404),
        }
    }

    /// Tokens for the code, from whoever has the verifier and the node's secret.
    fn tokens(&self, asked: &Asked, issuer: &str) -> Told {
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        let field = |name: &str| asked.field(name).unwrap_or_default();
        let is_client = asked.header("authorization") == basic(CLIENT, SECRET)
            || (field("client_id"), field("client_secret")) == (CLIENT.to_owned(), SECRET.to_owned());
        let challenge = base64url(digest(&SHA256, field("code_verifier").as_bytes()).as_ref());
        let is_right = is_client
            && field("grant_type") == "authorization_code"
            && field("code") == CODE
            && field("redirect_uri").ends_with("/upstream/corp/callback")
            && challenge == self.challenge;
        if !is_right {
            return Told::json(&json!({ "error": "invalid_grant" }));
        }
        let mut claims = json!({
            "iss": issuer, "sub": "ada-17", "aud": CLIENT, "nonce": self.nonce, "iat": now(), "exp": now() + 60,
            "email": "ada@example.org", "email_verified": true, "name": "Ada at Corp", "sid": "there-1",
            "at_hash": base64url(&digest(&SHA256, b"access").as_ref()[..16]),
        });
        change(&mut claims, &self.claims);
        let id_token = self.id_token.clone().unwrap_or_else(|| self.signer.sign(&claims));
        Told::json(&json!({ "access_token": "access", "token_type": "bearer", "id_token": id_token }))
    }
}

fn change(object: &mut Value, changes: &[(&'static str, Value)]) {
    for (name, value) in changes {
        object[*name] = value.clone();
    }
}
