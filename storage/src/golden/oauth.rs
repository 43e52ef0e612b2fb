//! Golden files of the authorization server's records and commands; see [`super`].

use super::{account, at, check};
use crate::api_keys::SecretHash;
use crate::command::Command;
use crate::ids::GrantId;
use crate::oauth::client::{Authentication, BackchannelLogout, Client, GrantType, Keys, Owner, TokenFormat};
use crate::oauth::code::{Binding, Code, Shown, State};
use crate::oauth::grant::{Allowed, Grant, Grants, Limits, Previous, Refresh};
use crate::oauth::signing_key::{Algorithm, SigningKey};
use crate::oauth::{
    self, assertion, base_key, client, code, consent, device, grant, logout, pushed, signing_key,
};
use crate::scope::Scope;

const LIMITS: Limits = Limits { access_ms: 1, idle_ms: 2, absolute_ms: 300 };

fn id() -> GrantId {
    "grant_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap()
}

fn hash() -> SecretHash {
    SecretHash::of("tmcp_rt_x")
}

fn allowed() -> Allowed {
    Allowed {
        account: account(),
        session: Some("ses_01hzy3k8w0abcdefghjkmnpqrs".into()),
        scopes: Scope::ALL.to_vec(),
        resources: vec!["https://node.example/mcp".into()],
        nonce: Some("n".into()),
        signed_in_at: at(),
        methods: vec!["pwd".into()],
    }
}

fn binding() -> Binding {
    Binding {
        client: "client_x".into(),
        redirect_uri: "https://app.example/cb".into(),
        challenge: [7; 32],
        dpop_jkt: Some([8; 32]),
    }
}

fn the_client(owner: Owner, authentication: Authentication) -> Client {
    Client {
        id: "client_x".into(),
        name: "Editor".into(),
        owner,
        authentication,
        redirect_uris: vec!["https://app.example/cb".into()],
        post_logout_redirect_uris: vec!["https://app.example/".into()],
        grants: vec![
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
            GrantType::DeviceCode,
        ],
        scopes: vec![Scope::DocsRead],
        token_format: TokenFormat::Opaque,
        algorithm: Some(Algorithm::EdDsa),
        uri: Some("https://app.example".into()),
        trusted: true,
        backchannel_logout: Some(BackchannelLogout {
            uri: "https://app.example/out".into(),
            session_required: true,
        }),
        created_at: at(),
    }
}

#[test]
fn records_are_written_as_they_always_were() {
    check("oauth-base-key", &base_key::BaseKey { sealed: vec![1, 2] });
    let itself = Owner::Itself { registration_token: hash(), used_at: Some(at()) };
    check("oauth-client-registered", &the_client(itself, Authentication::Secret(hash())));
    check("oauth-client-public", &the_client(Owner::Account(account()), Authentication::None));
    let keys = Authentication::PrivateKeyJwt;
    check("oauth-client-keys", &the_client(Owner::Publisher, keys(Keys::Set("{}".into()))));
    check(
        "oauth-client-secret-jwt",
        &the_client(Owner::Publisher, Authentication::SecretJwt { sealed: vec![7; 40] }),
    );
    let uri = Keys::Uri("https://app.example/jwks".into());
    check("oauth-client-keys-uri", &the_client(Owner::Publisher, keys(uri)));
    check(
        "oauth-notice",
        &logout::Notice {
            client: "client_x".into(),
            account: account(),
            session: "ses_01hzy3k8w0abcdefghjkmnpqrs".into(),
            ended_at: at(),
            tries: 2,
            due_at: at(),
        },
    );
    check(
        "oauth-signing-key",
        &SigningKey {
            kid: "k".into(),
            algorithm: Algorithm::Es256,
            public: "{}".into(),
            sealed: vec![3],
            signs_from: at(),
            verifies_until: at(),
            revoked_at: Some(at()),
        },
    );
    for (name, state) in
        [("issued", State::Issued), ("redeemed", State::Redeemed(id())), ("burnt", State::Burnt)]
    {
        let code =
            Code { binding: binding(), allowed: allowed(), refreshable: true, expires_at: at(), state };
        check(&format!("oauth-code-{name}"), &code);
    }
    check(
        "oauth-grant",
        &Grant {
            id: id(),
            client: "client_x".into(),
            allowed: allowed(),
            dpop_jkt: Some([9; 32]),
            refresh: Some(Refresh {
                current: hash(),
                previous: Some(Previous { hash: hash(), used_at: at(), successor: vec![4] }),
                generation: 3,
                idle_until: at(),
                absolute_until: at(),
            }),
            created_at: at(),
            used_at: at(),
            revoked_at: Some(at()),
        },
    );
    check("oauth-grants", &Grants(vec![id()]));
    let consent = consent::Consent {
        account: account(),
        client: "client_x".into(),
        scopes: vec![Scope::Chat],
        given_at: at(),
    };
    check("oauth-consent", &consent);
    let pushed = pushed::Pushed { client: "client_x".into(), parameters: "a=b".into(), expires_at: at() };
    check("oauth-pushed", &pushed);
    for (name, state) in [
        ("pending", device::State::Pending),
        ("denied", device::State::Denied),
        ("allowed", device::State::Allowed(allowed())),
        ("redeemed", device::State::Redeemed(id())),
    ] {
        let device = device::Device {
            client: "client_x".into(),
            name: Some("laptop".into()),
            scopes: vec![Scope::DocsRead],
            resources: vec!["https://node.example".into()],
            user_code: "BCDFGHJK".into(),
            expires_at: at(),
            state,
        };
        check(&format!("oauth-device-{name}"), &device);
    }
}

#[test]
fn commands_are_written_as_they_always_were() {
    let check = |name: &str, command| check(&format!("command-oauth-{name}"), &Command::Oauth(command));
    let client = |command| oauth::Command::Client(command);
    let public = the_client(Owner::Account(account()), Authentication::None);
    check("client-create", client(client::Command::Create(public.clone())));
    let renamed = client::Client { name: "Renamed".into(), ..public.clone() };
    let change = client::Command::Change { before: Box::new(public), client: Box::new(renamed) };
    check("client-change", client(change));
    check("client-remove", client(client::Command::Remove { id: "client_x".into() }));
    let of_team = the_client(Owner::Account(account()), Authentication::None);
    let create = client::Command::CreateFor { by: account(), team: account(), client: of_team };
    check("client-create-for", client(create));
    let add = signing_key::Command::Add {
        after: Some("j".into()),
        kid: "k".into(),
        algorithm: Algorithm::Rs256,
        public: "{}".into(),
        sealed: vec![3],
        signs_after_ms: 1,
        verifies_ms: 200,
    };
    check("signing-key-add", oauth::Command::SigningKey(add));
    let revoke = signing_key::Command::Revoke { kid: "k".into() };
    check("signing-key-revoke", oauth::Command::SigningKey(revoke));
    let issue = code::Command::Issue {
        hash: hash(),
        binding: binding(),
        allowed: allowed(),
        refreshable: true,
        ttl_ms: 60_000,
        remember: true,
        pushed: Some(hash()),
    };
    check("code-issue", oauth::Command::Code(issue));
    let Binding { client, redirect_uri, challenge, dpop_jkt } = binding();
    let shown = Shown { client, redirect_uri: Some(redirect_uri), challenge, dpop_jkt };
    let redeem = code::Command::Redeem { hash: hash(), shown, grant: id(), refresh: hash(), limits: LIMITS };
    check("code-redeem", oauth::Command::Code(redeem));
    let rotate = grant::Command::Rotate {
        id: id(),
        client: "client_x".into(),
        shown: hash(),
        next: hash(),
        successor: vec![5],
        dpop_jkt: None,
        again_ms: 10_000,
        limits: LIMITS,
    };
    check("grant-rotate", oauth::Command::Grant(rotate));
    check("grant-revoke", oauth::Command::Grant(grant::Command::Revoke { id: id() }));
    check("grant-revoke-token", oauth::Command::Grant(grant::Command::RevokeToken { id: "jti".into() }));
    let withdraw = consent::Command::Withdraw { account: account(), client: "client_x".into() };
    check("consent-withdraw", oauth::Command::Consent(withdraw));
    let push = pushed::Command::Push {
        hash: hash(),
        client: "client_x".into(),
        parameters: "a=b".into(),
        ttl_ms: 600,
    };
    check("pushed-push", oauth::Command::Pushed(push));
    let start = device::Command::Start {
        hash: hash(),
        client: "client_x".into(),
        name: None,
        scopes: vec![Scope::DocsRead],
        resources: vec!["https://node.example".into()],
        user_code: "BCDFGHJK".into(),
        ttl_ms: 600,
    };
    check("device-start", oauth::Command::Device(start));
    let decide = device::Command::Decide { user_code: "BCDFGHJK".into(), allowed: Some(allowed()) };
    check("device-decide", oauth::Command::Device(decide));
    let redeem = device::Command::Redeem {
        hash: hash(),
        client: "client_x".into(),
        dpop_jkt: None,
        grant: id(),
        refresh: Some(hash()),
        limits: LIMITS,
    };
    check("device-redeem", oauth::Command::Device(redeem));
    let make = base_key::Command::Make { sealed: vec![6], sealed_with: [1; 8] };
    check("base-key-make", oauth::Command::BaseKey(make));
    let used = assertion::Command::Use { hash: [9; 32], ttl_ms: 600_000 };
    check("assertion-use", oauth::Command::Assertion(used));
    let told = logout::Command::Told {
        session: "ses_01hzy3k8w0abcdefghjkmnpqrs".into(),
        client: "client_x".into(),
        again_after_ms: Some(1_000),
    };
    check("logout-told", oauth::Command::Logout(told));
}
