//! Questions while a flood of people signs in: passwords cost a fiftieth of a second of a core each, and may not be what questions wait for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use twinmcp_tests::with_parameters;

use crate::http::Connection;
use crate::node::{EMAIL, LIBRARY, PASSWORD, Prepared};
use crate::process::Process;
use crate::run::Run;
use crate::say;

/// Clients that ask, and how often each does: far less than the node could answer, so that what is seen is waiting.
const ASKERS: usize = 8;
const ASK_EVERY: Duration = Duration::from_millis(40);
/// Clients that sign in as fast as they are answered.
const FLOOD: usize = 32;

/// Times of questions at rest, and while people sign in.
pub(crate) async fn measure(node: &Prepared, time: Duration) -> Result<Value, String> {
    let time = time * 3;
    questions(node, time / 3).await?;
    let alone = questions(node, time).await?;
    say(&format!("| query-docs, 200 a second | node | {alone} |"));
    let flood: Vec<_> = (0..FLOOD).map(|_| tokio::spawn(sign_in(node.address, time + time / 4))).collect();
    tokio::time::sleep(time / 8).await;
    let flooded = questions(node, time).await?;
    let (mut signed_in, mut turned_away) = (0, 0);
    for one in flood {
        let (yes, no) = one.await.map_err(|error| error.to_string())??;
        signed_in += yes;
        turned_away += no;
    }
    say(&format!(
        "| the same, while {FLOOD} sign in ({signed_in} did, {turned_away} were told to come back; CPU of both) | node | {flooded} |"
    ));
    Ok(json!({
        "alone": alone.json(), "flooded": flooded.json(), "signed_in": signed_in, "turned_away": turned_away,
    }))
}

async fn questions(node: &Prepared, time: Duration) -> Result<Run, String> {
    let process = Process::of(node.node.pid());
    let (cpu, started) = (process.cpu()?, Instant::now());
    let key = format!("Bearer {}", node.node.key());
    let asking = (0..ASKERS).map(|asker| {
        let (address, key) = (node.address, key.clone());
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut turns = tokio::time::interval(ASK_EVERY);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut times = Vec::new();
            while started.elapsed() < time {
                turns.tick().await;
                let question = format!("topic of the stream {}", (asker + times.len()) % 50);
                let path =
                    with_parameters("/api/v2/context", &[("libraryId", LIBRARY), ("query", &question)]);
                let begun = Instant::now();
                let answer = connection.send(&path, &[("authorization", &key)], None).await?;
                times.push(begun.elapsed());
                let status = answer.status();
                if !status.is_success() {
                    return Err(format!("a question was answered {status}"));
                }
            }
            Ok(times)
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut times = Vec::new();
    for asker in asking {
        times.extend(asker.await.map_err(|error| error.to_string())??);
    }
    let (cpu, wall) = (process.cpu()?.saturating_sub(cpu), started.elapsed());
    Run::of(times, cpu, wall)
}

/// Signs in again and again, with the right password, which costs most; how often that was answered, and how often turned away.
async fn sign_in(address: std::net::SocketAddr, time: Duration) -> Result<(u64, u64), String> {
    let body = Bytes::from(json!({ "email": EMAIL, "password": PASSWORD }).to_string());
    let length = body.len().to_string();
    let headers = [("content-type", "application/json"), ("content-length", &*length)];
    let mut connection = Connection::open(address).await?;
    let (started, mut signed_in, mut turned_away) = (Instant::now(), 0, 0);
    while started.elapsed() < time {
        let answer = connection.send("/api/auth/sign-in", &headers, Some(body.clone())).await?;
        let status = answer.status();
        match status.as_u16() {
            200 => signed_in += 1,
            429 | 503 => turned_away += 1,
            _ => {
                return Err(format!(
                    "a sign-in was answered {status}: {}",
                    String::from_utf8_lossy(answer.body())
                ));
            }
        }
    }
    Ok((signed_in, turned_away))
}
