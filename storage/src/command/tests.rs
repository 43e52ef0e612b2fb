use super::*;
use crate::accounts::Account;
use crate::api_keys::{ApiKey, SecretHash};
use crate::engine::{Durability, Engine, Keyspace, MemoryEngine, Reader};
use crate::ids::{AccountId, ApiKeyId, JobId, LibraryId, Version};
use crate::jobs::{JobState, Source};
use crate::libraries::{Built, Facts, Library};
use crate::scope::Scope;
use crate::transaction::Change;

/// A state that commands are applied to one by one, a millisecond apart.
struct World {
    engine: MemoryEngine,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self { engine: MemoryEngine::new(Keyspace::STATE), now: Timestamp::from_millis(1_000) }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.apply_telling(command).0
    }

    fn apply_telling(&mut self, command: Command) -> (Outcome, Vec<Change>) {
        self.now = self.now.plus_millis(1);
        let mut transaction = Transaction::new(&self.engine);
        let outcome = apply(&mut transaction, self.now, &command).unwrap();
        let (batch, changes) = transaction.finish();
        if outcome != Outcome::Done {
            assert!(batch.is_empty() && changes.is_empty(), "a refused command changed something");
        }
        self.engine.commit(batch, Durability::Synced).unwrap();
        (outcome, changes)
    }

    fn submit(&mut self, job: u8, account: u8, library: &str, version: &str) -> Outcome {
        self.apply(Command::Jobs(jobs::Command::Submit {
            id: job_id(job),
            account: account_id(account),
            library: library.parse().unwrap(),
            version: version.parse().unwrap(),
            source: Source::Folder { path: "/docs".into() },
            base_url: None,
        }))
    }

    fn start(&mut self, job: u8, attempt: u32) -> Outcome {
        self.apply(Command::Jobs(jobs::Command::Start { id: job_id(job), attempt }))
    }

    fn publish(&mut self, job: u8, attempt: u32, title: &str) -> Outcome {
        let facts = Facts { title: title.into(), ..Facts::default() };
        self.apply(Command::Libraries(libraries::Command::Publish {
            job: job_id(job),
            attempt,
            facts,
            built: built(job),
        }))
    }

    /// Indexes a version from submission to publication.
    fn index(&mut self, job: u8, account: u8, library: &str, version: &str) -> Outcome {
        assert_eq!(self.submit(job, account, library, version), Outcome::Done);
        assert_eq!(self.start(job, 1), Outcome::Done);
        self.publish(job, 1, "Title")
    }

    fn library(&self, id: &str) -> Option<Library> {
        libraries::get(&self.engine, &id.parse().unwrap()).unwrap()
    }

    fn job_state(&self, job: u8) -> JobState {
        jobs::get(&self.engine, &job_id(job)).unwrap().unwrap().state
    }
}

fn job_id(number: u8) -> JobId {
    format!("job_{number:026}").parse().unwrap()
}

fn account_id(number: u8) -> AccountId {
    format!("acct_{number:026}").parse().unwrap()
}

fn key_id(number: u8) -> ApiKeyId {
    format!("key_{number:026}").parse().unwrap()
}

fn built(number: u8) -> Built {
    Built {
        bundle: format!("{number:064}"),
        bundle_bytes: 10,
        pages: 1,
        snippets: 2,
        tokens: 3,
        embedder: "e".into(),
    }
}

fn create_key(number: u8, account: u8, secret: &str) -> Command {
    Command::ApiKeys(api_keys::Command::Create {
        id: key_id(number),
        account: account_id(account),
        name: "key".into(),
        scopes: vec![Scope::Admin, Scope::DocsRead, Scope::Admin],
        secret_hash: SecretHash::of(secret),
        hint: "hint".into(),
        expires_at: Some(Timestamp::from_millis(5_000)),
    })
}

#[test]
fn an_account_is_made_once() {
    let mut world = World::new();
    let create = Command::Accounts(accounts::Command::Create { id: account_id(1), name: "owner".into() });
    assert_eq!(world.apply(create.clone()), Outcome::Done);
    assert_eq!(world.apply(create), Outcome::AlreadyExists);
    let account =
        Account { id: account_id(1), name: "owner".into(), created_at: Timestamp::from_millis(1_001) };
    assert_eq!(accounts::list(&world.engine, 10).unwrap(), [account]);
}

#[test]
fn a_key_is_found_by_its_secret_until_it_is_revoked_or_expires() {
    let mut world = World::new();
    assert_eq!(world.apply(create_key(1, 1, "secret")), Outcome::Done);
    assert_eq!(world.apply(create_key(2, 1, "secret")), Outcome::AlreadyExists);
    assert_eq!(world.apply(create_key(1, 1, "another")), Outcome::AlreadyExists);
    let find = |world: &World| -> Option<ApiKey> {
        api_keys::find(&world.engine, &SecretHash::of("secret")).unwrap()
    };
    let key = find(&world).unwrap();
    assert_eq!(key.scopes, [Scope::DocsRead, Scope::Admin]);
    assert!(key.is_valid(Timestamp::from_millis(4_999)) && !key.is_valid(Timestamp::from_millis(5_000)));
    let revoke =
        |account| Command::ApiKeys(api_keys::Command::Revoke { account: account_id(account), id: key_id(1) });
    assert_eq!(world.apply(revoke(2)), Outcome::NotFound, "another account's key");
    let (outcome, changes) = world.apply_telling(revoke(1));
    assert_eq!((outcome, changes), (Outcome::Done, vec![Change::ApiKey(key_id(1))]));
    assert_eq!(find(&world), None);
    assert_eq!(world.apply(revoke(1)), Outcome::NotFound);
    assert_eq!(api_keys::list(&world.engine, &account_id(1)).unwrap().len(), 1, "its record stays");
}

#[test]
fn an_account_has_so_many_keys_in_force_and_no_more() {
    let mut world = World::new();
    for number in 0..u8::try_from(api_keys::KEYS_PER_ACCOUNT_MAX).unwrap() {
        assert_eq!(world.apply(create_key(number, 1, &format!("secret {number}"))), Outcome::Done);
    }
    assert_eq!(world.apply(create_key(200, 1, "one more")), Outcome::LimitReached);
    assert_eq!(world.apply(create_key(200, 2, "one more")), Outcome::Done, "another account's count");
    let revoke = api_keys::Command::Revoke { account: account_id(1), id: key_id(0) };
    assert_eq!(world.apply(Command::ApiKeys(revoke)), Outcome::Done);
    assert_eq!(world.apply(create_key(201, 1, "in its place")), Outcome::Done);
}

#[test]
fn of_keys_that_have_ended_the_newest_are_kept() {
    let mut world = World::new();
    let kept = u8::try_from(api_keys::ENDED_KEYS_KEPT_MAX).unwrap();
    let account = || account_id(1);
    assert_eq!(world.apply(create_key(0, 1, "in force")), Outcome::Done);
    for number in 1..=kept + 20 {
        assert_eq!(world.apply(create_key(number, 1, &number.to_string())), Outcome::Done);
        let id = key_id(number);
        let revoke = api_keys::Command::Revoke { account: account(), id };
        assert_eq!(world.apply(Command::ApiKeys(revoke)), Outcome::Done);
    }
    assert_eq!(world.apply(create_key(250, 1, "newest")), Outcome::Done);
    let keys = api_keys::list(&world.engine, &account()).unwrap();
    let numbers = [0].into_iter().chain(21..=kept + 20).chain([250]);
    assert_eq!(
        keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>(),
        numbers.map(key_id).collect::<Vec<_>>()
    );
    assert!(api_keys::find(&world.engine, &SecretHash::of("in force")).unwrap().is_some());
    // One that expired leaves nothing behind either.
    world.now = Timestamp::from_millis(6_000);
    for number in kept + 21..250 {
        assert_eq!(world.apply(create_key(number, 1, &number.to_string())), Outcome::Done);
    }
    assert_eq!(api_keys::find(&world.engine, &SecretHash::of("in force")).unwrap(), None);
}

#[test]
fn publishing_puts_a_version_in_force_and_ends_its_job() {
    let mut world = World::new();
    assert_eq!(world.index(1, 1, "/org/lib", "1.9"), Outcome::Done);
    assert_eq!(world.job_state(1), JobState::Done);
    assert_eq!(world.index(2, 1, "/org/lib", "1.10"), Outcome::Done);
    assert_eq!(world.index(3, 1, "/org/lib", "2.0-rc.1"), Outcome::Done);
    assert_eq!(world.index(4, 1, "/org/lib", "1.8"), Outcome::Done);
    let library = world.library("/org/lib").unwrap();
    assert_eq!(library.current.unwrap().as_str(), "1.10", "a release before a later pre-release");
    assert_eq!(world.index(5, 1, "/org/lib", "2.0"), Outcome::Done);
    assert_eq!(world.library("/org/lib").unwrap().current.unwrap().as_str(), "2.0");
    let manifest = libraries::manifest(&world.engine, &library.id, &"1.10".parse().unwrap()).unwrap();
    assert_eq!(manifest.unwrap().bundle, built(2).bundle);
}

#[test]
fn only_the_newest_attempt_of_a_running_job_publishes() {
    let mut world = World::new();
    assert_eq!(world.submit(1, 1, "/org/lib", "1"), Outcome::Done);
    assert_eq!(world.publish(1, 0, "Title"), Outcome::Stale, "not started");
    assert_eq!(world.start(1, 2), Outcome::Stale, "not the next attempt");
    assert_eq!(world.start(1, 1), Outcome::Done);
    assert_eq!(world.start(1, 2), Outcome::Done);
    assert_eq!(world.publish(1, 1, "Title"), Outcome::Stale, "replaced");
    assert_eq!(world.library("/org/lib"), None, "a refused publication makes no library");
    let cancel =
        |account| Command::Jobs(jobs::Command::Cancel { id: job_id(1), account: Some(account_id(account)) });
    assert_eq!(world.apply(cancel(2)), Outcome::NotFound, "another account's job");
    assert_eq!(world.apply(cancel(1)), Outcome::Done);
    assert_eq!(world.publish(1, 2, "Title"), Outcome::Stale, "cancelled");
    assert_eq!(world.apply(cancel(1)), Outcome::Stale);
    assert_eq!(world.start(1, 3), Outcome::Stale);
}

#[test]
fn a_job_that_its_node_gives_back_is_anybodys_at_once_and_the_others_stay() {
    let mut world = World::new();
    let claim = |job, node| Command::Jobs(jobs::Command::Claim { id: job_id(job), node });
    let renew = |node, for_ms| Command::Jobs(jobs::Command::Renew { node, for_ms });
    let worker = |world: &World, job| jobs::worker(&world.engine, &job_id(job)).unwrap();
    world.submit(1, 1, "/org/given", "1");
    world.submit(2, 1, "/org/kept", "1");
    for command in [renew(2, 60_000), claim(1, 2), claim(2, 2)] {
        assert_eq!(world.apply(command), Outcome::Done);
    }
    assert_eq!(world.apply(claim(1, 3)), Outcome::Stale, "the lease runs");
    let nobody = jobs::NOBODY;
    for command in [renew(nobody, 0), renew(2, 0), claim(1, nobody), renew(2, 60_000)] {
        assert_eq!(world.apply(command), Outcome::Done);
    }
    assert_eq!((worker(&world, 1), worker(&world, 2)), (None, Some(2)));
    assert_eq!(world.apply(claim(1, 3)), Outcome::Done);
    assert_eq!(world.apply(claim(2, 3)), Outcome::Stale);
    assert_eq!((worker(&world, 1), worker(&world, 2)), (Some(3), Some(2)));
}

#[test]
fn a_library_of_another_account_is_not_published_into_described_or_removed() {
    let mut world = World::new();
    world.index(1, 1, "/org/lib", "1");
    world.submit(2, 2, "/org/lib", "2");
    world.start(2, 1);
    assert_eq!(world.publish(2, 1, "Stolen"), Outcome::NotFound);
    assert_eq!(world.job_state(2), JobState::Running, "its own attempt may still say why it failed");
    let id: LibraryId = "/org/lib".parse().unwrap();
    let describe = |account: Option<u8>| {
        Command::Libraries(libraries::Command::Describe {
            id: "/org/lib".parse().unwrap(),
            account: account.map(account_id),
            facts: Facts { title: "New".into(), ..Facts::default() },
            trust_tenths: Some(70),
        })
    };
    assert_eq!(world.apply(describe(Some(2))), Outcome::NotFound);
    assert_eq!(world.apply(describe(None)), Outcome::Done, "an operator may");
    assert_eq!(world.library("/org/lib").unwrap().trust_tenths, Some(70));
    let remove = |account| libraries::Command::Remove { id: id.clone(), account: Some(account_id(account)) };
    assert_eq!(world.apply(Command::Libraries(remove(2))), Outcome::NotFound);
    assert_eq!(world.apply(Command::Libraries(remove(1))), Outcome::Done);
    assert!(world.engine.scan(Keyspace::Libraries, &[], None, 10).unwrap().is_empty());
}

#[test]
fn removing_the_current_version_makes_the_next_one_current() {
    let mut world = World::new();
    world.index(1, 1, "/org/lib", "1.0");
    world.index(2, 1, "/org/lib", "2.0");
    // A neighbour whose id starts the same keeps its versions.
    world.index(3, 1, "/org/lib.js", "9.0");
    let remove = |version: &str| {
        let (id, version): (LibraryId, Version) = ("/org/lib".parse().unwrap(), version.parse().unwrap());
        Command::Libraries(libraries::Command::RemoveVersion { id, version, account: Some(account_id(1)) })
    };
    assert_eq!(world.apply(remove("3.0")), Outcome::NotFound);
    assert_eq!(world.apply(remove("2.0")), Outcome::Done);
    assert_eq!(world.library("/org/lib").unwrap().current.unwrap().as_str(), "1.0");
    assert_eq!(world.apply(remove("1.0")), Outcome::Done);
    assert_eq!(world.library("/org/lib").unwrap().current, None);
    assert_eq!(world.library("/org/lib.js").unwrap().current.unwrap().as_str(), "9.0");
}

#[test]
fn better_vectors_replace_only_the_bundle_they_were_made_for() {
    let mut world = World::new();
    world.index(1, 1, "/org/lib", "1.0");
    let (id, version): (LibraryId, Version) = ("/org/lib".parse().unwrap(), "1.0".parse().unwrap());
    let upgrade = |replaces: u8, version: &str| {
        Command::Libraries(libraries::Command::Upgrade {
            id: "/org/lib".parse().unwrap(),
            version: version.parse().unwrap(),
            replaces: built(replaces).bundle,
            bundle: "f".repeat(64),
            bundle_bytes: 11,
            embedder: "e+better".into(),
        })
    };
    let manifest = |world: &World| libraries::manifest(&world.engine, &id, &version).unwrap().unwrap();
    let before = manifest(&world);
    assert_eq!(world.apply(upgrade(1, "9.9")), Outcome::NotFound);
    assert_eq!(world.apply(upgrade(2, "1.0")), Outcome::Stale);
    let (outcome, changes) = world.apply_telling(upgrade(1, "1.0"));
    assert_eq!((outcome, changes), (Outcome::Done, vec![Change::Library(id.clone())]));
    let after = manifest(&world);
    assert_eq!(
        (after.bundle.as_str(), after.bundle_bytes, after.embedder.as_str()),
        (&*"f".repeat(64), 11, "e+better")
    );
    assert_eq!(
        (after.job, after.indexed_at, after.snippets),
        (before.job, before.indexed_at, before.snippets)
    );
    assert_eq!(world.apply(upgrade(1, "1.0")), Outcome::Stale, "once");
    world.index(2, 1, "/org/lib", "1.0");
    assert_eq!(manifest(&world).embedder, "e", "documentation published anew is upgraded anew");
}

#[test]
fn a_source_that_says_nothing_keeps_what_is_known() {
    let mut world = World::new();
    world.index(1, 1, "/org/lib", "1");
    world.submit(2, 1, "/org/lib", "2");
    world.start(2, 1);
    assert_eq!(world.publish(2, 1, ""), Outcome::Done);
    assert_eq!(world.library("/org/lib").unwrap().facts.title, "Title");
}

#[test]
fn commands_of_one_entry_see_each_other() {
    let engine = MemoryEngine::new(Keyspace::STATE);
    let mut transaction = Transaction::new(&engine);
    let at = Timestamp::from_millis(1);
    assert_eq!(apply(&mut transaction, at, &create_key(1, 1, "secret")).unwrap(), Outcome::Done);
    assert_eq!(apply(&mut transaction, at, &create_key(2, 1, "secret")).unwrap(), Outcome::AlreadyExists);
    let revoke = api_keys::Command::Revoke { account: account_id(1), id: key_id(1) };
    assert_eq!(apply(&mut transaction, at, &Command::ApiKeys(revoke)).unwrap(), Outcome::Done);
    assert_eq!(api_keys::list(&transaction, &account_id(1)).unwrap().len(), 1);
    assert_eq!(api_keys::find(&transaction, &SecretHash::of("secret")).unwrap(), None);
}

#[test]
fn what_is_built_to_the_same_bundle_again_stays_and_its_job_ends_as_unchanged() {
    let mut world = World::new();
    world.index(1, 1, "/org/lib", "1.0");
    let (id, version): (LibraryId, Version) = ("/org/lib".parse().unwrap(), "1.0".parse().unwrap());
    let manifest = |world: &World| libraries::manifest(&world.engine, &id, &version).unwrap();
    let origin = |world: &World| refresh::origin(&world.engine, &id, &version).unwrap();
    let (before, first) = (manifest(&world), origin(&world).unwrap());
    assert_eq!((&first.source, &first.account), (&Source::Folder { path: "/docs".into() }, &account_id(1)));

    world.submit(2, 1, "/org/lib", "1.0");
    world.start(2, 1);
    let publish = |title: &str| {
        let facts = Facts { title: title.into(), ..Facts::default() };
        Command::Libraries(libraries::Command::Publish { job: job_id(2), attempt: 1, facts, built: built(1) })
    };
    let (outcome, changes) = world.apply_telling(publish("Title"));
    assert_eq!((outcome, changes), (Outcome::Done, vec![Change::Job(job_id(2))]), "nobody reads it anew");
    assert_eq!(world.job_state(2), JobState::Unchanged);
    assert_eq!(manifest(&world), before);
    assert!(origin(&world).unwrap().checked_at > first.checked_at);
    assert_eq!(world.apply(publish("Title")), Outcome::Stale, "once");

    world.index(3, 1, "/org/lib", "1.0");
    assert_eq!((world.job_state(3), manifest(&world) == before), (JobState::Done, false));
    let remove =
        libraries::Command::RemoveVersion { id: id.clone(), version: version.clone(), account: None };
    assert_eq!(world.apply(Command::Libraries(remove)), Outcome::Done);
    assert_eq!(origin(&world), None);
}

#[test]
fn schedule_and_hook_belong_to_the_owner_and_go_with_the_library() {
    let mut world = World::new();
    world.index(1, 1, "/org/lib", "1.0");
    let library: LibraryId = "/org/lib".parse().unwrap();
    let plan = |account: Option<AccountId>, every_s| {
        Command::Refresh(refresh::Command::Plan { library: library.clone(), account, every_s })
    };
    let hook = |account: Option<AccountId>, salt| {
        Command::Refresh(refresh::Command::Hook { library: library.clone(), account, salt })
    };
    assert_eq!(world.apply(plan(Some(account_id(2)), Some(7_200))), Outcome::NotFound);
    assert_eq!(world.apply(hook(Some(account_id(2)), Some([1; 16]))), Outcome::NotFound);
    assert_eq!(world.apply(plan(Some(account_id(1)), Some(7_200))), Outcome::Done);
    assert_eq!(world.apply(hook(None, Some([1; 16]))), Outcome::Done);
    assert_eq!(refresh::schedules(&world.engine, None, 10).unwrap().len(), 1);
    assert_eq!(refresh::hook(&world.engine, &library).unwrap().unwrap().salt, [1; 16]);
    let remove = libraries::Command::Remove { id: library.clone(), account: None };
    assert_eq!(world.apply(Command::Libraries(remove)), Outcome::Done);
    assert_eq!(refresh::schedule(&world.engine, &library).unwrap(), None);
    assert_eq!(refresh::hook(&world.engine, &library).unwrap(), None);
    assert_eq!(refresh::origins(&world.engine, &library).unwrap(), []);
    assert_eq!(world.apply(plan(None, Some(7_200))), Outcome::NotFound);
}
