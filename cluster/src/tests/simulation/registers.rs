//! Real commands as registers, and as names that one may take.

use twinmcp_storage::accounts;
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::Reader;
use twinmcp_storage::ids::{AccountId, JobId};
use twinmcp_storage::jobs::{self, Source};
use twinmcp_storage::members::{self, Node, NodeFacts};

/// Nodes whose facts are registers: nobody runs them.
const FIRST_REGISTER: u64 = 1_000_000;
/// Nodes that tokens let in: nobody runs them either.
const FIRST_GUEST: u64 = 2_000_000;

/// What a node says about itself is a register: the last who says it counts.
pub(super) fn put(register: u64, value: u64) -> Command {
    let facts = NodeFacts { name: value.to_string(), ..NodeFacts::default() };
    Command::Members(members::Command::Describe { node: FIRST_REGISTER + register, facts })
}

pub(super) fn get(reader: &dyn Reader, register: u64) -> u64 {
    let node = members::node(reader, FIRST_REGISTER + register).unwrap();
    node.as_ref().and_then(held).map_or(0, |(_, value)| value)
}

/// Which register the record is, and what it holds.
pub(super) fn held(node: &Node) -> Option<(u64, u64)> {
    let register = node.id.checked_sub(FIRST_REGISTER).filter(|register| *register < 1_000)?;
    Some((register, node.facts.name.parse().ok()?))
}

/// The attempt a job is at is a register too: one begins only after the one before.
fn job(number: u64) -> JobId {
    format!("job_{number:026}").parse().unwrap()
}

fn owner() -> AccountId {
    account(0)
}

pub(super) fn make_job(number: u64) -> Command {
    Command::Jobs(jobs::Command::Submit {
        id: job(number),
        account: owner(),
        library: format!("/simulated/job-{number}").parse().unwrap(),
        version: "1".parse().unwrap(),
        source: Source::Folder { path: "/docs".to_owned() },
        base_url: None,
    })
}

pub(super) fn swap(number: u64, from: u64) -> Command {
    let attempt = u32::try_from(from + 1).unwrap();
    Command::Jobs(jobs::Command::Start { id: job(number), attempt })
}

pub(super) fn attempt(reader: &dyn Reader, number: u64) -> u64 {
    jobs::get(reader, &job(number)).unwrap().map_or(0, |job| job.attempt.into())
}

fn account(name: u64) -> AccountId {
    format!("acct_{name:026}").parse().unwrap()
}

/// An account's id is taken once; by whom is its name.
pub(super) fn take_name(name: u64, by: u64) -> Command {
    Command::Accounts(accounts::Command::Create { id: account(name), name: by.to_string() })
}

pub(super) fn named_by(reader: &dyn Reader, name: u64) -> Option<u64> {
    accounts::get(reader, &account(name)).unwrap().map(|account| account.name.parse().unwrap())
}

/// A join token lets one node in, once.
pub(super) fn make_token(token: u64) -> Command {
    let life_ms = members::TOKEN_LIFE_MS_MAX;
    Command::Members(members::Command::MakeToken { id: token.to_be_bytes(), secret_hash: [7; 32], life_ms })
}

pub(super) fn use_token(token: u64, by: u64) -> Command {
    let facts = NodeFacts::default();
    let node = FIRST_GUEST + by;
    Command::Members(members::Command::Join { token: token.to_be_bytes(), secret_hash: [7; 32], node, facts })
}

pub(super) fn used_by(reader: &dyn Reader, token: u64) -> Option<u64> {
    let tokens = members::tokens(reader).unwrap();
    let found = tokens.into_iter().find(|found| found.id == token.to_be_bytes())?;
    Some(found.used_by? - FIRST_GUEST)
}

/// Whether something single was taken; an outcome that cannot be is an error.
pub(super) fn is_taken(outcome: Outcome) -> Result<bool, String> {
    match outcome {
        Outcome::Done => Ok(true),
        Outcome::AlreadyExists | Outcome::Stale => Ok(false),
        other => Err(format!("something that is there cannot be {other:?}")),
    }
}
