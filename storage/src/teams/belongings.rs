//! What belongs to a team: who may make it, and what ends with a membership.
//!
//! Whoever makes a key or a client has seen its secret. So both end when their maker leaves, or is no more than the secret may: what
//! somebody had through a team is gone with the membership, and not when somebody remembers to look for it.

use super::change::put;
use super::{CLIENTS_MAX, Role, Team, get};
use crate::api_keys;
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::StorageError;
use crate::ids::{AccountId, ApiKeyId};
use crate::oauth::client::{self, Client};
use crate::scope::Scope;
use crate::transaction::Transaction;

/// The refusal of somebody who may not make a key of the team, if it is one.
pub(crate) fn may_make_key(
    transaction: &Transaction<'_>,
    team: &AccountId,
    by: &AccountId,
    scopes: &[Scope],
) -> Result<Option<Outcome>, StorageError> {
    if !super::may_act(transaction, team, Some(by))? {
        return Ok(Some(Outcome::NotFound));
    }
    let role = get(transaction, team)?.and_then(|team| team.role(by));
    Ok(match role {
        None => Some(Outcome::NotFound),
        Some(role) if !scopes.iter().all(|scope| role.gives(*scope)) => Some(Outcome::Forbidden),
        Some(_) => None,
    })
}

/// The refusal of somebody who may not revoke a key of the team: it is not their own, and they are no admin.
pub(crate) fn may_revoke_key(
    transaction: &Transaction<'_>,
    team: &AccountId,
    by: &AccountId,
    id: &ApiKeyId,
) -> Result<Option<Outcome>, StorageError> {
    let Some(team) = get(transaction, team)? else { return Ok(Some(Outcome::NotFound)) };
    let is_own = team.maker_of_key(id) == Some(by);
    Ok(match team.role(by) {
        Some(role) if role >= Role::Admin || is_own => None,
        // A developer is not told which keys others have made.
        _ => Some(Outcome::NotFound),
    })
}

/// Notes who made a key of the team.
pub(crate) fn key_made(
    transaction: &mut Transaction<'_>,
    team: &AccountId,
    by: &AccountId,
    id: &ApiKeyId,
) -> Result<(), StorageError> {
    let Some(mut team) = get(transaction, team)? else { return Ok(()) };
    let in_force = api_keys::in_force(transaction, &team.id)?;
    team.keys.retain(|(key, _)| in_force.contains(key));
    team.keys.push((id.clone(), by.clone()));
    put(transaction, &team)
}

/// The refusal of somebody who may not make a client of the team.
pub(crate) fn may_make_client(
    transaction: &Transaction<'_>,
    team: &AccountId,
    by: &AccountId,
) -> Result<Option<Outcome>, StorageError> {
    let Some(team) = get(transaction, team)? else { return Ok(Some(Outcome::NotFound)) };
    Ok(match team.role(by) {
        None => Some(Outcome::NotFound),
        Some(role) if role < Role::Admin => Some(Outcome::Forbidden),
        Some(_) if team.clients.len() >= CLIENTS_MAX => Some(Outcome::LimitReached),
        Some(_) => None,
    })
}

/// Notes who made a client of the team.
pub(crate) fn client_made(
    transaction: &mut Transaction<'_>,
    team: &AccountId,
    by: &AccountId,
    id: &str,
) -> Result<(), StorageError> {
    let Some(mut team) = get(transaction, team)? else { return Ok(()) };
    team.clients.push((id.to_owned(), by.clone()));
    put(transaction, &team)
}

/// Notes that a client is gone; nothing where it was no team's.
pub(crate) fn client_removed(
    transaction: &mut Transaction<'_>,
    owner: &AccountId,
    client: &Client,
) -> Result<(), StorageError> {
    let Some(mut team) = get(transaction, owner)? else { return Ok(()) };
    team.clients.retain(|(id, _)| *id != client.id);
    put(transaction, &team)
}

/// Notes that a library belongs to `owner` from now on, if that is a team.
pub(crate) fn library_added(
    transaction: &mut Transaction<'_>,
    owner: &AccountId,
) -> Result<(), StorageError> {
    count(transaction, owner, |libraries| libraries.saturating_add(1))
}

/// Notes that one belongs to `owner` no more.
pub(crate) fn library_removed(
    transaction: &mut Transaction<'_>,
    owner: &AccountId,
) -> Result<(), StorageError> {
    count(transaction, owner, |libraries| libraries.saturating_sub(1))
}

fn count(
    transaction: &mut Transaction<'_>,
    owner: &AccountId,
    change: impl Fn(u32) -> u32,
) -> Result<(), StorageError> {
    let Some(mut team) = get(transaction, owner)? else { return Ok(()) };
    team.libraries = change(team.libraries);
    put(transaction, &team)
}

/// The keys that somebody made for teams.
pub(crate) fn keys_made_by(
    reader: &Transaction<'_>,
    account: &AccountId,
) -> Result<Vec<(AccountId, ApiKeyId)>, StorageError> {
    let mut made = Vec::new();
    for (team, _) in super::of(reader, account)? {
        let keys = get(reader, &team)?.map(|team| team.keys).unwrap_or_default();
        made.extend(keys.into_iter().filter(|(_, by)| by == account).map(|(key, _)| (team.clone(), key)));
    }
    Ok(made)
}

/// Ends what somebody made for the team and `role`, theirs from now on, does not give. The caller writes the team.
pub(super) fn lowered(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    team: &mut Team,
    account: &AccountId,
    role: Option<Role>,
) -> Result<(), StorageError> {
    for (id, maker) in std::mem::take(&mut team.keys) {
        let stays = maker != *account
            || match (role, api_keys::get(transaction, &team.id, &id)?) {
                (Some(role), Some(key)) => key.scopes.iter().all(|scope| role.gives(*scope)),
                (role, _) => role.is_some(),
            };
        if stays {
            team.keys.push((id, maker));
        } else {
            api_keys::revoke(transaction, at, &team.id, &id)?;
        }
    }
    for (id, maker) in std::mem::take(&mut team.clients) {
        if maker != *account || role >= Some(Role::Admin) {
            team.clients.push((id, maker));
        } else {
            client::forget(transaction, &id)?;
        }
    }
    Ok(())
}
