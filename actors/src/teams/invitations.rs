//! Invitations: a letter with a link that one person uses once, and what taking it does.
//!
//! Whoever has the letter learns which team it is; to join they have to be signed in with the address it was sent to, and have
//! shown that it is theirs. Whether anybody has an account with an address is told to nobody.

use tracing::instrument;
use twinmcp_storage::accounts;
use twinmcp_storage::accounts::Email;
use twinmcp_storage::command::Outcome;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::teams::{self, Role};

use super::{Teams, TeamsError, refused};
use crate::accounts::{Owner, Token};

/// What an invitation that is open is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvitation {
    /// The team's account.
    pub team: AccountId,
    /// What people call the team.
    pub team_name: String,
    /// Whom it was sent to.
    pub email: Email,
    /// What they will be.
    pub role: Role,
}

impl Teams {
    /// Invites whoever has an address, in place of an earlier invitation: a letter with a link goes there.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`], [`TeamsError::Forbidden`] for a role above one's own, [`TeamsError::AlreadyMember`],
    /// [`TeamsError::TooManyInvitations`], [`TeamsError::TooManyLetters`].
    #[instrument(name = "teams.invite", skip_all)]
    pub async fn invite(
        &self,
        who: &Owner,
        team: &AccountId,
        address: &str,
        role: Role,
    ) -> Result<(), TeamsError> {
        let email: Email = address.parse()?;
        let life_ms = self.accounts.config().invite_life_ms;
        let token = Token::random(&*self.entropy)?;
        let invite = teams::Command::Invite {
            team: team.clone(),
            by: who.account(),
            email: email.clone(),
            role,
            secret_hash: token.hash(),
            life_ms,
        };
        match self.change(invite).await? {
            Outcome::Done => {}
            Outcome::AlreadyExists => return Err(TeamsError::AlreadyMember),
            Outcome::LimitReached => return Err(TeamsError::TooManyInvitations),
            outcome => return refused(outcome),
        }
        let name = accounts::get(self.cluster.reader(), team)?.map(|team| team.name).unwrap_or_default();
        // Inviting once more puts another link in place of one whose letter did not leave.
        let sent = self.accounts.send_team_invitation(email, &name, role.as_str(), &token);
        sent.map_err(|_| TeamsError::TooManyLetters)
    }

    /// Takes an invitation back: its link is good for nothing from now on.
    ///
    /// # Errors
    /// [`TeamsError::NotFound`], [`TeamsError::Forbidden`], [`TeamsError::NotInvited`].
    #[instrument(name = "teams.withdraw", skip_all)]
    pub async fn withdraw(&self, who: &Owner, team: &AccountId, address: &str) -> Result<(), TeamsError> {
        let (team, by, email) = (team.clone(), who.account(), address.parse()?);
        match self.change(teams::Command::Withdraw { team, by, email }).await? {
            Outcome::Stale => Err(TeamsError::NotInvited),
            outcome => refused(outcome),
        }
    }

    /// What an invitation is for, without using it.
    ///
    /// # Errors
    /// [`TeamsError::InvitationRefused`].
    pub fn open_invitation(&self, token: &str) -> Result<OpenInvitation, TeamsError> {
        let token = Token::parse(token).ok_or(TeamsError::InvitationRefused)?;
        let found = teams::invitation(self.cluster.reader(), &token.hash())?;
        let open = found.filter(|(_, invitation)| self.clock.now() < invitation.expires_at);
        let (team, invitation) = open.ok_or(TeamsError::InvitationRefused)?;
        let account = accounts::get(self.cluster.reader(), &team.id)?.ok_or(TeamsError::InvitationRefused)?;
        Ok(OpenInvitation {
            team: team.id,
            team_name: account.name,
            email: invitation.email,
            role: invitation.role,
        })
    }

    /// Joins the team of an invitation, which is used up.
    ///
    /// # Errors
    /// [`TeamsError::InvitationRefused`], [`TeamsError::OtherAddress`], [`TeamsError::AlreadyMember`], [`TeamsError::Full`].
    #[instrument(name = "teams.join", skip_all)]
    pub async fn join(&self, account: &AccountId, token: &str) -> Result<OpenInvitation, TeamsError> {
        let opened = self.open_invitation(token)?;
        let token = Token::parse(token).ok_or(TeamsError::InvitationRefused)?;
        let join = teams::Command::Join { secret_hash: token.hash(), account: account.clone() };
        match self.change(join).await? {
            Outcome::Done => Ok(opened),
            Outcome::Stale => Err(TeamsError::OtherAddress),
            Outcome::AlreadyExists => Err(TeamsError::AlreadyMember),
            Outcome::LimitReached => Err(TeamsError::Full),
            _ => Err(TeamsError::InvitationRefused),
        }
    }

    /// Turns an invitation down, which uses it up; whoever has the letter may.
    ///
    /// # Errors
    /// [`TeamsError::InvitationRefused`].
    #[instrument(name = "teams.decline", skip_all)]
    pub async fn decline(&self, token: &str) -> Result<(), TeamsError> {
        let OpenInvitation { team, email, .. } = self.open_invitation(token)?;
        match self.change(teams::Command::Withdraw { team, by: None, email }).await? {
            Outcome::Done => Ok(()),
            _ => Err(TeamsError::InvitationRefused),
        }
    }
}
