//! Teams over HTTP: make, rename and delete them, and who is in them. What belongs to them stands in `belongings`.

mod belongings;
mod shapes;

use poem::http::StatusCode;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use twinmcp_actors::Teams;
use twinmcp_actors::teams::TeamsError;
use twinmcp_storage::ids::AccountId;
use twinmcp_storage::scope::Scope;
use twinmcp_storage::teams::Role;

pub(crate) use self::belongings::TeamBelongingsApi;
use self::shapes::{
    InviteBody, JoinBody, RoleBody, TeamLine, TeamList, TeamNameBody, TeamRecord, after_example,
    email_example, member_example, role, team_example,
};
use super::Tag;
use super::body::JsonBody;
use super::error::{ApiError, sentence};
use super::failures::parse_id;
use crate::http::Caller;

/// Teams of one answer, at most.
const PAGE_ITEMS_MAX: usize = 100;

#[derive(ApiResponse)]
pub(crate) enum TeamMade {
    /// The team was made; you own it.
    #[oai(status = 201)]
    Team(Json<TeamRecord>),
}

#[derive(ApiResponse)]
pub(crate) enum Changed {
    /// It was done.
    #[oai(status = 204)]
    Done,
}

/// `/api/teams`.
pub(crate) struct TeamsApi {
    pub(crate) teams: Teams,
}

#[OpenApi(prefix_path = "/api/teams", tag = "Tag::Teams")]
impl TeamsApi {
    /// Makes a team.
    ///
    /// You own it. For people alone, not for accounts of machines. Needs `account`.
    #[oai(path = "/", method = "post", operation_id = "create_team")]
    async fn create(&self, caller: Caller, asked: JsonBody<TeamNameBody>) -> Result<TeamMade, ApiError> {
        caller.may(Scope::Account)?;
        let view = self.teams.make(caller.account(), &asked.name).await?;
        Ok(TeamMade::Team(Json(TeamRecord::from(&view))))
    }

    /// Lists your teams.
    ///
    /// With the scope `admin` everybody's, up to 100 a page. Needs `account`.
    #[oai(path = "/", method = "get", operation_id = "list_teams")]
    async fn list(
        &self,
        caller: Caller,
        /// Only teams after this one, with the scope `admin`.
        #[oai(example = "after_example")]
        after: Query<Option<String>>,
    ) -> Result<Json<TeamList>, ApiError> {
        caller.may(Scope::Account)?;
        let after = after.0.as_deref().map(parse_id).transpose()?;
        if !caller.has(Scope::Admin) {
            let teams = self.teams.of(caller.account())?.iter().map(TeamLine::from).collect();
            return Ok(Json(TeamList { teams, next: None }));
        }
        let views = self.teams.all(after.as_ref(), PAGE_ITEMS_MAX + 1)?;
        let teams: Vec<TeamLine> = views.iter().take(PAGE_ITEMS_MAX).map(TeamLine::from).collect();
        let next = (views.len() > PAGE_ITEMS_MAX).then(|| teams.last().map(|last| last.id.clone())).flatten();
        Ok(Json(TeamList { teams, next }))
    }

    /// Joins a team with the link of a letter.
    ///
    /// The letter must have gone to your own address, and you must have confirmed it. Each link works once. Needs `account`.
    #[oai(path = "/join", method = "post", operation_id = "join_team")]
    async fn join(&self, caller: Caller, asked: JsonBody<JoinBody>) -> Result<Json<TeamRecord>, ApiError> {
        caller.may(Scope::Account)?;
        let joined = self.teams.join(caller.account(), &asked.token).await?;
        self.record(&caller, &joined.team)
    }

    /// Shows a team with its members.
    ///
    /// One that you are not in answers like one that is not there. Needs `account`.
    #[oai(path = "/:id", method = "get", operation_id = "get_team")]
    async fn get(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
    ) -> Result<Json<TeamRecord>, ApiError> {
        caller.may(Scope::Account)?;
        self.record(&caller, &parse_id(&id)?)
    }

    /// Renames a team.
    ///
    /// For its owners and admins. Needs `account`.
    #[oai(path = "/:id", method = "patch", operation_id = "rename_team")]
    async fn rename(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        asked: JsonBody<TeamNameBody>,
    ) -> Result<Json<TeamRecord>, ApiError> {
        caller.may(Scope::Account)?;
        let id = parse_id(&id)?;
        self.teams.rename(&caller.owner(), &id, &asked.name).await?;
        self.record(&caller, &id)
    }

    /// Deletes a team.
    ///
    /// With its keys, clients and invitations; 409 `owns_libraries` as long as it owns libraries. For its owners. Needs `account`.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_team")]
    async fn delete(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Account)?;
        self.teams.delete(&caller.owner(), &parse_id(&id)?).await?;
        Ok(Changed::Done)
    }

    /// Invites somebody.
    ///
    /// Sends a letter with a link, in place of an earlier one; the answer is the same whether anybody has the address or not. For owners
    /// and admins, as no more than they are themselves. Needs `account`.
    #[oai(path = "/:id/invitations", method = "post", operation_id = "invite_to_team")]
    async fn invite(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        asked: JsonBody<InviteBody>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Account)?;
        let role = role(&asked.role)?;
        self.teams.invite(&caller.owner(), &parse_id(&id)?, &asked.email, role).await?;
        Ok(Changed::Done)
    }

    /// Takes an invitation back.
    ///
    /// Its link is good for nothing from now on. For whoever could have made it. Needs `account`.
    #[oai(path = "/:id/invitations", method = "delete", operation_id = "withdraw_invitation")]
    async fn withdraw(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        /// Where the letter went.
        #[oai(example = "email_example", validator(max_length = 254))]
        email: Query<String>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Account)?;
        self.teams.withdraw(&caller.owner(), &parse_id(&id)?, &email).await?;
        Ok(Changed::Done)
    }

    /// Makes a member something else.
    ///
    /// For owners, and for admins where neither role is `owner`. Keys and clients that the member made for the team and that the new
    /// role does not give end. 409 `last_owner` for the last one. Needs `account`.
    #[oai(path = "/:id/members/:member", method = "patch", operation_id = "change_team_role")]
    async fn set_role(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        /// The member's account.
        #[oai(example = "member_example")]
        member: Path<String>,
        asked: JsonBody<RoleBody>,
    ) -> Result<Json<TeamRecord>, ApiError> {
        caller.may(Scope::Account)?;
        let (id, member, role) = (parse_id(&id)?, parse_id(&member)?, role(&asked.role)?);
        self.teams.set_role(&caller.owner(), &id, &member, role).await?;
        self.record(&caller, &id)
    }

    /// Takes a member out of a team.
    ///
    /// Keys and clients that they made for it end with it. Everybody may leave, but for the last owner (409 `last_owner`); for others as
    /// for another role. Needs `account`.
    #[oai(path = "/:id/members/:member", method = "delete", operation_id = "remove_team_member")]
    async fn remove(
        &self,
        caller: Caller,
        /// The team's account.
        #[oai(example = "team_example")]
        id: Path<String>,
        /// The member's account.
        #[oai(example = "member_example")]
        member: Path<String>,
    ) -> Result<Changed, ApiError> {
        caller.may(Scope::Account)?;
        self.teams.remove(&caller.owner(), &parse_id(&id)?, &parse_id(&member)?).await?;
        Ok(Changed::Done)
    }
}

impl TeamsApi {
    fn record(&self, caller: &Caller, id: &AccountId) -> Result<Json<TeamRecord>, ApiError> {
        Ok(Json(TeamRecord::from(&self.teams.get(&caller.owner(), id)?)))
    }
}

/// The account that a caller acts for: their own, or a team's that they manage.
pub(super) fn acting(teams: &Teams, caller: &Caller, team: Option<&str>) -> Result<AccountId, ApiError> {
    let Some(team) = team else { return Ok(caller.account().clone()) };
    let team = parse_id(team)?;
    teams.admitted(&caller.owner(), &team, Role::Admin)?;
    Ok(team)
}

impl From<TeamsError> for ApiError {
    fn from(error: TeamsError) -> Self {
        let told = sentence(&error.to_string());
        let refused = |status, code| Self::new(status, code, told.clone());
        match error {
            TeamsError::NotFound => refused(StatusCode::NOT_FOUND, "team_not_found"),
            TeamsError::MemberNotFound => refused(StatusCode::NOT_FOUND, "member_not_found"),
            TeamsError::NotInvited => refused(StatusCode::NOT_FOUND, "invitation_not_found"),
            TeamsError::Forbidden => refused(StatusCode::FORBIDDEN, "role_insufficient"),
            TeamsError::NotAPerson => refused(StatusCode::FORBIDDEN, "not_a_person"),
            TeamsError::InvitationRefused => refused(StatusCode::FORBIDDEN, "invitation_refused"),
            TeamsError::OtherAddress => refused(StatusCode::FORBIDDEN, "other_address"),
            TeamsError::NameLength | TeamsError::Email(_) => Self::bad_request(told),
            TeamsError::LastOwner => refused(StatusCode::CONFLICT, "last_owner"),
            TeamsError::OwnsLibraries { count } => {
                refused(StatusCode::CONFLICT, "owns_libraries").with("libraries", count)
            }
            TeamsError::AlreadyMember => refused(StatusCode::CONFLICT, "already_member"),
            TeamsError::TooManyTeams => refused(StatusCode::CONFLICT, "team_limit_reached"),
            TeamsError::Full => refused(StatusCode::CONFLICT, "member_limit_reached"),
            TeamsError::TooManyInvitations => refused(StatusCode::CONFLICT, "invitation_limit_reached"),
            TeamsError::TooManyLetters => {
                refused(StatusCode::TOO_MANY_REQUESTS, "too_many_letters").retry_after(1)
            }
            TeamsError::Busy(unanswered) => unanswered.into(),
            TeamsError::Replicate(cause) => cause.into(),
            TeamsError::Storage(cause) => cause.into(),
            TeamsError::Entropy(cause) => Self::internal(cause),
        }
    }
}
