//! Teams: accounts that several people act for.
//!
//! A team *is* an account: what can belong to an account (libraries, API keys, clients, jobs) can belong to a team without knowing
//! of teams. What is kept here is who may act for it, and as what ([`Role`]); [`acts_for`] is the one question that
//! everything else asks.
//!
//! Key layout, in [`Keyspace::Teams`]: `t/<team>` -> [`Team`]; `m/<account>` -> [`Memberships`], the same the other way round, which
//! is what reading a private library costs; `i/<hash>` -> the team that an invitation is of. A team's name stands in
//! its account.
//!
//! Invariant: no change of members takes the last owner of a team who is let in; it is decided where it is applied, so two nodes cannot
//! each take one of two. An operator may keep that one out, and then acts for the team.

mod belongings;
mod change;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::accounts::{self, Email};
use crate::api_keys::SecretHash;
use crate::clock::Timestamp;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::{AccountId, ApiKeyId};
use crate::record::Record;
use crate::scope::Scope;
use crate::transaction;

pub(crate) use self::belongings::{
    client_made, client_removed, key_made, keys_made_by, library_added, library_removed, may_make_client,
    may_make_key, may_revoke_key,
};
pub use self::change::Command;
pub(crate) use self::change::{apply, is_last_owner_somewhere, leave_all};

/// Members one team may have.
pub const MEMBERS_MAX: usize = 100;
/// Teams one person may be in.
pub const TEAMS_EACH_MAX: usize = 20;
/// Invitations of one team that are open; one more is refused.
pub const INVITATIONS_MAX: usize = 50;
/// Clients one team may have.
pub const CLIENTS_MAX: usize = 20;

/// What somebody may do in a team; each role may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Reads the team's private libraries and jobs, and makes keys of the team that read.
    Developer,
    /// Manages libraries, jobs, keys and clients, and members below owner.
    Admin,
    /// Manages everybody, and may delete the team.
    Owner,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Developer, Self::Admin, Self::Owner];

    /// The role's public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What a key or client that somebody of this role makes for the team may do: never what is about a person, the node, or
    /// making further keys, which would outlive their maker's membership.
    pub const fn gives(self, scope: Scope) -> bool {
        match scope {
            Scope::DocsRead => true,
            Scope::Chat | Scope::LibrariesWrite | Scope::JobsWrite | Scope::AnalyticsRead => {
                matches!(self, Self::Admin | Self::Owner)
            }
            _ => false,
        }
    }
}

/// Somebody who acts for a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub account: AccountId,
    /// As what.
    pub role: Role,
    /// Since when they are in the team.
    pub since: Timestamp,
}

/// Somebody who was asked to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Whoever has this address, and has shown it.
    pub email: Email,
    /// As what.
    pub role: Role,
    /// Who asked them; an operator when absent.
    pub by: Option<AccountId>,
    /// Finds it by the secret of the letter.
    pub secret_hash: SecretHash,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

/// One team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Its account.
    pub id: AccountId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who acts for it, the oldest member first.
    pub members: Vec<Member>,
    /// Who was asked to, the oldest invitation first. Those that expired go with the next one.
    pub invitations: Vec<Invitation>,
    /// How many libraries it owns.
    pub libraries: u32,
    /// Who made which of its keys: they end with the maker's membership.
    pub(crate) keys: Vec<(ApiKeyId, AccountId)>,
    /// Who made which of its clients, likewise.
    pub(crate) clients: Vec<(String, AccountId)>,
}

impl Record for Team {
    const NAME: &'static str = "team";
    const FORMAT: u8 = 1;
}

impl Team {
    /// What somebody is in the team.
    pub fn role(&self, account: &AccountId) -> Option<Role> {
        self.members.iter().find(|member| member.account == *account).map(|member| member.role)
    }

    /// Who made one of its keys, if that is known.
    pub fn maker_of_key(&self, id: &ApiKeyId) -> Option<&AccountId> {
        self.keys.iter().find(|(key, _)| key == id).map(|(_, maker)| maker)
    }

    /// Who made one of its clients, if that is known.
    pub fn maker_of_client(&self, id: &str) -> Option<&AccountId> {
        self.clients.iter().find(|(client, _)| client == id).map(|(_, maker)| maker)
    }
}

/// The teams somebody is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memberships(pub Vec<(AccountId, Role)>);

impl Record for Memberships {
    const NAME: &'static str = "teams of somebody";
    const FORMAT: u8 = 1;
}

fn key(team: &AccountId) -> Vec<u8> {
    format!("t/{team}").into_bytes()
}

fn member_key(account: &AccountId) -> Vec<u8> {
    format!("m/{account}").into_bytes()
}

fn invitation_key(hash: &SecretHash) -> Vec<u8> {
    [b"i/".as_slice(), hash.as_bytes()].concat()
}

/// The team whose account this is, if it is a team's.
pub fn get(reader: &(impl Reader + ?Sized), team: &AccountId) -> Result<Option<Team>, StorageError> {
    transaction::get(reader, Keyspace::Teams, &key(team))
}

/// Up to `limit` teams after the team `after`, the oldest first.
pub fn list(
    reader: &(impl Reader + ?Sized),
    after: Option<&AccountId>,
    limit: usize,
) -> Result<Vec<Team>, StorageError> {
    transaction::scan(reader, Keyspace::Teams, b"t/", after.map(key).as_deref(), limit)
}

/// The teams somebody is in, and as what; at most [`TEAMS_EACH_MAX`].
pub fn of(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
) -> Result<Vec<(AccountId, Role)>, StorageError> {
    let teams: Option<Memberships> = transaction::get(reader, Keyspace::Teams, &member_key(account))?;
    Ok(teams.unwrap_or_default().0)
}

/// Whether `who` acts for the account `owner`: it is theirs, or a team's in which they are at least `least`.
pub fn acts_for(
    reader: &(impl Reader + ?Sized),
    who: &AccountId,
    owner: &AccountId,
    least: Role,
) -> Result<bool, StorageError> {
    if who == owner {
        return Ok(true);
    }
    Ok(of(reader, who)?.iter().any(|(team, role)| team == owner && *role >= least))
}

/// The invitation whose secret has this hash, with its team; also one that has expired.
pub fn invitation(
    reader: &(impl Reader + ?Sized),
    secret_hash: &SecretHash,
) -> Result<Option<(Team, Invitation)>, StorageError> {
    let Some(team) = reader.get(Keyspace::Teams, &invitation_key(secret_hash))? else { return Ok(None) };
    let team = std::str::from_utf8(&team).ok().and_then(|team| team.parse().ok());
    let Some(team) = team.map(|team| get(reader, &team)).transpose()?.flatten() else { return Ok(None) };
    let invitation = team.invitations.iter().find(|it| it.secret_hash == *secret_hash).cloned();
    Ok(invitation.map(|invitation| (team, invitation)))
}

/// Whether what somebody has made still opens something: neither they are kept out, nor the account it acts for is gone.
pub fn may_act(
    reader: &(impl Reader + ?Sized),
    account: &AccountId,
    maker: Option<&AccountId>,
) -> Result<bool, StorageError> {
    let is_kept_out = |account: &AccountId| {
        let person = accounts::person(reader, account)?;
        Ok::<_, StorageError>(person.is_some_and(|person| person.disabled_at.is_some()))
    };
    let is_gone = accounts::get(reader, account)?.is_none();
    Ok(!is_gone && !is_kept_out(account)? && !maker.map(is_kept_out).transpose()?.unwrap_or(false))
}
