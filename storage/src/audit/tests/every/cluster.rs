//! What several share: teams, nodes, the secrets of the cluster, libraries.

use super::programs::new_key;
use super::*;
use crate::ids::{JobId, LibraryId, Version};
use crate::jobs;
use crate::libraries::Visibility;
use crate::members::{self, NodeFacts};
use crate::oauth::client;
use crate::refresh;
use crate::rotation::{self, Subject as Secret};
use crate::teams::{self, Role};

pub(super) const STORIES: &[Story] = &[a_team, nodes, rotations, a_library];

fn a_team(log: &mut Log) {
    [1, 2].into_iter().for_each(|number| log.person(number));
    let (owner, other) = (person(1), person(2));
    let make = teams::Command::Make { id: account(8), name: "Kiln".into(), owner: account(1) };
    log.tells(&owner, Change::Teams(make), &["team.made by person acct_1: team acct_8 of acct_1"]);
    let team = || account(8);
    let by = |number: u8| Some(account(number));
    let invite = |number: u8| {
        Change::Teams(teams::Command::Invite {
            team: team(),
            by: by(1),
            email: email(number),
            role: Role::Developer,
            secret_hash: SecretHash::of(&format!("letter {number}")),
            life_ms: 60_000,
        })
    };
    let invited = "team.invited by person acct_1: team acct_8; email=p***@example.org; role=developer";
    [2, 3].into_iter().for_each(|number| log.tells(&owner, invite(number), &[invited]));
    let withdraw = || Change::Teams(teams::Command::Withdraw { team: team(), by: by(1), email: email(3) });
    let withdrawn = "team.invitation_withdrawn by person acct_1: team acct_8; email=p***@example.org";
    log.tells(&owner, withdraw(), &[withdrawn]);
    log.refuses(&owner, withdraw(), Outcome::Stale);
    let secret_hash = SecretHash::of("letter 2");
    let join = teams::Command::Join { secret_hash, account: account(2) };
    log.tells(
        &other,
        Change::Teams(join),
        &["team.joined by person acct_2: team acct_8 of acct_2; role=developer"],
    );
    log.refuses(&owner, invite(2), Outcome::AlreadyExists);
    let set_role = |who: u8| {
        let (team, by, account, role) = (team(), by(who), account(2), Role::Admin);
        Change::Teams(teams::Command::SetRole { team, by, account, role })
    };
    log.refuses(&other, set_role(2), Outcome::Forbidden);
    let set = "team.role_set by person acct_1: team acct_8 of acct_2; role=admin";
    log.tells(&owner, set_role(1), &[set]);

    let key = |number: u8, who: u8| {
        Change::ApiKeys(api_keys::Command::CreateFor { by: account(who), key: new_key(number, 8) })
    };
    log.refuses(&person(3), key(1, 3), Outcome::NotFound);
    let made = "api_key.made by person acct_2: api_key key_1 of acct_8; scopes=docs:read";
    log.tells(&other, key(1, 2), &[made]);
    let client = oauth::tests::client("ours", account(2));
    let create = client::Command::CreateFor { by: account(2), team: team(), client };
    let made = "client.made by person acct_2: client ours of acct_8; name=x";
    log.tells(&other, Change::Oauth(oauth::Command::Client(create)), &[made]);
    let leave = |number: u8| {
        let (team, by, account) = (team(), by(number), account(number));
        Change::Teams(teams::Command::Remove { team, by, account })
    };
    let left = [
        "api_key.revoked by person acct_2: api_key key_1 of acct_8",
        "client.removed by person acct_2: client ours of acct_8; name=x",
        "team.left by person acct_2: team acct_8 of acct_2",
    ];
    log.tells(&other, leave(2), &left);
    log.refuses(&owner, leave(1), Outcome::LimitReached);
    let delete = |number: u8| Change::Teams(teams::Command::Delete { team: team(), by: by(number) });
    log.refuses(&other, delete(2), Outcome::NotFound);
    log.tells(&owner, delete(1), &["team.deleted by person acct_1: team acct_8"]);
}

fn nodes(log: &mut Log) {
    let operator = person(OPERATOR);
    let token = |id: u8| ([id; 8], [id; 32]);
    for (id, name) in [(1, "0101010101010101"), (2, "0202020202020202")] {
        let (id, secret_hash) = token(id);
        let make = members::Command::MakeToken { id, secret_hash, life_ms: 60_000 };
        let made = format!("join_token.made by person acct_9: join_token {name}");
        log.tells(&operator, Change::Members(make), &[&made]);
    }
    let join = |secret: u8| {
        let (token, facts) = (token(1).0, NodeFacts { name: "n2".into(), ..NodeFacts::default() });
        Change::Members(members::Command::Join { token, secret_hash: [secret; 32], node: 2, facts })
    };
    let joined = "member.joined by nobody: member 2; join_token=0101010101010101; name=n2";
    log.refuses(&Actor::Nobody, join(2), Outcome::NotFound);
    log.tells(&Actor::Nobody, join(1), &[joined]);
    log.refuses(&Actor::Nobody, join(1), Outcome::Stale);
    let renew = || {
        let (token, secret_hash) = token(2);
        Change::Members(members::Command::Renew { token, secret_hash, node: 2 })
    };
    let renewed = "member.renewed by nobody: member 2; join_token=0202020202020202";
    log.tells(&Actor::Nobody, renew(), &[renewed]);
    log.refuses(&Actor::Nobody, renew(), Outcome::Stale);
    let remove = || Change::Members(members::Command::Remove { node: 2 });
    log.tells(&operator, remove(), &["member.removed by person acct_9: member 2; name=n2"]);
    log.refuses(&operator, remove(), Outcome::Stale);
}

fn rotations(log: &mut Log) {
    let node = Actor::Node(3);
    let operator = person(OPERATOR);
    let certify = members::Command::Certify { certificate: vec![1], sealed_key: vec![1] };
    log.tells(&node, Change::Members(certify), &[]);
    let begin_key = rotation::Command::BeginKey { after: 0, in_force: [1; 8], next: [2; 8], node: 3 };
    let use_key = rotation::Command::UseKey {
        number: 1,
        sealed_authority: Some(vec![2]),
        webhook_keys: Vec::new(),
        sealed_base: None,
        endorsement: "of the first".into(),
    };
    let (certificate, sealed_key) = (vec![3], vec![3]);
    let begin_authority = rotation::Command::BeginAuthority { after: 0, certificate, sealed_key };
    let use_authority = rotation::Command::UseAuthority { number: 1 };
    for (subject, name, begin, use_it) in [
        (Secret::Key, "cluster_key", begin_key, use_key),
        (Secret::Authority, "authority", begin_authority, use_authority),
    ] {
        let told = |what: &str, more: &str| format!("rotation.{what}: secret {name}{more}");
        let leave = rotation::Command::LeaveBehind { subject, number: 1, nodes: vec![4, 5] };
        log.refuses(&operator, Change::Rotation(leave.clone()), Outcome::Stale);
        log.tells(&operator, Change::Rotation(begin), &[&told("begun by person acct_9", "")]);
        let left = told("left_behind by person acct_9", "; nodes=4 5");
        log.tells(&operator, Change::Rotation(leave), &[&left]);
        log.tells(&node, Change::Rotation(use_it), &[]);
        let end = rotation::Command::End { subject, number: 1 };
        log.tells(&node, Change::Rotation(end.clone()), &[&told("ended by node 3", "")]);
        log.refuses(&node, Change::Rotation(end), Outcome::Stale);
    }
}

fn a_library(log: &mut Log) {
    [1, 2].into_iter().for_each(|number| log.person(number));
    let (id, version): (LibraryId, Version) = ("/acme/kiln".parse().unwrap(), "1.0".parse().unwrap());
    let job: JobId = format!("job_{STEM}1").parse().unwrap();
    log.given(&Change::Jobs(jobs::Command::Submit {
        id: job.clone(),
        account: account(1),
        library: id.clone(),
        version: version.clone(),
        source: jobs::Source::Folder { path: "docs".into() },
        base_url: None,
    }));
    log.given(&Change::Jobs(jobs::Command::Start { id: job.clone(), attempt: 1 }));
    let bundle = "ab".repeat(32);
    let embedder = "static".into();
    let built = libraries::Built { bundle, bundle_bytes: 1, pages: 1, snippets: 1, tokens: 1, embedder };
    let facts = libraries::Facts::default();
    log.given(&Change::Libraries(libraries::Command::Publish { job, attempt: 1, facts, built }));

    let (owner, operator) = (person(1), person(OPERATOR));
    for (visibility, whom) in [(Visibility::Private, "owner"), (Visibility::Public, "everybody")] {
        let show = |by| {
            let (id, account) = (id.clone(), Some(account(by)));
            Change::Libraries(libraries::Command::Show { id, account, visibility })
        };
        let shown = format!("library.shown by person acct_1: library /acme/kiln of acct_1; to={whom}");
        log.refuses(&person(2), show(2), Outcome::NotFound);
        log.tells(&owner, show(1), &[&shown]);
    }
    let hook = |salt| {
        Change::Refresh(refresh::Command::Hook { library: id.clone(), account: Some(account(1)), salt })
    };
    let made = "webhook_key.made by person acct_1: library /acme/kiln of acct_1";
    let removed = "webhook_key.removed by person acct_1: library /acme/kiln of acct_1";
    log.tells(&owner, hook(None), &[]);
    log.tells(&owner, hook(Some([1; 16])), &[made]);
    log.tells(&owner, hook(None), &[removed]);
    log.tells(&owner, hook(None), &[]);
    let remove_version = || {
        let (id, version, account) = (id.clone(), version.clone(), Some(account(1)));
        Change::Libraries(libraries::Command::RemoveVersion { id, version, account })
    };
    let gone = "version.removed by person acct_1: library /acme/kiln of acct_1; version=1.0";
    log.tells(&owner, remove_version(), &[gone]);
    log.refuses(&owner, remove_version(), Outcome::NotFound);
    let give =
        |to| Change::Libraries(libraries::Command::Move { id: id.clone(), account: None, to: account(to) });
    let moved = "library.moved by person acct_9: library /acme/kiln of acct_2; from=acct_1";
    log.tells(&operator, give(2), &[moved]);
    log.refuses(&operator, give(7), Outcome::Forbidden);
    let remove =
        |by| Change::Libraries(libraries::Command::Remove { id: id.clone(), account: Some(account(by)) });
    log.refuses(&owner, remove(1), Outcome::NotFound);
    log.tells(&person(2), remove(2), &["library.removed by person acct_2: library /acme/kiln of acct_2"]);
}
