//! A real process on a real disk, killed while it writes.
//!
//! The test starts itself again as the child that writes; the child prints what was answered. Rounds:
//! `TWINMCP_KILL_ROUNDS`, 8 unless set.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use twinmcp_storage::api_keys::{self, Scope, SecretHash};
use twinmcp_storage::command::Command;
use twinmcp_storage::engine::Keyspace;
use twinmcp_storage::ids::ApiKeyId;

use super::restart::open;
use super::{account_id, config, start_on};
use crate::{Cluster, ClusterConfig};

const FOLDER: &str = "TWINMCP_KILL_FOLDER";
const START: &str = "TWINMCP_KILL_START";

async fn start(folder: &Path) -> Cluster {
    let (state, raft) = (open(folder, "state", Keyspace::STATE), open(folder, "raft", Keyspace::RAFT));
    let config = ClusterConfig { snapshot_every_entries: 40, snapshot_keep_entries: 10, ..config() };
    start_on(config, state, raft).await.unwrap()
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
    let (Ok(folder), Ok(start_at)) = (std::env::var(FOLDER), std::env::var(START)) else {
        return;
    };
    let cluster = start(Path::new(&folder)).await;
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
fn write_and_kill(folder: &Path, start_at: u64, answers: usize) -> Vec<u64> {
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["tests::kill::writing_child", "--exact", "--nocapture", "--test-threads=1"])
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

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_survives_the_death_of_the_process() {
    let rounds: u64 =
        std::env::var("TWINMCP_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(8);
    let folder = tempfile::tempdir().unwrap();
    let mut answered = BTreeSet::new();
    for round in 0..rounds {
        // A different number of answers each time, so that it dies at different moments of its life.
        let (start_at, answers) = (round * 100_000, 1 + (round * 97 % 211) as usize);
        let path = folder.path().to_owned();
        let writing = tokio::task::spawn_blocking(move || write_and_kill(&path, start_at, answers));
        answered.extend(writing.await.unwrap());

        let cluster = start(folder.path()).await;
        for &number in &answered {
            let key = api_keys::get(cluster.reader(), &account_id(number / 50), &key_id(number)).unwrap();
            assert!(key.is_some(), "round {round}: {number} was answered and is gone");
        }
        check_every_batch_is_whole(&cluster);
        let status = cluster.status();
        assert_eq!(status.applied_index, status.last_log_index);
        cluster.shutdown().await.unwrap();
    }
}

/// Every key has its way from the secret, and the other way round.
fn check_every_batch_is_whole(cluster: &Cluster) {
    let all = |prefix: &[u8]| cluster.reader().scan(Keyspace::ApiKeys, prefix, None, usize::MAX).unwrap();
    let keys: BTreeSet<_> = all(b"k/").into_iter().map(|(key, _)| key).collect();
    let ways: BTreeSet<_> = all(b"h/").into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, ways);
}
