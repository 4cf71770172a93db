//! Use cases of who is in a team.

use std::sync::Arc;

use serde::Serialize;

use super::{
    App, AppError, Changed, Listed, bindings,
    caller::Caller,
    context::Audit,
    teams::{self, NamedTeam},
    users::{self, NamedUser},
};
use crate::{
    domain::{
        bindings::Principal,
        change::Change,
        id::{TeamId, UserId},
        names::{TeamName, UserName},
        permission::Permission,
        users::{MAX_TEAMS, User},
    },
    store::{self, listing::Listing},
};

/// Asks for users to join a team or to leave it: all of them or none.
#[derive(Debug)]
pub struct ChangeMembers {
    /// Which team.
    pub name: TeamName,
    /// Who, each once.
    pub users: Vec<UserName>,
    /// Whether they join.
    pub joining: bool,
}

/// Asks for the members of a team.
#[derive(Debug)]
pub struct ListMembers {
    /// Of which team.
    pub parent: TeamName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// What goes on record.
#[derive(Serialize)]
struct Membership {
    id: TeamId,
    members: Vec<UserId>,
}

/// Puts users into a team or takes them out. To be in it is to have its roles: nobody gives, nor takes, what they do not hold
/// themselves.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn change(app: Arc<App>, caller: Caller, asked: ChangeMembers) -> Result<Changed<NamedTeam>, AppError> {
    let ChangeMembers { name, users, joining } = asked;
    let mut work = app.change(&caller, &name.tenant, &name).await?;
    work.require(Permission::TeamsWrite, work.scope())?;
    let team = teams::find(&mut work, &name).await?;
    let mut moving: Vec<User> = Vec::new();
    for name in &users {
        let user = match users::find(&mut work, name).await {
            // Whoever was removed since has left.
            Err(AppError::NotFound(_)) if work.is_replay() => continue,
            found => found?,
        };
        if user.teams.contains(&team.id) != joining {
            moving.push(user);
        }
    }
    if moving.is_empty() || work.is_replay() {
        return teams::unchanged(work, team).await;
    }
    let ids: Vec<UserId> = moving.iter().map(|user| user.id).collect();
    if joining {
        let newcomers: Vec<Principal> = ids.iter().copied().map(Principal::User).collect();
        bindings::require_joining(&mut work, team.id, &newcomers).await?;
    } else {
        bindings::require_leaving(&mut work, team.id).await?;
    }
    for before in moving {
        let mut after = User { version: before.version + 1, ..before.clone() };
        if joining {
            after.teams.push(team.id);
        } else {
            after.teams.retain(|id| *id != team.id);
        }
        if after.teams.len() > MAX_TEAMS {
            let name = UserName { tenant: work.tenant.slug.clone(), user: after.id };
            return Err(AppError::State(format!("{name} is in {MAX_TEAMS} teams already, which is the most")));
        }
        store::users::move_to_teams(&mut work.tx, &before, &after).await?;
        work.emit(Change::User(after));
    }
    let (out, within) = (Membership { id: team.id, members: Vec::new() }, Membership { id: team.id, members: ids });
    let audit = if joining {
        Audit::new("teams.addMembers", &name, Some(&out), Some(&within))
    } else {
        Audit::new("teams.removeMembers", &name, Some(&within), Some(&out))
    };
    teams::commit(work, team, audit).await
}

/// Lists who is in a team.
pub async fn list(app: Arc<App>, caller: Caller, asked: ListMembers) -> Result<Listed<NamedUser>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::TeamsRead, work.scope())?;
    work.require(Permission::UsersRead, work.scope())?;
    let team = teams::find(&mut work, &asked.parent).await?.id;
    users::page(&mut work, &format!("members of {team}"), asked.listing, Some(team)).await
}
