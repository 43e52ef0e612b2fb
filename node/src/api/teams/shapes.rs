//! Teams, their members and invitations, as clients see and send them.

use poem_openapi::Object;
use poem_openapi::types::Example;
use twinmcp_actors::teams::{MemberView, Membership, TeamView};
use twinmcp_storage::teams::{Invitation, Role};

use super::super::error::ApiError;

/// A team that you are in.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct TeamLine {
    /// Its account.
    pub(super) id: String,
    /// What people call it.
    name: String,
    /// What you are in it: `owner`, `admin` or `developer`; absent for an operator who is not.
    #[oai(skip_serializing_if_is_none)]
    role: Option<String>,
}

impl From<&Membership> for TeamLine {
    fn from(membership: &Membership) -> Self {
        let role = Some(membership.role.as_str().to_owned());
        Self { id: membership.team.to_string(), name: membership.name.clone(), role }
    }
}

impl From<&TeamView> for TeamLine {
    fn from(view: &TeamView) -> Self {
        let role = view.role.map(|role| role.as_str().to_owned());
        Self { id: view.id().to_string(), name: view.name.clone(), role }
    }
}

impl Example for TeamLine {
    fn example() -> Self {
        let (id, name) = (TEAM.to_owned(), "Kiln works".to_owned());
        Self { id, name, role: Some("owner".to_owned()) }
    }
}

const TEAM: &str = "acct_01jdcq0vz3k8w6m5r2t9y4x7ab";

/// Teams.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct TeamList {
    /// The teams.
    pub(super) teams: Vec<TeamLine>,
    /// What to send as `after` for the next page; absent on the last.
    #[oai(skip_serializing_if_is_none)]
    pub(super) next: Option<String>,
}

impl Example for TeamList {
    fn example() -> Self {
        Self { teams: vec![TeamLine::example()], next: None }
    }
}

/// Somebody in a team.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct MemberRecord {
    /// Their account.
    account: String,
    /// What people call them.
    name: String,
    /// Their e-mail address.
    email: String,
    /// `owner`, `admin` or `developer`.
    role: String,
    /// Since when, RFC 3339.
    since: String,
    /// Whether an operator keeps them out.
    disabled: bool,
}

impl From<&MemberView> for MemberRecord {
    fn from(view: &MemberView) -> Self {
        Self {
            account: view.member.account.to_string(),
            name: view.name.clone(),
            email: view.email.to_string(),
            role: view.member.role.as_str().to_owned(),
            since: view.member.since.to_string(),
            disabled: view.is_disabled,
        }
    }
}

impl Example for MemberRecord {
    fn example() -> Self {
        Self {
            account: "acct_01jdcq0vz3k8w6m5r2t9y4x7ac".to_owned(),
            name: "Ada".to_owned(),
            email: "ada@example.org".to_owned(),
            role: "owner".to_owned(),
            since: "2026-11-23T12:46:10.123Z".to_owned(),
            disabled: false,
        }
    }
}

/// Somebody who was asked to join.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct InvitationRecord {
    /// Where the letter went.
    email: String,
    /// What they will be.
    role: String,
    /// The account that asked them; absent for an operator.
    #[oai(skip_serializing_if_is_none)]
    by: Option<String>,
    /// From when on it is refused, RFC 3339.
    expires_at: String,
}

impl From<&Invitation> for InvitationRecord {
    fn from(invitation: &Invitation) -> Self {
        Self {
            email: invitation.email.to_string(),
            role: invitation.role.as_str().to_owned(),
            by: invitation.by.as_ref().map(ToString::to_string),
            expires_at: invitation.expires_at.to_string(),
        }
    }
}

impl Example for InvitationRecord {
    fn example() -> Self {
        Self {
            email: "bob@example.org".to_owned(),
            role: "developer".to_owned(),
            by: Some(MemberRecord::example().account),
            expires_at: "2026-11-26T12:46:10.123Z".to_owned(),
        }
    }
}

/// One team.
#[derive(Debug, Clone, Object)]
#[oai(example)]
pub(crate) struct TeamRecord {
    /// Its account.
    id: String,
    /// What people call it.
    name: String,
    /// What you are in it; absent for an operator who is not.
    #[oai(skip_serializing_if_is_none)]
    role: Option<String>,
    /// When it was made, RFC 3339.
    created_at: String,
    /// Who acts for it, the oldest member first.
    members: Vec<MemberRecord>,
    /// Who was asked to, and may still; shown to admins and owners.
    invitations: Vec<InvitationRecord>,
    /// How many libraries it owns.
    libraries: u32,
}

impl From<&TeamView> for TeamRecord {
    fn from(view: &TeamView) -> Self {
        let shown = view.invitations.iter().filter(|_| view.may(Role::Admin));
        Self {
            id: view.id().to_string(),
            name: view.name.clone(),
            role: view.role.map(|role| role.as_str().to_owned()),
            created_at: view.created_at().to_string(),
            members: view.members.iter().map(MemberRecord::from).collect(),
            invitations: shown.map(InvitationRecord::from).collect(),
            libraries: view.team.libraries,
        }
    }
}

impl Example for TeamRecord {
    fn example() -> Self {
        Self {
            id: TEAM.to_owned(),
            name: "Kiln works".to_owned(),
            role: Some("owner".to_owned()),
            created_at: "2026-11-23T12:46:10.123Z".to_owned(),
            members: vec![MemberRecord::example()],
            invitations: vec![InvitationRecord::example()],
            libraries: 2,
        }
    }
}

/// What a team is called.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct TeamNameBody {
    /// 1 to 200 bytes.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub(super) name: String,
}

impl Example for TeamNameBody {
    fn example() -> Self {
        Self { name: "Kiln works".to_owned() }
    }
}

/// Somebody to be asked.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct InviteBody {
    /// Where the letter goes; whoever has the address may join.
    #[oai(validator(max_length = 254))]
    pub(super) email: String,
    /// What they will be: `owner`, `admin` or `developer`; no more than you are.
    #[oai(validator(max_length = 20))]
    pub(super) role: String,
}

impl Example for InviteBody {
    fn example() -> Self {
        Self { email: "bob@example.org".to_owned(), role: "developer".to_owned() }
    }
}

/// The secret of an invitation.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct JoinBody {
    /// What stands behind `token=` in the link.
    #[oai(validator(max_length = 200))]
    pub(super) token: String,
}

impl Example for JoinBody {
    fn example() -> Self {
        Self { token: "4b".repeat(32) }
    }
}

/// What a member is to be.
#[derive(Debug, Object)]
#[oai(example)]
pub(crate) struct RoleBody {
    /// `owner`, `admin` or `developer`.
    #[oai(validator(max_length = 20))]
    pub(super) role: String,
}

impl Example for RoleBody {
    fn example() -> Self {
        Self { role: "admin".to_owned() }
    }
}

/// The role of this name.
pub(super) fn role(text: &str) -> Result<Role, ApiError> {
    Role::parse(text).ok_or_else(|| {
        ApiError::bad_request("`role` must be `owner`, `admin` or `developer`.").with("field", "role")
    })
}

/// For examples of paths.
pub(super) fn team_example() -> String {
    TEAM.to_owned()
}

pub(super) fn member_example() -> String {
    MemberRecord::example().account
}

pub(super) fn after_example() -> Option<String> {
    Some(TEAM.to_owned())
}

pub(super) fn email_example() -> String {
    InviteBody::example().email
}
