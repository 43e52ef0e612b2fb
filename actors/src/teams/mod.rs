//! Teams: who acts for an account that several people share.
//!
//! [`Teams`] is the only way in. A change becomes a replicated command, which decides who may make it, and is answered once a
//! quorum holds it; reading passes no mailbox. Invitations stand in `invitations`.
//!
//! Invariant: a team is told of to its members and to operators alone. To everybody else it answers like one that is not there.

mod error;
mod invitations;

use std::collections::HashSet;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::instrument;
use twinmcp_cluster::{Behalf, Cluster};
use twinmcp_storage::accounts::{self, Email};
use twinmcp_storage::api_keys::{self, ApiKey};
use twinmcp_storage::clock::{Clock, Entropy, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::teams::{self, Invitation, Member, Role, Team};

pub use self::error::TeamsError;
pub use self::invitations::OpenInvitation;

use crate::accounts::{Accounts, Owner, check_name};
use crate::context::Context;
use crate::slot::{REPLY_DEADLINE, Slot, answer_when_done};
use crate::supervisor::Child;

/// A team, as its members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamView {
    /// The team.
    pub team: Team,
    /// What people call it.
    pub name: String,
    /// What whoever looks is in it; nothing for an operator who is not.
    pub role: Option<Role>,
    /// Who acts for it, the oldest member first.
    pub members: Vec<MemberView>,
    /// Who was asked to, and may still, the oldest invitation first.
    pub invitations: Vec<Invitation>,
}

/// Somebody in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Their membership.
    pub member: Member,
    /// What people call them.
    pub name: String,
    /// Where mail reaches them.
    pub email: Email,
    /// Whether they are kept out.
    pub is_disabled: bool,
}

/// A team that somebody is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The team's account.
    pub team: AccountId,
    /// What people call it.
    pub name: String,
    /// As what.
    pub role: Role,
}

/// A key of a team.
#[derive(Debug, Clone)]
pub struct TeamKey {
    /// The key.
    pub key: ApiKey,
    /// Who made it, if they are still in the team.
    pub maker: Option<AccountId>,
}

/// The way to teams.
#[derive(Clone)]
pub struct Teams {
    slot: Slot<Message>,
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Who writes letters.
    accounts: Accounts,
}

impl Teams {
    pub(crate) fn child(context: &Arc<Context>, accounts: &Accounts) -> (Child, Self) {
        let for_actor = Arc::clone(context);
        let (child, slot) =
            Child::new("teams", &context.node, move || (TeamsActor { context: Arc::clone(&for_actor) }, ()));
        let (clock, entropy) = (Arc::clone(&context.clock), Arc::clone(&context.entropy));
        let (cluster, accounts) = (context.cluster.clone(), accounts.clone());
        (child, Self { slot, cluster, clock, entropy, accounts })
    }

    /// Makes a team, whose first owner is `owner`.
    ///
    /// # Errors
    /// [`TeamsError::NotAPerson`], [`TeamsError::TooManyTeams`].
    pub async fn make(&self, owner: &AccountId, name: &str) -> Result<TeamView, TeamsError> {
        let name = named(name)?;
        let id = AccountId::random(self.clock.now(), &*self.entropy)?;
        match self.change(teams::Command::Make { id: id.clone(), name, owner: owner.clone() }).await? {
            Outcome::Done => self.get(&Owner::Account(owner.clone()), &id),
            Outcome::LimitReached => Err(TeamsError::TooManyTeams),
            _ => Err(TeamsError::NotAPerson),
        }
    }

    /// The teams that somebody is in.
    pub fn of(&self, account: &AccountId) -> Result<Vec<Membership>, TeamsError> {
        let reader = self.cluster.reader();
        let mut found = Vec::new();
        for (team, role) in teams::of(reader, account)? {
            let name = accounts::get(reader, &team)?.map(|account| account.name).unwrap_or_default();
            found.push(Membership { team, name, role });
        }
        Ok(found)
    }

    /// Up to `limit` teams after the team `after`, the oldest first: for operators.
    pub fn all(&self, after: Option<&AccountId>, limit: usize) -> Result<Vec<TeamView>, TeamsError> {
        let found = teams::list(self.cluster.reader(), after, limit)?;
        found.into_iter().map(|team| self.view(team, None)).collect()
    }

    /// One team.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`].
    pub fn get(&self, who: &Owner, id: &AccountId) -> Result<TeamView, TeamsError> {
        let (team, role) = self.known(who, id)?;
        self.view(team, role)
    }

    /// Changes what people call a team.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`], [`TeamsError::Forbidden`].
    pub async fn rename(&self, who: &Owner, team: &AccountId, name: &str) -> Result<(), TeamsError> {
        let (team, by, name) = (team.clone(), who.account(), named(name)?);
        refused(self.change(teams::Command::Rename { team, by, name }).await?)
    }

    /// Deletes a team with its keys, clients and invitations.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`], [`TeamsError::Forbidden`], [`TeamsError::OwnsLibraries`].
    pub async fn delete(&self, who: &Owner, team: &AccountId) -> Result<(), TeamsError> {
        let delete = teams::Command::Delete { team: team.clone(), by: who.account() };
        match self.change(delete).await? {
            Outcome::LimitReached => {
                let count = teams::get(self.cluster.reader(), team)?.map_or(0, |team| team.libraries);
                Err(TeamsError::OwnsLibraries { count })
            }
            outcome => refused(outcome),
        }
    }

    /// Makes a member something else.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`], [`TeamsError::Forbidden`], [`TeamsError::MemberNotFound`], [`TeamsError::LastOwner`].
    pub async fn set_role(
        &self,
        who: &Owner,
        team: &AccountId,
        member: &AccountId,
        role: Role,
    ) -> Result<(), TeamsError> {
        let (team, by, account) = (team.clone(), who.account(), member.clone());
        member_changed(self.change(teams::Command::SetRole { team, by, account, role }).await?)
    }

    /// Takes a member out of the team, with the keys and clients that they made for it; everybody may leave.
    ///
    /// # Errors
    /// As [`Self::set_role`].
    pub async fn remove(&self, who: &Owner, team: &AccountId, member: &AccountId) -> Result<(), TeamsError> {
        let (team, by, account) = (team.clone(), who.account(), member.clone());
        member_changed(self.change(teams::Command::Remove { team, by, account }).await?)
    }

    /// The keys of a team: all of them for its admins, those they made themselves for everybody else in it.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`].
    pub fn keys(&self, who: &Owner, id: &AccountId) -> Result<Vec<TeamKey>, TeamsError> {
        let (team, role) = self.known(who, id)?;
        let sees_all = role.is_none_or(|role| role >= Role::Admin);
        let keys = api_keys::list(self.cluster.reader(), id)?.into_iter().map(|key| {
            let maker = team.maker_of_key(&key.id).cloned();
            TeamKey { key, maker }
        });
        Ok(keys.filter(|it| sees_all || it.maker.is_some() && it.maker == who.account()).collect())
    }

    /// Whether somebody is at least `least` in a team.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`] for who is not in it, [`TeamsError::Forbidden`] for who is less.
    pub fn admitted(&self, who: &Owner, id: &AccountId, least: Role) -> Result<(), TeamsError> {
        match self.known(who, id)?.1 {
            Some(role) if role < least => Err(TeamsError::Forbidden),
            _ => Ok(()),
        }
    }

    /// The team, and what `who` is in it; nothing for an operator.
    fn known(&self, who: &Owner, id: &AccountId) -> Result<(Team, Option<Role>), TeamsError> {
        let team = teams::get(self.cluster.reader(), id)?.ok_or(TeamsError::NotFound)?;
        match who {
            Owner::Operator => Ok((team, None)),
            Owner::Account(account) => {
                let role = team.role(account).ok_or(TeamsError::NotFound)?;
                Ok((team, Some(role)))
            }
        }
    }

    fn view(&self, team: Team, role: Option<Role>) -> Result<TeamView, TeamsError> {
        let (reader, now) = (self.cluster.reader(), self.clock.now());
        let name = accounts::get(reader, &team.id)?.map(|account| account.name).unwrap_or_default();
        let mut members = Vec::with_capacity(team.members.len());
        for member in &team.members {
            members.extend(self.member(reader, member)?);
        }
        let invitations = team.invitations.iter().filter(|open| now < open.expires_at).cloned().collect();
        Ok(TeamView { team, name, role, members, invitations })
    }

    fn member(&self, reader: &dyn Reader, member: &Member) -> Result<Option<MemberView>, StorageError> {
        let Some(person) = accounts::person(reader, &member.account)? else { return Ok(None) };
        let name = accounts::get(reader, &member.account)?.map(|account| account.name).unwrap_or_default();
        let is_disabled = person.disabled_at.is_some();
        Ok(Some(MemberView { member: member.clone(), name, email: person.email, is_disabled }))
    }

    async fn change(&self, command: teams::Command) -> Result<Outcome, TeamsError> {
        let behalf = Behalf::current();
        self.slot.call(REPLY_DEADLINE, |reply| Message::Change { command, behalf, reply }).await?
    }
}

impl TeamView {
    /// The team's account.
    pub fn id(&self) -> &AccountId {
        &self.team.id
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.team.created_at
    }

    /// Whether whoever looks may do what members of this role may.
    pub fn may(&self, least: Role) -> bool {
        self.role.is_none_or(|role| role >= least)
    }
}

fn named(name: &str) -> Result<String, TeamsError> {
    check_name(name).map_err(|_| TeamsError::NameLength)?;
    Ok(name.trim().to_owned())
}

fn refused(outcome: Outcome) -> Result<(), TeamsError> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Forbidden => Err(TeamsError::Forbidden),
        _ => Err(TeamsError::NotFound),
    }
}

fn member_changed(outcome: Outcome) -> Result<(), TeamsError> {
    match outcome {
        Outcome::LimitReached => Err(TeamsError::LastOwner),
        Outcome::Stale => Err(TeamsError::MemberNotFound),
        outcome => refused(outcome),
    }
}

/// The accounts that somebody acts for: their own, and those of the teams they are in.
#[derive(Debug, Clone)]
pub(crate) struct Sight(Option<Vec<AccountId>>);

impl Sight {
    /// Whether what belongs to `account` is theirs to see.
    pub(crate) fn sees(&self, account: &AccountId) -> bool {
        self.0.as_ref().is_none_or(|accounts| accounts.contains(account))
    }

    /// What one account sees.
    pub(crate) fn of(reader: &dyn Reader, account: &AccountId) -> Result<Self, StorageError> {
        let teams = teams::of(reader, account)?.into_iter().map(|(team, _)| team);
        Ok(Self(Some(std::iter::once(account.clone()).chain(teams).collect())))
    }

    /// Whether something of one of `owners` is theirs to see.
    pub(crate) fn any(&self, owners: &HashSet<AccountId>) -> bool {
        self.0.as_ref().is_none_or(|accounts| accounts.iter().any(|account| owners.contains(account)))
    }
}

impl Owner {
    /// Whose things this owner is shown.
    pub(crate) fn sight(&self, reader: &dyn Reader) -> Result<Sight, StorageError> {
        match self {
            Self::Account(own) => Sight::of(reader, own),
            Self::Operator => Ok(Sight(None)),
        }
    }

    /// Whether this owner may change what belongs to `account`: it is theirs, or a team's that they manage.
    pub(crate) fn manages(&self, reader: &dyn Reader, account: &AccountId) -> Result<bool, StorageError> {
        match self {
            Self::Account(own) => teams::acts_for(reader, own, account, Role::Admin),
            Self::Operator => Ok(true),
        }
    }
}

enum Message {
    Change { command: teams::Command, behalf: Behalf, reply: RpcReplyPort<Result<Outcome, TeamsError>> },
}

#[derive(Clone)]
struct TeamsActor {
    context: Arc<Context>,
}

impl Actor for TeamsActor {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let actor = self.clone();
        match message {
            Message::Change { command, behalf, reply } => {
                answer_when_done(reply, behalf.scope(async move { actor.change(command).await }))
            }
        }
        Ok(())
    }
}

impl TeamsActor {
    #[instrument(name = "teams.change", skip_all)]
    async fn change(&self, command: teams::Command) -> Result<Outcome, TeamsError> {
        Ok(self.context.cluster.propose(Command::Teams(command)).await?.outcome)
    }
}
