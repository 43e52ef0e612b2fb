//! One line of the log: JSON, so that anybody can read it, and hashed as it stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{Actor, By, Event};
use crate::clock::Timestamp;
use crate::ids::AccountId;

/// Who did something, or what it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Of what kind; see [`Kind`](super::Kind), and for who did it `person`, `api_key`, `client`, `node`, `nobody`.
    pub kind: String,
    /// Its id; absent for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whose it is, for keys and clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// An event as it is written down. The order of the fields is that of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log, from 1.
    pub number: u64,
    /// When, RFC 3339 with milliseconds.
    pub at: String,
    /// What happened, e.g. `api_key.made`.
    pub action: String,
    /// `done`, or `refused`.
    pub outcome: String,
    /// Who did it.
    pub actor: Subject,
    /// What it was done to.
    pub object: Subject,
    /// Where they came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Their request, as its answer named it (`X-Request-Id`), and the node's log and traces do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The node they asked.
    pub node: u64,
    /// How many it stands for, where it is more than itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What more has to be known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
    /// SHA-256 of the line before, in hex.
    pub previous: String,
}

/// Where an event is to be written.
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) previous: [u8; 32],
    /// The node that was asked.
    pub(super) node: u64,
}

impl Entry {
    pub(super) fn new(by: &By, event: Event, place: &Place) -> Self {
        let actor = event.actor.as_ref().unwrap_or(&by.actor);
        Self {
            number: place.number,
            at: place.at.to_string(),
            action: event.action.as_str().to_owned(),
            outcome: event.outcome.as_str().to_owned(),
            actor: subject(actor),
            object: Subject {
                kind: event.kind.as_str().to_owned(),
                id: Some(event.object),
                account: event.account.map(|account| account.to_string()),
            },
            address: by.address.map(|address| address.to_string()),
            request: by.request.clone(),
            node: place.node,
            count: event.count,
            detail: event.detail,
            previous: hex(&place.previous),
        }
    }
}

fn subject(actor: &Actor) -> Subject {
    let subject = |kind: &str, id: Option<String>, account: Option<&AccountId>| Subject {
        kind: kind.to_owned(),
        id,
        account: account.map(ToString::to_string),
    };
    match actor {
        Actor::Nobody => subject("nobody", None, None),
        Actor::Person(account) => subject("person", Some(account.to_string()), None),
        Actor::Key { id, account } => subject("api_key", Some(id.to_string()), Some(account)),
        Actor::Client { id, account } => subject("client", Some(id.clone()), account.as_ref()),
        Actor::Node(node) => subject("node", Some(node.to_string()), None),
    }
}

/// Bytes as lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}
