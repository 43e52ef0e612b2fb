//! Why something about teams was not done.

use twinmcp_cluster::ClusterError;
use twinmcp_storage::accounts::{InvalidEmail, NAME_BYTES_MAX};
use twinmcp_storage::clock::EntropyError;
use twinmcp_storage::engine::StorageError;
use twinmcp_storage::teams::{INVITATIONS_MAX, MEMBERS_MAX, TEAMS_EACH_MAX};

use crate::slot::Unanswered;

/// Why a team could not be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TeamsError {
    /// No such team, or one that whoever asks is not in.
    #[error("there is no such team")]
    NotFound,
    /// Their role in the team does not suffice.
    #[error("your role in the team does not allow this; ask one of its owners")]
    Forbidden,
    /// Nobody of that name is in the team.
    #[error("the team has no such member")]
    MemberNotFound,
    /// There is no open invitation of that address.
    #[error("nobody with this address is invited")]
    NotInvited,
    /// A name outside its limits.
    #[error("a team's name has 1 to {NAME_BYTES_MAX} bytes")]
    NameLength,
    /// No e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// Machines make no teams.
    #[error("only people make teams: sign in to make one")]
    NotAPerson,
    /// The team would be without an owner.
    #[error("a team needs an owner: make somebody else one first, or delete the team")]
    LastOwner,
    /// The team owns libraries, which nobody would own without it.
    #[error("the team owns {count} libraries: remove or move them first")]
    OwnsLibraries {
        /// How many.
        count: u32,
    },
    /// They are in the team.
    #[error("whoever has this address is in the team")]
    AlreadyMember,
    /// Unknown, used, withdrawn or expired: which of them is nobody's business.
    #[error("this invitation was used, withdrawn or has expired; ask for another")]
    InvitationRefused,
    /// The invitation is of another address, or of one that was not confirmed.
    #[error(
        "this invitation is for another address; sign in with it, and confirm the address in your settings"
    )]
    OtherAddress,
    /// Somebody is in as many teams as they may be.
    #[error("one person may be in {TEAMS_EACH_MAX} teams; leave one first")]
    TooManyTeams,
    /// The team has as many members as it may.
    #[error(
        "a team has {MEMBERS_MAX} members at most, and nobody may be in more than {TEAMS_EACH_MAX} teams"
    )]
    Full,
    /// The team has as many open invitations as it may.
    #[error("a team has {INVITATIONS_MAX} open invitations at most; withdraw one first")]
    TooManyInvitations,
    /// No letter can be sent at the moment.
    #[error("too many letters are waiting; try again in a moment")]
    TooManyLetters,
    /// The actor gave no answer.
    #[error("teams are busy")]
    Busy(#[from] Unanswered),
    /// The change did not reach a quorum in time.
    #[error("failed to replicate the change")]
    Replicate(#[from] ClusterError),
    /// The store could not be read.
    #[error("failed to read teams")]
    Storage(#[from] StorageError),
    /// No id or secret could be made.
    #[error("failed to make an id")]
    Entropy(#[from] EntropyError),
}
