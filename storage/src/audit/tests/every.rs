//! Every action, told by the command that does it: a new one is red here until it has its line.
//!
//! A line is compared in words, `action by who: object of account; detail`, with the last digit of ids alone.

mod cluster;
mod people;
mod programs;

use std::collections::BTreeSet;

use super::*;
use crate::accounts::{Method, PasswordHash, PersonAdded, SessionCommand, SignIn};
use crate::ids::{ApiKeyId, SessionId};

/// What no command of state does: whoever has done it notes it by itself, here with the kind of its object.
const NOTED: [(Action, Kind); 7] = [
    (Action::AccountExported, Kind::Account),
    (Action::ConsentDenied, Kind::Client),
    (Action::ClientRefused, Kind::Client),
    (Action::MemberPromoted, Kind::Member),
    (Action::MemberDemoted, Kind::Member),
    (Action::ClusterUpgraded, Kind::Cluster),
    (Action::BackupTaken, Kind::Cluster),
];

/// What is done in a world of its own, told line by line.
type Story = fn(&mut Log);

/// A world whose log is read after each command.
struct Log {
    world: World,
    seen: BTreeSet<String>,
}

impl Log {
    /// It is done, and these lines are written, the oldest first.
    #[track_caller]
    fn tells(&mut self, by: &Actor, command: Change, told: &[&str]) {
        assert_eq!(self.lines(by, command), (Outcome::Done, told.iter().map(ToString::to_string).collect()));
    }

    /// It is refused, what was shown is good for nothing any more, and this line says so.
    #[track_caller]
    fn burns(&mut self, by: &Actor, command: Change, told: &str) {
        assert_eq!(self.lines(by, command), (Outcome::Burnt, vec![told.to_owned()]));
    }

    /// It is refused, and nothing is written.
    #[track_caller]
    fn refuses(&mut self, by: &Actor, command: Change, outcome: Outcome) {
        assert_eq!(self.lines(by, command), (outcome, Vec::new()));
    }

    /// Done without a line, and without anybody behind it.
    #[track_caller]
    fn given(&mut self, command: &Change) {
        assert_eq!(self.world.apply_bare(command), Outcome::Done);
    }

    fn lines(&mut self, by: &Actor, command: Change) -> (Outcome, Vec<String>) {
        assert!(command.is_audited(), "nobody would be sent with {command:?}");
        let before = head(&self.world.engine).unwrap().last;
        let outcome = self.world.apply_by(by.clone(), command);
        let mut entries = self.world.page(&Filter::default());
        entries.retain(|entry| entry.number > before);
        entries.reverse();
        for entry in &entries {
            assert_eq!((entry.address.as_deref(), entry.node), (Some("192.0.2.1"), 3), "{entry:?}");
            assert!(entry.request.is_some(), "{entry:?}");
            self.seen.insert(entry.action.clone());
        }
        (outcome, entries.iter().map(words).collect())
    }

    fn person(&mut self, number: u8) {
        self.given(&add(number, false));
    }

    fn generation(&self, number: u8) -> u32 {
        accounts::person(&self.world.engine, &account(number)).unwrap().unwrap().generation
    }

    fn begin(&self, number: u8, session: u8, change: impl FnOnce(&mut SignIn)) -> Change {
        let mut sign_in = SignIn {
            account: account(number),
            generation: self.generation(number),
            id: session_id(session),
            secret_hash: SecretHash::of(&format!("session {session}")),
            methods: vec![Method::Password],
            idle_ms: 60_000,
            life_ms: 60_000,
            client: "test".into(),
            address: "192.0.2.1".into(),
            replaces: None,
            who: Who::email(&email(number)),
            rehashed: None,
            proof: None,
            upstream: None,
        };
        change(&mut sign_in);
        of_session(SessionCommand::Begin(Box::new(sign_in)))
    }

    fn begun(&mut self, number: u8, session: u8) {
        self.given(&self.begin(number, session, |_| {}));
    }
}

fn words(entry: &Entry) -> String {
    let named = |it: &Subject| {
        let parts = [Some(it.kind.clone()), it.id.clone(), it.account.as_ref().map(|it| format!("of {it}"))];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let refused = if entry.outcome == "done" { "" } else { " refused" };
    let count = entry.count.map(|count| format!(" x{count}")).unwrap_or_default();
    let (actor, object) = (named(&entry.actor), named(&entry.object));
    let detail: String = entry.detail.iter().map(|(name, value)| format!("; {name}={value}")).collect();
    format!("{}{refused}{count} by {actor}: {object}{detail}", entry.action).replace(STEM, "")
}

const STEM: &str = "01hzy3k8w0abcdefghjkmnp00";
const OPERATOR: u8 = 9;

fn session_id(number: u8) -> SessionId {
    format!("ses_{STEM}{number}").parse().unwrap()
}

fn key_id(number: u8) -> ApiKeyId {
    format!("key_{STEM}{number}").parse().unwrap()
}

fn email(number: u8) -> accounts::Email {
    format!("p{number}@example.org").parse().unwrap()
}

fn person(number: u8) -> Actor {
    Actor::Person(account(number))
}

fn password() -> PasswordHash {
    PasswordHash::new("hash".into())
}

fn of_person(command: PersonCommand) -> Change {
    Change::Accounts(accounts::Command::Person(command))
}

fn of_session(command: SessionCommand) -> Change {
    Change::Accounts(accounts::Command::Session(command))
}

fn added(number: u8, is_operator: bool) -> PersonAdded {
    let (account, email, name) = (account(number), email(number), "Ada".into());
    PersonAdded { account, name, email, password: Some(password()), is_operator, is_verified: true }
}

fn add(number: u8, is_operator: bool) -> Change {
    of_person(PersonCommand::Add(added(number, is_operator)))
}

#[test]
fn every_action_is_told_by_what_does_it() {
    let mut log = Log { world: World::new(), seen: BTreeSet::new() };
    for story in [people::STORIES, programs::STORIES, cluster::STORIES].concat() {
        story(&mut log);
        verify(log.world.export().as_bytes()).unwrap();
        log.world = World::new();
    }
    for (action, kind) in NOTED {
        assert!(!log.seen.contains(action.as_str()), "{action:?} is told by a command of its own");
        let by = Actor::Key { id: key_id(1), account: account(OPERATOR) };
        let (name, kind_name) = (action.as_str(), kind.as_str());
        let told = format!("{name} by api_key key_1 of acct_9: {kind_name} it");
        log.tells(&by, Change::Audit(Command::Note(Event::new(action, kind, "it"))), &[&told]);
    }
    let all: BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str().to_owned()).collect();
    assert_eq!(log.seen, all, "on the left what was told here, on the right every action");
}
