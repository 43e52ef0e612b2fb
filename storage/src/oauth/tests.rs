use super::code::{Binding, Shown, State};
use super::grant::{Allowed, Limits};
use super::signing_key::Algorithm;
use super::*;
use crate::accounts;
use crate::api_keys::SecretHash;
use crate::engine::{Durability, Engine, Keyspace, MemoryEngine, Reader};
use crate::ids::{AccountId, GrantId, SessionId};
use crate::scope::Scope;

const LIMITS: Limits = Limits { access_ms: 600_000, idle_ms: 1_000_000, absolute_ms: 3_000_000 };

/// A state that commands are applied to.
struct World {
    engine: MemoryEngine,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self { engine: MemoryEngine::new(Keyspace::STATE), now: Timestamp::from_millis(1_000) }
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        self.now = self.now.plus_millis(1);
        let mut transaction = Transaction::new(&self.engine);
        let outcome = apply(&mut transaction, self.now, command).unwrap();
        self.engine.commit(transaction.finish().0, Durability::Synced).unwrap();
        outcome
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    fn issue(&mut self, code: &str) -> Outcome {
        self.issue_of(code, allowed())
    }

    fn issue_of(&mut self, code: &str, allowed: Allowed) -> Outcome {
        self.apply(&Command::Code(code::Command::Issue {
            hash: SecretHash::of(code),
            binding: binding("web"),
            allowed,
            refreshable: true,
            ttl_ms: 60_000,
            remember: true,
            pushed: None,
        }))
    }

    fn redeem(&mut self, code: &str, shown: Shown, number: u8) -> Outcome {
        self.apply(&Command::Code(code::Command::Redeem {
            hash: SecretHash::of(code),
            shown,
            grant: grant_id(number),
            refresh: SecretHash::of("rt-0"),
            limits: LIMITS,
        }))
    }

    fn start(&mut self, code: &str, user_code: &str) -> Outcome {
        self.apply(&Command::Device(device::Command::Start {
            hash: SecretHash::of(code),
            client: "cli".to_owned(),
            name: Some("laptop".to_owned()),
            scopes: vec![Scope::DocsRead],
            resources: Vec::new(),
            user_code: user_code.to_owned(),
            ttl_ms: 600_000,
        }))
    }

    fn decide(&mut self, user_code: &str, allowed: Option<Allowed>) -> Outcome {
        self.apply(&Command::Device(device::Command::Decide { user_code: user_code.to_owned(), allowed }))
    }

    fn redeem_device(&mut self, code: &str, client: &str, number: u8) -> Outcome {
        self.apply(&Command::Device(device::Command::Redeem {
            hash: SecretHash::of(code),
            client: client.to_owned(),
            dpop_jkt: None,
            grant: grant_id(number),
            refresh: Some(SecretHash::of("rt-0")),
            limits: LIMITS,
        }))
    }

    /// Makes the person if there is none, and signs them in.
    fn begin_session(&mut self, number: u8) -> SessionId {
        let added = accounts::PersonAdded {
            account: account(),
            name: "Ada".to_owned(),
            email: "ada@example.org".parse().unwrap(),
            password: None,
            is_operator: false,
            is_verified: true,
        };
        self.apply_account(accounts::Command::Person(accounts::PersonCommand::Add(added)));
        let id: SessionId = format!("ses_{number:026}").parse().unwrap();
        let sign_in = accounts::SignIn {
            account: account(),
            generation: 0,
            id: id.clone(),
            secret_hash: SecretHash::of(id.as_str()),
            methods: vec![accounts::Method::Password],
            idle_ms: 1_000_000,
            life_ms: 1_000_000,
            client: "test".to_owned(),
            address: "192.0.2.1".to_owned(),
            replaces: None,
            who: accounts::Who::network("192.0.2.1"),
            rehashed: None,
            proof: None,
            upstream: None,
        };
        let begin = accounts::SessionCommand::Begin(Box::new(sign_in));
        assert_eq!(self.apply_account(accounts::Command::Session(begin)), Outcome::Done);
        id
    }

    fn end_session(&mut self, id: &SessionId) {
        let end =
            accounts::SessionCommand::End { account: account(), which: accounts::Which::One(id.clone()) };
        assert_eq!(self.apply_account(accounts::Command::Session(end)), Outcome::Done);
    }

    fn apply_account(&mut self, command: accounts::Command) -> Outcome {
        let mut transaction = Transaction::new(&self.engine);
        let outcome = accounts::apply(&mut transaction, self.now, &command).unwrap();
        self.engine.commit(transaction.finish().0, Durability::Synced).unwrap();
        outcome
    }

    fn rotate(&mut self, shown: &str, next: &str, client: &str, again_ms: u64) -> Outcome {
        self.apply(&Command::Grant(grant::Command::Rotate {
            id: grant_id(1),
            client: client.to_owned(),
            shown: SecretHash::of(shown),
            next: SecretHash::of(next),
            successor: next.as_bytes().to_vec(),
            dpop_jkt: None,
            again_ms,
            limits: LIMITS,
        }))
    }

    fn is_revoked(&self, number: u8) -> bool {
        grant::is_revoked(&self.engine, grant_id(number).as_str()).unwrap()
    }

    fn keys(&self) -> usize {
        self.engine.scan(Keyspace::Oauth, b"", None, 10_000).unwrap().len()
    }
}

fn account() -> AccountId {
    "acct_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap()
}

fn grant_id(number: u8) -> GrantId {
    format!("grant_01hzy3k8w0abcdefghjkmnp{number:03}").parse().unwrap()
}

fn allowed() -> Allowed {
    Allowed {
        account: account(),
        session: None,
        scopes: vec![Scope::DocsRead],
        resources: vec!["https://node.example/mcp".to_owned()],
        nonce: None,
        signed_in_at: Timestamp::from_millis(500),
        methods: vec!["pwd".to_owned()],
    }
}

fn binding(client: &str) -> Binding {
    Binding {
        client: client.to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
        challenge: [7; 32],
        dpop_jkt: None,
    }
}

fn shown(client: &str) -> Shown {
    let Binding { client, redirect_uri, challenge, dpop_jkt } = binding(client);
    Shown { client, redirect_uri: Some(redirect_uri), challenge, dpop_jkt }
}

#[test]
fn a_code_makes_one_grant_and_its_second_use_ends_that() {
    let mut world = World::new();
    assert_eq!(world.issue("code"), Outcome::Done);
    assert_eq!(world.redeem("other", shown("web"), 1), Outcome::NotFound);
    assert_eq!(world.redeem("code", shown("web"), 1), Outcome::Done);
    assert!(!world.is_revoked(1));
    assert_eq!(world.redeem("code", shown("web"), 2), Outcome::Burnt);
    assert!(world.is_revoked(1));
    assert!(grant::get(&world.engine, &grant_id(2)).unwrap().is_none());
    assert_eq!(world.rotate("rt-0", "rt-1", "web", 0), Outcome::NotFound);
    assert!(grant::list(&world.engine, &account()).unwrap().is_empty());
}

#[test]
fn case_005_and_006_and_017_a_code_that_is_shown_wrongly_is_burnt() {
    let changes: [fn(&mut Shown); 4] = [
        |shown| shown.client = "other".to_owned(),
        |shown| shown.redirect_uri = Some("https://app.example/cb/".to_owned()),
        |shown| shown.challenge[0] ^= 1,
        |shown| shown.dpop_jkt = None,
    ];
    for change in changes {
        let mut world = World::new();
        let asked = Binding { dpop_jkt: Some([1; 32]), ..binding("web") };
        world.apply(&Command::Code(code::Command::Issue {
            hash: SecretHash::of("code"),
            binding: asked,
            allowed: allowed(),
            refreshable: true,
            ttl_ms: 60_000,
            remember: false,
            pushed: None,
        }));
        let right = Shown { dpop_jkt: Some([1; 32]), ..shown("web") };
        let mut wrong = right.clone();
        change(&mut wrong);
        assert_eq!(world.redeem("code", wrong, 1), Outcome::Burnt);
        assert_eq!(world.redeem("code", right, 1), Outcome::NotFound, "burnt for its owner too");
        assert!(consent::list(&world.engine, &account()).unwrap().is_empty(), "nothing to remember");
    }
}

#[test]
fn case_004_a_code_is_good_for_its_time_by_the_clock_of_the_log() {
    let mut world = World::new();
    world.issue("code");
    world.wait(60_000);
    assert_eq!(world.redeem("code", shown("web"), 1), Outcome::NotFound);
    let code = code::get(&world.engine, &SecretHash::of("code")).unwrap().unwrap();
    assert_eq!(code.state, State::Issued);
}

#[test]
fn a_pushed_request_is_good_for_one_code() {
    let mut world = World::new();
    let hash = SecretHash::of("urn:request:1");
    world.apply(&Command::Pushed(pushed::Command::Push {
        hash,
        client: "web".to_owned(),
        parameters: "scope=docs%3Aread".to_owned(),
        ttl_ms: 60_000,
    }));
    let issue = |code: &str| {
        Command::Code(code::Command::Issue {
            hash: SecretHash::of(code),
            binding: binding("web"),
            allowed: allowed(),
            refreshable: false,
            ttl_ms: 60_000,
            remember: false,
            pushed: Some(hash),
        })
    };
    assert_eq!(world.apply(&issue("one")), Outcome::Done);
    assert_eq!(world.apply(&issue("two")), Outcome::NotFound);
}

#[test]
fn a_refresh_token_is_good_once_and_its_second_use_ends_the_family() {
    let mut world = World::new();
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    assert_eq!(world.rotate("rt-0", "rt-1", "web", 0), Outcome::Done);
    assert_eq!(world.rotate("rt-1", "rt-2", "web", 0), Outcome::Done);
    assert!(!world.is_revoked(1));
    assert_eq!(world.rotate("rt-0", "rt-x", "web", 0), Outcome::Burnt);
    assert!(world.is_revoked(1));
    assert_eq!(world.rotate("rt-2", "rt-3", "web", 0), Outcome::NotFound);
}

#[test]
fn who_lost_the_answer_gets_the_same_token_again_within_seconds() {
    let mut world = World::new();
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    world.rotate("rt-0", "rt-1", "web", 5_000);
    assert_eq!(world.rotate("rt-0", "rt-x", "web", 5_000), Outcome::AlreadyExists);
    let refresh = grant::get(&world.engine, &grant_id(1)).unwrap().unwrap().refresh.unwrap();
    assert_eq!(refresh.previous.unwrap().successor, b"rt-1");
    world.wait(5_000);
    assert_eq!(world.rotate("rt-0", "rt-x", "web", 5_000), Outcome::Burnt);
}

#[test]
fn another_clients_refresh_token_ends_the_family() {
    let mut world = World::new();
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    assert_eq!(world.rotate("rt-0", "rt-1", "other", 5_000), Outcome::Burnt);
    assert!(world.is_revoked(1));
}

#[test]
fn case_036_refresh_tokens_end_unused_and_in_any_case() {
    let mut world = World::new();
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    world.wait(999_000);
    assert_eq!(world.rotate("rt-0", "rt-1", "web", 0), Outcome::Done, "used in time");
    world.wait(999_000);
    assert_eq!(world.rotate("rt-1", "rt-2", "web", 0), Outcome::Done, "used in time");
    world.wait(999_000);
    assert_eq!(world.rotate("rt-2", "rt-3", "web", 0), Outcome::Done, "used in time");
    world.wait(10_000);
    assert_eq!(world.rotate("rt-3", "rt-4", "web", 0), Outcome::NotFound, "the family is over");

    let mut world = World::new();
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    world.wait(1_000_000);
    assert_eq!(world.rotate("rt-0", "rt-1", "web", 0), Outcome::NotFound, "it was not used");
}

#[test]
fn what_was_allowed_is_taken_back_with_its_grants() {
    let mut world = World::new();
    let withdraw =
        Command::Consent(consent::Command::Withdraw { account: account(), client: "web".to_owned() });
    assert_eq!(world.apply(&withdraw), Outcome::NotFound);
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    assert_eq!(consent::get(&world.engine, &account(), "web").unwrap().unwrap().scopes, [Scope::DocsRead]);
    assert_eq!(world.apply(&withdraw), Outcome::Done);
    assert!(world.is_revoked(1));
    assert!(consent::list(&world.engine, &account()).unwrap().is_empty());
}

#[test]
fn an_account_has_a_limited_number_of_grants() {
    let mut world = World::new();
    for number in 0..=grant::GRANTS_PER_ACCOUNT_MAX {
        let code = format!("code-{number}");
        world.issue(&code);
        assert_eq!(world.redeem(&code, shown("web"), u8::try_from(number).unwrap()), Outcome::Done);
    }
    let grants = grant::list(&world.engine, &account()).unwrap();
    assert_eq!(grants.len(), grant::GRANTS_PER_ACCOUNT_MAX);
    assert!(world.is_revoked(0) && !world.is_revoked(1), "the oldest has ended");
}

#[test]
fn what_has_expired_goes_when_something_new_comes() {
    let mut world = World::new();
    for number in 0..100_u8 {
        let code = format!("code-{number}");
        world.issue(&code);
        world.redeem(&code, shown("web"), number);
    }
    let most = world.keys();
    world.wait(10 * LIMITS.absolute_ms);
    for number in 0..60 {
        world.issue(&format!("later-{number}"));
    }
    // Sixty codes with an entry of the index each, a consent, the cursor.
    assert_eq!(world.keys(), 122, "of {most}");
    assert!(grant::list(&world.engine, &account()).unwrap().is_empty());
}

#[test]
fn a_grant_that_is_used_outlives_its_first_end() {
    let mut world = World::new();
    world.issue("code");
    world.redeem("code", shown("web"), 1);
    world.wait(990_000);
    assert_eq!(world.rotate("rt-0", "rt-1", "web", 0), Outcome::Done);
    world.wait(20_000);
    world.issue("later");
    assert!(grant::get(&world.engine, &grant_id(1)).unwrap().is_some());
    assert_eq!(world.rotate("rt-1", "rt-2", "web", 0), Outcome::Done);
}

#[test]
fn two_nodes_that_add_the_next_key_at_once_add_one() {
    let mut world = World::new();
    let add = |after: Option<&str>, kid: &str| {
        Command::SigningKey(signing_key::Command::Add {
            after: after.map(str::to_owned),
            kid: kid.to_owned(),
            algorithm: Algorithm::Rs256,
            public: "{}".to_owned(),
            sealed: vec![1],
            signs_after_ms: 1_000,
            verifies_ms: 10_000,
        })
    };
    assert_eq!(world.apply(&add(None, "a")), Outcome::Done);
    assert_eq!(world.apply(&add(None, "b")), Outcome::Stale);
    assert_eq!(world.apply(&add(Some("a"), "b")), Outcome::Done);
    assert_eq!(world.apply(&add(Some("a"), "c")), Outcome::Stale);
    let revoke = Command::SigningKey(signing_key::Command::Revoke { kid: "b".to_owned() });
    assert_eq!(world.apply(&revoke), Outcome::Done);
    assert_eq!(world.apply(&revoke), Outcome::NotFound);
    world.wait(20_000);
    assert_eq!(world.apply(&add(Some("a"), "d")), Outcome::Done);
    let kids: Vec<_> = signing_key::list(&world.engine).unwrap().into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, ["d"], "those that verify nothing any more are gone");
}

#[test]
fn a_device_gets_tokens_once_after_a_person_allowed_it() {
    let mut world = World::new();
    assert_eq!(world.start("one", "BCDFGHJK"), Outcome::Done);
    assert_eq!(world.start("two", "BCDFGHJK"), Outcome::AlreadyExists);
    assert_eq!(world.start("two", "KJHGFDCB"), Outcome::Done);
    assert_eq!(world.redeem_device("one", "cli", 1), Outcome::NotFound, "nobody has decided");
    assert_eq!(world.decide("XXXXXXXX", Some(allowed())), Outcome::NotFound);
    assert_eq!(world.decide("BCDFGHJK", Some(allowed())), Outcome::Done);
    assert_eq!(world.decide("BCDFGHJK", None), Outcome::NotFound, "it was decided");
    assert_eq!(world.redeem_device("one", "other", 1), Outcome::NotFound);
    assert_eq!(world.redeem_device("one", "cli", 1), Outcome::Done);
    assert_eq!(world.redeem_device("one", "cli", 2), Outcome::NotFound);
    assert_eq!(world.decide("KJHGFDCB", None), Outcome::Done);
    assert_eq!(world.redeem_device("two", "cli", 3), Outcome::NotFound, "it was denied");
    world.start("three", "BBBBBBBB");
    world.decide("BBBBBBBB", Some(allowed()));
    world.wait(600_000);
    assert_eq!(world.redeem_device("three", "cli", 3), Outcome::NotFound, "it has expired");
    assert_eq!(world.start("four", "BBBBBBBB"), Outcome::Done, "the code is free again");
    let is_known = |world: &World| device::get(&world.engine, &SecretHash::of("three")).unwrap().is_some();
    world.start("five", "CCCCCCCC");
    assert!(is_known(&world), "it is still told that it has expired");
    world.wait(600_001);
    world.start("six", "DDDDDDDD");
    assert!(!is_known(&world), "and not for ever");
}

#[test]
fn a_grant_ends_with_its_session_unless_it_goes_on_without_the_person() {
    let mut world = World::new();
    let offline = vec![Scope::DocsRead, Scope::OfflineAccess];
    let (here, there) = (world.begin_session(1), world.begin_session(2));
    for (number, session, scopes) in
        [(1, &here, vec![Scope::DocsRead]), (2, &there, vec![Scope::DocsRead]), (3, &here, offline)]
    {
        let code = format!("code-{number}");
        let allowed = Allowed { session: Some(session.to_string()), scopes, ..allowed() };
        world.issue_of(&code, allowed);
        assert_eq!(world.redeem(&code, shown("web"), number), Outcome::Done);
    }
    world.end_session(&here);
    assert_eq!([1, 2, 3].map(|number| world.is_revoked(number)), [true, false, false]);
}

#[test]
fn what_was_allowed_in_a_session_is_redeemed_while_it_goes_on() {
    let mut world = World::new();
    let session = world.begin_session(1);
    let allowed = Allowed { session: Some(session.to_string()), ..allowed() };
    for (device, user_code) in [("used", "BBBBBBBB"), ("late", "CCCCCCCC")] {
        assert_eq!(world.issue_of(device, allowed.clone()), Outcome::Done);
        assert_eq!(world.start(device, user_code), Outcome::Done);
        assert_eq!(world.decide(user_code, Some(allowed.clone())), Outcome::Done);
    }
    assert_eq!(world.redeem("used", shown("web"), 1), Outcome::Done);
    assert_eq!(world.redeem_device("used", "cli", 2), Outcome::Done);
    world.end_session(&session);
    assert_eq!(world.redeem("late", shown("web"), 3), Outcome::NotFound);
    assert_eq!(world.redeem_device("late", "cli", 4), Outcome::NotFound);
    assert!(grant::list(&world.engine, &account()).unwrap().is_empty());
}

/// A client of an account.
pub(crate) fn client(id: &str, account: AccountId) -> client::Client {
    client::Client {
        id: id.to_owned(),
        name: "x".to_owned(),
        owner: client::Owner::Account(account),
        authentication: client::Authentication::None,
        redirect_uris: vec!["https://app.example/cb".to_owned()],
        post_logout_redirect_uris: Vec::new(),
        grants: vec![client::GrantType::AuthorizationCode],
        scopes: vec![Scope::DocsRead],
        token_format: client::TokenFormat::Jwt,
        algorithm: None,
        uri: None,
        trusted: false,
        backchannel_logout: None,
        created_at: Timestamp::from_millis(0),
    }
}

#[test]
fn an_account_sees_its_clients_however_many_others_have_and_has_no_more_than_its_share() {
    let mut world = World::new();
    let others: AccountId = "acct_00000000000000000000000002".parse().unwrap();
    let create = |client| Command::Client(client::Command::Create(client));
    for number in 0..client::LISTED_MAX {
        let owner = client::Owner::Itself { registration_token: SecretHash::of("t"), used_at: None };
        let registered = client::Client { owner, ..client(&format!("a{number:04}"), account()) };
        assert_eq!(world.apply(&create(registered)), Outcome::Done);
    }
    for number in 0..client::PER_ACCOUNT_MAX {
        assert_eq!(world.apply(&create(client(&format!("b{number:04}"), others.clone()))), Outcome::Done);
    }
    assert_eq!(world.apply(&create(client("c", others.clone()))), Outcome::LimitReached);
    assert_eq!(world.apply(&create(client("z", account()))), Outcome::Done, "each has a share of their own");
    let ids = |clients: Vec<client::Client>| clients.into_iter().map(|client| client.id).collect::<Vec<_>>();
    assert_eq!(ids(client::of(&world.engine, &account()).unwrap()), ["z"]);
    assert_eq!(client::of(&world.engine, &others).unwrap().len(), client::PER_ACCOUNT_MAX);
    let listed = ids(client::list(&world.engine).unwrap());
    assert_eq!(listed.len(), client::LISTED_MAX);
    assert!(listed.contains(&"z".to_owned()), "those that people made are listed first");

    let remove = |id: &str| Command::Client(client::Command::Remove { id: id.to_owned() });
    assert_eq!(world.apply(&remove("b0000")), Outcome::Done);
    assert_eq!(world.apply(&create(client("c", others.clone()))), Outcome::Done, "there is room again");
    let changed = client::Client { name: "renamed".to_owned(), ..client("z", others) };
    assert_eq!(world.apply(&change(&client("z", account()), &changed)), Outcome::Done);
    let theirs = client::of(&world.engine, &account()).unwrap();
    assert_eq!(theirs.iter().map(|client| &*client.name).collect::<Vec<_>>(), ["renamed"], "it stays theirs");
    assert_eq!(world.apply(&remove("z")), Outcome::Done);
    assert!(client::of(&world.engine, &account()).unwrap().is_empty());
}

fn change(before: &client::Client, client: &client::Client) -> Command {
    let (before, client) = (Box::new(before.clone()), Box::new(client.clone()));
    Command::Client(client::Command::Change { before, client })
}

#[test]
fn a_change_brings_nothing_back_that_another_one_has_replaced() {
    let mut world = World::new();
    let owner = client::Owner::Itself { registration_token: SecretHash::of("t"), used_at: None };
    let first = client::Client { owner, ..client("app", account()) };
    assert_eq!(world.apply(&Command::Client(client::Command::Create(first.clone()))), Outcome::Done);
    let facts = |world: &World| {
        let kept = client::get(&world.engine, "app").unwrap().unwrap();
        (kept.name, kept.authentication)
    };
    let secret = client::Authentication::Secret(SecretHash::of("new"));
    let replaced = client::Client { authentication: secret.clone(), ..first.clone() };
    let renamed = client::Client { name: "renamed".to_owned(), ..first.clone() };
    assert_eq!(world.apply(&change(&first, &replaced)), Outcome::Done);
    // Made of what it was at another node, in the same moment.
    assert_eq!(world.apply(&change(&first, &renamed)), Outcome::Stale);
    assert_eq!(facts(&world), ("x".to_owned(), secret.clone()));

    // That somebody allowed it something meanwhile is no other fact.
    let mut transaction = Transaction::new(&world.engine);
    client::used(&mut transaction, world.now, "app").unwrap();
    world.engine.commit(transaction.finish().0, Durability::Synced).unwrap();
    let both = client::Client { name: "renamed".to_owned(), ..replaced.clone() };
    assert_eq!(world.apply(&change(&replaced, &both)), Outcome::Done);
    assert_eq!(facts(&world), ("renamed".to_owned(), secret));
    let kept = client::get(&world.engine, "app").unwrap().unwrap();
    assert!(matches!(kept.owner, client::Owner::Itself { used_at: Some(_), .. }), "{:?}", kept.owner);
    let nobodys = client::Client { id: "other".to_owned(), ..first };
    assert_eq!(world.apply(&change(&nobodys, &nobodys)), Outcome::NotFound);
}

#[test]
fn case_072_clients_that_registered_themselves_are_bounded_and_go_unused() {
    let mut world = World::new();
    let create = |number: u64| {
        let owner = client::Owner::Itself { registration_token: SecretHash::of("t"), used_at: None };
        let registered = client::Client { owner, ..client(&format!("client_{number}"), account()) };
        Command::Client(client::Command::Create(registered))
    };
    let kept = |world: &World| {
        (0..1_200)
            .filter(|number| client::get(&world.engine, &format!("client_{number}")).unwrap().is_some())
            .count()
    };
    for number in 0..1_000 {
        assert_eq!(world.apply(&create(number)), Outcome::Done);
    }
    // One was allowed something meanwhile, so it stays.
    let mut transaction = Transaction::new(&world.engine);
    client::used(&mut transaction, world.now, "client_7").unwrap();
    world.engine.commit(transaction.finish().0, Durability::Synced).unwrap();
    world.wait(23 * 3600 * 1000);
    world.apply(&create(1_000));
    assert_eq!(kept(&world), 1_001, "a day is not over");
    world.wait(2 * 3600 * 1000);
    for number in 1_001..1_150 {
        world.apply(&create(number));
    }
    assert_eq!(kept(&world), 151, "those that are used, and new ones");
}

#[test]
fn an_assertion_is_good_once() {
    let mut world = World::new();
    let used = |byte| Command::Assertion(assertion::Command::Use { hash: [byte; 32], ttl_ms: 60_000 });
    assert_eq!(world.apply(&used(1)), Outcome::Done);
    assert_eq!(world.apply(&used(1)), Outcome::AlreadyExists);
    assert_eq!(world.apply(&used(2)), Outcome::Done);
    // What could not be taken any more is forgotten with the next ones.
    world.wait(120_000);
    let before = world.keys();
    assert_eq!(world.apply(&used(3)), Outcome::Done);
    assert!(world.keys() < before + 2, "{} keys", world.keys());
}

#[test]
fn the_end_of_a_session_is_told_to_the_clients_that_took_part_and_want_to_know() {
    let mut world = World::new();
    let client = |id: &str, wants: bool| client::Client {
        id: id.into(),
        name: id.into(),
        owner: client::Owner::Account(account()),
        authentication: client::Authentication::None,
        redirect_uris: vec!["https://app.example/cb".into()],
        post_logout_redirect_uris: Vec::new(),
        grants: vec![client::GrantType::AuthorizationCode],
        scopes: vec![Scope::OpenId],
        token_format: client::TokenFormat::Jwt,
        algorithm: None,
        uri: None,
        trusted: false,
        backchannel_logout: wants.then(|| client::BackchannelLogout {
            uri: "https://app.example/out".into(),
            session_required: true,
        }),
        created_at: Timestamp::default(),
    };
    for (id, wants) in [("web", true), ("quiet", false)] {
        world.apply(&Command::Client(client::Command::Create(client(id, wants))));
        let engine = &world.engine;
        let mut transaction = Transaction::new(engine);
        logout::joined(&mut transaction, world.now, "ses_1", id).unwrap();
        world.engine.commit(transaction.finish().0, Durability::Synced).unwrap();
    }
    let mut transaction = Transaction::new(&world.engine);
    logout::session_ended(&mut transaction, world.now, &account(), "ses_10").unwrap();
    assert!(transaction.finish().0.is_empty(), "another session's end is told to nobody");
    let mut transaction = Transaction::new(&world.engine);
    logout::session_ended(&mut transaction, world.now, &account(), "ses_1").unwrap();
    let (batch, changes) = transaction.finish();
    assert_eq!(changes, [crate::transaction::Change::Logouts]);
    world.engine.commit(batch, Durability::Synced).unwrap();
    let notices = logout::notices(&world.engine, 10).unwrap();
    assert_eq!(notices.iter().map(|notice| notice.client.as_str()).collect::<Vec<_>>(), ["web"]);
    let told = |again_after_ms| {
        let (session, client) = ("ses_1".to_owned(), "web".to_owned());
        Command::Logout(logout::Command::Told { session, client, again_after_ms })
    };
    assert_eq!(world.apply(&told(Some(5_000))), Outcome::Done);
    let notice = logout::notices(&world.engine, 10).unwrap().remove(0);
    assert_eq!((notice.tries, notice.due_at), (1, world.now.plus_millis(5_000)));
    assert_eq!(world.apply(&told(None)), Outcome::Done);
    assert_eq!(world.apply(&told(None)), Outcome::NotFound);
}
