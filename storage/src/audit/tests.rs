//! The log as commands write it, and what is found when somebody wrote in it.

mod every;

use std::net::IpAddr;

use super::*;
use crate::accounts::{self, LinkCommand, PersonCommand, Purpose, Tried, TryCommand, Who};
use crate::api_keys::{self, SecretHash};
use crate::command::Command as Change;
use crate::engine::{Durability, Engine as _, Keyspace, MemoryEngine, Reader};
use crate::ids::AccountId;
use crate::libraries;
use crate::oauth;
use crate::scope::Scope;
use crate::teams;

struct World {
    engine: MemoryEngine,
    at: Timestamp,
    keep: Keep,
}

fn account(number: u8) -> AccountId {
    format!("acct_01hzy3k8w0abcdefghjkmnp{number:03}").parse().unwrap()
}

impl World {
    fn new() -> Self {
        let engine = MemoryEngine::new(Keyspace::STATE);
        Self { engine, at: Timestamp::from_millis(1_795_437_970_000), keep: Keep::default() }
    }

    fn apply(&mut self, command: Change) -> Outcome {
        self.apply_by(Actor::Person(account(9)), command)
    }

    fn apply_by(&mut self, actor: Actor, command: Change) -> Outcome {
        let by = By {
            actor,
            address: Some(IpAddr::from([192, 0, 2, 1])),
            request: Some("0af7651916cd43dd8448eb211c80319c".into()),
        };
        let audited = Audited { command, by, node: 3, keep: self.keep };
        self.apply_bare(&Change::Audited(Box::new(audited)))
    }

    fn apply_bare(&mut self, command: &Change) -> Outcome {
        let mut transaction = Transaction::new(&self.engine);
        let outcome = command::apply(&mut transaction, self.at, command).unwrap();
        self.engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        outcome
    }

    fn make(&mut self, number: u8) -> Outcome {
        self.at = self.at.plus_millis(1_000);
        self.apply(Change::Accounts(accounts::Command::Create { id: account(number), name: "Ada".into() }))
    }

    fn fail(&mut self, count: u32) {
        let (who, tried) = (Who::network("192.0.2.1"), Tried::Network("192.0.2.1".into()));
        let failed =
            TryCommand::Failed { who, tried, count, lock_after: u32::MAX, lock_ms: 1, lock_ms_max: 1 };
        self.apply_by(Actor::Nobody, Change::Accounts(accounts::Command::Try(failed)));
    }

    fn of(&self, action: &str) -> Vec<Entry> {
        let filter = Filter { action: Some(action.to_owned()), ..Filter::default() };
        let (mut entries, mut before) = (Vec::new(), None);
        loop {
            let page = page(&self.engine, &filter, before, PAGE_ITEMS_MAX).unwrap();
            entries.extend(page.entries);
            before = page.before;
            if before.is_none() {
                return entries;
            }
        }
    }

    fn page(&self, filter: &Filter) -> Vec<Entry> {
        page(&self.engine, filter, None, PAGE_ITEMS_MAX).unwrap().entries
    }

    fn export(&self) -> String {
        let view: Box<dyn Reader> = self.engine.view();
        let pieces: Result<Vec<_>, _> = export(view).unwrap().collect();
        String::from_utf8(pieces.unwrap().concat()).unwrap()
    }
}

fn make_link(email: &str) -> Change {
    let purpose = Purpose::SignUp { name: String::new(), email: email.parse().unwrap(), is_operator: false };
    let make = LinkCommand::Make { secret_hash: SecretHash::of(email), purpose, life_ms: 1_000 };
    Change::Accounts(accounts::Command::Link(make))
}

fn fault(export: &str) -> Option<(u64, Fault)> {
    match verify(export.as_bytes()) {
        Ok(_) => None,
        Err(VerifyError::Fault { line, fault }) => Some((line, fault)),
        Err(VerifyError::Read(error)) => panic!("{error}"),
    }
}

#[test]
fn an_event_is_in_the_log_if_and_only_if_its_change_is() {
    let mut world = World::new();
    assert_eq!(world.make(1), Outcome::Done);
    assert_eq!(world.make(1), Outcome::AlreadyExists, "refused: nothing is written");
    let remove = libraries::Command::Remove { id: "/acme/kiln".parse().unwrap(), account: None };
    assert_eq!(world.apply(Change::Libraries(remove)), Outcome::NotFound);
    // Before the cluster has a log, nobody is behind a command.
    let create = accounts::Command::Create { id: account(2), name: "Eve".into() };
    assert_eq!(world.apply_bare(&Change::Accounts(create)), Outcome::Done);
    let entries = world.page(&Filter::default());
    let [made] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((made.number, made.action.as_str(), made.outcome.as_str()), (1, "account.made", "done"));
    assert_eq!(
        made.actor,
        Subject { kind: "person".into(), id: Some(account(9).to_string()), account: None }
    );
    assert_eq!(made.object.id.as_deref(), Some(account(1).as_str()));
    assert_eq!((made.address.as_deref(), made.node), (Some("192.0.2.1"), 3));
    assert_eq!(made.request.as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(made.previous, "0".repeat(64));
}

#[test]
fn what_was_changed_removed_or_put_in_is_found() {
    let mut world = World::new();
    assert_eq!(fault(&world.export()), None, "an empty log");
    (1..=5).for_each(|number| assert_eq!(world.make(number), Outcome::Done));
    let whole = world.export();
    let verified = verify(whole.as_bytes()).unwrap();
    assert_eq!((verified.first, verified.last), (1, 5));

    let lines: Vec<&str> = whole.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    // Each line in turn: changed, left out, doubled.
    for at in 1..lines.len() {
        let changed = lines[at].replace("192.0.2.1", "192.0.2.2");
        let mut other = lines.clone();
        other[at] = &changed;
        assert!(fault(&joined(&other)).is_some(), "line {at} was changed");
        let mut other = lines.clone();
        other.remove(at);
        assert!(fault(&joined(&other)).is_some(), "line {at} was removed");
        let mut other = lines.clone();
        other.insert(at, lines[at]);
        assert!(fault(&joined(&other)).is_some(), "line {at} was put in");
    }
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    assert_eq!(fault(&joined(&swapped)), Some((3, Fault::Number)));
    let changed = lines[2].replace("account.made", "account.gone");
    let mut other = lines.clone();
    other[2] = &changed;
    assert_eq!(fault(&joined(&other)), Some((4, Fault::Chain)), "told by the line behind it");
    let changed = lines[5].replace("account.made", "account.gone");
    let mut other = lines.clone();
    other[5] = &changed;
    assert_eq!(fault(&joined(&other)), Some((6, Fault::End)));
    assert_eq!(fault(&joined(&lines[..5])), Some((5, Fault::End)), "the end was cut off");
    assert_eq!(fault(&joined(&lines[1..])), Some((1, Fault::Heading)));
    assert_eq!(fault(whole.trim_end()), Some((6, Fault::Unreadable)), "cut off within a line");
    assert_eq!(fault(""), Some((1, Fault::Heading)));
    assert!(fault(&"x".repeat(200_000)).is_some(), "a line without an end");
}

#[test]
fn the_oldest_go_behind_an_anchor_and_the_rest_is_still_verified() {
    let mut world = World::new();
    (1..=5).for_each(|number| assert_eq!(world.make(number), Outcome::Done));
    let whole = world.export();
    world.keep.entries_max = 3;
    world.make(6);
    let rest = world.export();
    let verified = verify(rest.as_bytes()).unwrap();
    assert_eq!((verified.first, verified.last), (4, 6), "a log catches up after its limit was lowered");
    assert!(whole.lines().skip(4).all(|line| rest.contains(line)), "what is kept is as it was");
    world.keep = Keep { entries_max: 1_000, age_ms_max: 10_000 };
    world.at = world.at.plus_millis(20_000);
    world.make(7);
    let verified = verify(world.export().as_bytes()).unwrap();
    assert_eq!((verified.first, verified.last), (7, 7));
    let kept = world.engine.scan(Keyspace::Audit, b"e/", None, 100).unwrap();
    assert_eq!(kept.len(), 1);
}

#[test]
fn a_chain_that_was_written_anew_is_told_by_what_it_told_before() {
    let mut world = World::new();
    (1..=3).for_each(|number| assert_eq!(world.make(number), Outcome::Done));
    let told = verify(world.export().as_bytes()).unwrap().hash;
    (4..=5).for_each(|number| assert_eq!(world.make(number), Outcome::Done));
    let whole = world.export();
    verify_holding(whole.as_bytes(), Some(&told)).unwrap();
    world.keep.entries_max = 3;
    assert_eq!(world.make(6), Outcome::Done);
    let rest = world.export();
    assert!(!rest.contains(&format!("\"number\":{}", 3)), "that line has gone");
    verify_holding(rest.as_bytes(), Some(&told)).unwrap();
    // Somebody left the second event out and wrote the others so that the chain is whole.
    let mut other = World::new();
    [1, 3, 4, 5, 6].into_iter().for_each(|number| assert_eq!(other.make(number), Outcome::Done));
    let anew = other.export();
    verify(anew.as_bytes()).unwrap();
    let Err(VerifyError::Fault { fault, .. }) = verify_holding(anew.as_bytes(), Some(&told)) else {
        panic!("it was believed")
    };
    assert_eq!(fault, Fault::Forgotten);
}

#[test]
fn a_flood_of_refused_tries_is_summed_up_and_pushes_nothing_out() {
    let mut world = World::new();
    world.make(1);
    (0..1_000).for_each(|_| world.fail(2));
    let told = head(&world.engine).unwrap().last - 1;
    assert_eq!(told, u64::from(STRANGERS_PER_HOUR_MAX));
    // Nor is there more room for it when it is about many accounts.
    for number in 0..4 * STRANGERS_PER_HOUR_MAX {
        let refused = Event::new(Action::ClientRefused, Kind::Client, "web")
            .of(&account(u8::try_from(number % 4).unwrap()));
        world.apply_by(Actor::Nobody, Change::Audit(Command::Note(refused.refused())));
    }
    assert_eq!(world.of("client.refused").len(), STRANGERS_PER_HOUR_MAX as usize);
    // It hides nothing else that strangers do, and no second factor, which who knows a password alone can have wrong.
    for number in [1, 2] {
        let (who, tried) = (Who::factor(&account(number)), Tried::Account(account(number)));
        let wrong = TryCommand::Failed { who, tried, count: 1, lock_after: 9, lock_ms: 1, lock_ms_max: 1 };
        world.apply_by(Actor::Nobody, Change::Accounts(accounts::Command::Try(wrong)));
    }
    assert_eq!(world.of("second_factor.failed").len(), 2);
    let made = make_link("eve@example.org");
    assert_eq!(world.apply_by(Actor::Nobody, made), Outcome::Done);
    assert_eq!(world.of("account.invited").len(), 1);

    world.at = world.at.plus_millis(3_600_000);
    // Some budgets are closed with each event; that of the sign-ins goes with the second.
    (0..3).for_each(|_| world.fail(2));
    let failed = world.of("sign_in.failed");
    let counts: Vec<_> =
        failed.iter().take(4).map(|entry| (entry.object.kind.as_str(), entry.count)).collect();
    let untold = 2 * (1_000 - u64::from(STRANGERS_PER_HOUR_MAX));
    let (one, many) = (("network", Some(2)), ("many", Some(untold)));
    assert_eq!(counts, [one, one, many, one], "it is told once");
    let summary = &failed[2];
    assert_eq!(summary.object.id.as_deref(), Some("anybody"));
    assert_eq!((summary.actor.kind.as_str(), summary.outcome.as_str()), ("node", "refused"));
    assert_eq!((summary.address.as_deref(), summary.request.as_deref()), (None, None));
    assert_eq!(summary.detail["hour"], "2026-11-23T12:00:00.000Z");
    verify(world.export().as_bytes()).unwrap();
}

#[test]
fn what_one_account_does_without_end_is_summed_up_and_hides_nobody_else() {
    let mut world = World::new();
    let made = |owner: u8, number: u32| {
        let id = format!("key_01hzy3k8w0abcdefghjkm{number:05}").parse().unwrap();
        let secret_hash = SecretHash::of(&number.to_string());
        let name = "ci".to_owned();
        let (account, scopes, hint) = (account(owner), vec![Scope::DocsRead], "wxyz".to_owned());
        let expires_at = None;
        Change::ApiKeys(api_keys::Command::Create {
            id,
            account,
            name,
            scopes,
            secret_hash,
            hint,
            expires_at,
        })
    };
    let revoked = |owner: u8, number: u32| {
        let id = format!("key_01hzy3k8w0abcdefghjkm{number:05}").parse().unwrap();
        Change::ApiKeys(api_keys::Command::Revoke { account: account(owner), id })
    };
    for number in [1, 2, 3] {
        let added = accounts::PersonAdded {
            account: account(number),
            name: "Ada".into(),
            email: format!("ada{number}@example.org").parse().unwrap(),
            password: None,
            is_operator: number == 3,
            is_verified: true,
        };
        world
            .apply_by(Actor::Node(1), Change::Accounts(accounts::Command::Person(PersonCommand::Add(added))));
    }
    let most = ACCOUNT_PER_HOUR_MAX;
    let floods = |world: &mut World, owner: u8| {
        for number in u32::from(owner) * 1_000..u32::from(owner) * 1_000 + most + 10 {
            let by = || Actor::Person(account(owner));
            assert_eq!(world.apply_by(by(), made(owner, number)), Outcome::Done);
            assert_eq!(world.apply_by(by(), revoked(owner, number)), Outcome::Done);
        }
    };
    let by = |world: &World, action: &str, owner: u8| {
        let is_theirs = |entry: &Entry| entry.actor.id.as_deref() == Some(account(owner).as_str());
        world.of(action).iter().filter(|entry| is_theirs(entry)).count()
    };
    floods(&mut world, 1);
    floods(&mut world, 3);
    let most = most as usize;
    assert_eq!((by(&world, "api_key.made", 1), by(&world, "api_key.revoked", 1)), (most, most));
    assert_eq!(by(&world, "api_key.made", 3), most + 10, "all that an operator does is told");
    world.apply(Change::Accounts(accounts::Command::Create { id: account(4), name: "machine".into() }));
    floods(&mut world, 4);
    assert_eq!(by(&world, "api_key.made", 4), most + 10, "and all that a machine's account does");
    // Anybody makes a team, so that one is told of as its makers are.
    let team = teams::Command::Make { id: account(5), name: "Kiln".into(), owner: account(2) };
    assert_eq!(world.apply_by(Actor::Person(account(2)), Change::Teams(team)), Outcome::Done);
    floods(&mut world, 5);
    assert_eq!(by(&world, "api_key.made", 5), most);
    world.apply_by(Actor::Person(account(2)), made(2, 1));
    assert_eq!(by(&world, "api_key.made", 2), 1);
    // Others sum it up when the hour is over.
    world.at = world.at.plus_millis(3_600_000);
    for number in 2..4 {
        world.apply_by(Actor::Person(account(2)), made(2, number));
    }
    let summaries = world.of("api_key.").into_iter().filter(|entry| entry.object.kind == "many");
    let mut told: Vec<_> =
        summaries.map(|entry| (entry.object.id.unwrap(), entry.action, entry.count.unwrap())).collect();
    told.sort();
    let expected = [1, 5].map(|number| {
        ["api_key.made", "api_key.revoked"].map(|action| (account(number).to_string(), action.to_owned(), 10))
    });
    assert_eq!(told, expected.as_flattened());
    let budgets = world.engine.scan(Keyspace::Audit, b"b/", None, 100).unwrap();
    assert_eq!(budgets.len(), 1, "what the hour before has spent is forgotten");
}

#[test]
fn however_many_were_summed_up_each_is_told_once_and_the_hour_at_hand_goes_on() {
    let mut world = World::new();
    let note = |world: &mut World, number: u8| {
        let event = Event::new(Action::GrantMade, Kind::Grant, "grant").of(&account(number));
        world.apply_by(Actor::Nobody, Change::Audit(Command::Note(event)));
    };
    let over = |world: &mut World, number: u8| {
        (0..ACCOUNT_PER_HOUR_MAX + u32::from(number)).for_each(|_| note(world, number));
    };
    (1..=10).for_each(|number| over(&mut world, number));
    world.at = world.at.plus_millis(3_600_000);
    // A few go with each; what is over in this hour stays to its end.
    over(&mut world, 11);
    let summaries = |world: &World| -> Vec<_> {
        let all = world.of("grant.made").into_iter().filter(|entry| entry.object.kind == "many");
        all.map(|entry| (entry.object.id.unwrap(), entry.count.unwrap())).rev().collect()
    };
    let expected = |last: u8| (1..=last).map(|it| (account(it).to_string(), it.into())).collect::<Vec<_>>();
    assert_eq!(summaries(&world), expected(10));
    world.at = world.at.plus_millis(3_600_000);
    note(&mut world, 1);
    assert_eq!(summaries(&world), expected(11));
}

#[test]
fn links_that_strangers_ask_for_end_each_other_first() {
    let mut world = World::new();
    let hash = |number: u8| SecretHash::of(&number.to_string());
    let mut make = |number: u8, life_ms: u64| {
        let email = "eve@example.org".parse().unwrap();
        let purpose = Purpose::SignUp { name: String::new(), email, is_operator: false };
        let make = LinkCommand::Make { secret_hash: hash(number), purpose, life_ms };
        assert_eq!(world.apply(Change::Accounts(accounts::Command::Link(make))), Outcome::Done);
    };
    make(1, 3_000);
    (2..=6).for_each(|number| make(number, 1_000));
    let open = |number| accounts::link(&world.engine, &hash(number)).unwrap().is_some();
    assert_eq!([1, 2, 3, 4, 5, 6].map(open), [true, false, false, false, true, true]);
}

#[test]
fn a_client_that_changes_itself_without_end_is_summed_up_too() {
    let mut world = World::new();
    world.make(1);
    let change = |command: oauth::client::Command| Change::Oauth(oauth::Command::Client(command));
    let client = oauth::client::Client {
        id: "client_1".into(),
        name: "app".into(),
        owner: oauth::client::Owner::Itself { registration_token: SecretHash::of("token"), used_at: None },
        authentication: oauth::client::Authentication::None,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: Vec::new(),
        scopes: Vec::new(),
        token_format: oauth::client::TokenFormat::Jwt,
        algorithm: None,
        uri: None,
        trusted: false,
        backchannel_logout: None,
        created_at: world.at,
    };
    let told = head(&world.engine).unwrap().last;
    world.apply(change(oauth::client::Command::Create(client.clone())));
    let itself = Actor::Client { id: "client_1".into(), account: None };
    for _ in 0..2 * STRANGERS_PER_HOUR_MAX {
        let (before, client) = (Box::new(client.clone()), Box::new(client.clone()));
        let same = oauth::client::Command::Change { before, client };
        assert_eq!(world.apply_by(itself.clone(), change(same)), Outcome::Done);
    }
    assert_eq!(world.of("client.changed").len(), STRANGERS_PER_HOUR_MAX as usize);
    assert_eq!(head(&world.engine).unwrap().last - told, u64::from(STRANGERS_PER_HOUR_MAX) + 1);
    // What somebody who is known does to it is told, however much it did itself.
    world.apply(change(oauth::client::Command::Remove { id: "client_1".into() }));
    let removed = Filter { action: Some("client.removed".into()), ..Filter::default() };
    assert_eq!(world.page(&removed).len(), 1);
}

#[test]
fn events_are_found_by_who_what_and_when() {
    let mut world = World::new();
    let begin = world.at;
    (1..=9).for_each(|number| assert_eq!(world.make(number), Outcome::Done));
    world.fail(2);
    let found =
        |filter: &Filter| -> Vec<u64> { world.page(filter).iter().map(|entry| entry.number).collect() };
    let filter = Filter::default;
    assert_eq!(found(&filter()), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(found(&Filter { action: Some("sign_in.failed".into()), ..filter() }), [10]);
    assert_eq!(found(&Filter { action: Some("sign_in.".into()), ..filter() }), [10]);
    assert_eq!(found(&Filter { action: Some("sign_in".into()), ..filter() }).len(), 0);
    assert_eq!(found(&Filter { object: Some(account(4).to_string()), ..filter() }), [4]);
    assert_eq!(found(&Filter { actor: Some(account(4).to_string()), ..filter() }).len(), 0);
    assert_eq!(found(&Filter { actor: Some(account(9).to_string()), ..filter() }).len(), 9);
    let at = |seconds: u64| Some(begin.plus_millis(seconds * 1_000));
    assert_eq!(found(&Filter { since: at(3), until: at(6), ..filter() }), [5, 4, 3]);
    assert_eq!(found(&Filter { until: at(0), ..filter() }).len(), 0);
    assert_eq!(found(&Filter { since: at(60), ..filter() }).len(), 0);
    let first = page(&world.engine, &filter(), None, 4).unwrap();
    assert_eq!((first.entries.len(), first.before), (4, Some(7)));
    let last = page(&world.engine, &filter(), Some(3), 4).unwrap();
    assert_eq!((last.entries.len(), last.before), (2, None));
}

#[test]
fn names_of_actions_are_told_once_and_never_change() {
    let names: std::collections::BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(names.len(), Action::ALL.len());
    assert!(names.iter().all(|name| name.split('.').count() == 2), "a noun and what became of it");
}
