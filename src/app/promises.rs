//! What an invitation promises: who may promise it, what a workspace adds, and whether it can still be given.

use super::{AppError, Work, bindings, context::undeleted, role_templates, roles, seats, teams, users::Gift};
use crate::{
    domain::{
        bindings::Principal,
        id::TeamId,
        invitations::{FromTemplate, Invitation, InvitationState, LIFETIME},
        names::{RoleTemplateName, TeamName, WorkspaceName},
        permission::{Permission, PermissionSet},
        role::Role,
        role_templates::RoleTemplate,
        roles::RoleRef,
        workspaces::Workspace,
    },
    store,
};

/// What somebody is invited to.
#[derive(Debug)]
pub struct Promise {
    /// Their address.
    pub email: String,
    /// What they are given; `None`: the default of the workspace, or else what members have.
    pub gift: Option<Gift>,
    /// Their teams; none: those that the workspace lays down.
    pub teams: Vec<TeamName>,
    /// What the role is given on; `None`: the whole tenant.
    pub workspace: Option<WorkspaceName>,
}

/// What a role gives now, if there is still such a role.
async fn permissions(work: &mut Work<'_>, role: RoleRef) -> Result<PermissionSet, AppError> {
    let id = match role {
        RoleRef::BuiltIn(role) => return Ok(role.permissions()),
        RoleRef::Custom(id) => id,
    };
    let own = store::roles::of_tenant(&mut work.tx, work.tenant.id).await?;
    let found = own.into_iter().find(|role| role.id == id).map(|role| role.permissions);
    found.ok_or_else(|| AppError::NotFound(role.to_string()))
}

/// The role template of an invitation, if it still gives the role that was promised.
pub(super) async fn template(
    work: &mut Work<'_>,
    invitation: &Invitation,
) -> Result<Option<(RoleTemplateName, RoleTemplate)>, AppError> {
    let Some(promised) = &invitation.template else { return Ok(None) };
    let name = RoleTemplateName { tenant: work.tenant.slug.clone(), template: promised.slug.clone() };
    let template = role_templates::find(work, &name).await?;
    if (template.id, template.role) == (promised.id, invitation.role) {
        Ok(Some((name, template)))
    } else {
        Err(AppError::State(format!("{name} does not give any more what it gave")))
    }
}

/// Insists that the caller may give all that an invitation promises, that it is all there, and that there are seats for it.
pub(super) async fn require(work: &mut Work<'_>, invitation: &Invitation) -> Result<(), AppError> {
    work.require(Permission::UsersWrite, work.scope())?;
    if let Some(id) = invitation.workspace {
        let found = store::workspaces::by_id(&mut work.tx, id).await?;
        let workspace = found.ok_or_else(|| AppError::NotFound(id.to_string()))?;
        undeleted(workspace.deleted, &format_args!("{}/workspaces/{}", work.tenant.name(), workspace.slug))?;
    }
    let (scope, user) = (invitation.scope(), invitation.user);
    let role = permissions(work, invitation.role).await?;
    work.require_all(role, scope, None)?;
    if let Some((_, template)) = template(work, invitation).await? {
        if template.budget.is_some() {
            work.require(Permission::BudgetsWrite, work.scope())?;
        }
        if template.key_policy.is_some() {
            work.require(Permission::KeysWrite, work.scope())?;
        }
    }
    seats::take(work, invitation.role, scope, &[Principal::User(user)]).await?;
    let known = store::names::names(&mut work.tx, invitation.teams.iter().map(ToString::to_string).collect()).await?;
    for team in &invitation.teams {
        if known.of(team).is_empty() {
            return Err(AppError::NotFound(team.to_string()));
        }
        bindings::require_joining(work, *team, &[Principal::User(user)]).await?;
    }
    Ok(())
}

/// The invitation that a promise comes to. What it does not say the workspace does, where there is one.
pub(super) async fn promised(work: &mut Work<'_>, promise: &Promise) -> Result<Invitation, AppError> {
    let workspace = match &promise.workspace {
        Some(name) => {
            work.own(&name.tenant, name)?;
            Some(work.open_workspace(&name.workspace, name).await?)
        }
        None => None,
    };
    let (role, template) = match &promise.gift {
        Some(Gift::Role(name)) => (roles::find(work, name).await?.role(), None),
        Some(Gift::Template(name)) => {
            let template = role_templates::find(work, name).await?;
            (template.role, Some(FromTemplate { id: template.id, slug: template.slug }))
        }
        None => {
            let laid_down = workspace.as_ref().and_then(|workspace| workspace.policies.default_role);
            (RoleRef::BuiltIn(laid_down.unwrap_or(Role::Member)), None)
        }
    };
    Ok(Invitation {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        user: work.app().new_id(work.now)?,
        email: promise.email.clone(),
        role,
        template,
        workspace: workspace.as_ref().map(|workspace| workspace.id),
        teams: promised_teams(work, promise, workspace.as_ref()).await?,
        inviter: work.caller().principal,
        inviter_tenant: work.caller().tenant,
        state: InvitationState::Pending,
        created: work.now,
        expires: work.now.after(LIFETIME),
        version: 1,
    })
}

/// The teams of a promise, each once; else those that the workspace lays down, which may be gone since.
async fn promised_teams(
    work: &mut Work<'_>,
    promise: &Promise,
    workspace: Option<&Workspace>,
) -> Result<Vec<TeamId>, AppError> {
    let laid_down = workspace.filter(|_| promise.teams.is_empty());
    let names = laid_down.map_or(&promise.teams, |workspace| &workspace.policies.invitation_teams);
    let mut teams = Vec::with_capacity(names.len());
    for name in names {
        let team = match (teams::find(work, name).await, laid_down) {
            (Err(AppError::NotFound(team)), Some(workspace)) => {
                let place = format!("{}/workspaces/{}", work.tenant.name(), workspace.slug);
                let why = "name the teams, or let its policies name others";
                return Err(AppError::State(format!("{place} invites into {team}, which does not exist: {why}")));
            }
            (found, _) => found?.id,
        };
        if !teams.contains(&team) {
            teams.push(team);
        }
    }
    Ok(teams)
}
