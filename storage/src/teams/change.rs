//! Changes to teams, and who may make them.

use serde::{Deserialize, Serialize};

use super::belongings::lowered;
use super::{
    INVITATIONS_MAX, Invitation, MEMBERS_MAX, Member, Memberships, Role, TEAMS_EACH_MAX, Team, get,
    invitation, invitation_key, key, member_key, of,
};
use crate::accounts::{self, Account, Email};
use crate::api_keys::{self, SecretHash};
use crate::audit::{Action, Event, Kind};
use crate::clock::Timestamp;
use crate::command::Outcome;
use crate::engine::{Keyspace, Reader, StorageError};
use crate::ids::AccountId;
use crate::jobs;
use crate::oauth;
use crate::transaction::Transaction;

/// A change to teams. `by` is who makes it, a member; absent for operators, who may what owners may. All but [`Command::Make`] and
/// [`Command::Join`] are [`Outcome::NotFound`] for whoever is not in the team, and [`Outcome::Forbidden`] where their role does not
/// suffice. Variants are only ever added at the end: their numbers are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes a team with one owner. [`Outcome::NotFound`] when that is nobody who is let in, [`Outcome::AlreadyExists`] when the id is
    /// taken, [`Outcome::LimitReached`] when they are in [`TEAMS_EACH_MAX`] teams.
    Make {
        /// The new team's account.
        id: AccountId,
        /// What people call it.
        name: String,
        /// Its first owner.
        owner: AccountId,
    },
    /// Changes what people call it. For owners and admins.
    Rename {
        /// Which team.
        team: AccountId,
        /// Who does it.
        by: Option<AccountId>,
        /// The new name.
        name: String,
    },
    /// Deletes a team with its keys, clients and invitations. For owners. [`Outcome::LimitReached`] while it owns libraries.
    Delete {
        /// Which team.
        team: AccountId,
        /// Who does it.
        by: Option<AccountId>,
    },
    /// Asks somebody to join, in place of an earlier invitation of the same address. For owners and admins, as no more than they are
    /// themselves. [`Outcome::LimitReached`] with [`INVITATIONS_MAX`] open invitations, [`Outcome::AlreadyExists`] when the address is a
    /// member's or the secret is taken.
    Invite {
        /// Which team.
        team: AccountId,
        /// Who does it.
        by: Option<AccountId>,
        /// Whom.
        email: Email,
        /// As what.
        role: Role,
        /// Hash of the secret in the letter.
        secret_hash: SecretHash,
        /// How long it is good, in milliseconds.
        life_ms: u64,
    },
    /// Takes an invitation back. For whoever could have made it. [`Outcome::Stale`] when there is none.
    Withdraw {
        /// Which team.
        team: AccountId,
        /// Who does it.
        by: Option<AccountId>,
        /// Whom it was sent to.
        email: Email,
    },
    /// Uses an invitation up. [`Outcome::NotFound`] for one that is unknown, used, withdrawn or expired, [`Outcome::Stale`] for another
    /// address than the person's own or one they have not shown, [`Outcome::AlreadyExists`] for a member, [`Outcome::LimitReached`] with
    /// [`MEMBERS_MAX`] members or [`TEAMS_EACH_MAX`] teams.
    Join {
        /// Hash of the secret in the letter.
        secret_hash: SecretHash,
        /// Who joins.
        account: AccountId,
    },
    /// Makes a member something else. For owners, and for admins where neither role is owner. [`Outcome::LimitReached`] for the last
    /// owner, [`Outcome::Stale`] for somebody who is no member.
    SetRole {
        /// Which team.
        team: AccountId,
        /// Who does it.
        by: Option<AccountId>,
        /// Whom.
        account: AccountId,
        /// Their new role.
        role: Role,
    },
    /// Takes a member out of the team with what they had through it; everybody may leave. Otherwise as [`Command::SetRole`].
    Remove {
        /// Which team.
        team: AccountId,
        /// Who does it.
        by: Option<AccountId>,
        /// Whom.
        account: AccountId,
    },
}

pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    command: &Command,
) -> Result<Outcome, StorageError> {
    match command {
        Command::Make { id, name, owner } => make(transaction, at, id, name, owner),
        Command::Rename { team, by, name } => {
            if let Err(refused) = admitted(transaction, team, by.as_ref(), Role::Admin)? {
                return Ok(refused);
            }
            accounts::rename(transaction, team, name)
        }
        Command::Delete { team, by } => match admitted(transaction, team, by.as_ref(), Role::Owner)? {
            Err(refused) => Ok(refused),
            Ok((team, _)) if team.libraries > 0 => Ok(Outcome::LimitReached),
            Ok((team, _)) => delete(transaction, at, &team),
        },
        Command::Invite { team, by, email, role, secret_hash, life_ms } => {
            let (team, own) = match admitted(transaction, team, by.as_ref(), Role::Admin)? {
                Ok(admitted) => admitted,
                Err(refused) => return Ok(refused),
            };
            if *role > own {
                return Ok(Outcome::Forbidden);
            }
            let invited = noted(Action::TeamInvited, &team.id).with("email", email.masked());
            transaction.note(invited.with("role", role.as_str()));
            let asked = Invitation {
                email: email.clone(),
                role: *role,
                by: by.clone(),
                secret_hash: *secret_hash,
                expires_at: at.plus_millis(*life_ms),
            };
            invite(transaction, at, team, asked)
        }
        Command::Withdraw { team, by, email } => {
            let (mut team, own) = match admitted(transaction, team, by.as_ref(), Role::Admin)? {
                Ok(admitted) => admitted,
                Err(refused) => return Ok(refused),
            };
            match team.invitations.iter().find(|open| open.email == *email) {
                None => return Ok(Outcome::Stale),
                Some(open) if open.role > own => return Ok(Outcome::Forbidden),
                Some(_) => forget_invitations(transaction, &mut team, |open| open.email == *email),
            }
            let withdrawn = noted(Action::TeamInvitationWithdrawn, &team.id);
            transaction.note(withdrawn.with("email", email.masked()));
            put(transaction, &team)?;
            Ok(Outcome::Done)
        }
        Command::Join { secret_hash, account } => join(transaction, at, secret_hash, account),
        Command::SetRole { team, by, account, role } => {
            let least = if by.as_ref() == Some(account) { Role::Developer } else { Role::Admin };
            let (team, own) = match admitted(transaction, team, by.as_ref(), least)? {
                Ok(admitted) => admitted,
                Err(refused) => return Ok(refused),
            };
            let Some(before) = team.role(account) else { return Ok(Outcome::Stale) };
            // Nobody gives what they are not themselves, and only owners decide about owners.
            if before.max(*role) > own {
                return Ok(Outcome::Forbidden);
            }
            if before == Role::Owner && *role < before && is_last_owner(transaction, &team, account)? {
                return Ok(Outcome::LimitReached);
            }
            let mut team = team;
            set_role(transaction, &mut team, account, *role)?;
            transaction.note(noted(Action::TeamRoleSet, &team.id).of(account).with("role", role.as_str()));
            if *role < before {
                lowered(transaction, at, &mut team, account, Some(*role))?;
                let may_no_more = |open: &Invitation| *role < Role::Admin || open.role > *role;
                forget_invitations(transaction, &mut team, |open| {
                    open.by.as_ref() == Some(account) && may_no_more(open)
                });
            }
            put(transaction, &team)?;
            Ok(Outcome::Done)
        }
        Command::Remove { team, by, account } => {
            let least = if by.as_ref() == Some(account) { Role::Developer } else { Role::Admin };
            let (team, own) = match admitted(transaction, team, by.as_ref(), least)? {
                Ok(admitted) => admitted,
                Err(refused) => return Ok(refused),
            };
            match team.role(account) {
                None => Ok(Outcome::Stale),
                Some(role) if role > own => Ok(Outcome::Forbidden),
                Some(Role::Owner) if is_last_owner(transaction, &team, account)? => Ok(Outcome::LimitReached),
                Some(_) => {
                    leave(transaction, at, team, account)?;
                    Ok(Outcome::Done)
                }
            }
        }
    }
}

/// The team and what `by` is in it, or the refusal of somebody who is less than `least`.
fn admitted(
    reader: &Transaction<'_>,
    team: &AccountId,
    by: Option<&AccountId>,
    least: Role,
) -> Result<Result<(Team, Role), Outcome>, StorageError> {
    let Some(team) = get(reader, team)? else { return Ok(Err(Outcome::NotFound)) };
    let role = by.map_or(Some(Role::Owner), |by| team.role(by));
    Ok(match role {
        None => Err(Outcome::NotFound),
        Some(role) if role < least => Err(Outcome::Forbidden),
        Some(role) => Ok((team, role)),
    })
}

fn make(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    id: &AccountId,
    name: &str,
    owner: &AccountId,
) -> Result<Outcome, StorageError> {
    if !is_let_in(transaction, owner)? {
        return Ok(Outcome::NotFound);
    }
    if accounts::get(transaction, id)?.is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    if of(transaction, owner)?.len() >= TEAMS_EACH_MAX {
        return Ok(Outcome::LimitReached);
    }
    accounts::put(transaction, &Account { id: id.clone(), name: name.to_owned(), created_at: at })?;
    let mut team = Team {
        id: id.clone(),
        created_at: at,
        members: Vec::new(),
        invitations: Vec::new(),
        libraries: 0,
        keys: Vec::new(),
        clients: Vec::new(),
    };
    team.members.push(Member { account: owner.clone(), role: Role::Owner, since: at });
    set_role(transaction, &mut team, owner, Role::Owner)?;
    transaction.note(noted(Action::TeamMade, id).of(owner));
    put(transaction, &team)?;
    Ok(Outcome::Done)
}

fn delete(transaction: &mut Transaction<'_>, at: Timestamp, team: &Team) -> Result<Outcome, StorageError> {
    for member in &team.members {
        forget_membership(transaction, &team.id, &member.account)?;
    }
    for (client, _) in &team.clients {
        oauth::client::forget(transaction, client)?;
    }
    let mut team = team.clone();
    forget_invitations(transaction, &mut team, |_| true);
    api_keys::remove_all(transaction, &team.id)?;
    jobs::cancel_all(transaction, at, |job| job.account == team.id)?;
    transaction.remove(Keyspace::Teams, key(&team.id));
    accounts::remove(transaction, &team.id);
    transaction.note(noted(Action::TeamDeleted, &team.id));
    Ok(Outcome::Done)
}

fn invite(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    mut team: Team,
    asked: Invitation,
) -> Result<Outcome, StorageError> {
    let is_taken = transaction.get(Keyspace::Teams, &invitation_key(&asked.secret_hash))?.is_some();
    let known = accounts::by_email(transaction, &asked.email)?;
    if is_taken || known.is_some_and(|person| team.role(&person.account).is_some()) {
        return Ok(Outcome::AlreadyExists);
    }
    forget_invitations(transaction, &mut team, |open| open.email == asked.email || open.expires_at <= at);
    if team.invitations.len() >= INVITATIONS_MAX {
        return Ok(Outcome::LimitReached);
    }
    let found_by = invitation_key(&asked.secret_hash);
    transaction.put_bytes(Keyspace::Teams, found_by, team.id.as_str().as_bytes().to_vec());
    team.invitations.push(asked);
    put(transaction, &team)?;
    Ok(Outcome::Done)
}

fn join(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    secret_hash: &SecretHash,
    account: &AccountId,
) -> Result<Outcome, StorageError> {
    let found = invitation(transaction, secret_hash)?.filter(|(_, asked)| at < asked.expires_at);
    let Some((mut team, asked)) = found else { return Ok(Outcome::NotFound) };
    let person = accounts::person(transaction, account)?;
    let is_theirs = person.is_some_and(|person| {
        person.email == asked.email && person.verified_at.is_some() && person.disabled_at.is_none()
    });
    if !is_theirs {
        return Ok(Outcome::Stale);
    }
    if team.role(account).is_some() {
        return Ok(Outcome::AlreadyExists);
    }
    if team.members.len() >= MEMBERS_MAX || of(transaction, account)?.len() >= TEAMS_EACH_MAX {
        return Ok(Outcome::LimitReached);
    }
    forget_invitations(transaction, &mut team, |open| open.email == asked.email);
    team.members.push(Member { account: account.clone(), role: asked.role, since: at });
    set_role(transaction, &mut team, account, asked.role)?;
    transaction.note(noted(Action::TeamJoined, &team.id).of(account).with("role", asked.role.as_str()));
    put(transaction, &team)?;
    Ok(Outcome::Done)
}

/// Takes somebody out of a team with what they made for it.
fn leave(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    mut team: Team,
    account: &AccountId,
) -> Result<(), StorageError> {
    lowered(transaction, at, &mut team, account, None)?;
    forget_invitations(transaction, &mut team, |open| open.by.as_ref() == Some(account));
    team.members.retain(|member| member.account != *account);
    forget_membership(transaction, &team.id, account)?;
    transaction.note(noted(Action::TeamLeft, &team.id).of(account));
    put(transaction, &team)
}

/// Something that was done to a team, about the account that is named besides.
fn noted(action: Action, team: &AccountId) -> Event {
    Event::new(action, Kind::Team, team)
}

/// Takes somebody who is removed out of every team.
pub(crate) fn leave_all(
    transaction: &mut Transaction<'_>,
    at: Timestamp,
    account: &AccountId,
) -> Result<(), StorageError> {
    for (team, _) in of(transaction, account)? {
        if let Some(team) = get(transaction, &team)? {
            leave(transaction, at, team, account)?;
        }
    }
    Ok(())
}

/// Whether a team would be without an owner if this account were gone.
pub(crate) fn is_last_owner_somewhere(
    reader: &Transaction<'_>,
    account: &AccountId,
) -> Result<bool, StorageError> {
    for (team, role) in of(reader, account)? {
        if role == Role::Owner
            && let Some(team) = get(reader, &team)?
            && is_last_owner(reader, &team, account)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether nobody else who is let in owns the team.
fn is_last_owner(reader: &Transaction<'_>, team: &Team, account: &AccountId) -> Result<bool, StorageError> {
    for member in &team.members {
        if member.role == Role::Owner && member.account != *account && is_let_in(reader, &member.account)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_let_in(reader: &Transaction<'_>, account: &AccountId) -> Result<bool, StorageError> {
    Ok(accounts::person(reader, account)?.is_some_and(|person| person.disabled_at.is_none()))
}

/// Writes a role down in both directions; the member stands in the team already.
fn set_role(
    transaction: &mut Transaction<'_>,
    team: &mut Team,
    account: &AccountId,
    role: Role,
) -> Result<(), StorageError> {
    for member in team.members.iter_mut().filter(|member| member.account == *account) {
        member.role = role;
    }
    let mut teams = of(transaction, account)?;
    teams.retain(|(known, _)| *known != team.id);
    teams.push((team.id.clone(), role));
    transaction.put(Keyspace::Teams, member_key(account), &Memberships(teams))
}

fn forget_membership(
    transaction: &mut Transaction<'_>,
    team: &AccountId,
    account: &AccountId,
) -> Result<(), StorageError> {
    let mut teams = of(transaction, account)?;
    teams.retain(|(known, _)| known != team);
    if teams.is_empty() {
        transaction.remove(Keyspace::Teams, member_key(account));
        return Ok(());
    }
    transaction.put(Keyspace::Teams, member_key(account), &Memberships(teams))
}

fn forget_invitations(
    transaction: &mut Transaction<'_>,
    team: &mut Team,
    which: impl Fn(&Invitation) -> bool,
) {
    for open in team.invitations.extract_if(.., |open| which(open)) {
        transaction.remove(Keyspace::Teams, invitation_key(&open.secret_hash));
    }
}

pub(super) fn put(transaction: &mut Transaction<'_>, team: &Team) -> Result<(), StorageError> {
    transaction.put(Keyspace::Teams, key(&team.id), team)
}
