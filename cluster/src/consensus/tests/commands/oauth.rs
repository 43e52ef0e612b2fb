//! Random commands of the authorization server.

use proptest::prelude::*;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::GrantId;
use twinmcp_storage::oauth::client::{Authentication, Client, GrantType, Owner, TokenFormat};
use twinmcp_storage::oauth::code::{Binding, Shown};
use twinmcp_storage::oauth::grant::{Allowed, Limits};
use twinmcp_storage::oauth::signing_key::Algorithm;
use twinmcp_storage::oauth::{Command, base_key, client, code, consent, device, grant, pushed, signing_key};
use twinmcp_storage::scope::Scope;

use super::account;

/// So short that things expire between commands.
const LIMITS: Limits = Limits { access_ms: 1, idle_ms: 50, absolute_ms: 200 };

pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        client_command().prop_map(Command::Client),
        key_command().prop_map(Command::SigningKey),
        code_command().prop_map(Command::Code),
        grant_command().prop_map(Command::Grant),
        (account(), name()).prop_map(|(account, client)| {
            Command::Consent(consent::Command::Withdraw { account, client })
        }),
        (hash(), name()).prop_map(|(hash, client)| {
            Command::Pushed(pushed::Command::Push { hash, client, parameters: "a=b".to_owned(), ttl_ms: 20 })
        }),
        device_command().prop_map(Command::Device),
        any::<u8>().prop_map(|byte| {
            Command::BaseKey(base_key::Command::Make { sealed: vec![byte], sealed_with: [byte % 3; 8] })
        }),
    ]
}

fn name() -> impl Strategy<Value = String> {
    (0..3_u8).prop_map(|number| format!("client_{number}"))
}

fn hash() -> impl Strategy<Value = SecretHash> {
    (0..6_u8).prop_map(|number| SecretHash::of(&number.to_string()))
}

fn grant_id() -> impl Strategy<Value = GrantId> {
    (0..4_u8).prop_map(|number| format!("grant_{number:026}").parse().unwrap())
}

fn allowed() -> impl Strategy<Value = Allowed> {
    (account(), any::<bool>()).prop_map(|(account, offline)| Allowed {
        account,
        session: Some("ses_x".to_owned()),
        scopes: if offline { vec![Scope::DocsRead, Scope::OfflineAccess] } else { vec![Scope::DocsRead] },
        resources: Vec::new(),
        nonce: None,
        signed_in_at: Timestamp::from_millis(1),
        methods: vec!["pwd".to_owned()],
    })
}

fn client_command() -> impl Strategy<Value = client::Command> {
    let made = || (name(), any::<bool>()).prop_map(client);
    prop_oneof![
        made().prop_map(client::Command::Create),
        (made(), any::<bool>()).prop_map(|(before, is_renamed)| {
            // Of what was renamed before, this is made of what it was.
            let name = if is_renamed { "y" } else { "x" };
            let client = Client { name: name.to_owned(), ..before.clone() };
            client::Command::Change { before: Box::new(before), client: Box::new(client) }
        }),
        name().prop_map(|id| client::Command::Remove { id }),
    ]
}

fn client((id, registered): (String, bool)) -> Client {
    Client {
        id,
        name: "x".to_owned(),
        owner: match registered {
            true => Owner::Itself { registration_token: SecretHash::of("t"), used_at: None },
            false => Owner::Publisher,
        },
        authentication: Authentication::None,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec![GrantType::AuthorizationCode],
        scopes: vec![Scope::DocsRead],
        token_format: TokenFormat::Jwt,
        algorithm: None,
        uri: None,
        trusted: false,
        backchannel_logout: None,
        created_at: Timestamp::default(),
    }
}

fn key_command() -> impl Strategy<Value = signing_key::Command> {
    let kid = || (0..3_u8).prop_map(|number| format!("k{number}"));
    prop_oneof![
        (proptest::option::of(kid()), kid()).prop_map(|(after, kid)| signing_key::Command::Add {
            after,
            kid,
            algorithm: Algorithm::Es256,
            public: "{}".to_owned(),
            sealed: vec![1],
            signs_after_ms: 5,
            verifies_ms: 50,
        }),
        kid().prop_map(|kid| signing_key::Command::Revoke { kid }),
    ]
}

fn code_command() -> impl Strategy<Value = code::Command> {
    let redirect_uri = "https://app.example/cb";
    prop_oneof![
        (hash(), name(), allowed(), any::<bool>(), proptest::option::of(hash())).prop_map(
            move |(hash, client, allowed, refreshable, pushed)| code::Command::Issue {
                hash,
                binding: Binding {
                    client,
                    redirect_uri: redirect_uri.to_owned(),
                    challenge: [1; 32],
                    dpop_jkt: None,
                },
                allowed,
                refreshable,
                ttl_ms: 30,
                remember: refreshable,
                pushed,
            }
        ),
        (hash(), name(), 0..2_u8, grant_id(), hash()).prop_map(
            move |(hash, client, challenge, grant, refresh)| code::Command::Redeem {
                hash,
                shown: Shown { client, redirect_uri: None, challenge: [challenge; 32], dpop_jkt: None },
                grant,
                refresh,
                limits: LIMITS,
            }
        ),
    ]
}

fn grant_command() -> impl Strategy<Value = grant::Command> {
    prop_oneof![
        (grant_id(), name(), hash(), hash()).prop_map(|(id, client, shown, next)| grant::Command::Rotate {
            id,
            client,
            shown,
            next,
            successor: vec![1],
            dpop_jkt: None,
            again_ms: 5,
            limits: LIMITS,
        }),
        grant_id().prop_map(|id| grant::Command::Revoke { id }),
        name().prop_map(|id| grant::Command::RevokeToken { id }),
    ]
}

fn device_command() -> impl Strategy<Value = device::Command> {
    let user_code = || prop_oneof![Just("BBBBBBBB".to_owned()), Just("CCCCCCCC".to_owned())];
    prop_oneof![
        (hash(), name(), user_code()).prop_map(|(hash, client, user_code)| device::Command::Start {
            hash,
            client,
            name: None,
            scopes: vec![Scope::DocsRead],
            resources: Vec::new(),
            user_code,
            ttl_ms: 40,
        }),
        (user_code(), proptest::option::of(allowed()))
            .prop_map(|(user_code, allowed)| device::Command::Decide { user_code, allowed }),
        (hash(), name(), grant_id()).prop_map(|(hash, client, grant)| device::Command::Redeem {
            hash,
            client,
            dpop_jkt: None,
            grant,
            refresh: Some(hash),
            limits: LIMITS,
        }),
    ]
}
