//! People on one node, from the letter to the end of the account.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use twinmcp_storage::accounts::{PersonCommand, Subject, Which};
use twinmcp_storage::command::Command;
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::libraries;
use twinmcp_storage::scope::Scope;

use super::*;
use crate::tests::World;
use crate::upstream::Visit;

mod rehashing;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
const PASSWORD: &str = "correct horse battery";

impl World {
    fn people(&self) -> &Accounts {
        &self.actors.accounts
    }

    /// The newest letter to somebody with this in its subject, once it is there: its text.
    async fn letter(&self, to: &str, subject: &str) -> String {
        for _ in 0..2_000 {
            let mut names: Vec<_> = std::fs::read_dir(self.outbox())
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
                .collect();
            names.sort();
            let letters = names.iter().rev().map(|name| std::fs::read_to_string(name).unwrap());
            let found = letters.into_iter().find(|text| {
                text.contains(&format!("To: {to}")) && text.contains(&format!("Subject: {subject}"))
            });
            if let Some(text) = found {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no letter to {to} about {subject}");
    }

    /// Whether there is a letter to somebody.
    fn outbox_has(&self, to: &str) -> bool {
        let files = std::fs::read_dir(self.outbox()).into_iter().flatten();
        let mut letters = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        letters.any(|text| text.contains(&format!("To: {to}")))
    }

    async fn add(&self, email: &str) -> PersonView {
        let new = NewPerson { email, name: "", password: Some(PASSWORD), is_operator: false, send: false };
        match self.people().add_person(new).await.unwrap() {
            PersonMade::Person(view) => *view,
            PersonMade::Link(_) => panic!("a password was given"),
        }
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<NewSession, AccountsError> {
        self.sign_in_from(HERE, email, password).await
    }

    async fn sign_in_from(
        &self,
        address: IpAddr,
        email: &str,
        password: &str,
    ) -> Result<NewSession, AccountsError> {
        let request = SignInRequest { email, password, address, client: "test/1\n", replaces: None };
        match self.people().sign_in(request).await? {
            SignInStep::Session(new) => Ok(*new),
            SignInStep::Challenge(_) => panic!("no second factor was added"),
        }
    }

    /// Changes the password of whoever is signed in with this session, in its browser.
    async fn change_password(
        &self,
        session: &NewSession,
        current: &str,
        new: &str,
    ) -> Result<NewSession, AccountsError> {
        let visit = Visit { address: HERE, client: "test/1", replaces: Some(session.secret.reveal()) };
        let signed_in = self.signed_in(session).unwrap();
        match self.people().change_password(&signed_in, current, new, visit).await? {
            SignInStep::Session(new) => Ok(*new),
            SignInStep::Challenge(_) => panic!("no second factor was added"),
        }
    }

    fn signed_in(&self, session: &NewSession) -> Option<SignedIn> {
        self.people().signed_in(session.secret.reveal()).unwrap()
    }
}

/// The secret of the link in a letter.
fn token(letter: &str) -> String {
    // Long lines of a letter are folded.
    let letter = letter.replace("=\r\n", "").replace("token=3D", "token=");
    let (_, rest) = letter.split_once("token=").expect("the letter has a link");
    rest[..64].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_up_in_and_out() {
    let world = World::new().await;
    let people = world.people();
    people.sign_up("Ada@Example.org", "Ada").await.unwrap();
    let letter = world.letter("ada@example.org", "Confirm").await;
    assert!(letter.contains("http://127.0.0.1:3000/verify"), "{letter}");
    let token = token(&letter);
    let email = "ada@example.org".parse().unwrap();
    assert_eq!(people.open_link(&token).unwrap(), OpenLink::SignUp { email, name: "Ada".to_owned() });
    let without = LinkUse { token: &token, password: None, name: None };
    assert!(matches!(people.use_link(without).await, Err(AccountsError::PasswordMissing)));
    let used = LinkUse { password: Some(PASSWORD), ..without };
    people.use_link(used).await.unwrap();
    assert!(matches!(people.use_link(used).await, Err(AccountsError::LinkRefused)));

    let session = world.sign_in("ADA@example.org", PASSWORD).await.unwrap();
    assert_eq!(session.session.client, "test/1");
    let signed_in = world.signed_in(&session).unwrap();
    assert_eq!((&signed_in.session, &signed_in.methods[..]), (&session.session.id, &[Method::Password][..]));
    assert_eq!(signed_in.signed_in_at, session.session.signed_in_at);
    let view = people.person(&signed_in.account).unwrap().unwrap();
    assert_eq!((view.name.as_str(), view.person.verified_at.is_some()), ("Ada", true));

    people.end_sessions(&signed_in.account, Which::One(signed_in.session.clone())).await.unwrap();
    assert_eq!(world.signed_in(&session), None);
    assert_eq!(people.signed_in("nonsense").unwrap(), None);

    // Whoever has an account is told so by mail, and the page says the same to everybody.
    people.sign_up("ada@example.org", "Eve").await.unwrap();
    world.letter("ada@example.org", "You have an account already").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_by_letter_or_by_the_old_one_ends_every_session() {
    let world = World::new().await;
    let people = world.people();
    let ada = world.add("ada@example.org").await;
    let (one, other) =
        (world.sign_in("ada@example.org", PASSWORD).await, world.sign_in("ada@example.org", PASSWORD).await);
    let (one, other) = (one.unwrap(), other.unwrap());
    let second = "an even better one";
    let wrong = world.change_password(&one, "not my password", second).await;
    assert!(matches!(wrong, Err(AccountsError::WrongPassword)));
    let short = world.change_password(&one, PASSWORD, "short").await;
    assert!(matches!(short, Err(AccountsError::Password(PasswordError::TooShort))));
    let renewed = world.change_password(&one, PASSWORD, second).await.unwrap();
    assert!(world.signed_in(&one).is_none(), "a copy of its cookie is worth nothing");
    assert!(world.signed_in(&renewed).is_some() && world.signed_in(&other).is_none());
    assert!(matches!(world.sign_in("ada@example.org", PASSWORD).await, Err(AccountsError::WrongCredentials)));
    world.letter("ada@example.org", "Your password was changed").await;

    // Whoever shows no cookie with it has ended the session that it was changed in, too.
    let bare = Visit { address: HERE, client: "test/1", replaces: None };
    people.change_password(&world.signed_in(&renewed).unwrap(), second, PASSWORD, bare).await.unwrap();
    assert!(world.signed_in(&renewed).is_none());
    let renewed = world.sign_in("ada@example.org", PASSWORD).await.unwrap();

    people.request_reset("nobody@example.org").await.unwrap();
    people.request_reset("ada@example.org").await.unwrap();
    let secret = token(&world.letter("ada@example.org", "Choose another password").await);
    assert_eq!(people.open_link(&secret).unwrap(), OpenLink::Reset);
    let third = LinkUse { token: &secret, password: Some("the third of them"), name: None };
    people.use_link(third).await.unwrap();
    assert_eq!(world.signed_in(&renewed), None, "every session");
    world.letter("ada@example.org", "Your password was replaced").await;
    world.sign_in("ada@example.org", "the third of them").await.unwrap();
    assert!(matches!(people.use_link(third).await, Err(AccountsError::LinkRefused)));

    // A link to another e-mail, and one sent before it was used.
    let signed_in =
        world.signed_in(&world.sign_in("ada@example.org", "the third of them").await.unwrap()).unwrap();
    people.request_reset("ada@example.org").await.unwrap();
    people.change_email(&signed_in, "the third of them", "ada@example.com", HERE).await.unwrap();
    let email = token(&world.letter("ada@example.com", "Confirm").await);
    let reset = loop {
        let reset = token(&world.letter("ada@example.org", "Choose another password").await);
        if reset != secret {
            break reset;
        }
    };
    people.use_link(LinkUse { token: &email, password: None, name: None }).await.unwrap();
    let late = people.use_link(LinkUse { token: &reset, password: Some("a fourth one"), name: None }).await;
    assert!(matches!(late, Err(AccountsError::LinkRefused)));
    let view = people.person(&ada.person.account).unwrap().unwrap();
    assert_eq!(view.person.email.as_str(), "ada@example.com");
    let told = world.letter("ada@example.org", "Your e-mail address was changed").await;
    assert!(told.contains("a***@example.com"), "the address before is told: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_password_shows_who_they_are_by_a_fresh_sign_in_and_is_told_what_was_done() {
    let world = World::new().await;
    let people = world.people();
    let identity = |name: &str| Subject { issuer: "https://id.example".to_owned(), subject: name.to_owned() };
    let email = "eve@example.org".parse().unwrap();
    people.join_from(&identity("eve-1"), "Eve", email).await.unwrap();
    let account = people.identity(&identity("eve-1")).unwrap().unwrap().account;
    let visit = Visit { address: HERE, client: "test/1", replaces: None };
    let upstream = accounts::UpstreamSession { subject: identity("eve-1"), session: None };
    let SignInStep::Session(session) = people.sign_in_from(upstream, visit).await.unwrap() else {
        panic!("no second factor was added")
    };
    let fresh = world.signed_in(&session).unwrap();
    let long_ago = fresh.signed_in_at.as_millis() - people.config().mfa.fresh_ms - 60_000;
    let stale =
        SignedIn { signed_in_at: twinmcp_storage::clock::Timestamp::from_millis(long_ago), ..fresh.clone() };
    for refused in [
        people.delete(&stale, "", HERE).await,
        people.change_email(&stale, "", "eve@example.com", HERE).await,
    ] {
        assert!(matches!(refused, Err(AccountsError::NotFresh { .. })), "{refused:?}");
    }
    people.change_email(&fresh, "", "eve@example.com", HERE).await.unwrap();
    world.letter("eve@example.com", "Confirm").await;

    people.link_identity(&account, &identity("eve-2"), "Eve").await.unwrap();
    world.letter("eve@example.org", "Your other ways to sign in were changed").await;
    people.delete(&fresh, "", HERE).await.unwrap();
    assert!(people.person(&account).unwrap().is_none());
    world.letter("eve@example.org", "Your account was deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_ask_for_letters_keep_no_warning_from_its_person() {
    let world = World::new().await;
    world.add("ada@example.org").await;
    for _ in 0..6 {
        world.people().request_reset("ada@example.org").await.unwrap();
        world.people().sign_up("ada@example.org", "").await.unwrap();
    }
    let session = world.sign_in("ada@example.org", PASSWORD).await.unwrap();
    world.change_password(&session, PASSWORD, "an even better one").await.unwrap();
    world.letter("ada@example.org", "Your password was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_the_log_is_does_not_tell_who_has_an_account() {
    let world = World::new().await;
    world.add("ada@example.org").await;
    for email in ["ada@example.org", "nobody@example.org"] {
        let before = world.cluster.applied_index();
        world.people().request_reset(email).await.unwrap();
        let mut agreed = 0;
        for _ in 0..2_000 {
            agreed = world.cluster.applied_index() - before;
            if agreed > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(agreed > 0, "{email}");
    }
    assert!(!world.outbox_has("nobody@example.org"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_the_same_for_everybody_and_for_the_right_password() {
    let world = World::new().await;
    world.add("ada@example.org").await;
    let mut told = Vec::new();
    for email in ["ada@example.org", "nobody@example.org"] {
        let mut answers = Vec::new();
        for number in 0..12 {
            let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, number));
            answers.push(world.sign_in_from(address, email, "wrong password").await.unwrap_err().to_string());
        }
        told.push(answers);
    }
    let (wrong, locked) = told[0].split_at(10);
    assert!(wrong.iter().all(|answer| answer.contains("wrong")), "{told:?}");
    assert!(locked.iter().all(|answer| answer.contains("too many")), "{told:?}");
    let kind = |answers: &[String]| answers.iter().map(|answer| answer[..8].to_owned()).collect::<Vec<_>>();
    assert_eq!(kind(&told[0]), kind(&told[1]), "nobody's e-mail is locked like somebody's");
    let right = world.sign_in_from(ELSEWHERE, "ada@example.org", PASSWORD).await;
    assert!(matches!(right, Err(AccountsError::Locked { .. })), "{right:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lets_people_in_and_out() {
    let world = World::new().await;
    let people = world.people();
    let invite =
        NewPerson { email: "bob@example.org", name: "Bob", password: None, is_operator: true, send: true };
    let PersonMade::Link(link) = people.add_person(invite).await.unwrap() else {
        panic!("no password was given")
    };
    let letter = world.letter("bob@example.org", "You are invited").await;
    assert!(link.ends_with(&token(&letter)), "{link}");
    people.use_link(LinkUse { token: &token(&letter), password: Some(PASSWORD), name: None }).await.unwrap();
    assert!(matches!(people.add_person(invite).await, Err(AccountsError::EmailTaken)));
    let session = world.sign_in("bob@example.org", PASSWORD).await.unwrap();
    let bob = world.signed_in(&session).unwrap().account;
    assert!(people.person(&bob).unwrap().unwrap().person.is_operator);
    assert_eq!(people.people(None, 10).unwrap().len(), 1);

    people.manage_person(&bob, Some(true), Some(false)).await.unwrap();
    assert_eq!(world.signed_in(&session), None);
    assert!(matches!(world.sign_in("bob@example.org", PASSWORD).await, Err(AccountsError::WrongCredentials)));
    people.manage_person(&bob, Some(false), None).await.unwrap();
    world.sign_in("bob@example.org", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_exported_and_deleted_unless_it_owns_libraries() {
    let world = World::new().await;
    let people = world.people();
    let ada = world.add("ada@example.org").await.person.account;
    let key = world.actors.api_keys.create(&ada, "mine", vec![Scope::DocsRead], None).await.unwrap();
    let session = world.sign_in("ada@example.org", PASSWORD).await.unwrap();
    let signed_in = world.signed_in(&session).unwrap();
    let export = people.export(&ada).await.unwrap();
    assert_eq!((export.sessions.len(), export.keys.len(), export.libraries.len()), (1, 1, 0));

    let wrong = people.delete(&signed_in, "not my password", HERE).await;
    assert!(matches!(wrong, Err(AccountsError::WrongPassword)));
    people.delete(&signed_in, PASSWORD, HERE).await.unwrap();
    assert_eq!(world.signed_in(&session), None);
    assert!(world.actors.api_keys.verify(key.secret.reveal()).is_err());
    assert!(people.get(&ada).unwrap().is_none());
    assert!(matches!(world.sign_in("ada@example.org", PASSWORD).await, Err(AccountsError::WrongCredentials)));

    let bob = world.add("bob@example.org").await.person.account;
    let source = world.source("bobs", &[("a.md", "# A\n\nText of a page.\n")]);
    let submission = crate::jobs::Submission { account: bob, ..world.submission("/bob/own", "1", source) };
    let job = world.actors.jobs.submit(submission).await.unwrap();
    world.ended(&job.job.id).await;
    let bobs = world.signed_in(&world.sign_in("bob@example.org", PASSWORD).await.unwrap()).unwrap();
    let refused = people.delete(&bobs, PASSWORD, HERE).await;
    assert!(matches!(refused, Err(AccountsError::OwnsLibraries { count: 1 })), "{refused:?}");

    // What is claimed between the look and the end goes with the account, and nothing else.
    let eve = world.add("eve@example.org").await.person;
    let claimed: LibraryId = "/eve/late".parse().unwrap();
    let (owner, visibility) = (eve.account.clone(), libraries::Visibility::Private);
    let claim = libraries::Command::Claim { id: claimed.clone(), owner, visibility };
    let remove = PersonCommand::Remove { account: eve.account.clone(), generation: eve.generation };
    for command in [Command::Libraries(claim), Command::Accounts(accounts::Command::Person(remove))] {
        assert_eq!(world.cluster.propose(command).await.unwrap().outcome, Outcome::Done);
    }
    people.remove_claimed(&eve.account).await.unwrap();
    assert!(libraries::get(world.cluster.reader(), &claimed).unwrap().is_none());
    assert!(libraries::get(world.cluster.reader(), &"/bob/own".parse().unwrap()).unwrap().is_some());
}
