//! A real process on a real disk, killed while it writes.
//!
//! The test starts itself again as the child that writes; the child prints what was answered, and is killed after
//! a random number of answers. Rounds: `TWINMCP_KILL_ROUNDS`, 20 unless set; `TWINMCP_SEED` repeats a run.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use twinmcp_storage::api_keys::{self, SecretHash};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::{EngineKind, Keyspace};
use twinmcp_storage::ids::ApiKeyId;
use twinmcp_storage::scope::Scope;

use super::restart::start_in;
use super::{account_id, config};
use crate::{Cluster, ClusterConfig};

const ENGINE: &str = "TWINMCP_KILL_ENGINE";
const FOLDER: &str = "TWINMCP_KILL_FOLDER";
const START: &str = "TWINMCP_KILL_START";
/// Most answers of one life.
const ANSWERS_MAX: u64 = 400;

async fn start(kind: EngineKind, folder: &Path) -> Cluster {
    let config = ClusterConfig { snapshot_every_entries: 40, snapshot_keep_entries: 10, ..config() };
    start_in(kind, folder, config).await
}

fn key_id(number: u64) -> ApiKeyId {
    format!("key_{number:026}").parse().unwrap()
}

/// Two records in one batch: the key, and the way to it from its secret.
fn key(number: u64) -> Command {
    Command::ApiKeys(api_keys::Command::Create {
        id: key_id(number),
        account: account_id(number / 50),
        name: format!("key {number}"),
        scopes: vec![Scope::DocsRead],
        secret_hash: SecretHash::of(&number.to_string()),
        hint: "hint".to_owned(),
        expires_at: None,
    })
}

/// Not a test by itself: what the test below runs in processes it kills.
#[tokio::test(flavor = "multi_thread")]
async fn writing_child() {
    let variables = (std::env::var(ENGINE), std::env::var(FOLDER), std::env::var(START));
    let (Ok(kind), Ok(folder), Ok(start_at)) = variables else { return };
    let cluster = start(kind.parse().unwrap(), Path::new(&folder)).await;
    let start_at: u64 = start_at.parse().unwrap();
    let writers = (0..16).map(|writer| {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            for number in (start_at + writer..).step_by(16) {
                cluster.propose(key(number)).await.unwrap();
                // One call, so that lines of different writers do not mix.
                std::io::stdout().write_all(format!("answered {number}\n").as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// Lets a child write until it has answered `answers` commands, and kills it there. Answers all it
/// printed: it goes on while it is being killed.
fn write_and_kill(kind: EngineKind, folder: &Path, start_at: u64, answers: usize) -> Vec<u64> {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["tests::kill::writing_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ENGINE, kind.name())
        .env(FOLDER, folder)
        .env(START, start_at.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut answered = Vec::new();
    let mut is_killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // The harness prints lines of its own; a line is never cut, a pipe takes it whole.
        let line = line.unwrap();
        let number = line.rsplit_once("answered ").and_then(|(_, number)| number.parse::<u64>().ok());
        answered.extend(number);
        if !is_killed && answered.len() >= answers {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(is_killed, "the child ended by itself after {} answers", answered.len());
    answered
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn live_and_die(kind: EngineKind) {
    let rounds = variable("TWINMCP_KILL_ROUNDS").unwrap_or(20);
    let mut chance = variable("TWINMCP_SEED").unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    println!("TWINMCP_SEED={chance}");
    let folder = tempfile::tempdir().unwrap();
    let mut answered = BTreeSet::new();
    for round in 0..rounds {
        // Numbers that a seed repeats (xorshift64, Marsaglia 2003).
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let (start_at, answers) = (round * 100_000, 1 + usize::try_from(chance % ANSWERS_MAX).unwrap());
        let path = folder.path().to_owned();
        let writing = tokio::task::spawn_blocking(move || write_and_kill(kind, &path, start_at, answers));
        let new = writing.await.unwrap();
        answered.extend(new.iter().copied());

        let cluster = start(kind, folder.path()).await;
        // What an earlier life answered was looked at after it; at the end all of it once more.
        let looked_at = if round + 1 == rounds { answered.iter().copied().collect() } else { new };
        for number in looked_at {
            let key = api_keys::get(cluster.reader(), &account_id(number / 50), &key_id(number)).unwrap();
            assert!(key.is_some(), "round {round}: {number} was answered and is gone");
        }
        check_every_batch_is_whole(&cluster);
        let status = cluster.status();
        assert_eq!(status.applied_index, status.last_log_index);
        cluster.shutdown().await.unwrap();
    }
    println!("{}: {rounds} lives, {} answers, none lost", kind.name(), answered.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_survives_the_death_of_the_process_on_fjall() {
    live_and_die(EngineKind::Fjall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_survives_the_death_of_the_process_on_sled() {
    live_and_die(EngineKind::Sled).await;
}

/// Every key has its way from the secret, and the other way round.
fn check_every_batch_is_whole(cluster: &Cluster) {
    let all = |prefix: &[u8]| cluster.reader().scan(Keyspace::ApiKeys, prefix, None, usize::MAX).unwrap();
    let keys: BTreeSet<_> = all(b"k/").into_iter().map(|(key, _)| key).collect();
    let ways: BTreeSet<_> = all(b"h/").into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, ways);
}
