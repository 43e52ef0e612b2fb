//! Teams as the log decides them.

use super::*;
use crate::accounts::{LinkCommand, PersonAdded, PersonCommand, Purpose};
use crate::api_keys::{self, NewKey};
use crate::command::{self, Outcome};
use crate::engine::{Durability, Engine as _, MemoryEngine};
use crate::ids::JobId;
use crate::jobs::{self, JobState};
use crate::libraries::{self, Visibility};
use crate::transaction::Transaction;

struct World {
    engine: MemoryEngine,
    at: Timestamp,
}

const TEAM: u8 = 9;

impl World {
    /// Ada (1) owns a team, Bob (2) and Eve (3) are people.
    fn new() -> Self {
        let mut world =
            Self { engine: MemoryEngine::new(Keyspace::STATE), at: Timestamp::from_millis(1_000_000) };
        for (number, address) in [(1, "ada@example.org"), (2, "bob@example.org"), (3, "eve@example.org")] {
            world.person(number, address, true);
        }
        assert_eq!(world.make(TEAM, 1), Outcome::Done);
        world
    }

    fn apply(&mut self, command: command::Command) -> Outcome {
        let mut transaction = Transaction::new(&self.engine);
        let outcome = command::apply(&mut transaction, self.at, &command).unwrap();
        let (batch, _) = transaction.finish();
        assert!(outcome == Outcome::Done || batch.is_empty(), "a refused command changed something");
        self.engine.commit(batch, Durability::Buffered).unwrap();
        outcome
    }

    fn team(&mut self, command: Command) -> Outcome {
        self.apply(command::Command::Teams(command))
    }

    fn person(&mut self, number: u8, address: &str, is_verified: bool) {
        let added = PersonAdded {
            account: account(number),
            name: address.into(),
            email: address.parse().unwrap(),
            password: None,
            is_operator: false,
            is_verified,
        };
        let add = accounts::Command::Person(PersonCommand::Add(added));
        assert_eq!(self.apply(command::Command::Accounts(add)), Outcome::Done);
    }

    fn manage(&mut self, number: u8, is_disabled: bool) {
        let manage = PersonCommand::Manage {
            account: account(number),
            is_disabled: Some(is_disabled),
            is_operator: None,
        };
        let manage = accounts::Command::Person(manage);
        assert_eq!(self.apply(command::Command::Accounts(manage)), Outcome::Done);
    }

    fn remove_person(&mut self, number: u8) -> Outcome {
        let person = accounts::person(&self.engine, &account(number)).unwrap().unwrap();
        let remove = PersonCommand::Remove { account: account(number), generation: person.generation };
        self.apply(command::Command::Accounts(accounts::Command::Person(remove)))
    }

    fn make(&mut self, team: u8, owner: u8) -> Outcome {
        self.team(Command::Make { id: account(team), name: "Kiln".into(), owner: account(owner) })
    }

    fn invite(&mut self, by: u8, address: &str, role: Role) -> Outcome {
        self.team(Command::Invite {
            team: account(TEAM),
            by: Some(account(by)),
            email: address.parse().unwrap(),
            role,
            secret_hash: SecretHash::of(address),
            life_ms: 1_000,
        })
    }

    fn join(&mut self, address: &str, number: u8) -> Outcome {
        self.team(Command::Join { secret_hash: SecretHash::of(address), account: account(number) })
    }

    /// Lets somebody in, invited by Ada.
    fn add(&mut self, number: u8, address: &str, role: Role) {
        assert_eq!(self.invite(1, address, role), Outcome::Done);
        assert_eq!(self.join(address, number), Outcome::Done);
    }

    fn set_role(&mut self, by: u8, number: u8, role: Role) -> Outcome {
        let (team, by, account) = (account(TEAM), Some(account(by)), account(number));
        self.team(Command::SetRole { team, by, account, role })
    }

    fn remove(&mut self, by: u8, number: u8) -> Outcome {
        let (team, by, account) = (account(TEAM), Some(account(by)), account(number));
        self.team(Command::Remove { team, by, account })
    }

    fn role(&self, number: u8) -> Option<Role> {
        let team = get(&self.engine, &account(TEAM)).unwrap().unwrap();
        let role = team.role(&account(number));
        let other_way = of(&self.engine, &account(number)).unwrap();
        let other_way = other_way.iter().find(|(id, _)| *id == team.id).map(|(_, role)| *role);
        assert_eq!(role, other_way, "both directions say the same");
        role
    }

    fn make_key(&mut self, by: u8, number: u8, scopes: &[Scope]) -> Outcome {
        let key = NewKey {
            id: key_id(number),
            account: account(TEAM),
            name: "build".into(),
            scopes: scopes.to_vec(),
            secret_hash: SecretHash::of(&format!("key {number}")),
            hint: "wxyz".into(),
            expires_at: None,
        };
        let create = api_keys::Command::CreateFor { by: account(by), key };
        self.apply(command::Command::ApiKeys(create))
    }

    fn revoke_key(&mut self, by: u8, number: u8) -> Outcome {
        let revoke =
            api_keys::Command::RevokeFor { by: account(by), team: account(TEAM), id: key_id(number) };
        self.apply(command::Command::ApiKeys(revoke))
    }

    fn opens(&self, number: u8) -> bool {
        api_keys::find(&self.engine, &SecretHash::of(&format!("key {number}"))).unwrap().is_some()
    }

    fn claim(&mut self, id: &str, owner: u8) -> Outcome {
        let (id, owner) = (id.parse().unwrap(), account(owner));
        let claim = libraries::Command::Claim { id, owner, visibility: Visibility::Private };
        self.apply(command::Command::Libraries(claim))
    }

    fn submit(&mut self, job: u8, by: u8, library: &str) {
        let submit = jobs::Command::Submit {
            id: job_id(job),
            account: account(by),
            library: library.parse().unwrap(),
            version: "1.0".parse().unwrap(),
            source: jobs::Source::Folder { path: "docs".into() },
            base_url: None,
        };
        assert_eq!(self.apply(command::Command::Jobs(submit)), Outcome::Done);
    }

    fn job(&self, number: u8) -> JobState {
        jobs::get(&self.engine, &job_id(number)).unwrap().unwrap().state
    }

    fn move_library(&mut self, by: u8, id: &str, to: u8) -> Outcome {
        let (id, by, to) = (id.parse().unwrap(), Some(account(by)), account(to));
        self.apply(command::Command::Libraries(libraries::Command::Move { id, account: by, to }))
    }

    fn shown(&self, id: &str, viewer: Option<u8>) -> bool {
        let library = libraries::get(&self.engine, &id.parse().unwrap()).unwrap().unwrap();
        library.is_shown_to(&self.engine, viewer.map(account).as_ref()).unwrap()
    }
}

fn account(number: u8) -> AccountId {
    format!("acct_{number:026}").parse().unwrap()
}

fn job_id(number: u8) -> JobId {
    format!("job_{number:026}").parse().unwrap()
}

fn key_id(number: u8) -> ApiKeyId {
    format!("key_{number:026}").parse().unwrap()
}

#[test]
fn a_team_is_joined_by_the_person_who_was_asked_once_and_in_time() {
    let mut world = World::new();
    assert_eq!(world.role(1), Some(Role::Owner));
    assert_eq!(world.invite(2, "eve@example.org", Role::Developer), Outcome::NotFound, "Bob is not in it");
    assert_eq!(world.invite(1, "bob@example.org", Role::Admin), Outcome::Done);
    assert_eq!(world.join("bob@example.org", 3), Outcome::Stale, "it is Bob's");
    assert_eq!(world.join("bob@example.org", 2), Outcome::Done);
    assert_eq!(world.join("bob@example.org", 2), Outcome::NotFound, "it was used");
    assert_eq!(world.role(2), Some(Role::Admin));
    assert_eq!(world.invite(1, "bob@example.org", Role::Owner), Outcome::AlreadyExists);

    assert_eq!(
        world.invite(2, "eve@example.org", Role::Owner),
        Outcome::Forbidden,
        "an admin makes no owner"
    );
    assert_eq!(world.invite(2, "eve@example.org", Role::Developer), Outcome::Done);
    world.at = world.at.plus_millis(1_000);
    assert_eq!(world.join("eve@example.org", 3), Outcome::NotFound, "it expired");
    let withdraw = |by| Command::Withdraw {
        team: account(TEAM),
        by: Some(account(by)),
        email: "eve@example.org".parse().unwrap(),
    };
    assert_eq!(world.team(withdraw(3)), Outcome::NotFound);
    assert_eq!(world.team(withdraw(2)), Outcome::Done);
    assert_eq!(world.team(withdraw(2)), Outcome::Stale);

    world.person(4, "zoe@example.org", false);
    assert_eq!(world.invite(1, "zoe@example.org", Role::Developer), Outcome::Done);
    assert_eq!(world.join("zoe@example.org", 4), Outcome::Stale, "has not shown that the address is theirs");
}

#[test]
fn the_last_owner_stays_whichever_way_it_is_tried() {
    let mut world = World::new();
    assert_eq!(world.remove(1, 1), Outcome::LimitReached);
    assert_eq!(world.set_role(1, 1, Role::Developer), Outcome::LimitReached);
    assert_eq!(world.remove_person(1), Outcome::LimitReached);
    world.add(2, "bob@example.org", Role::Owner);
    world.manage(2, true);
    assert_eq!(world.remove(1, 1), Outcome::LimitReached, "nobody who is let in would be left");
    world.manage(2, false);
    // Each takes the other: one of two commands on the log is the first.
    assert_eq!(world.set_role(1, 2, Role::Developer), Outcome::Done);
    assert_eq!(world.set_role(2, 1, Role::Developer), Outcome::Forbidden);
    assert_eq!(world.set_role(1, 2, Role::Owner), Outcome::Done);
    assert_eq!(world.remove(1, 1), Outcome::Done);
    assert_eq!(world.remove(2, 2), Outcome::LimitReached);
    assert_eq!(world.role(2), Some(Role::Owner));
}

#[test]
fn a_role_decides_about_those_below_it() {
    let mut world = World::new();
    world.add(2, "bob@example.org", Role::Admin);
    world.add(3, "eve@example.org", Role::Developer);
    assert_eq!(world.set_role(3, 3, Role::Admin), Outcome::Forbidden);
    assert_eq!(world.set_role(3, 2, Role::Developer), Outcome::Forbidden);
    assert_eq!(world.set_role(2, 1, Role::Developer), Outcome::Forbidden);
    assert_eq!(world.set_role(2, 3, Role::Owner), Outcome::Forbidden);
    assert_eq!(world.remove(2, 1), Outcome::Forbidden);
    assert_eq!(world.remove(3, 2), Outcome::Forbidden);
    assert_eq!(world.set_role(2, 3, Role::Admin), Outcome::Done);
    assert_eq!(world.set_role(2, 3, Role::Developer), Outcome::Done);
    assert_eq!(world.set_role(2, 4, Role::Developer), Outcome::Stale, "no member");
    let by = |number| Some(account(number));
    let rename = |by| Command::Rename { team: account(TEAM), by, name: "Works".into() };
    assert_eq!(world.team(rename(by(3))), Outcome::Forbidden);
    assert_eq!(world.team(rename(by(4))), Outcome::NotFound);
    assert_eq!(world.team(rename(by(2))), Outcome::Done);
    assert_eq!(world.team(Command::Delete { team: account(TEAM), by: by(2) }), Outcome::Forbidden);
    assert_eq!(world.remove(3, 3), Outcome::Done, "everybody may leave");
    assert_eq!(world.remove(2, 2), Outcome::Done);
}

#[test]
fn what_somebody_made_for_a_team_ends_with_what_they_are_in_it() {
    let mut world = World::new();
    world.add(2, "bob@example.org", Role::Admin);
    world.add(3, "eve@example.org", Role::Developer);
    assert_eq!(world.make_key(3, 1, &[Scope::DocsRead, Scope::JobsWrite]), Outcome::Forbidden);
    assert_eq!(world.make_key(2, 1, &[Scope::KeysWrite]), Outcome::Forbidden, "it would make others");
    assert_eq!(world.make_key(4, 1, &[Scope::DocsRead]), Outcome::NotFound);
    assert_eq!(world.make_key(2, 1, &[Scope::DocsRead]), Outcome::Done);
    assert_eq!(world.make_key(2, 2, &[Scope::DocsRead, Scope::JobsWrite]), Outcome::Done);
    assert_eq!(world.make_key(3, 3, &[Scope::DocsRead]), Outcome::Done);
    assert_eq!(world.make_key(1, 4, &[Scope::DocsRead]), Outcome::Done);
    assert_eq!(world.revoke_key(3, 1), Outcome::NotFound, "another's");
    assert_eq!(world.revoke_key(4, 1), Outcome::NotFound);

    assert_eq!(world.set_role(1, 2, Role::Developer), Outcome::Done);
    assert_eq!([1, 2, 3, 4].map(|number| world.opens(number)), [true, false, true, true]);
    world.manage(2, true);
    assert_eq!([1, 3, 4].map(|number| world.opens(number)), [false, true, true]);
    world.manage(2, false);
    assert!(world.opens(1), "let in again");
    assert_eq!(world.remove(1, 2), Outcome::Done);
    assert_eq!([1, 3, 4].map(|number| world.opens(number)), [false, true, true]);
    assert_eq!(world.remove_person(3), Outcome::Done);
    assert_eq!([3, 4].map(|number| world.opens(number)), [false, true]);
    assert_eq!(world.role(3), None);
    assert_eq!(world.revoke_key(1, 4), Outcome::Done);
}

#[test]
fn who_is_kept_out_makes_no_key_for_themselves_or_the_team() {
    let mut world = World::new();
    world.add(2, "bob@example.org", Role::Admin);
    world.manage(2, true);
    assert_eq!(world.make_key(2, 1, &[Scope::DocsRead]), Outcome::NotFound);
    let create = api_keys::Command::Create {
        id: key_id(2),
        account: account(2),
        name: "mine".into(),
        scopes: vec![Scope::DocsRead],
        secret_hash: SecretHash::of("key 2"),
        hint: "wxyz".into(),
        expires_at: None,
    };
    assert_eq!(world.apply(command::Command::ApiKeys(create.clone())), Outcome::NotFound);
    world.manage(2, false);
    assert!(!world.opens(1) && !world.opens(2), "nothing waits for the day they are let in");
    assert_eq!(world.make_key(2, 1, &[Scope::DocsRead]), Outcome::Done);
    assert_eq!(world.apply(command::Command::ApiKeys(create)), Outcome::Done);
}

#[test]
fn an_invitation_ends_when_who_made_it_could_not_make_it_any_more() {
    let mut world = World::new();
    world.add(2, "bob@example.org", Role::Owner);
    world.person(4, "zoe@example.org", true);
    assert_eq!(world.invite(2, "eve@example.org", Role::Owner), Outcome::Done);
    assert_eq!(world.invite(2, "zoe@example.org", Role::Developer), Outcome::Done);
    assert_eq!(world.set_role(1, 2, Role::Admin), Outcome::Done);
    assert_eq!(world.join("eve@example.org", 3), Outcome::NotFound, "an admin makes no owner");
    assert_eq!(world.join("zoe@example.org", 4), Outcome::Done, "but developers");

    assert_eq!(world.invite(2, "eve@example.org", Role::Developer), Outcome::Done);
    assert_eq!(world.set_role(1, 2, Role::Developer), Outcome::Done);
    assert_eq!(world.join("eve@example.org", 3), Outcome::NotFound);
    assert_eq!(world.set_role(1, 2, Role::Admin), Outcome::Done);
    assert_eq!(world.invite(2, "eve@example.org", Role::Developer), Outcome::Done);
    assert_eq!(world.remove(1, 2), Outcome::Done);
    assert_eq!(world.join("eve@example.org", 3), Outcome::NotFound, "they left");
    assert_eq!(world.invite(1, "eve@example.org", Role::Developer), Outcome::Done);
    assert_eq!(world.join("eve@example.org", 3), Outcome::Done);
}

#[test]
fn a_removed_private_library_is_not_brought_back_by_the_job_that_was_building_it() {
    let mut world = World::new();
    assert_eq!(world.claim("/kiln/secret", 1), Outcome::Done);
    world.submit(1, 1, "/kiln/secret");
    world.submit(2, 1, "/kiln/other");
    let start = |number| jobs::Command::Start { id: job_id(number), attempt: 1 };
    for number in [1, 2] {
        assert_eq!(world.apply(command::Command::Jobs(start(number))), Outcome::Done);
    }
    let remove =
        libraries::Command::Remove { id: "/kiln/secret".parse().unwrap(), account: Some(account(1)) };
    assert_eq!(world.apply(command::Command::Libraries(remove)), Outcome::Done);
    assert_eq!((world.job(1), world.job(2)), (JobState::Cancelled, JobState::Running));
    let publish = libraries::Command::Publish {
        job: job_id(1),
        attempt: 1,
        facts: libraries::Facts::default(),
        built: libraries::Built {
            bundle: "b".into(),
            bundle_bytes: 1,
            pages: 1,
            snippets: 1,
            tokens: 1,
            embedder: "words".into(),
        },
    };
    assert_eq!(world.apply(command::Command::Libraries(publish)), Outcome::Stale);
    assert!(libraries::get(&world.engine, &"/kiln/secret".parse().unwrap()).unwrap().is_none());
}

#[test]
fn a_private_library_is_shown_to_its_owners_and_moves_only_between_accounts_of_theirs() {
    let mut world = World::new();
    assert_eq!(world.claim("/kiln/secret", 1), Outcome::Done);
    assert_eq!(world.claim("/kiln/secret", 2), Outcome::AlreadyExists);
    assert_eq!([None, Some(1), Some(2)].map(|who| world.shown("/kiln/secret", who)), [false, true, false]);
    assert_eq!(world.move_library(2, "/kiln/secret", 2), Outcome::NotFound);
    assert_eq!(world.move_library(1, "/kiln/secret", 2), Outcome::Forbidden);
    assert_eq!(world.move_library(1, "/kiln/secret", TEAM), Outcome::Done);
    world.add(2, "bob@example.org", Role::Developer);
    let shown = [None, Some(1), Some(2), Some(3), Some(TEAM)].map(|who| world.shown("/kiln/secret", who));
    assert_eq!(shown, [false, true, true, false, true]);
    assert_eq!(world.move_library(2, "/kiln/secret", 2), Outcome::NotFound, "a developer manages none");

    world.submit(1, TEAM, "/kiln/open");
    world.submit(2, 2, "/kiln/other");
    let delete = Command::Delete { team: account(TEAM), by: Some(account(1)) };
    assert_eq!(world.team(delete.clone()), Outcome::LimitReached, "it owns a library");
    assert_eq!(world.set_role(1, 2, Role::Admin), Outcome::Done);
    assert_eq!(world.move_library(2, "/kiln/secret", 2), Outcome::Done);
    assert!(!world.shown("/kiln/secret", Some(1)));
    assert_eq!(world.make_key(1, 1, &[Scope::DocsRead]), Outcome::Done);
    assert_eq!(world.invite(1, "eve@example.org", Role::Developer), Outcome::Done);
    assert_eq!(world.team(delete), Outcome::Done);
    assert_eq!((world.job(1), world.job(2)), (JobState::Cancelled, JobState::Queued));
    assert!(!world.opens(1));
    assert_eq!(world.join("eve@example.org", 3), Outcome::NotFound);
    assert_eq!(of(&world.engine, &account(1)).unwrap(), []);
    assert!(accounts::get(&world.engine, &account(TEAM)).unwrap().is_none());
    assert!(world.engine.scan(Keyspace::Teams, b"", None, 10).unwrap().is_empty(), "nothing is left");
}

#[test]
fn a_team_is_no_person_and_its_numbers_are_bounded() {
    let mut world = World::new();
    assert_eq!(world.make(TEAM, 1), Outcome::AlreadyExists);
    assert_eq!(world.make(30, TEAM), Outcome::NotFound, "a team owns no team");
    for number in 30..30 + TEAMS_EACH_MAX as u8 - 1 {
        assert_eq!(world.make(number, 1), Outcome::Done);
    }
    assert_eq!(world.make(90, 1), Outcome::LimitReached);
    for number in 0..INVITATIONS_MAX {
        assert_eq!(world.invite(1, &format!("p{number}@example.org"), Role::Developer), Outcome::Done);
    }
    assert_eq!(world.invite(1, "one.more@example.org", Role::Developer), Outcome::LimitReached);
    assert_eq!(world.invite(1, "p0@example.org", Role::Admin), Outcome::AlreadyExists, "the secret is taken");
    world.at = world.at.plus_millis(1_000);
    assert_eq!(world.invite(1, "one.more@example.org", Role::Developer), Outcome::Done, "the others expired");

    let reset = Purpose::Reset { account: account(TEAM) };
    let make = LinkCommand::Make { secret_hash: SecretHash::of("x"), purpose: reset, life_ms: 1 };
    let make = command::Command::Accounts(accounts::Command::Link(make));
    assert_eq!(world.apply(make), Outcome::NotFound, "nobody signs in as a team");
    let added = PersonAdded {
        account: account(TEAM),
        name: "x".into(),
        email: "team@example.org".parse().unwrap(),
        password: None,
        is_operator: false,
        is_verified: true,
    };
    let add = command::Command::Accounts(accounts::Command::Person(PersonCommand::Add(added)));
    assert_eq!(world.apply(add), Outcome::AlreadyExists);
}
