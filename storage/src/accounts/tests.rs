//! People, sessions, links and tries as the log decides them.

mod endings;
mod factors;
mod sms;

use super::*;
use crate::api_keys::{self, SecretHash};
use crate::engine::{Durability, Engine as _, MemoryEngine};
use crate::ids::{ApiKeyId, SessionId};
use crate::scope::Scope;

struct World {
    engine: MemoryEngine,
    at: Timestamp,
}

impl World {
    fn new() -> Self {
        Self { engine: MemoryEngine::new(Keyspace::STATE), at: Timestamp::from_millis(1_000_000) }
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        let mut transaction = Transaction::new(&self.engine);
        let outcome = apply(&mut transaction, self.at, command).unwrap();
        let (batch, _) = transaction.finish();
        assert!(outcome == Outcome::Done || batch.is_empty(), "a refused command changed something");
        self.engine.commit(batch, Durability::Buffered).unwrap();
        outcome
    }

    fn add(&mut self, number: u8, address: &str) -> Outcome {
        self.apply(&Command::Person(PersonCommand::Add(PersonAdded {
            account: account(number),
            name: "Ada".into(),
            email: email(address),
            password: Some(hash("first")),
            is_operator: false,
            is_verified: true,
        })))
    }

    fn begin(&mut self, number: u8, secret: &str) -> Outcome {
        self.begin_as(number, secret, |_| {})
    }

    fn begin_as(&mut self, number: u8, secret: &str, change: impl FnOnce(&mut SignIn)) -> Outcome {
        let person = self.person(number);
        let mut sign_in = SignIn {
            account: account(number),
            generation: person.as_ref().map_or(0, |person| person.generation),
            id: session_id(secret),
            secret_hash: SecretHash::of(secret),
            methods: vec![Method::Password],
            idle_ms: 1_000,
            life_ms: 5_000,
            client: "test".into(),
            address: "192.0.2.1".into(),
            replaces: None,
            who: who(),
            rehashed: None,
            proof: None,
            upstream: None,
        };
        change(&mut sign_in);
        self.apply(&Command::Session(SessionCommand::Begin(Box::new(sign_in))))
    }

    fn end(&mut self, number: u8, which: Which) -> Outcome {
        self.apply(&Command::Session(SessionCommand::End { account: account(number), which }))
    }

    fn make(&mut self, secret: &str, purpose: Purpose) -> Outcome {
        let secret_hash = SecretHash::of(secret);
        self.apply(&Command::Link(LinkCommand::Make { secret_hash, purpose, life_ms: 1_000 }))
    }

    fn open(&mut self, secret: &str, number: u8, password: Option<&str>) -> Outcome {
        self.apply(&Command::Link(LinkCommand::Use {
            secret_hash: SecretHash::of(secret),
            account: account(number),
            name: "Ada".into(),
            password: password.map(hash),
        }))
    }

    fn failed(&mut self, count: u32) -> u64 {
        let failed = TryCommand::Failed {
            who: who(),
            tried: Tried::Nobody,
            count,
            lock_after: 10,
            lock_ms: 60_000,
            lock_ms_max: 200_000,
        };
        assert_eq!(self.apply(&Command::Try(failed)), Outcome::Done);
        tries(&self.engine, &who()).unwrap().unwrap().locked_for_ms(self.at)
    }

    fn set_password(&mut self, generation: u32, keep: Option<&str>) -> Outcome {
        self.apply(&Command::Person(PersonCommand::SetPassword {
            account: account(1),
            generation,
            password: hash("second"),
            keep: keep.map(session_id),
        }))
    }

    fn person(&self, number: u8) -> Option<Person> {
        person(&self.engine, &account(number)).unwrap()
    }

    fn session(&self, secret: &str) -> Option<Session> {
        session(&self.engine, &SecretHash::of(secret)).unwrap()
    }

    /// Which secrets open a session of the account, by their ids.
    fn open_sessions(&self, number: u8) -> Vec<SessionId> {
        sessions(&self.engine, &account(number)).unwrap().into_iter().map(|session| session.id).collect()
    }
}

fn account(number: u8) -> AccountId {
    format!("acct_{number:026}").parse().unwrap()
}

fn session_id(secret: &str) -> SessionId {
    let number = u64::from_le_bytes(SecretHash::of(secret).as_bytes()[..8].try_into().unwrap());
    format!("ses_{number:026}").parse().unwrap()
}

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

fn hash(password: &str) -> PasswordHash {
    PasswordHash::new(password.to_owned())
}

fn who() -> Who {
    Who::email(&email("ada@example.org"))
}

fn sign_up(address: &str) -> Purpose {
    Purpose::SignUp { name: String::new(), email: email(address), is_operator: false }
}

#[test]
fn an_email_belongs_to_one_person_and_is_free_again_when_they_are_gone() {
    let mut world = World::new();
    assert_eq!(world.add(1, "ada@example.org"), Outcome::Done);
    assert_eq!(world.add(2, "ADA@example.org"), Outcome::AlreadyExists);
    assert_eq!(world.add(1, "eve@example.org"), Outcome::AlreadyExists, "the account has a person");
    assert_eq!(by_email(&world.engine, &email("ada@example.org")).unwrap(), world.person(1));
    world.begin(1, "a");
    let key = ApiKeyId::random(world.at, &crate::clock::SystemEntropy).unwrap();
    let create = api_keys::Command::Create {
        id: key,
        account: account(1),
        name: "laptop".into(),
        scopes: vec![Scope::DocsRead],
        secret_hash: SecretHash::of("key"),
        hint: "hint".into(),
        expires_at: None,
    };
    let mut transaction = Transaction::new(&world.engine);
    api_keys::apply(&mut transaction, world.at, &create).unwrap();
    world.engine.commit(transaction.finish().0, Durability::Buffered).unwrap();

    let remove = |generation| Command::Person(PersonCommand::Remove { account: account(1), generation });
    assert_eq!(world.apply(&remove(7)), Outcome::Stale);
    assert_eq!(world.apply(&remove(0)), Outcome::Done);
    assert_eq!(world.apply(&remove(0)), Outcome::NotFound);
    assert_eq!(world.session("a"), None);
    assert_eq!(get(&world.engine, &account(1)).unwrap(), None);
    assert!(api_keys::list(&world.engine, &account(1)).unwrap().is_empty());
    assert_eq!(api_keys::find(&world.engine, &SecretHash::of("key")).unwrap(), None);
    assert_eq!(world.add(2, "ada@example.org"), Outcome::Done);
}

#[test]
fn an_account_that_was_a_machines_may_become_a_persons() {
    let mut world = World::new();
    world.apply(&Command::Create { id: account(1), name: "owner".into() });
    assert_eq!(world.add(1, "ada@example.org"), Outcome::Done);
    assert_eq!(get(&world.engine, &account(1)).unwrap().unwrap().name, "owner", "the name stays");
}

#[test]
fn a_session_ends_by_rest_by_age_and_by_hand() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    assert_eq!(world.begin(1, "a"), Outcome::Done);
    let seen = Command::Session(SessionCommand::Seen { secret_hash: SecretHash::of("a") });
    for _ in 0..5 {
        world.at = world.at.plus_millis(900);
        assert!(world.session("a").unwrap().is_valid(world.at));
        assert_eq!(world.apply(&seen), Outcome::Done);
    }
    world.at = world.at.plus_millis(600);
    assert!(!world.session("a").unwrap().is_valid(world.at), "5 s old, though it is in use");
    assert_eq!(world.apply(&seen), Outcome::Stale);

    assert_eq!(world.begin(1, "b"), Outcome::Done);
    world.at = world.at.plus_millis(1_000);
    assert!(!world.session("b").unwrap().is_valid(world.at), "1 s without use");

    world.begin(1, "c");
    world.begin(1, "d");
    world.add(2, "eve@example.org");
    assert_eq!(world.end(2, Which::One(session_id("c"))), Outcome::NotFound, "somebody else's");
    assert_eq!(world.end(1, Which::AllBut(session_id("d"))), Outcome::Done);
    assert_eq!(world.open_sessions(1), [session_id("d")]);
    assert_eq!(world.end(1, Which::All), Outcome::Done);
    assert_eq!(world.end(1, Which::All), Outcome::NotFound);
    assert_eq!(world.session("d"), None);
}

#[test]
fn one_session_too_many_ends_the_oldest_and_a_browser_has_one() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    for number in 0..=SESSIONS_PER_ACCOUNT_MAX {
        assert_eq!(world.begin(1, &number.to_string()), Outcome::Done);
    }
    assert_eq!(world.open_sessions(1).len(), SESSIONS_PER_ACCOUNT_MAX);
    assert_eq!(world.session("0"), None);
    world.add(2, "eve@example.org");
    let replaces = Some(SecretHash::of("7"));
    assert_eq!(world.begin_as(2, "eve", |sign_in| sign_in.replaces = replaces), Outcome::Done);
    assert_eq!(world.session("7"), None, "the same browser, another person");
    assert_eq!(world.begin(1, "eve"), Outcome::AlreadyExists);
}

#[test]
fn a_sign_in_decided_before_something_changed_is_refused() {
    let mut world = World::new();
    assert_eq!(world.begin(1, "a"), Outcome::NotFound);
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    world.begin(1, "b");
    assert_eq!(world.set_password(7, None), Outcome::Stale);
    assert_eq!(world.set_password(0, Some("b")), Outcome::Done);
    assert_eq!(world.open_sessions(1), [session_id("b")]);
    assert_eq!(world.begin_as(1, "c", |sign_in| sign_in.generation = 0), Outcome::Stale);
    let rehashed = Some(hash("stronger"));
    assert_eq!(world.begin_as(1, "c", |sign_in| sign_in.rehashed = rehashed), Outcome::Done);
    let person = world.person(1).unwrap();
    assert_eq!((person.password, person.generation), (Some(hash("stronger")), 1));

    let disable = |is_disabled| {
        let (is_disabled, is_operator) = (Some(is_disabled), None);
        Command::Person(PersonCommand::Manage { account: account(1), is_disabled, is_operator })
    };
    assert_eq!(world.apply(&disable(true)), Outcome::Done);
    assert_eq!(world.begin(1, "d"), Outcome::NotFound);
    assert!(world.open_sessions(1).is_empty());
    world.apply(&disable(false));
    assert_eq!(world.begin(1, "d"), Outcome::Done);
}

#[test]
fn locks_grow_with_each_further_try_end_by_themselves_and_are_forgotten() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    assert_eq!(world.failed(9), 0);
    assert_eq!(world.begin(1, "a"), Outcome::Done);
    assert_eq!(world.failed(9), 0, "a right password begins anew");
    assert_eq!(world.failed(1), 60_000);
    assert_eq!(world.begin(1, "b"), Outcome::Stale, "the right password too");
    world.at = world.at.plus_millis(60_000);
    assert_eq!(world.failed(1), 120_000);
    assert_eq!(world.failed(1), 200_000, "the longest");
    world.at = world.at.plus_millis(200_000);
    assert_eq!(world.begin(1, "b"), Outcome::Done);
    world.failed(9);
    world.at = world.at.plus_millis(24 * 3600 * 1000);
    assert_eq!(world.failed(9), 0, "a day later");
    assert_eq!(world.failed(u32::MAX), 200_000);
}

#[test]
fn what_many_people_behind_one_address_have_wrong_is_forgiven_bit_by_bit() {
    let mut world = World::new();
    let mut failed = |after_ms: u64, count: u32| {
        world.at = world.at.plus_millis(after_ms);
        let who = Who::network("192.0.2.1");
        let tried = Tried::Network("192.0.2.1".to_owned());
        let limits = (24, 60_000, 200_000);
        let (lock_after, lock_ms, lock_ms_max) = limits;
        let failed = TryCommand::Failed { who, tried, count, lock_after, lock_ms, lock_ms_max };
        assert_eq!(world.apply(&Command::Try(failed)), Outcome::Done);
        let tries = tries(&world.engine, &who).unwrap().unwrap();
        (tries.count, tries.locked_for_ms(world.at) > 0)
    };
    let hour = 3600 * 1000;
    assert_eq!(failed(0, 20), (20, false));
    assert_eq!(failed(hour / 2, 1), (21, false));
    assert_eq!(failed(6 * hour, 3), (18, false), "one of twenty-four an hour");
    // One mistake each half hour is half forgiven, one each hour wholly.
    assert!((0..10).all(|_| !failed(hour / 2, 1).1));
    assert!((0..100).all(|_| !failed(hour, 1).1));
    assert_eq!(failed(1, 6), (29, true), "many at once are not");
}

#[test]
fn a_link_for_one_thing_ends_none_for_another() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    let new = Purpose::Email { account: account(1), email: email("new@example.org") };
    assert_eq!(world.make("mail", new), Outcome::Done);
    for secret in ["a", "b", "c", "d"] {
        assert_eq!(world.make(secret, Purpose::Reset { account: account(1) }), Outcome::Done);
    }
    let is_open = |secret: &str| link(&world.engine, &SecretHash::of(secret)).unwrap().is_some();
    assert_eq!(["mail", "a", "b", "c", "d"].map(is_open), [true, false, true, true, true]);
    // All of them end with a change of what opens the account.
    assert_eq!(world.open("d", 1, Some("second")), Outcome::Done);
    let is_open = |secret: &str| link(&world.engine, &SecretHash::of(secret)).unwrap().is_some();
    assert_eq!(["mail", "b", "c", "d"].map(is_open), [false; 4]);
}

#[test]
fn a_link_is_used_once_before_it_expires() {
    let mut world = World::new();
    assert_eq!(world.make("up", sign_up("ada@example.org")), Outcome::Done);
    assert_eq!(world.open("other", 1, Some("x")), Outcome::NotFound);
    assert_eq!(world.open("up", 1, None), Outcome::Stale, "a password is chosen with it");
    assert_eq!(world.open("up", 1, Some("first")), Outcome::Done);
    assert_eq!(world.open("up", 2, Some("second")), Outcome::NotFound);
    let person = world.person(1).unwrap();
    assert_eq!(person.password, Some(hash("first")));
    assert!(person.verified_at.is_some());

    let reset = || Purpose::Reset { account: account(1) };
    world.make("late", reset());
    world.at = world.at.plus_millis(1_000);
    assert_eq!(world.open("late", 9, Some("late")), Outcome::NotFound);

    for secret in ["1", "2", "3", "4"] {
        assert_eq!(world.make(secret, reset()), Outcome::Done);
    }
    assert_eq!(world.open("1", 9, Some("x")), Outcome::NotFound, "three are open");
    world.begin(1, "a");
    world.failed(10);
    assert_eq!(world.open("2", 9, Some("reset")), Outcome::Done);
    assert!(world.open_sessions(1).is_empty());
    assert_eq!(world.begin(1, "b"), Outcome::Done, "whoever reads the mail is not locked out");
    assert_eq!(world.open("3", 9, Some("again")), Outcome::NotFound, "of the password before");
}

#[test]
fn a_link_ends_with_the_email_and_the_password_it_was_sent_for() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.add(2, "eve@example.org");
    let change = |to: &str| Purpose::Email { account: account(1), email: email(to) };
    world.make("reset", Purpose::Reset { account: account(1) });
    world.make("mail", change("ada@example.com"));
    world.make("taken", change("eve@example.org"));
    assert_eq!(world.open("taken", 9, None), Outcome::AlreadyExists);
    assert_eq!(world.open("mail", 9, None), Outcome::Done);
    assert_eq!(world.open("reset", 9, Some("x")), Outcome::NotFound);
    assert_eq!(world.person(1).unwrap().email, email("ada@example.com"));
    assert_eq!(world.add(3, "ada@example.org"), Outcome::Done, "the old one is free");

    world.make("reset", Purpose::Reset { account: account(1) });
    assert_eq!(world.set_password(1, None), Outcome::Done);
    assert_eq!(world.open("reset", 9, Some("x")), Outcome::NotFound);
    assert_eq!(world.make("nobody", Purpose::Reset { account: account(9) }), Outcome::NotFound);

    world.make("late", sign_up("bob@example.org"));
    world.add(4, "bob@example.org");
    assert_eq!(world.open("late", 5, Some("x")), Outcome::AlreadyExists);
}

#[test]
fn what_strangers_can_make_without_end_is_bounded() {
    let mut world = World::new();
    let mut transaction = Transaction::new(&world.engine);
    for number in 0..5_u8 {
        let key = format!("t/{number}").into_bytes();
        transaction.put_bytes(Keyspace::Accounts, key.clone(), vec![number]);
        shelf::put(&mut transaction, "tries", key, 3).unwrap();
    }
    world.engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
    let left = world.engine.scan(Keyspace::Accounts, b"t/", None, 10).unwrap();
    assert_eq!(left.into_iter().map(|(_, value)| value[0]).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(world.engine.scan(Keyspace::Accounts, b"q/tries/", None, 10).unwrap().len(), 3);
    // A name that is tried again stands on the shelf once.
    for _ in 0..3 {
        world.failed(1);
        world.add(1, "ada@example.org");
        world.begin(1, "a");
    }
    assert_eq!(world.engine.scan(Keyspace::Accounts, b"q/tries/", None, 10).unwrap().len(), 4);
}

fn subject(name: &str) -> Subject {
    Subject { issuer: "https://id.example".into(), subject: name.into() }
}

fn joined(name: &str, number: u8, address: &str) -> Command {
    Command::Upstream(UpstreamCommand::Join {
        subject: subject(name),
        name: name.into(),
        added: PersonAdded {
            account: account(number),
            name: "Ada".into(),
            email: email(address),
            password: None,
            is_operator: false,
            is_verified: true,
        },
    })
}

fn linked(name: &str, number: u8, generation: u32) -> Command {
    let (subject, name) = (subject(name), name.into());
    Command::Upstream(UpstreamCommand::Link { subject, name, account: account(number), generation })
}

fn unlinked(name: &str, number: u8) -> Command {
    let id = subject(name).id();
    Command::Upstream(UpstreamCommand::Unlink { account: account(number), id })
}

#[test]
fn an_identity_opens_one_account_and_the_last_way_in_stays() {
    let mut world = World::new();
    assert_eq!(world.add(1, "ada@example.org"), Outcome::Done);
    assert_eq!(world.apply(&linked("ada", 1, 7)), Outcome::Stale, "decided for another generation");
    assert_eq!(world.apply(&linked("ada", 9, 0)), Outcome::NotFound);
    assert_eq!(world.apply(&linked("ada", 1, 0)), Outcome::Done);
    assert_eq!(world.apply(&linked("ada", 1, 0)), Outcome::AlreadyExists);
    assert_eq!(world.apply(&joined("ada", 2, "eve@example.org")), Outcome::AlreadyExists);
    assert_eq!(
        world.apply(&joined("eve", 2, "ada@example.org")),
        Outcome::AlreadyExists,
        "the e-mail is taken"
    );
    assert!(identity(&world.engine, &subject("eve")).unwrap().is_none());
    assert_eq!(world.apply(&joined("eve", 2, "eve@example.org")), Outcome::Done);
    assert_eq!(identity(&world.engine, &subject("eve")).unwrap().unwrap().account, account(2));
    // Who signs in nowhere else keeps the one way in.
    assert_eq!(world.apply(&unlinked("eve", 2)), Outcome::Stale);
    assert_eq!(world.apply(&unlinked("eve", 1)), Outcome::NotFound, "another account's");
    assert_eq!(world.apply(&linked("eve-too", 2, 0)), Outcome::Done);
    assert_eq!(world.apply(&unlinked("eve", 2)), Outcome::Done);
    assert_eq!(
        world.begin_as(2, "by eve", |sign_in| sign_in.generation = 0),
        Outcome::Stale,
        "it began before"
    );
    assert_eq!(world.begin(2, "by eve-too"), Outcome::Done);
    assert_eq!(world.apply(&unlinked("ada", 1)), Outcome::Done, "there is a password");
    for number in 0..IDENTITIES_EACH_MAX {
        assert_eq!(world.apply(&linked(&format!("ada-{number}"), 1, 1)), Outcome::Done);
    }
    assert_eq!(world.apply(&linked("one more", 1, 1)), Outcome::LimitReached);
    let remove = PersonCommand::Remove { account: account(1), generation: 1 };
    assert_eq!(world.apply(&Command::Person(remove)), Outcome::Done);
    assert!(identity(&world.engine, &subject("ada-0")).unwrap().is_none(), "it goes with its account");
}

#[test]
fn case_092_a_logout_token_ends_the_sessions_it_names_once() {
    let mut world = World::new();
    assert_eq!(world.apply(&joined("ada", 1, "ada@example.org")), Outcome::Done);
    let mut began = |secret: &str, session: Option<&str>| {
        let upstream = UpstreamSession { subject: subject("ada"), session: session.map(str::to_owned) };
        world.begin_as(1, secret, |sign_in| sign_in.upstream = Some(upstream));
    };
    began("one", Some("there-1"));
    began("two", Some("there-2"));
    began("three", None);
    world.begin(1, "by password");
    let out = |token: &str, subject: Option<&str>, session: Option<&str>| {
        Command::Upstream(UpstreamCommand::LogOut {
            issuer: "https://id.example".into(),
            token: token.into(),
            subject: subject.map(str::to_owned),
            session: session.map(str::to_owned),
        })
    };
    assert_eq!(world.apply(&out("t1", None, Some("there-1"))), Outcome::Done);
    assert!(world.session("one").is_none() && world.session("two").is_some());
    assert_eq!(world.apply(&out("t1", Some("ada"), None)), Outcome::AlreadyExists, "the token was used");
    assert!(world.session("two").is_some());
    assert_eq!(world.apply(&out("t2", Some("eve"), Some("there-2"))), Outcome::Done);
    assert_eq!(world.apply(&out("t3", None, Some("nowhere"))), Outcome::Done);
    assert!(world.session("two").is_some(), "somebody else's sign-out");
    assert_eq!(world.apply(&out("t4", Some("ada"), None)), Outcome::Done);
    assert!(world.session("two").is_none() && world.session("three").is_none());
    assert!(world.session("by password").is_some(), "it came of no provider");

    // Sessions outlive the identity they came of, and the provider's sign-out finds them by their own id.
    let upstream = UpstreamSession { subject: subject("ada"), session: Some("there-4".into()) };
    world.begin_as(1, "four", |sign_in| sign_in.upstream = Some(upstream));
    assert_eq!(world.apply(&linked("ada-too", 1, 0)), Outcome::Done);
    assert_eq!(world.apply(&unlinked("ada", 1)), Outcome::Done);
    assert!(world.session("four").is_some());
    assert_eq!(world.apply(&out("t5", Some("ada"), Some("there-4"))), Outcome::Done);
    assert!(world.session("four").is_none());
}
