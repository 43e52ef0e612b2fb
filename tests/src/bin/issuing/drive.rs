//! Many clients that send the same kind of form as fast as they are answered, on connections that stay open.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::Value;

use crate::http::Connection;
use crate::process::Process;
use crate::run::Run;

/// How forms are written.
const FORM: &str = "application/x-www-form-urlencoded";

/// The cases of one server, by name.
pub(crate) type Cases = HashMap<&'static str, Case>;

/// One kind of request to one server.
pub(crate) struct Case {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) path: &'static str,
    /// The header `Authorization`.
    pub(crate) authorization: String,
    /// The form, without its ending.
    pub(crate) form: String,
    pub(crate) ending: Mutex<Ending>,
}

/// What the form of a request ends with.
pub(crate) enum Ending {
    /// Nothing: all are the same.
    Nothing,
    /// A refresh token for each client, replaced by what each answer brings.
    Refresh(Vec<String>),
    /// Codes, each good once: a measurement takes so many, and ends when they are used up.
    Codes(Vec<String>, usize),
}

impl Case {
    /// The answer to one such request.
    pub(crate) async fn once(&self) -> Result<Value, String> {
        let length = self.form.len().to_string();
        let headers =
            [("authorization", &*self.authorization), ("content-type", FORM), ("content-length", &*length)];
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.send(self.path, &headers, Some(self.form.clone().into())).await?;
        serde_json::from_slice(answer.body()).map_err(|error| error.to_string())
    }

    /// Lets `clients` ask for `time`, or until there is nothing to ask with.
    pub(crate) async fn measure(&self, clients: usize, time: Duration) -> Result<Run, String> {
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(Connection::open(self.address).await?);
        }
        let endings = self.endings(clients);
        let process = Process::of(self.pid);
        let (cpu, started) = (process.cpu()?, Instant::now());
        let asking = connections.into_iter().zip(endings).map(|(connection, ending)| {
            let authorization = self.authorization.clone();
            let asked = Asked { path: self.path, authorization, form: self.form.clone(), ending };
            tokio::spawn(asked.again_and_again(connection, started, time))
        });
        let asking: Vec<_> = asking.collect();
        let (mut times, mut left) = (Vec::new(), Vec::new());
        for client in asking {
            let (mine, ending) = client.await.map_err(|error| error.to_string())??;
            times.extend(mine);
            left.push(ending);
        }
        let (cpu, wall) = (process.cpu()?.saturating_sub(cpu), started.elapsed());
        if let Ending::Refresh(tokens) = &mut *lock(&self.ending) {
            *tokens = left.into_iter().filter_map(Own::into_token).collect();
        }
        Run::of(times, cpu, wall)
    }

    /// What each client ends its forms with.
    fn endings(&self, clients: usize) -> Vec<Own> {
        match &mut *lock(&self.ending) {
            Ending::Nothing => (0..clients).map(|_| Own::Nothing).collect(),
            Ending::Refresh(tokens) => tokens.drain(..).take(clients).map(Own::Refresh).collect(),
            Ending::Codes(codes, at_once) => {
                let these = codes.split_off(codes.len().saturating_sub(*at_once));
                let these = Arc::new(Mutex::new(these));
                (0..clients).map(|_| Own::Code(Arc::clone(&these))).collect()
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one client ends its forms with.
enum Own {
    Nothing,
    Refresh(String),
    /// Codes that it shares with the others.
    Code(Arc<Mutex<Vec<String>>>),
}

impl Own {
    /// The ending of the next form; none when there is nothing more to ask with.
    fn next(&self) -> Option<String> {
        match self {
            Self::Nothing => Some(String::new()),
            Self::Refresh(token) => Some(format!("&refresh_token={token}")),
            Self::Code(codes) => lock(codes).pop().map(|code| format!("&code={code}")),
        }
    }

    fn into_token(self) -> Option<String> {
        if let Self::Refresh(token) = self { Some(token) } else { None }
    }
}

/// What one client sends.
struct Asked {
    path: &'static str,
    authorization: String,
    form: String,
    ending: Own,
}

impl Asked {
    /// The times of its requests, and what it would end its next form with.
    async fn again_and_again(
        mut self,
        mut connection: Connection,
        started: Instant,
        time: Duration,
    ) -> Result<(Vec<Duration>, Own), String> {
        let mut times = Vec::new();
        while started.elapsed() < time {
            let Some(ending) = self.ending.next() else { break };
            let form = format!("{}{ending}", self.form);
            let length = form.len().to_string();
            let headers = [
                ("authorization", &*self.authorization),
                ("content-type", FORM),
                ("content-length", &length),
            ];
            let begun = Instant::now();
            let answer = connection.send(self.path, &headers, Some(form.into())).await?;
            times.push(begun.elapsed());
            let (status, body) = (answer.status(), answer.into_body());
            if status != StatusCode::OK {
                let said = String::from_utf8_lossy(&body);
                return Err(format!("{} was answered {status}: {said}", self.path));
            }
            if let Own::Refresh(token) = &mut self.ending {
                let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                *token = answer["refresh_token"].as_str().ok_or("no refresh token came")?.to_owned();
            }
        }
        Ok((times, self.ending))
    }
}

/// A case whose form is always the same.
pub(crate) fn case(
    address: SocketAddr,
    pid: u32,
    path: &'static str,
    authorization: &str,
    form: &str,
) -> Case {
    let (authorization, form) = (authorization.to_owned(), form.to_owned());
    Case { address, pid, path, authorization, form, ending: Mutex::new(Ending::Nothing) }
}

/// `Authorization: Basic` of an id and a secret that need no encoding (RFC 7617).
pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}
