//! A web site on loopback: what it says is a function of the path and of how often that was asked for.
//!
//! The tests of `actors` use this file too, so that a site is one thing for the whole project.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::service::{Asked, Service, Told};

/// One answer.
#[derive(Debug, Clone)]
pub struct Page(Told);

impl Page {
    /// HTML around `body`.
    pub fn html(body: &str) -> Self {
        Self::of("text/html; charset=utf-8", format!("<!doctype html><html>{body}</html>"))
    }

    /// Plain text.
    pub fn text(body: &str) -> Self {
        Self::of("text/plain", body)
    }

    /// Anything.
    pub fn of(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self(Told::of(content_type, body))
    }

    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self(Told::status(status).with("content-type", "text/plain"))
    }

    /// A redirect.
    pub fn moved(to: &str) -> Self {
        Self::status(301).with("location", to)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        Self(self.0.with(name, value))
    }
}

/// A running site.
#[derive(Debug)]
pub struct Site {
    service: Service,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// `answer` says what a path shows when it is asked for the `n`th time, from 0. Whoever has the page already, by its headers
    /// `etag` and `last-modified`, is told that it is unchanged.
    ///
    /// # Panics
    /// When the machine has no loopback.
    pub async fn start(answer: impl Fn(&str, usize) -> Page + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        let service = Service::start(move |request| {
            let (mut log, path) = (lock(&log), &request.path);
            let times = log.iter().filter(|asked| asked.trim_start_matches("304 ") == path).count();
            let Page(told) = answer(path, times);
            let is_known = is_known(&told, request);
            log.push(if is_known { format!("304 {path}") } else { path.clone() });
            if is_known { told.unchanged() } else { told }
        });
        Self { service: service.await, asked }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        self.service.url(path)
    }

    /// The paths asked for since the last time, in their order; `304 ` before those that were unchanged.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.asked))
    }

    /// How often each path was asked for since the last time.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for path in self.asked() {
            *counts.entry(path).or_default() += 1;
        }
        counts
    }
}

/// Whether who asks has the page already. Tags count before dates, and what is no date counts for nothing (RFC 9110 13.1.3).
fn is_known(told: &Told, request: &Asked) -> bool {
    let tag = request.header("if-none-match");
    if !tag.is_empty() {
        return tag == told.header("etag");
    }
    match (date(told.header("last-modified")), date(request.header("if-modified-since"))) {
        (Some(modified), Some(since)) => modified <= since,
        _ => false,
    }
}

/// What compares as a date of HTTP does: year, month, day and time (RFC 9110 5.6.7, the preferred format).
fn date(text: &str) -> Option<(&str, usize, &str, &str)> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [_, day, month, year, time, "GMT"] = *text.split(' ').collect::<Vec<_>>() else { return None };
    let month = MONTHS.iter().position(|name| *name == month)?;
    Some((year, month, day, time))
}

fn lock(log: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
