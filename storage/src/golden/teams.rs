//! Golden files of teams, and of the commands that came with them; see [`super`].

use super::{account, at, check, key, library};
use crate::accounts::Email;
use crate::api_keys::{self, NewKey, SecretHash};
use crate::command::Command;
use crate::ids::AccountId;
use crate::libraries::{self, Visibility};
use crate::scope::Scope;
use crate::teams::{self, Invitation, Member, Memberships, Role, Team};

fn team() -> AccountId {
    "acct_01hzy3k8w0tttttttttttttttt".parse().unwrap()
}

fn email() -> Email {
    "bob@example.org".parse().unwrap()
}

fn hash() -> SecretHash {
    SecretHash::of("invitation")
}

#[test]
fn records_are_written_as_they_always_were() {
    let invited = Invitation {
        email: email(),
        role: Role::Developer,
        by: Some(account()),
        secret_hash: hash(),
        expires_at: at(),
    };
    check(
        "team",
        &Team {
            id: team(),
            created_at: at(),
            members: vec![
                Member { account: account(), role: Role::Owner, since: at() },
                Member { account: team(), role: Role::Admin, since: at() },
            ],
            invitations: vec![invited],
            libraries: 2,
            keys: vec![(key(), account())],
            clients: vec![("client_x".into(), account())],
        },
    );
    check("memberships", &Memberships(vec![(team(), Role::Owner)]));
}

#[test]
fn commands_are_written_as_they_always_were() {
    let check = |name: &str, command| check(&format!("command-{name}"), &command);
    let teams = |name: &str, command| check(&format!("teams-{name}"), Command::Teams(command));
    let by = Some(account());
    teams("make", teams::Command::Make { id: team(), name: "Kiln".into(), owner: account() });
    teams("rename", teams::Command::Rename { team: team(), by: by.clone(), name: "Kiln works".into() });
    teams("delete", teams::Command::Delete { team: team(), by: None });
    let invite = teams::Command::Invite {
        team: team(),
        by: by.clone(),
        email: email(),
        role: Role::Admin,
        secret_hash: hash(),
        life_ms: 3,
    };
    teams("invite", invite);
    teams("withdraw", teams::Command::Withdraw { team: team(), by: by.clone(), email: email() });
    teams("join", teams::Command::Join { secret_hash: hash(), account: account() });
    let role = Role::Owner;
    teams("set-role", teams::Command::SetRole { team: team(), by: by.clone(), account: account(), role });
    teams("remove", teams::Command::Remove { team: team(), by: by.clone(), account: account() });
    let key_of_team = NewKey {
        id: key(),
        account: team(),
        name: "build".into(),
        scopes: vec![Scope::DocsRead],
        secret_hash: hash(),
        hint: "wxyz".into(),
        expires_at: Some(at()),
    };
    let create = api_keys::Command::CreateFor { by: account(), key: key_of_team };
    check("api-keys-create-for", Command::ApiKeys(create));
    let revoke = api_keys::Command::RevokeFor { by: account(), team: team(), id: key() };
    check("api-keys-revoke-for", Command::ApiKeys(revoke));
    let visibility = Visibility::Private;
    let claim = libraries::Command::Claim { id: library(), owner: team(), visibility };
    check("libraries-claim", Command::Libraries(claim));
    let show = libraries::Command::Show { id: library(), account: by.clone(), visibility };
    check("libraries-show", Command::Libraries(show));
    let moved = libraries::Command::Move { id: library(), account: by, to: team() };
    check("libraries-move", Command::Libraries(moved));
}
