//! Random changes of teams and of what belongs to them.

use proptest::prelude::*;
use twinmcp_storage::accounts::Email;
use twinmcp_storage::api_keys::{self, NewKey, SecretHash};
use twinmcp_storage::command::Command;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::libraries::{self, Visibility};
use twinmcp_storage::scope::Scope;
use twinmcp_storage::teams::{self, Role};

/// Also of accounts that nothing else makes, so that a team finds one free.
fn account() -> impl Strategy<Value = AccountId> {
    (0..6_u8).prop_map(|number| format!("acct_{number:026}").parse().unwrap())
}

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(&Role::ALL[..])
}

fn email() -> impl Strategy<Value = Email> {
    proptest::sample::select(vec!["a@example.org", "b@example.org"]).prop_map(|text| text.parse().unwrap())
}

fn hash() -> impl Strategy<Value = SecretHash> {
    (0..4_u8).prop_map(|number| SecretHash::of(&number.to_string()))
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![team_command().prop_map(Command::Teams), belonging()]
}

fn team_command() -> impl Strategy<Value = teams::Command> {
    let by = || proptest::option::of(account());
    prop_oneof![
        (account(), account()).prop_map(|(id, owner)| teams::Command::Make { id, name: "t".into(), owner }),
        (account(), by(), ".{0,4}").prop_map(|(team, by, name)| teams::Command::Rename { team, by, name }),
        (account(), by()).prop_map(|(team, by)| teams::Command::Delete { team, by }),
        (account(), by(), email(), role(), hash()).prop_map(|(team, by, email, role, secret_hash)| {
            teams::Command::Invite { team, by, email, role, secret_hash, life_ms: 500 }
        }),
        (account(), by(), email()).prop_map(|(team, by, email)| teams::Command::Withdraw { team, by, email }),
        (hash(), account()).prop_map(|(secret_hash, account)| teams::Command::Join { secret_hash, account }),
        (account(), by(), account(), role())
            .prop_map(|(team, by, account, role)| { teams::Command::SetRole { team, by, account, role } }),
        (account(), by(), account()).prop_map(|(team, by, account)| teams::Command::Remove {
            team,
            by,
            account
        }),
    ]
}

fn belonging() -> impl Strategy<Value = Command> {
    let library = || (0..2_u8).prop_map(|number| format!("/acme/{number}").parse().unwrap());
    let key = |number: u8| format!("key_{number:026}").parse().unwrap();
    let visibility = || proptest::sample::select(&[Visibility::Public, Visibility::Private][..]);
    prop_oneof![
        (account(), account(), 0..3_u8).prop_map(move |(by, account, number)| {
            let new = NewKey {
                id: key(number),
                account,
                name: "k".into(),
                scopes: vec![Scope::DocsRead],
                secret_hash: SecretHash::of(&format!("k{number}")),
                hint: "k".into(),
                expires_at: None,
            };
            Command::ApiKeys(api_keys::Command::CreateFor { by, key: new })
        }),
        (account(), account(), 0..3_u8).prop_map(move |(by, team, number)| {
            Command::ApiKeys(api_keys::Command::RevokeFor { by, team, id: key(number) })
        }),
        (library(), account(), visibility()).prop_map(|(id, owner, visibility)| {
            Command::Libraries(libraries::Command::Claim { id, owner, visibility })
        }),
        (library(), account(), visibility()).prop_map(|(id, account, visibility)| {
            Command::Libraries(libraries::Command::Show { id, account: Some(account), visibility })
        }),
        (library(), account(), account()).prop_map(|(id, account, to)| {
            Command::Libraries(libraries::Command::Move { id, account: Some(account), to })
        }),
    ]
}
