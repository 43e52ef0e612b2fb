//! What ends together: what came of a session with the session, all that a person left behind with the person.

use super::*;
use crate::command::{self, Command as Change};
use crate::ids::{GrantId, JobId};
use crate::jobs::{self, JobState};
use crate::oauth;
use crate::oauth::grant;

impl World {
    fn change(&mut self, command: Change) -> Outcome {
        let mut transaction = Transaction::new(&self.engine);
        let outcome = command::apply(&mut transaction, self.at, &command).unwrap();
        self.engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
        outcome
    }

    /// Lets a client in for the first person, in one of their sessions.
    fn grant(&mut self, number: u8, session: &str) -> GrantId {
        let id: GrantId = format!("grant_{number:026}").parse().unwrap();
        let code = SecretHash::of(&format!("code {number}"));
        let issue = oauth::code::Command::Issue {
            hash: code,
            binding: oauth::code::Binding {
                client: "web".into(),
                redirect_uri: "https://app.example/cb".into(),
                challenge: [7; 32],
                dpop_jkt: None,
            },
            allowed: grant::Allowed {
                account: account(1),
                session: Some(session_id(session).to_string()),
                scopes: vec![Scope::DocsRead],
                resources: Vec::new(),
                nonce: None,
                signed_in_at: self.at,
                methods: vec!["pwd".into()],
            },
            refreshable: true,
            ttl_ms: 60_000,
            remember: true,
            pushed: None,
        };
        assert_eq!(self.change(Change::Oauth(oauth::Command::Code(issue))), Outcome::Done);
        let redeem = oauth::code::Command::Redeem {
            hash: code,
            shown: oauth::code::Shown {
                client: "web".into(),
                redirect_uri: Some("https://app.example/cb".into()),
                challenge: [7; 32],
                dpop_jkt: None,
            },
            grant: id.clone(),
            refresh: SecretHash::of(&format!("refresh {number}")),
            limits: grant::Limits { access_ms: 1_000, idle_ms: 10_000, absolute_ms: 10_000 },
        };
        assert_eq!(self.change(Change::Oauth(oauth::Command::Code(redeem))), Outcome::Done);
        id
    }
}

#[test]
fn one_session_too_many_ends_the_grants_of_the_oldest() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "0");
    let oldest = world.grant(1, "0");
    world.begin(1, "1");
    let next = world.grant(2, "1");
    for number in 2..=SESSIONS_PER_ACCOUNT_MAX {
        assert_eq!(world.begin(1, &number.to_string()), Outcome::Done);
    }
    assert_eq!(world.session("0"), None);
    assert!(grant::is_revoked(&world.engine, oldest.as_str()).unwrap());
    assert!(!grant::is_revoked(&world.engine, next.as_str()).unwrap());
}

#[test]
fn nothing_of_a_removed_person_is_left() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.begin(1, "a");
    world.grant(1, "a");
    assert_eq!(world.apply(&linked("ada", 1, 0)), Outcome::Done);
    world.make("reset", Purpose::Reset { account: account(1) });
    let made = oauth::client::Command::Create(oauth::tests::client("theirs", account(1)));
    assert_eq!(world.change(Change::Oauth(oauth::Command::Client(made))), Outcome::Done);
    let job: JobId = format!("job_{:026}", 1).parse().unwrap();
    let submit = jobs::Command::Submit {
        id: job.clone(),
        account: account(1),
        library: "/a/b".parse().unwrap(),
        version: "1.0".parse().unwrap(),
        source: jobs::Source::Folder { path: "docs".into() },
        base_url: None,
    };
    assert_eq!(world.change(Change::Jobs(submit)), Outcome::Done);

    let remove = PersonCommand::Remove { account: account(1), generation: 0 };
    assert_eq!(world.change(Change::Accounts(Command::Person(remove))), Outcome::Done);
    assert_eq!(jobs::get(&world.engine, &job).unwrap().unwrap().state, JobState::Cancelled);
    assert_eq!(oauth::client::get(&world.engine, "theirs").unwrap(), None);
    assert!(oauth::consent::list(&world.engine, &account(1)).unwrap().is_empty());
    let kept = |keyspace| {
        let kept = world.engine.scan(keyspace, b"", None, 1_000).unwrap().into_iter();
        let keys = kept.map(|(key, _)| String::from_utf8_lossy(&key).into_owned());
        keys.filter(|key| key.contains(account(1).as_str())).collect::<Vec<_>>()
    };
    assert_eq!((kept(Keyspace::Accounts), kept(Keyspace::Oauth)), (Vec::new(), Vec::new()));
}

impl World {
    fn begin_at_provider(&mut self, number: u8, secret: &str, there: &str) {
        let upstream = UpstreamSession { subject: subject("ada"), session: Some(there.into()) };
        let begun = self.begin_as(number, secret, |sign_in| sign_in.upstream = Some(upstream));
        assert_eq!(begun, Outcome::Done);
    }

    /// Whose sessions at providers are known, by their names there.
    fn known_at_providers(&self) -> Vec<String> {
        let known = self.engine.scan(Keyspace::Accounts, b"us/", None, 10).unwrap();
        let mut accounts: Vec<_> =
            known.into_iter().map(|(_, whose)| String::from_utf8(whose).unwrap()).collect();
        accounts.retain(|account| !account.is_empty());
        accounts.sort_unstable();
        accounts
    }
}

#[test]
fn whose_a_session_at_a_provider_was_is_forgotten_with_it_and_nobody_elses_is() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    world.add(2, "eve@example.org");
    let [ada, eve] = [1, 2].map(|number| account(number).to_string());
    world.begin_at_provider(1, "a", "there-1");
    world.begin_at_provider(2, "e", "there-2");
    assert_eq!(world.known_at_providers(), [ada.clone(), eve.clone()]);
    assert_eq!(world.end(1, Which::One(session_id("a"))), Outcome::Done);
    assert_eq!(world.known_at_providers(), std::slice::from_ref(&eve));

    // Somebody else signs in here from the same session there: it is theirs from then on, whatever becomes of the first.
    world.begin_at_provider(1, "b", "there-3");
    world.begin_at_provider(2, "f", "there-3");
    assert_eq!(world.end(1, Which::All), Outcome::Done);
    assert_eq!(world.known_at_providers(), [eve.clone(), eve.clone()]);

    world.begin_at_provider(1, "c", "there-4");
    assert_eq!(world.known_at_providers(), [ada, eve.clone(), eve.clone()]);
    let remove = PersonCommand::Remove { account: account(1), generation: 0 };
    assert_eq!(world.apply(&Command::Person(remove)), Outcome::Done);
    assert_eq!(world.known_at_providers(), [eve.clone(), eve.clone()], "it went with the account");

    // What is left still finds the session by its name there alone.
    let sign_out = UpstreamCommand::LogOut {
        issuer: subject("ada").issuer,
        token: "token".into(),
        subject: None,
        session: Some("there-3".into()),
    };
    assert_eq!(world.apply(&Command::Upstream(sign_out)), Outcome::Done);
    assert_eq!(world.open_sessions(2), [session_id("e")]);
    assert_eq!(world.known_at_providers(), [eve]);
}

#[test]
fn a_session_at_a_provider_is_known_as_long_as_one_here_came_of_it() {
    let mut world = World::new();
    world.add(1, "ada@example.org");
    let ada = account(1).to_string();
    world.begin_at_provider(1, "a", "there-1");
    world.begin_at_provider(1, "b", "there-1");
    assert_eq!(world.end(1, Which::One(session_id("a"))), Outcome::Done);
    assert_eq!(world.known_at_providers(), std::slice::from_ref(&ada));
    // The same browser signs in once more, from another session there: the first goes with it.
    let upstream = UpstreamSession { subject: subject("ada"), session: Some("there-2".into()) };
    let begun = world.begin_as(1, "c", |sign_in| {
        sign_in.replaces = Some(SecretHash::of("b"));
        sign_in.upstream = Some(upstream);
    });
    assert_eq!(begun, Outcome::Done);
    assert_eq!(world.known_at_providers(), [ada]);
    assert_eq!(world.end(1, Which::All), Outcome::Done);
    assert!(world.known_at_providers().is_empty());
}
