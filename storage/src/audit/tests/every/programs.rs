//! What acts for people: keys, clients, and what those were allowed; and the keys that sign their tokens.

use super::*;
use crate::api_keys::NewKey;
use crate::ids::GrantId;
use crate::oauth::grant::{Allowed, Limits};
use crate::oauth::{client, code, consent, device, grant, signing_key};

pub(super) const STORIES: &[Story] = &[keys, clients, grants, devices, signing_keys];

fn grant_id(number: u8) -> GrantId {
    format!("grant_{STEM}{number}").parse().unwrap()
}

pub(super) fn new_key(number: u8, owner: u8) -> NewKey {
    NewKey {
        id: key_id(number),
        account: account(owner),
        name: "ci".into(),
        scopes: vec![Scope::DocsRead],
        secret_hash: SecretHash::of(&format!("key {number}")),
        hint: "wxyz".into(),
        expires_at: None,
    }
}

fn keys(log: &mut Log) {
    let NewKey { id, account: owner, name, scopes, secret_hash, hint, expires_at } = new_key(1, 1);
    let create =
        api_keys::Command::Create { id, account: owner, name, scopes, secret_hash, hint, expires_at };
    let made = "api_key.made by person acct_1: api_key key_1 of acct_1; scopes=docs:read";
    log.tells(&person(1), Change::ApiKeys(create.clone()), &[made]);
    log.refuses(&person(1), Change::ApiKeys(create), Outcome::AlreadyExists);
    let revoke = |account| Change::ApiKeys(api_keys::Command::Revoke { account, id: key_id(1) });
    log.refuses(&person(2), revoke(account(2)), Outcome::NotFound);
    let itself = Actor::Key { id: key_id(1), account: account(1) };
    let revoked = "api_key.revoked by api_key key_1 of acct_1: api_key key_1 of acct_1";
    log.tells(&itself, revoke(account(1)), &[revoked]);
}

fn clients(log: &mut Log) {
    let command = |command| Change::Oauth(oauth::Command::Client(command));
    let theirs = oauth::tests::client("web", account(1));
    let token = SecretHash::of("registration");
    let owner = client::Owner::Itself { registration_token: token, used_at: None };
    let own = client::Client { id: "own".into(), owner, ..theirs.clone() };
    let registered = "client.registered by nobody: client own; name=x";
    log.tells(&Actor::Nobody, command(client::Command::Create(own.clone())), &[registered]);
    log.refuses(&Actor::Nobody, command(client::Command::Create(own.clone())), Outcome::AlreadyExists);
    let made = "client.made by person acct_1: client web of acct_1; name=x";
    log.tells(&person(1), command(client::Command::Create(theirs.clone())), &[made]);
    let change = |before: &client::Client, client: &client::Client| {
        let (before, client) = (Box::new(before.clone()), Box::new(client.clone()));
        command(client::Command::Change { before, client })
    };
    let renamed = client::Client { name: "site".into(), ..theirs.clone() };
    let changed = "client.changed by person acct_1: client web of acct_1; name=site";
    log.tells(&person(1), change(&theirs, &renamed), &[changed]);
    let authentication = client::Authentication::Secret(SecretHash::of("secret"));
    let other = client::Client { authentication, ..renamed.clone() };
    // Made of what it was before.
    log.refuses(&person(1), change(&theirs, &other), Outcome::Stale);
    let replaced = "client.credentials_replaced by person acct_1: client web of acct_1; name=site";
    log.tells(&person(1), change(&renamed, &other), &[replaced]);
    let remove = |id: &str| command(client::Command::Remove { id: id.into() });
    let removed = "client.removed by person acct_9: client web of acct_1; name=site";
    log.tells(&person(OPERATOR), remove("web"), &[removed]);
    log.refuses(&person(OPERATOR), remove("web"), Outcome::NotFound);
    let itself = Actor::Client { id: "own".into(), account: None };
    log.tells(&itself, remove("own"), &["client.removed by client own: client own; name=x"]);
}

const LIMITS: Limits = Limits { access_ms: 1_000, idle_ms: 60_000, absolute_ms: 60_000 };

fn allowed(scopes: &[Scope]) -> Allowed {
    Allowed {
        account: account(1),
        session: None,
        scopes: scopes.to_vec(),
        resources: Vec::new(),
        nonce: None,
        signed_in_at: Timestamp::from_millis(1),
        methods: vec!["pwd".into()],
    }
}

fn grants(log: &mut Log) {
    let (nobody, me) = (Actor::Nobody, person(1));
    let command = |command| Change::Oauth(oauth::Command::Code(command));
    let uri = || "https://app.example/cb".to_owned();
    let issue = |number: u8, scopes: &[Scope]| {
        let client = "web".into();
        command(code::Command::Issue {
            hash: SecretHash::of(&format!("code {number}")),
            binding: code::Binding { client, redirect_uri: uri(), challenge: [7; 32], dpop_jkt: None },
            allowed: allowed(scopes),
            refreshable: true,
            ttl_ms: 60_000,
            remember: true,
            pushed: None,
        })
    };
    let redeem = |number: u8, client: &str| {
        let (client, redirect_uri) = (client.to_owned(), Some(uri()));
        command(code::Command::Redeem {
            hash: SecretHash::of(&format!("code {number}")),
            shown: code::Shown { client, redirect_uri, challenge: [7; 32], dpop_jkt: None },
            grant: grant_id(number),
            refresh: SecretHash::of("refresh"),
            limits: LIMITS,
        })
    };
    let of_grant = |command| Change::Oauth(oauth::Command::Grant(command));
    let rotate = |number: u8, client: &str, shown: &str, next: &str| {
        of_grant(grant::Command::Rotate {
            id: grant_id(number),
            client: client.into(),
            shown: SecretHash::of(shown),
            next: SecretHash::of(next),
            successor: Vec::new(),
            dpop_jkt: None,
            again_ms: 0,
            limits: LIMITS,
        })
    };
    let given =
        |scopes: &str| format!("consent.given by person acct_1: client web of acct_1; scopes={scopes}");
    log.tells(&me, issue(1, &[Scope::DocsRead]), &[&given("docs:read")]);
    log.tells(&me, issue(2, &[Scope::DocsRead]), &[]);
    log.tells(&me, issue(3, &[Scope::JobsWrite]), &[&given("docs:read jobs:write")]);
    (4..=6).for_each(|number| log.tells(&me, issue(number, &[Scope::DocsRead]), &[]));
    for (number, scopes) in [(1, "docs:read"), (2, "docs:read"), (3, "jobs:write"), (5, "docs:read")] {
        let object = format!("grant grant_{number} of acct_1; client=web; scopes={scopes}");
        let made = format!("grant.made by client web: {object}");
        log.tells(&nobody, redeem(number, "web"), &[&made]);
    }
    let reused = |by: &str, number: u8| {
        format!("token.reused refused by client {by}: grant grant_{number} of acct_1; client=web")
    };
    log.burns(&nobody, redeem(1, "web"), &reused("web", 1));
    log.tells(&nobody, rotate(2, "web", "refresh", "next"), &[]);
    log.burns(&nobody, rotate(2, "web", "refresh", "other"), &reused("web", 2));
    log.refuses(&nobody, rotate(2, "web", "next", "other"), Outcome::NotFound);
    log.burns(&nobody, rotate(3, "eve", "refresh", "next"), &reused("eve", 3));
    let misused = "code.misused refused by client eve: client web of acct_1";
    log.burns(&nobody, redeem(4, "eve"), misused);
    log.refuses(&nobody, redeem(4, "web"), Outcome::NotFound);

    let by = Actor::Client { id: "web".into(), account: Some(account(1)) };
    let revoke = || of_grant(grant::Command::Revoke { id: grant_id(5) });
    let revoked = "grant.revoked by client web of acct_1: grant grant_5 of acct_1; client=web";
    log.tells(&by, revoke(), &[revoked]);
    log.refuses(&by, revoke(), Outcome::NotFound);
    let revoke = of_grant(grant::Command::RevokeToken { id: "jti".into() });
    log.tells(&by, revoke, &["token.revoked by client web of acct_1: token jti"]);
    let withdraw = || {
        let (account, client) = (account(1), "web".into());
        Change::Oauth(oauth::Command::Consent(consent::Command::Withdraw { account, client }))
    };
    log.tells(&me, withdraw(), &["consent.withdrawn by person acct_1: client web of acct_1"]);
    log.refuses(&me, withdraw(), Outcome::NotFound);
}

fn devices(log: &mut Log) {
    let command = |command| Change::Oauth(oauth::Command::Device(command));
    let me = person(1);
    for user_code in ["AAAA", "BBBB"] {
        let start = device::Command::Start {
            hash: SecretHash::of(user_code),
            client: "cli".into(),
            name: Some("laptop".into()),
            scopes: vec![Scope::DocsRead],
            resources: Vec::new(),
            user_code: user_code.into(),
            ttl_ms: 60_000,
        };
        log.tells(&Actor::Nobody, command(start), &[]);
    }
    let decide =
        |user_code: &str, allowed| command(device::Command::Decide { user_code: user_code.into(), allowed });
    let told = [
        "consent.given by person acct_1: client cli of acct_1; scopes=docs:read",
        "device.allowed by person acct_1: client cli; scopes=docs:read",
    ];
    log.tells(&me, decide("AAAA", Some(allowed(&[Scope::DocsRead]))), &told);
    log.tells(&me, decide("BBBB", None), &["device.denied by person acct_1: client cli"]);
    log.refuses(&me, decide("BBBB", None), Outcome::NotFound);
    let redeem = |user_code: &str| {
        command(device::Command::Redeem {
            hash: SecretHash::of(user_code),
            client: "cli".into(),
            dpop_jkt: None,
            grant: grant_id(1),
            refresh: None,
            limits: LIMITS,
        })
    };
    log.refuses(&Actor::Nobody, redeem("BBBB"), Outcome::NotFound);
    let made = "grant.made by client cli: grant grant_1 of acct_1; client=cli; scopes=docs:read";
    log.tells(&Actor::Nobody, redeem("AAAA"), &[made]);
}

fn signing_keys(log: &mut Log) {
    let command = |command| Change::Oauth(oauth::Command::SigningKey(command));
    let add = || {
        command(signing_key::Command::Add {
            after: None,
            kid: "kid".into(),
            algorithm: signing_key::Algorithm::Es256,
            public: "{}".into(),
            sealed: vec![1],
            signs_after_ms: 0,
            verifies_ms: 60_000,
        })
    };
    log.tells(&Actor::Node(3), add(), &["signing_key.added by node 3: signing_key kid; algorithm=ES256"]);
    log.refuses(&Actor::Node(3), add(), Outcome::Stale);
    let revoke = || command(signing_key::Command::Revoke { kid: "kid".into() });
    log.tells(&person(OPERATOR), revoke(), &["signing_key.revoked by person acct_9: signing_key kid"]);
    log.refuses(&person(OPERATOR), revoke(), Outcome::NotFound);
}
