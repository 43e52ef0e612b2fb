//! Every way the agreed state can change, and nothing else.
//!
//! A command names *what* is to happen; random bytes and ids in it were made by the proposer. *When*
//! it happened is stamped by the leader into the entry that carries it, and reaches
//! [`apply`] as `at`. The same commands with the same times give the same bytes on every node.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::engine::StorageError;
use crate::record::Record;
use crate::scope::Scope;
use crate::transaction::Transaction;
use crate::{
    accounts, api_keys, audit, catalogue, jobs, libraries, members, oauth, refresh, rotation, teams, usage,
};

/// One change, by noun. Variants are only ever added at the end: their numbers are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A change to people and machines that own things.
    Accounts(accounts::Command),
    /// A change to API keys.
    ApiKeys(api_keys::Command),
    /// A change to libraries and their versions.
    Libraries(libraries::Command),
    /// A change to index jobs.
    Jobs(jobs::Command),
    /// A change to what is known by name.
    Catalogue(catalogue::Command),
    /// What a node has counted.
    Usage(usage::Command),
    /// A change to how libraries are refreshed.
    Refresh(refresh::Command),
    /// A change to the nodes of the cluster.
    Members(members::Command),
    /// A step in replacing what is secret.
    Rotation(rotation::Command),
    /// A change to clients, grants and keys of the authorization server.
    Oauth(oauth::Command),
    /// A change to who acts for which account.
    Teams(teams::Command),
    /// Any of these, with who is behind it.
    Audited(Box<audit::Audited>),
    /// A change to the audit log alone.
    Audit(audit::Command),
}

impl Record for Command {
    const NAME: &'static str = "command";
    const FORMAT: u8 = 1;
}

/// Since this version of a cluster there are people, and programs that they allow something.
const IDENTITY_VERSION: u32 = 3;
/// Since this version there is an audit log.
pub const AUDIT_VERSION: u32 = 3;
/// Since this version what is secret can be replaced.
const ROTATION_VERSION: u32 = 3;

impl Command {
    /// The least version of a cluster that may agree on it: a node of a build before would stop at the entry.
    pub fn since(&self) -> u32 {
        match self {
            Self::Accounts(accounts::Command::Create { .. }) => 1,
            Self::Accounts(_) | Self::Oauth(_) | Self::Teams(_) => IDENTITY_VERSION,
            // Scopes that the build before does not know.
            Self::ApiKeys(api_keys::Command::Create { scopes, .. })
                if scopes.iter().any(|it| *it > Scope::Admin) =>
            {
                IDENTITY_VERSION
            }
            Self::ApiKeys(api_keys::Command::CreateFor { .. } | api_keys::Command::RevokeFor { .. })
            | Self::Libraries(
                libraries::Command::Claim { .. }
                | libraries::Command::Show { .. }
                | libraries::Command::Move { .. },
            ) => IDENTITY_VERSION,
            Self::Rotation(_) => ROTATION_VERSION,
            Self::Audited(audited) => audited.command.since().max(AUDIT_VERSION),
            Self::Audit(_) => AUDIT_VERSION,
            _ => 1,
        }
    }

    /// The noun the command belongs to, for metrics.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Accounts(_) => "accounts",
            Self::ApiKeys(_) => "api_keys",
            Self::Libraries(_) => "libraries",
            Self::Jobs(_) => "jobs",
            Self::Catalogue(_) => "catalogue",
            Self::Usage(_) => "usage",
            Self::Refresh(_) => "refresh",
            Self::Members(_) => "members",
            Self::Rotation(_) => "rotation",
            Self::Oauth(_) => "oauth",
            Self::Teams(_) => "teams",
            Self::Audited(audited) => audited.command.noun(),
            Self::Audit(_) => "audit",
        }
    }

    /// Whether it may do something that the audit log tells, so that who is behind it travels with it.
    pub fn is_audited(&self) -> bool {
        match self {
            Self::Accounts(command) => {
                !matches!(command, accounts::Command::Session(accounts::SessionCommand::Seen { .. }))
            }
            Self::Libraries(command) => matches!(
                command,
                libraries::Command::Remove { .. }
                    | libraries::Command::RemoveVersion { .. }
                    | libraries::Command::Show { .. }
                    | libraries::Command::Move { .. }
            ),
            Self::Members(command) => !matches!(command, members::Command::Describe { .. }),
            Self::Refresh(command) => matches!(command, refresh::Command::Hook { .. }),
            Self::ApiKeys(_) | Self::Rotation(_) | Self::Oauth(_) | Self::Teams(_) | Self::Audit(_) => true,
            Self::Jobs(_) | Self::Catalogue(_) | Self::Usage(_) | Self::Audited(_) => false,
        }
    }
}

/// What became of a command. All but [`Outcome::Done`] and [`Outcome::Burnt`] changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    Done,
    /// What it names is not there, or is another account's.
    NotFound,
    /// What it would make is there already.
    AlreadyExists,
    /// The thing has moved on: a job that ended, an attempt that was replaced.
    Stale,
    /// It would go over a limit.
    LimitReached,
    /// It was refused, and what was shown with it, for a second time or by the wrong one, is good for nothing from now on.
    Burnt,
    /// Whoever asks for it may not.
    Forbidden,
}

/// Applies one command to `transaction`. Pure: it reads nothing but its arguments.
///
/// # Errors
/// Only when the store cannot be read or a record in it is damaged; a refusal is an [`Outcome`].
pub fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Accounts(command) => accounts::apply(transaction, at, command),
        Command::ApiKeys(command) => api_keys::apply(transaction, at, command),
        Command::Libraries(command) => libraries::apply(transaction, at, command),
        Command::Jobs(command) => jobs::apply(transaction, at, command),
        Command::Catalogue(command) => catalogue::apply(transaction, at, command),
        Command::Usage(command) => usage::apply(transaction, at, command),
        Command::Refresh(command) => refresh::apply(transaction, at, command),
        Command::Members(command) => members::apply(transaction, at, command),
        Command::Rotation(command) => rotation::apply(transaction, at, command),
        Command::Oauth(command) => oauth::apply(transaction, at, command),
        Command::Teams(command) => teams::apply(transaction, at, command),
        Command::Audited(audited) => audit::attributed(transaction, at, audited),
        Command::Audit(command) => Ok(audit::apply(transaction, command)),
    }
}

#[cfg(test)]
mod tests;
