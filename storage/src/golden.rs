//! Golden files: what each record and command looked like when its format was made.
//!
//! A change that moves a byte of these would make nodes of two versions disagree, or a data directory
//! unreadable: it needs a new format number, a way to read the old one, and a file of its own beside
//! the old. `TWINMCP_WRITE_FIXTURES=1` writes missing files, never changes one that is there.

mod oauth;
mod teams;

use std::path::PathBuf;

use crate::accounts::{
    self, Account, Answered, FactorCommand, Factors, Link, LinkCommand, Links, Method, Passkey, PasswordHash,
    Person, PersonAdded, PersonCommand, Proof, Purpose, Renewal, Ring, Session, SessionCommand, SignIn, Sms,
    TextCommand, Texts, TextsAllowed, Totp, Tries, TryCommand, UpstreamCommand, Which, WhichFactor, Who,
    Whose,
};
use crate::api_keys::{self, ApiKey, KeyRing, SecretHash};
use crate::audit;
use crate::catalogue::{self, Entry, Known};
use crate::clock::Timestamp;
use crate::command::Command;
use crate::ids::{AccountId, ApiKeyId, JobId, LibraryId, SessionId, Version};
use crate::jobs::{self, Job, JobState, Revision, Source};
use crate::libraries::{self, Built, Facts, Library, VersionManifest, Visibility};
use crate::members::{self, Authority, JoinToken, Node, NodeFacts};
use crate::record::{self, Record};
use crate::refresh::{self, Hook, Origin, Schedule, WebhookKey};
use crate::rotation::{self, KeyNames, Rotation, Step, Subject, Succession};
use crate::scope::Scope;
use crate::usage::{self, Count, Day, DayUse, Sketch, Surface, Tool};

fn check<R: Record + PartialEq + std::fmt::Debug>(name: &str, value: &R) {
    let bytes = record::encode(value).unwrap();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}-v{}.hex", bytes[0]));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if !path.exists() && std::env::var_os("TWINMCP_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, format!("{hex}\n")).unwrap();
    }
    let golden = std::fs::read_to_string(&path)
        .expect("the fixture is there; TWINMCP_WRITE_FIXTURES=1 makes a new one");
    assert_eq!(hex, golden.trim(), "{name} is written differently now");
    assert_eq!(record::decode::<R>(&bytes).unwrap(), *value);
}

fn account() -> AccountId {
    "acct_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap()
}

fn job() -> JobId {
    "job_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap()
}

fn key() -> ApiKeyId {
    "key_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap()
}

fn library() -> LibraryId {
    "/python/cpython".parse().unwrap()
}

fn version() -> Version {
    "v3.11".parse().unwrap()
}

fn session() -> SessionId {
    "ses_01hzy3k8w0abcdefghjkmnpqrs".parse().unwrap()
}

fn password() -> PasswordHash {
    PasswordHash::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaA".into())
}

fn secret() -> SecretHash {
    SecretHash::of("secret")
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_795_437_970_123)
}

fn facts() -> Facts {
    Facts {
        title: "Python".into(),
        description: "The language and its library.".into(),
        aliases: vec!["python3".into()],
        source_url: Some("https://example.org/cpython".into()),
        rules: vec!["prefer pathlib".into()],
    }
}

fn built() -> Built {
    Built {
        bundle: "ab".repeat(32),
        bundle_bytes: 1_000_000,
        pages: 500,
        snippets: 6_000,
        tokens: 900_000,
        embedder: "static-128".into(),
    }
}

fn entry() -> Entry {
    Entry {
        id: "/pypi/scikit-learn".parse().unwrap(),
        title: "scikit-learn".into(),
        description: "Machine learning.".into(),
        ecosystem: "pypi".into(),
        popularity: Some(93),
        versions: vec!["1.7.2".parse().unwrap()],
        aliases: vec!["sklearn".into()],
    }
}

fn node_facts() -> NodeFacts {
    NodeFacts {
        name: "eu-1".into(),
        region: "eu-central".into(),
        zone: "a".into(),
        address: "eu-1.example.org:7947".into(),
        url: "https://eu.example.org".into(),
        gossip: "eu-1.example.org:7946".into(),
    }
}

fn using() -> DayUse {
    let count = |tool, surface| Count { tool, surface, client: "claude-code".into(), requests: 300 };
    DayUse {
        day: Day::of(at()),
        library: library(),
        counts: vec![count(Tool::Resolve, Surface::Cli), count(Tool::Query, Surface::Mcp)],
        callers: vec![Sketch { client: "claude-code".into(), registers: vec![0, 3, 1] }],
    }
}

fn upload() -> Source {
    Source::Upload { hash: "cd".repeat(32), name: "docs.tar.zst".into() }
}

#[test]
fn records_are_written_as_they_always_were() {
    check("account", &Account { id: account(), name: "owner".into(), created_at: at() });
    check(
        "api-key",
        &ApiKey {
            id: key(),
            account: account(),
            name: "laptop".into(),
            // Those of the first build that wrote one.
            scopes: Scope::ALL[..6].to_vec(),
            hint: "wxyz".into(),
            secret_hash: SecretHash::of("tmcp_secret"),
            created_at: at(),
            expires_at: Some(at().plus_millis(1)),
            revoked_at: None,
        },
    );
    check("key-ring", &KeyRing { in_force: vec![(key(), Some(at())), (key(), None)], ended: [key()].into() });
    let public = Library {
        id: library(),
        owner: account(),
        facts: facts(),
        trust_tenths: Some(95),
        current: Some(version()),
        created_at: at(),
        updated_at: at(),
        visibility: Visibility::Public,
    };
    check("library", &public);
    check("library", &Library { visibility: Visibility::Private, ..public });
    let Built { bundle, bundle_bytes, pages, snippets, tokens, embedder } = built();
    check(
        "version-manifest",
        &VersionManifest {
            library: library(),
            version: version(),
            bundle,
            bundle_bytes,
            pages,
            snippets,
            tokens,
            embedder,
            job: job(),
            indexed_at: at(),
        },
    );
    check(
        "job",
        &Job {
            id: job(),
            account: account(),
            library: library(),
            version: version(),
            source: upload(),
            base_url: Some("https://example.org/docs/".into()),
            state: JobState::Failed { message: "no documentation".into() },
            attempt: 2,
            created_at: at(),
            started_at: Some(at()),
            ended_at: Some(at()),
        },
    );
    check("catalogue-entry", &Known { entry: entry(), updated_at: at() });
    check("usage-day", &using());
    check(
        "origin",
        &Origin {
            library: library(),
            version: version(),
            account: account(),
            source: upload(),
            base_url: Some("https://example.org/docs/".into()),
            built: "ab".repeat(32),
            checked_at: at(),
        },
    );
    check("schedule", &Schedule { library: library(), every_s: 86_400 });
    check("hook", &Hook { library: library(), salt: [7; 16], created_at: at() });
    check("job-owner", &jobs::Owner { node: 2 });
    check("node-lease", &jobs::Lease { until: at() });
    let authority = Authority { certificate: vec![1, 2], sealed_key: vec![3], made_at: at() };
    check("certificate-authority", &authority);
    check("node", &Node { id: 2, facts: node_facts(), joined_at: at(), removed_at: None });
    let token = JoinToken { id: [1; 8], secret_hash: [2; 32], expires_at: at(), used_by: Some(2) };
    check("join-token", &token);
    check("webhook-key", &webhook_key());
    check("key-names", &KeyNames { in_force: [1; 8], other: Some([2; 8]) });
    let rotation = Rotation {
        number: 1,
        step: Step::Using,
        confirmed: vec![1, 3],
        left_behind: vec![2],
        begun_at: at(),
    };
    check("rotation", &rotation);
    check("succession", &Succession { endorsements: vec!["a.b.c".into()] });
}

fn webhook_key() -> WebhookKey {
    WebhookKey { until: at(), sealed: vec![4, 5] }
}

#[test]
fn commands_of_rotations_are_written_as_they_always_were() {
    let check = |name: &str, command| check(&format!("command-rotation-{name}"), &Command::Rotation(command));
    check("begin-key", rotation::Command::BeginKey { after: 0, in_force: [1; 8], next: [2; 8], node: 3 });
    let begin = rotation::Command::BeginAuthority { after: 1, certificate: vec![1, 2], sealed_key: vec![3] };
    check("begin-authority", begin);
    let (subject, number) = (Subject::Key, 1);
    check("confirm", rotation::Command::Confirm { subject, number, step: Step::Spreading, node: 2 });
    check("leave-behind", rotation::Command::LeaveBehind { subject, number, nodes: vec![2] });
    let (sealed_authority, webhook_keys) = (Some(vec![7]), vec![webhook_key()]);
    let (sealed_base, endorsement) = (Some(vec![8]), "a.b.c".to_owned());
    let use_key =
        rotation::Command::UseKey { number, sealed_authority, webhook_keys, sealed_base, endorsement };
    check("use-key", use_key);
    check("use-authority", rotation::Command::UseAuthority { number });
    check("end", rotation::Command::End { subject: Subject::Authority, number });
}

#[test]
fn people_are_written_as_they_always_were() {
    let email: accounts::Email = "ada@example.org".parse().unwrap();
    check(
        "person",
        &Person {
            account: account(),
            email: email.clone(),
            password: Some(password()),
            generation: 3,
            is_operator: true,
            verified_at: Some(at()),
            disabled_at: None,
            password_set_at: Some(at()),
        },
    );
    check(
        "session",
        &Session {
            id: session(),
            account: account(),
            secret_hash: secret(),
            signed_in_at: at(),
            seen_at: at(),
            idle_ms: 1_000,
            expires_at: at(),
            methods: vec![
                Method::Password,
                Method::OneTimeCode,
                Method::HardwareKey,
                Method::Sms,
                Method::Upstream,
            ],
            client: "Mozilla/5.0".into(),
            address: "192.0.2.1".into(),
            upstream: Some(upstream_session()),
        },
    );
    check("ring-of-sessions", &Ring { sessions: vec![(session(), secret())] });
    let purposes = [
        ("sign-up", Purpose::SignUp { name: "Ada".into(), email: email.clone(), is_operator: false }),
        ("reset", Purpose::Reset { account: account() }),
        ("email", Purpose::Email { account: account(), email: email.clone() }),
    ];
    for (name, purpose) in purposes {
        check(&format!("link-{name}"), &Link { purpose: purpose.clone(), expires_at: at() });
        let make = LinkCommand::Make { secret_hash: secret(), purpose, life_ms: 1_000 };
        check(&format!("command-accounts-link-{name}"), &Command::Accounts(accounts::Command::Link(make)));
    }
    check("shelf", &accounts::Shelf { first: 3, next: 300 });
    check("links", &Links { hashes: vec![secret()] });
    check("tries", &Tries { count: 3, last_at: at(), locked_until: Some(at()) });
    let added = PersonAdded {
        account: account(),
        name: "Ada".into(),
        email: email.clone(),
        password: Some(password()),
        is_operator: true,
        is_verified: false,
    };
    let person = |command| Command::Accounts(accounts::Command::Person(command));
    check("command-accounts-person-add", &person(PersonCommand::Add(added)));
    let rename = PersonCommand::Rename { account: account(), name: "Ada L".into() };
    check("command-accounts-person-rename", &person(rename));
    let set_password = PersonCommand::SetPassword {
        account: account(),
        generation: 3,
        password: password(),
        keep: Some(session()),
    };
    check("command-accounts-person-set-password", &person(set_password));
    let manage = PersonCommand::Manage { account: account(), is_disabled: Some(true), is_operator: None };
    check("command-accounts-person-manage", &person(manage));
    check(
        "command-accounts-person-remove",
        &person(PersonCommand::Remove { account: account(), generation: 3 }),
    );
    let sessions = |command| Command::Accounts(accounts::Command::Session(command));
    let sign_in = SignIn {
        account: account(),
        generation: 3,
        id: session(),
        secret_hash: secret(),
        methods: vec![Method::Password],
        idle_ms: 1_000,
        life_ms: 2_000,
        client: "Mozilla/5.0".into(),
        address: "192.0.2.1".into(),
        replaces: Some(secret()),
        who: Who::email(&email),
        rehashed: Some(password()),
        proof: Some(Proof::Totp { step: 59_000_000 }),
        upstream: Some(upstream_session()),
    };
    check("command-accounts-session-begin", &sessions(SessionCommand::Begin(Box::new(sign_in.clone()))));
    let sign_in = SignIn { proof: Some(Proof::Sms { number: secret(), expires_at: at() }), ..sign_in };
    check("command-accounts-session-begin-sms", &sessions(SessionCommand::Begin(Box::new(sign_in))));
    check("command-accounts-session-seen", &sessions(SessionCommand::Seen { secret_hash: secret() }));
    for (name, which) in
        [("one", Which::One(session())), ("all-but", Which::AllBut(session())), ("all", Which::All)]
    {
        let end = SessionCommand::End { account: account(), which };
        check(&format!("command-accounts-session-end-{name}"), &sessions(end));
    }
    let used = LinkCommand::Use {
        secret_hash: secret(),
        account: account(),
        name: "Ada".into(),
        password: Some(password()),
    };
    check("command-accounts-link-use", &Command::Accounts(accounts::Command::Link(used)));
    let failed = TryCommand::Failed {
        who: Who::network("192.0.2.1"),
        tried: accounts::Tried::Network("192.0.2.1".into()),
        count: 2,
        lock_after: 10,
        lock_ms: 60_000,
        lock_ms_max: 3_600_000,
    };
    check("command-accounts-try-failed", &Command::Accounts(accounts::Command::Try(failed)));
}

fn subject() -> accounts::Subject {
    accounts::Subject { issuer: "https://id.example".into(), subject: "ada-17".into() }
}

fn upstream_session() -> accounts::UpstreamSession {
    accounts::UpstreamSession { subject: subject(), session: Some("there-1".into()) }
}

#[test]
fn identities_elsewhere_are_written_as_they_always_were() {
    check(
        "identity",
        &accounts::Identity { subject: subject(), account: account(), name: "ada".into(), linked_at: at() },
    );
    check("identities", &accounts::Identities(vec!["4b".into()]));
    let upstream = |command| Command::Accounts(accounts::Command::Upstream(command));
    let link =
        UpstreamCommand::Link { subject: subject(), name: "ada".into(), account: account(), generation: 3 };
    check("command-accounts-upstream-link", &upstream(link));
    let added = PersonAdded {
        account: account(),
        name: "Ada".into(),
        email: "ada@example.org".parse().unwrap(),
        password: None,
        is_operator: false,
        is_verified: true,
    };
    let join = UpstreamCommand::Join { subject: subject(), name: "ada".into(), added };
    check("command-accounts-upstream-join", &upstream(join));
    let unlink = UpstreamCommand::Unlink { account: account(), id: "4b".into() };
    check("command-accounts-upstream-unlink", &upstream(unlink));
    let log_out = UpstreamCommand::LogOut {
        issuer: "https://id.example".into(),
        token: "jti".into(),
        subject: Some("ada-17".into()),
        session: None,
    };
    check("command-accounts-upstream-log-out", &upstream(log_out));
}

#[test]
fn second_factors_are_written_as_they_always_were() {
    let totp = Totp { sealed: vec![7; 3], added_at: at(), last_step: 59_000_000, used_at: at() };
    let passkey = Passkey {
        id: vec![8; 3],
        name: "laptop".into(),
        credential: vec![9; 3],
        counter: 4,
        added_at: at(),
        used_at: at(),
    };
    let factors = Factors {
        totp: Some(totp),
        passkeys: vec![passkey],
        answered: vec![Answered { challenge: secret(), until: at() }],
        backup_codes: vec![secret()],
        backup_codes_made_at: Some(at()),
        sms: Some(Sms { sealed: vec![6; 3], added_at: at(), used_at: at() }),
    };
    check("factors", &factors);
    let check = |name: &str, command| {
        let command = Command::Accounts(accounts::Command::Factor(command));
        check(&format!("command-accounts-factor-{name}"), &command);
    };
    let add = FactorCommand::AddTotp {
        account: account(),
        generation: 3,
        sealed: vec![7; 3],
        step: 59_000_000,
        renewal: Renewal { session: session(), secret_hash: secret() },
        backup_codes: vec![secret()],
    };
    check("add-totp", add);
    let add = FactorCommand::AddPasskey {
        account: account(),
        generation: 3,
        id: vec![8; 3],
        name: "laptop".into(),
        credential: vec![9; 3],
        counter: 4,
        renewal: Renewal { session: session(), secret_hash: secret() },
        backup_codes: vec![secret()],
    };
    check("add-passkey", add);
    let backup_codes = vec![secret()];
    check(
        "make-backup-codes",
        FactorCommand::MakeBackupCodes { account: account(), generation: 3, backup_codes },
    );
    let which = WhichFactor::Totp;
    check("remove-totp", FactorCommand::Remove { account: account(), generation: 3, which });
    let which = WhichFactor::Passkey { id: vec![8; 3] };
    check("remove-passkey", FactorCommand::Remove { account: account(), generation: 3, which });
    check("reset", FactorCommand::Reset { account: account() });
    let add = FactorCommand::AddSms {
        account: account(),
        generation: 3,
        sealed: vec![6; 3],
        renewal: Renewal { session: session(), secret_hash: secret() },
        backup_codes: vec![secret()],
    };
    check("add-sms", add);
    let which = WhichFactor::Sms;
    check("remove-sms", FactorCommand::Remove { account: account(), generation: 3, which });
}

#[test]
fn text_messages_are_written_as_they_always_were() {
    check("texts", &Texts { sent: vec![at(), at()] });
    let text = |command| Command::Accounts(accounts::Command::Text(command));
    let whose = Whose::network("192.0.2.1");
    let allowed = vec![TextsAllowed { whose, texts_max: 20 }];
    check(
        "command-accounts-text-send",
        &text(TextCommand::Send { account: account(), allowed, window_ms: 3_600_000 }),
    );
    check("command-accounts-text-not-sent", &text(TextCommand::NotSent { whose: vec![whose] }));
}

#[test]
fn the_audit_log_is_written_as_it_always_was() {
    check("audit-line", &audit::Line { at: at(), text: "{}".into() });
    let head = audit::Head {
        first: 3,
        first_at: at(),
        anchor: [1; 32],
        last: 900,
        hash: [2; 32],
        summed_up_to: 498_732,
    };
    check("audit-head", &head);
    let bytes = include_str!("../fixtures/audit-head-v1.hex").trim();
    let bytes: Vec<u8> =
        (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap()).collect();
    assert_eq!(record::decode::<audit::Head>(&bytes).unwrap(), audit::Head { summed_up_to: 0, ..head });
    let spent = audit::Spent { told: 120, untold: 7, outcome: audit::EventOutcome::Refused };
    check("audit-spent", &spent);
    let event = audit::Event::new(audit::Action::AccountExported, audit::Kind::Account, account());
    let note =
        Command::Audit(audit::Command::Note(event.of(&account()).with("bytes", 12).times(2).refused()));
    check("command-audit-note", &note);
    let keep = audit::Keep { entries_max: 100_000, age_ms_max: 34_560_000_000 };
    let address = Some(std::net::IpAddr::from([192, 0, 2, 1]));
    let client = audit::Actor::Client { id: "ctx7".into(), account: Some(account()) };
    for (name, actor) in [
        ("nobody", audit::Actor::Nobody),
        ("person", audit::Actor::Person(account())),
        ("key", audit::Actor::Key { id: key(), account: account() }),
        ("client", client),
        ("node", audit::Actor::Node(3)),
    ] {
        let by = audit::By { actor, address, request: Some("0af7651916cd43dd8448eb211c80319c".into()) };
        let audited = audit::Audited { command: note.clone(), by, node: 3, keep };
        check(&format!("command-audited-{name}"), &Command::Audited(Box::new(audited)));
    }
}

#[test]
fn commands_are_written_as_they_always_were() {
    let accounts = Command::Accounts(accounts::Command::Create { id: account(), name: "owner".into() });
    check("command-accounts-create", &accounts);
    let create = api_keys::Command::Create {
        id: key(),
        account: account(),
        name: "laptop".into(),
        scopes: vec![Scope::DocsRead],
        secret_hash: SecretHash::of("tmcp_secret"),
        hint: "wxyz".into(),
        expires_at: None,
    };
    check("command-api-keys-create", &Command::ApiKeys(create));
    let revoke = api_keys::Command::Revoke { account: account(), id: key() };
    check("command-api-keys-revoke", &Command::ApiKeys(revoke));
    let publish = libraries::Command::Publish { job: job(), attempt: 1, facts: facts(), built: built() };
    check("command-libraries-publish", &Command::Libraries(publish));
    let describe = libraries::Command::Describe {
        id: library(),
        account: Some(account()),
        facts: facts(),
        trust_tenths: Some(80),
    };
    check("command-libraries-describe", &Command::Libraries(describe));
    let remove_version =
        libraries::Command::RemoveVersion { id: library(), version: version(), account: None };
    check("command-libraries-remove-version", &Command::Libraries(remove_version));
    let remove = libraries::Command::Remove { id: library(), account: None };
    check("command-libraries-remove", &Command::Libraries(remove));
    let upgrade = libraries::Command::Upgrade {
        id: library(),
        version: version(),
        replaces: "ab".repeat(32),
        bundle: "cd".repeat(32),
        bundle_bytes: 1_000_001,
        embedder: "static-128+better".into(),
    };
    check("command-libraries-upgrade", &Command::Libraries(upgrade));
    let submit = jobs::Command::Submit {
        id: job(),
        account: account(),
        library: library(),
        version: version(),
        source: Source::Folder { path: "/usr/share/doc".into() },
        base_url: None,
    };
    check("command-jobs-submit", &Command::Jobs(submit));
    let git = |revision| Source::Git { url: "https://example.org/kiln.git".into(), revision };
    for (name, source) in [
        ("web", Source::Web { url: "https://example.org/docs/".into() }),
        ("git", git(Revision::Head)),
        ("git-tag", git(Revision::Tag("v1.0".into()))),
        ("git-branch", git(Revision::Branch("main".into()))),
        ("git-commit", git(Revision::Commit("ef".repeat(20)))),
    ] {
        let submit = jobs::Command::Submit {
            id: job(),
            account: account(),
            library: library(),
            version: version(),
            source,
            base_url: None,
        };
        check(&format!("command-jobs-submit-{name}"), &Command::Jobs(submit));
    }
    check("command-jobs-start", &Command::Jobs(jobs::Command::Start { id: job(), attempt: 1 }));
    let fail = jobs::Command::Fail { id: job(), attempt: 1, message: "no documentation".into() };
    check("command-jobs-fail", &Command::Jobs(fail));
    let cancel = jobs::Command::Cancel { id: job(), account: Some(account()) };
    check("command-jobs-cancel", &Command::Jobs(cancel));
    check("command-jobs-renew", &Command::Jobs(jobs::Command::Renew { node: 2, for_ms: 30_000 }));
    check("command-jobs-claim", &Command::Jobs(jobs::Command::Claim { id: job(), node: 2 }));
    let certify = members::Command::Certify { certificate: vec![1, 2], sealed_key: vec![3] };
    check("command-members-certify", &Command::Members(certify));
    let token = members::Command::MakeToken { id: [1; 8], secret_hash: [2; 32], life_ms: 3_600_000 };
    check("command-members-make-token", &Command::Members(token));
    let join = members::Command::Join { token: [1; 8], secret_hash: [2; 32], node: 2, facts: node_facts() };
    check("command-members-join", &Command::Members(join));
    let describe = members::Command::Describe { node: 2, facts: node_facts() };
    check("command-members-describe", &Command::Members(describe));
    check("command-members-remove", &Command::Members(members::Command::Remove { node: 2 }));
    let renew = members::Command::Renew { token: [1; 8], secret_hash: [2; 32], node: 2 };
    check("command-members-renew", &Command::Members(renew));
    let import = catalogue::Command::Import { entries: vec![entry()] };
    check("command-catalogue-import", &Command::Catalogue(import));
    let forget = catalogue::Command::Forget { id: library() };
    check("command-catalogue-forget", &Command::Catalogue(forget));
    let flush = usage::Command::Flush { node: "node-1".into(), sequence: 7, uses: vec![using()] };
    check("command-usage-flush", &Command::Usage(flush));
    let plan = refresh::Command::Plan { library: library(), account: Some(account()), every_s: Some(86_400) };
    check("command-refresh-plan", &Command::Refresh(plan));
    let hook = refresh::Command::Hook { library: library(), account: None, salt: Some([7; 16]) };
    check("command-refresh-hook", &Command::Refresh(hook));
}
