//! Random commands of every noun, over few ids, so that they meet.

mod accounts;
mod oauth;
mod teams;

use std::net::IpAddr;

use proptest::prelude::*;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::audit::{self, Action, Actor, Audited, By, Event, Keep, Kind};
use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::command::Command;
use twinmcp_storage::ids::{AccountId, ApiKeyId, JobId, LibraryId, Version};
use twinmcp_storage::jobs::{Revision, Source};
use twinmcp_storage::libraries::{Built, Facts};
use twinmcp_storage::rotation::{self, Step, Subject};
use twinmcp_storage::scope::Scope;
use twinmcp_storage::usage::{self, Count, Day, DayUse, Surface, Tool};
use twinmcp_storage::{api_keys, catalogue, jobs, libraries, members, refresh};

/// One command. A noun that is added to [`Command`] is added here too: [`noun_is_covered`] does not
/// compile until somebody looked.
pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        accounts::command().prop_map(Command::Accounts),
        api_key_command().prop_map(Command::ApiKeys),
        job_command().prop_map(Command::Jobs),
        library_command().prop_map(Command::Libraries),
        catalogue_command().prop_map(Command::Catalogue),
        usage_command().prop_map(Command::Usage),
        refresh_command().prop_map(Command::Refresh),
        member_command().prop_map(Command::Members),
        rotation_command().prop_map(Command::Rotation),
        oauth::command().prop_map(Command::Oauth),
        teams::command(),
        text().prop_map(|name| Command::Audit(audit::Command::Note(Event::new(
            Action::AccountExported,
            Kind::Account,
            name
        )))),
    ]
    .prop_filter("every noun is covered", noun_is_covered)
    .prop_flat_map(|command| (Just(command), proptest::option::of(by()), 1..6_u64))
    .prop_map(|(command, by, entries_max)| match by {
        Some(by) => {
            let keep = Keep { entries_max, age_ms_max: 50 };
            Command::Audited(Box::new(Audited { command, by, node: 2, keep }))
        }
        None => command,
    })
}

fn by() -> impl Strategy<Value = By> {
    let actor = prop_oneof![
        Just(Actor::Nobody),
        account().prop_map(Actor::Person),
        (1..4_u64).prop_map(Actor::Node),
        (api_key(), account()).prop_map(|(id, account)| Actor::Key { id, account }),
    ];
    let address = proptest::option::of(any::<[u8; 4]>().prop_map(IpAddr::from));
    (actor, address, proptest::option::of(text())).prop_map(|(actor, address, request)| By {
        actor,
        address,
        request,
    })
}

fn noun_is_covered(command: &Command) -> bool {
    match command {
        Command::Accounts(_)
        | Command::ApiKeys(_)
        | Command::Libraries(_)
        | Command::Jobs(_)
        | Command::Catalogue(_)
        | Command::Usage(_)
        | Command::Refresh(_)
        | Command::Members(_)
        | Command::Rotation(_)
        | Command::Oauth(_)
        | Command::Teams(_)
        | Command::Audit(_)
        | Command::Audited(_) => true,
    }
}

fn member_command() -> impl Strategy<Value = members::Command> {
    let facts = || text().prop_map(|name| members::NodeFacts { name, ..members::NodeFacts::default() });
    let token = (0..3_u8).prop_map(|token| ([token; 8], [token; 32]));
    prop_oneof![
        any::<u8>()
            .prop_map(|byte| members::Command::Certify { certificate: vec![byte], sealed_key: vec![byte] }),
        token.clone().prop_map(|(id, secret_hash)| members::Command::MakeToken {
            id,
            secret_hash,
            life_ms: 500
        }),
        (token.clone(), 1..4_u64, facts()).prop_map(|((token, secret_hash), node, facts)| {
            members::Command::Join { token, secret_hash, node, facts }
        }),
        (1..4_u64, facts()).prop_map(|(node, facts)| members::Command::Describe { node, facts }),
        (1..4_u64).prop_map(|node| members::Command::Remove { node }),
        (token, 1..4_u64).prop_map(|((token, secret_hash), node)| members::Command::Renew {
            token,
            secret_hash,
            node
        }),
    ]
}

fn rotation_command() -> impl Strategy<Value = rotation::Command> {
    let subject = || proptest::sample::select(&Subject::ALL);
    let step = proptest::sample::select(&[Step::Settled, Step::Spreading, Step::Using]);
    let webhook_key = || refresh::WebhookKey { until: Timestamp::from_millis(1), sealed: vec![3] };
    prop_oneof![
        (0..4_u64, 0..3_u8, 0..3_u8).prop_map(|(after, one, other)| rotation::Command::BeginKey {
            after,
            in_force: [one; 8],
            next: [other; 8],
            node: 1
        }),
        (0..4_u64).prop_map(|after| rotation::Command::BeginAuthority {
            after,
            certificate: vec![1],
            sealed_key: vec![2]
        }),
        (subject(), 0..4_u64, step, 1..4_u64).prop_map(|(subject, number, step, node)| {
            rotation::Command::Confirm { subject, number, step, node }
        }),
        (subject(), 0..4_u64, 1..4_u64).prop_map(|(subject, number, node)| {
            rotation::Command::LeaveBehind { subject, number, nodes: vec![node] }
        }),
        (0..4_u64, any::<bool>(), 0..3_usize).prop_map(move |(number, has_authority, keys)| {
            rotation::Command::UseKey {
                number,
                sealed_authority: has_authority.then(|| vec![7]),
                webhook_keys: vec![webhook_key(); keys],
                sealed_base: has_authority.then(|| vec![8]),
                endorsement: "a.b.c".to_owned(),
            }
        }),
        (0..4_u64).prop_map(|number| rotation::Command::UseAuthority { number }),
        (subject(), 0..4_u64).prop_map(|(subject, number)| rotation::Command::End { subject, number }),
    ]
}

fn account() -> impl Strategy<Value = AccountId> {
    (0..3_u8).prop_map(|number| format!("acct_{number:026}").parse().unwrap())
}

fn job() -> impl Strategy<Value = JobId> {
    (0..12_u8).prop_map(|number| format!("job_{number:026}").parse().unwrap())
}

fn api_key() -> impl Strategy<Value = ApiKeyId> {
    (0..4_u8).prop_map(|number| format!("key_{number:026}").parse().unwrap())
}

fn library() -> impl Strategy<Value = LibraryId> {
    prop_oneof![Just("/a/b"), Just("/a/b.c"), Just("/npm/@x/y")].prop_map(|id| id.parse().unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just("v1"), Just("1.10"), Just("2.0-rc.1")].prop_map(|version| version.parse().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    "[a-zä\u{1f600}]{0,12}"
}

fn api_key_command() -> impl Strategy<Value = api_keys::Command> {
    let scopes = proptest::collection::vec(proptest::sample::select(Scope::ALL), 0..4);
    let expires_at = proptest::option::of((0..10_000_u64).prop_map(Timestamp::from_millis));
    prop_oneof![
        3 => (api_key(), account(), text(), scopes, 0..6_u8, expires_at).prop_map(
            |(id, account, name, scopes, secret, expires_at)| api_keys::Command::Create {
                id,
                account,
                name,
                scopes,
                secret_hash: SecretHash::of(&secret.to_string()),
                hint: secret.to_string(),
                expires_at,
            }
        ),
        1 => (account(), api_key()).prop_map(|(account, id)| api_keys::Command::Revoke { account, id }),
    ]
}

fn job_command() -> impl Strategy<Value = jobs::Command> {
    let source = prop_oneof![
        text().prop_map(|path| Source::Folder { path }),
        (text(), text()).prop_map(|(hash, name)| Source::Upload { hash, name }),
        text().prop_map(|url| Source::Web { url }),
        (text(), text()).prop_map(|(url, tag)| Source::Git { url, revision: Revision::Tag(tag) }),
    ];
    prop_oneof![
        4 => (job(), account(), library(), version(), source, proptest::option::of(text())).prop_map(
            |(id, account, library, version, source, base_url)| {
                jobs::Command::Submit { id, account, library, version, source, base_url }
            }
        ),
        4 => (job(), 1..3_u32).prop_map(|(id, attempt)| jobs::Command::Start { id, attempt }),
        1 => (job(), 1..3_u32, text())
            .prop_map(|(id, attempt, message)| jobs::Command::Fail { id, attempt, message }),
        1 => (job(), proptest::option::of(account()))
            .prop_map(|(id, account)| jobs::Command::Cancel { id, account }),
        1 => (1..4_u64, 0..3_000_u64).prop_map(|(node, for_ms)| jobs::Command::Renew { node, for_ms }),
        1 => (job(), 1..4_u64).prop_map(|(id, node)| jobs::Command::Claim { id, node }),
    ]
}

fn library_command() -> impl Strategy<Value = libraries::Command> {
    let owner = || proptest::option::of(account());
    prop_oneof![
        8 => (job(), 1..3_u32, facts(), text(), any::<u32>()).prop_map(|(job, attempt, facts, bundle, snippets)| {
            let built = Built {
                bundle,
                bundle_bytes: u64::from(snippets) * 7,
                pages: snippets / 2,
                snippets,
                tokens: u64::from(snippets) * 100,
                embedder: "words".to_owned(),
            };
            libraries::Command::Publish { job, attempt, facts, built }
        }),
        1 => (library(), owner(), facts(), proptest::option::of(0..=100_u8)).prop_map(
            |(id, account, facts, trust_tenths)| libraries::Command::Describe { id, account, facts, trust_tenths }
        ),
        1 => (library(), version(), owner())
            .prop_map(|(id, version, account)| libraries::Command::RemoveVersion { id, version, account }),
        1 => (library(), owner()).prop_map(|(id, account)| libraries::Command::Remove { id, account }),
        2 => (library(), version(), text(), text()).prop_map(|(id, version, replaces, bundle)| {
            libraries::Command::Upgrade {
                id,
                version,
                replaces,
                bundle,
                bundle_bytes: 7,
                embedder: "words+better".to_owned(),
            }
        }),
    ]
}

fn catalogue_command() -> impl Strategy<Value = catalogue::Command> {
    let entry = (library(), text(), text(), proptest::option::of(0..=100_u8)).prop_map(
        |(id, title, description, popularity)| catalogue::Entry {
            id,
            title,
            description,
            ecosystem: "npm".to_owned(),
            popularity,
            versions: Vec::new(),
            aliases: Vec::new(),
        },
    );
    prop_oneof![
        3 => proptest::collection::vec(entry, 0..4).prop_map(|entries| catalogue::Command::Import { entries }),
        1 => library().prop_map(|id| catalogue::Command::Forget { id }),
    ]
}

fn usage_command() -> impl Strategy<Value = usage::Command> {
    let using = (0..3_u32, library(), 1..5_u64).prop_map(|(day, library, requests)| {
        let count = Count { tool: Tool::Query, surface: Surface::Mcp, client: "cursor".to_owned(), requests };
        DayUse { day: Day(day), library, counts: vec![count], callers: Vec::new() }
    });
    ("n[12]", 1..9_u64, proptest::collection::vec(using, 0..3))
        .prop_map(|(node, sequence, uses)| usage::Command::Flush { node, sequence, uses })
}

fn refresh_command() -> impl Strategy<Value = refresh::Command> {
    let owner = || proptest::option::of(account());
    prop_oneof![
        (library(), owner(), proptest::option::of(3_600..9_999_u64))
            .prop_map(|(library, account, every_s)| refresh::Command::Plan { library, account, every_s }),
        (library(), owner(), proptest::option::of(any::<[u8; 16]>()))
            .prop_map(|(library, account, salt)| refresh::Command::Hook { library, account, salt }),
    ]
}

fn facts() -> impl Strategy<Value = Facts> {
    let list = || proptest::collection::vec(text(), 0..3);
    (text(), text(), list(), proptest::option::of(text()), list()).prop_map(
        |(title, description, aliases, source_url, rules)| Facts {
            title,
            description,
            aliases,
            source_url,
            rules,
        },
    )
}
