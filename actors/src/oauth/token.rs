//! The token endpoint: a code, a refresh token or a client's own credentials become tokens (RFC 6749, 4 to 6).

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use twinmcp_storage::accounts;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::GrantId;
use twinmcp_storage::oauth;
use twinmcp_storage::oauth::client::{Client, GrantType, Owner};
use twinmcp_storage::oauth::code::{self, Code, Shown, State};
use twinmcp_storage::oauth::grant::{self, Allowed, Grant};
use twinmcp_storage::oauth::signing_key::Algorithm;
use twinmcp_storage::scope::Scope;
use twinmcp_storage::teams;

use super::access_token::{AccessToken, SignIn, Subject, library_name};
use super::assurance::Assurance;
use super::clients::{self, GRANT_TYPES};
use super::dpop::{ProofError, Proven};
use super::error::{ErrorCode, OauthError, Refused};
use super::keys::Purpose;
use super::metrics::{Call, Taken};
use super::{Oauth, Params, authorize, millis, redirect};
use crate::jose;

/// Letters of a code verifier, at least and at most (RFC 7636, 4.1).
const VERIFIER_LEN: std::ops::RangeInclusive<usize> = 43..=128;

/// A request for tokens.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequest<'a> {
    /// Its form.
    pub form: &'a str,
    /// Its header `Authorization`.
    pub authorization: Option<&'a str>,
    /// Its header `DPoP`: the tokens are bound to the key that it proves.
    pub proof: Option<&'a str>,
    /// The path it was sent to.
    pub path: &'a str,
}

/// A key that tokens are bound to.
pub(super) type Key = Option<[u8; 32]>;

/// What the token endpoint answers (RFC 6749, 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// How it is sent: `Bearer` or `DPoP`.
    pub token_type: &'static str,
    /// Its life, in seconds.
    pub expires_in_s: u64,
    /// What may be done with it.
    pub scopes: Vec<Scope>,
    /// What gets the next one.
    pub refresh_token: Option<String>,
    /// Who signed in (OpenID Connect Core, 2).
    pub id_token: Option<String>,
}

/// What a token is given for.
pub(super) struct Given {
    scopes: Vec<Scope>,
    resources: Vec<String>,
}

impl Oauth {
    /// Gives tokens.
    ///
    /// # Errors
    /// What is wrong with the request, or why the node cannot do it.
    pub async fn token(&self, request: TokenRequest<'_>) -> Result<Tokens, OauthError> {
        let mut call = self.0.metrics.begin("token");
        let given = self.give(request, &mut call).await;
        if let Ok(tokens) = &given {
            call.issued(tokens);
        }
        call.end(&given);
        given
    }

    async fn give(&self, request: TokenRequest<'_>, call: &mut Call<'_>) -> Result<Tokens, OauthError> {
        let params = Params::parse(request.form)?;
        let named = params.need("grant_type")?;
        let Some(grant) = GRANT_TYPES.iter().copied().find(|grant| clients::name(*grant) == named) else {
            let known: Vec<&str> = GRANT_TYPES.iter().map(|grant| clients::name(*grant)).collect();
            let description =
                format!("There is no grant type '{named}' here; there are: {}.", known.join(", "));
            return Err(Refused::new(ErrorCode::UnsupportedGrantType, description).into());
        };
        call.about(grant);
        // A place is taken before anything is used up for tokens that could not be signed then: an assertion, a code. Devices that
        // still wait need none.
        let _place = match grant {
            GrantType::DeviceCode => None,
            _ => Some(self.0.issuer.place()?),
        };
        let client = self.authenticated(&params, request.authorization).await?;
        clients::may(&client, grant)?;
        self.0.issuer.ready(self.algorithm(&client)).await?;
        let key = self.proven(request.proof, request.path)?;
        match grant {
            GrantType::AuthorizationCode => self.redeem(&params, &client, key).await,
            GrantType::RefreshToken => self.refresh(&params, &client, key).await,
            GrantType::ClientCredentials => self.credentials(&params, &client, key).await,
            GrantType::DeviceCode => self.poll_device(&params, &client, key).await,
        }
    }

    /// The key that tokens are to be bound to (RFC 9449, 5 and 10.1), from the proof in a request to `path`.
    pub(super) fn proven(&self, proof: Option<&str>, path: &str) -> Result<Key, OauthError> {
        let Some(proof) = proof else { return Ok(None) };
        let url = format!("{}{path}", self.issuer());
        let proven = Proven { method: "POST", url: &url, access_token: None };
        match self.0.proofs.check(proof, proven, self.now()) {
            Ok(key) => Ok(Some(key)),
            Err(ProofError::Invalid(why)) => {
                let description = format!("The proof in the header 'DPoP' was refused: {why}.");
                Err(Refused::new(ErrorCode::InvalidDpopProof, description).into())
            }
            Err(ProofError::Nonce) => Err(OauthError::Nonce(self.0.proofs.nonce(self.now()))),
        }
    }

    #[tracing::instrument(name = "oauth.redeem", skip_all)]
    async fn redeem(&self, params: &Params, client: &Client, key: Key) -> Result<Tokens, OauthError> {
        let code = params.need("code")?;
        let shown = Shown {
            client: client.id.clone(),
            redirect_uri: params.get("redirect_uri").map(str::to_owned),
            challenge: challenge(params.get("code_verifier"))?,
            dpop_jkt: key,
        };
        let id = GrantId::random(self.now(), &*self.0.entropy)?;
        let refresh = self.0.issuer.refresh(&id)?;
        let command = code::Command::Redeem {
            hash: SecretHash::of(code),
            shown,
            grant: id.clone(),
            refresh: SecretHash::of(&refresh),
            limits: self.0.config.limits(),
        };
        let unknown = || Refused::grant("The code is unknown, was used, has expired or is another client's.");
        // What cannot be given is refused before anything is used up; what was used already ends what came of it.
        let before = code::get(self.0.cluster.reader(), &SecretHash::of(code))?;
        let is_fresh = |code: &Code| code.state == State::Issued && code.binding.client == client.id;
        if let Some(before) = before.filter(is_fresh) {
            // Also where it was sent may be the client's no more.
            redirect::choose(&client.redirect_uris, Some(&before.binding.redirect_uri))
                .map_err(|_| unknown())?;
            self.given(params, &before.allowed, client)?;
        }
        match self.propose(oauth::Command::Code(command)).await? {
            Outcome::Done => {}
            Outcome::Burnt => {
                tracing::warn!(client_id = client.id, "an authorization code was shown twice or wrongly");
                self.0.metrics.revoked(Taken::CodeReuse);
                return Err(unknown().into());
            }
            _ => return Err(unknown().into()),
        }
        let grant = grant::get(self.0.cluster.reader(), &id)?.ok_or_else(unknown)?;
        let refresh = grant.refresh.is_some().then_some(refresh);
        // Once more, of what this node has learnt by now.
        let given = self.given(params, &grant.allowed, client)?;
        self.tokens(client, (&grant, key), given, refresh).await
    }

    #[tracing::instrument(name = "oauth.refresh", skip_all)]
    async fn refresh(&self, params: &Params, client: &Client, key: Key) -> Result<Tokens, OauthError> {
        let text = params.need("refresh_token")?;
        let unknown =
            || Refused::grant("The refresh token is unknown, was used, has ended or is another client's.");
        let id = self.0.issuer.read_refresh(text).ok_or_else(unknown)?.grant;
        let before = grant::get(self.0.cluster.reader(), &id)?;
        let bound_to = before.as_ref().and_then(|grant| grant.dpop_jkt);
        // What cannot be given is refused before anything is used up.
        if let Some(before) = &before {
            self.given(params, &before.allowed, client)?;
        }
        if client.is_confidential() && bound_to.is_some() && key.is_none() {
            let description = "The tokens are bound to a key: send a proof in the header 'DPoP'.";
            return Err(Refused::new(ErrorCode::InvalidDpopProof, description).into());
        }
        let next = self.0.issuer.refresh(&id)?;
        let config = &self.0.config;
        // Whoever shows a secret, or proves the key, is who lost the answer.
        let is_known = client.is_confidential() || (bound_to.is_some() && key == bound_to);
        let again_ms = if is_known { millis(config.refresh_again) } else { 0 };
        let command = grant::Command::Rotate {
            id: id.clone(),
            client: client.id.clone(),
            shown: SecretHash::of(text),
            next: SecretHash::of(&next),
            successor: self.0.issuer.keep_refresh(&next)?,
            // A client with credentials is known by these, and its refresh tokens are not bound (RFC 9449, 5). A node that does not
            // know of the grant yet knows of no key but the one that is proved.
            dpop_jkt: if client.is_confidential() && before.is_some() { bound_to } else { key },
            again_ms,
            limits: config.limits(),
        };
        let outcome = self.propose(oauth::Command::Grant(command)).await?;
        let found = grant::get(self.0.cluster.reader(), &id)?;
        let next = match outcome {
            Outcome::Done => next,
            Outcome::AlreadyExists => {
                let kept = found.as_ref().and_then(|grant| grant.refresh.as_ref()?.previous.as_ref());
                kept.and_then(|kept| self.0.issuer.kept_refresh(&kept.successor)).ok_or_else(unknown)?
            }
            Outcome::Burnt => {
                tracing::warn!(client_id = client.id, "a refresh token came back: its family has ended");
                self.0.metrics.revoked(Taken::RefreshReuse);
                return Err(unknown().into());
            }
            _ => return Err(unknown().into()),
        };
        let grant = found.ok_or_else(unknown)?;
        // Once more, of what this node has learnt by now.
        let given = self.given(params, &grant.allowed, client)?;
        self.tokens(client, (&grant, key), given, Some(next)).await
    }

    #[tracing::instrument(name = "oauth.client_credentials", skip_all)]
    async fn credentials(&self, params: &Params, client: &Client, key: Key) -> Result<Tokens, OauthError> {
        let Owner::Account(account) = &client.owner else {
            let description = "A client that registered itself acts for nobody.";
            return Err(Refused::new(ErrorCode::UnauthorizedClient, description).into());
        };
        let reader = self.0.cluster.reader();
        let team = teams::get(reader, account)?;
        let maker = team.as_ref().and_then(|team| team.maker_of_client(&client.id));
        if !teams::may_act(reader, account, maker)? {
            let description = "Whoever made this client is not let in any more.";
            return Err(Refused::new(ErrorCode::UnauthorizedClient, description).into());
        }
        let asked = match params.get("scope") {
            Some(asked) => authorize::scopes(Some(asked), client)?,
            None => client.scopes.clone(),
        };
        let mut scopes = asked.clone();
        accounts::keep_what_counts(reader, account, &mut scopes)?;
        if params.get("scope").is_some()
            && let Some(scope) = asked.iter().find(|scope| !scopes.contains(scope))
        {
            let description = format!(
                "The scope '{scope}' is for operators, and whoever made this client is none any more."
            );
            return Err(Refused::new(ErrorCode::InvalidScope, description).into());
        }
        if params.get("scope").is_some()
            && let Some(scope) = scopes.iter().find(|scope| !scope.is_permission())
        {
            let description = format!("The scope '{scope}' is about a person, and there is none.");
            return Err(Refused::new(ErrorCode::InvalidScope, description).into());
        }
        scopes.retain(|scope| scope.is_permission());
        if scopes.is_empty() {
            let description = "None of the client's scopes is left: they are about a person, or for operators, and whoever made \
                               it is none any more.";
            return Err(Refused::new(ErrorCode::InvalidScope, description).into());
        }
        let token = AccessToken {
            id: self.0.issuer.random()?,
            subject: Subject::Client(account.clone()),
            client: client.id.clone(),
            grant: None,
            scopes,
            resources: self.0.resources.asked(params.resources())?,
            issued_at: self.now(),
            expires_at: self.now().plus_millis(self.0.config.limits().access_ms),
            signed_in: None,
            dpop_jkt: key,
        };
        Ok(Tokens {
            access_token: self.access_text(&token, client).await?,
            token_type: token_type(&token),
            expires_in_s: token.expires_at.millis_since(token.issued_at) / 1000,
            scopes: token.scopes,
            refresh_token: None,
            id_token: None,
        })
    }

    /// Access token and ID token of a grant. The access token is bound to the grant's key; that of a client with credentials, whose refresh
    /// tokens are not bound, to the `key` that it proves.
    pub(super) async fn tokens(
        &self,
        client: &Client,
        (grant, key): (&Grant, Key),
        Given { scopes, resources }: Given,
        refresh_token: Option<String>,
    ) -> Result<Tokens, OauthError> {
        let allowed = &grant.allowed;
        let token = AccessToken {
            id: self.0.issuer.random()?,
            subject: Subject::Person(allowed.account.clone()),
            client: client.id.clone(),
            grant: Some(grant.id.clone()),
            scopes,
            resources,
            issued_at: self.now(),
            expires_at: self.now().plus_millis(self.0.config.limits().access_ms),
            signed_in: Some(SignIn {
                at: allowed.signed_in_at,
                methods: allowed.methods.clone(),
                session: allowed.session.clone(),
            }),
            dpop_jkt: key.filter(|_| client.is_confidential()).or(grant.dpop_jkt),
        };
        let access_token = self.access_text(&token, client).await?;
        let id_token = match token.scopes.contains(&Scope::OpenId) {
            true => Some(self.id_token(&token, grant, client, &access_token).await?),
            false => None,
        };
        Ok(Tokens {
            access_token,
            token_type: token_type(&token),
            expires_in_s: token.expires_at.millis_since(token.issued_at) / 1000,
            scopes: token.scopes,
            refresh_token,
            id_token,
        })
    }

    /// What a token is for: the resources asked for, which have to be allowed, and the scopes asked for, as far as they were allowed, the
    /// client may still have them and they still count from who allowed them. A token without any would open nothing and look as if it did; so would one of a sign-in that is not enough any
    /// more, and its ID token would say that the person is known.
    pub(super) fn given(
        &self,
        params: &Params,
        allowed: &Allowed,
        client: &Client,
    ) -> Result<Given, OauthError> {
        let mut scopes = narrowed(params, allowed)?;
        if self.lacks_factor(&allowed.account, &allowed.methods)? {
            let description = "A second factor is asked of the person since; send them here again.";
            return Err(Refused::grant(description).into());
        }
        scopes.retain(|scope| client.scopes.contains(scope));
        accounts::keep_what_counts(self.0.cluster.reader(), &allowed.account, &mut scopes)?;
        if !scopes.is_empty() {
            let resources = self.0.resources.granted(params.resources(), &allowed.resources)?;
            return Ok(Given { scopes, resources });
        }
        // Another scope may do where one was asked for; else nothing will that comes of this grant (RFC 6749, 5.2).
        let (code, what) = match params.get("scope") {
            Some(_) => (ErrorCode::InvalidScope, "what is asked for"),
            None => (ErrorCode::InvalidGrant, "what was allowed"),
        };
        let description = format!(
            "Nothing is left of {what}: the client may not have it any more, or it is for operators, and the person who allowed it is none any more."
        );
        Err(Refused::new(code, description).into())
    }

    async fn access_text(&self, token: &AccessToken, client: &Client) -> Result<String, OauthError> {
        let how = (client.token_format, self.algorithm(client));
        self.0.issuer.access(token, self.issuer(), how).await
    }

    /// What a client's tokens are signed with.
    pub(super) fn algorithm(&self, client: &Client) -> Algorithm {
        let known = &self.0.config.algorithms;
        let usual = known.first().copied().unwrap_or(Algorithm::Rs256);
        client.algorithm.filter(|algorithm| known.contains(algorithm)).unwrap_or(usual)
    }

    /// Who signed in, for the client (OpenID Connect Core, 2 and 3.1.3.6).
    async fn id_token(
        &self,
        token: &AccessToken,
        grant: &Grant,
        client: &Client,
        access_token: &str,
    ) -> Result<String, OauthError> {
        let algorithm = self.algorithm(client);
        let mut claims = json!({
            "iss": self.issuer(),
            "sub": token.sub(),
            "aud": client.id,
            "azp": client.id,
            "exp": token.expires_at.as_secs(),
            "iat": token.issued_at.as_secs(),
            "auth_time": grant.allowed.signed_in_at.as_secs(),
            "acr": Assurance::of(&grant.allowed.methods).as_str(),
            "amr": grant.allowed.methods,
            "at_hash": jose::token_hash(library_name(algorithm), access_token),
        });
        if let Some(nonce) = &grant.allowed.nonce {
            claims["nonce"] = nonce.as_str().into();
        }
        if let Some(session) = &grant.allowed.session {
            claims["sid"] = session.as_str().into();
        }
        let claims = claims.to_string();
        self.0.issuer.sign(Purpose::Id, algorithm, claims.as_bytes(), token.issued_at).await
    }
}

/// How a token is sent.
fn token_type(token: &AccessToken) -> &'static str {
    if token.dpop_jkt.is_some() { "DPoP" } else { "Bearer" }
}

/// The challenge that a verifier answers (RFC 7636, 4.6).
fn challenge(verifier: Option<&str>) -> Result<[u8; 32], Refused> {
    let verifier = verifier
        .ok_or_else(|| Refused::grant("'code_verifier' is missing: the code was asked for with PKCE."))?;
    let is_well_formed = VERIFIER_LEN.contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if !is_well_formed {
        return Err(Refused::request(
            "'code_verifier' has 43 to 128 letters, digits or -._~ (RFC 7636, 4.1).",
        ));
    }
    let mut challenge = [0; 32];
    challenge.copy_from_slice(digest(&SHA256, verifier.as_bytes()).as_ref());
    Ok(challenge)
}

/// The scopes asked for, each of which has to have been allowed; all that were when none is named (RFC 6749, 6).
fn narrowed(params: &Params, allowed: &Allowed) -> Result<Vec<Scope>, Refused> {
    let Some(asked) = params.get("scope") else { return Ok(allowed.scopes.clone()) };
    let mut scopes = Vec::new();
    for name in asked.split(' ').filter(|name| !name.is_empty()) {
        match name.parse() {
            Ok(scope) if allowed.scopes.contains(&scope) => scopes.push(scope),
            _ => {
                let description =
                    format!("The scope '{name}' was not allowed; send the person here again for more.");
                return Err(Refused::new(ErrorCode::InvalidScope, description));
            }
        }
    }
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidScope, "'scope' names none."));
    }
    Ok(scopes)
}
