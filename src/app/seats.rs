//! Use cases of seats: how many may hold a role in a workspace. They are counted in the transaction that gives a role, under
//! the lock that all changes of a tenant take: two at once cannot both take the last one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{App, AppError, Changed, Work, caller::Caller, context::Audit, roles};
use crate::{
    domain::{
        bindings::{Member, Principal, Scope},
        id::WorkspaceId,
        names::{RoleName, SeatsName},
        permission::Permission,
        role::Role,
        roles::RoleRef,
        seats::Seats,
    },
    store,
};

/// Asks for the seats of a tenant or of a workspace.
#[derive(Debug)]
pub struct GetSeats {
    /// Of which.
    pub name: SeatsName,
}

/// Asks for seats to be set.
#[derive(Debug)]
pub struct UpdateSeats {
    /// Of which tenant or workspace.
    pub name: SeatsName,
    /// All that it says itself: roles and numbers.
    pub limits: Vec<(RoleName, i64)>,
    /// The version that it must have; `None` for any.
    pub version: Option<i64>,
}

/// The seats of a tenant or of a workspace.
#[derive(Debug)]
pub struct NamedSeats {
    /// Of which.
    pub name: SeatsName,
    /// What it says itself.
    pub limits: Vec<(String, i64)>,
    /// Every role of which there are only so many seats, how many, and how many are taken.
    pub counts: Vec<(String, i64, i64)>,
    /// The version of what it says itself.
    pub version: i64,
}

/// A tenant, or one of its workspaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Tenant,
    Workspace(WorkspaceId),
}

/// What is said about seats in the tenant at work.
struct Said {
    tenant: Seats,
    workspaces: BTreeMap<WorkspaceId, Seats>,
}

impl Said {
    async fn read(work: &mut Work<'_>) -> Result<Self, AppError> {
        let mut tenant = Seats::default();
        let mut workspaces = BTreeMap::new();
        for (scope, seats) in store::seats::of_tenant(&mut work.tx, work.tenant.id).await? {
            match scope.parse() {
                Ok(workspace) => drop(workspaces.insert(workspace, seats)),
                Err(_) => tenant = seats,
            }
        }
        Ok(Self { tenant, workspaces })
    }

    fn at(&self, place: Place) -> Seats {
        match place {
            Place::Tenant => self.tenant.clone(),
            Place::Workspace(id) => self.workspaces.get(&id).cloned().unwrap_or_default(),
        }
    }

    /// Whether there are only so many seats of a role anywhere: of most there are not, and many hold them.
    fn limits(&self, role: RoleRef) -> bool {
        self.of(Place::Tenant, role).is_some() || self.workspaces.values().any(|seats| seats.limits.contains_key(&role))
    }

    /// The seats of a role; `None`: as many as want to.
    fn of(&self, place: Place, role: RoleRef) -> Option<i64> {
        let own = match place {
            Place::Tenant => None,
            Place::Workspace(id) => self.workspaces.get(&id).and_then(|seats| seats.limits.get(&role)),
        };
        own.or_else(|| self.tenant.limits.get(&role)).copied().or_else(|| Seats::usual(role))
    }
}

/// Those whom a member stands for.
pub(super) async fn behind(work: &mut Work<'_>, member: Member) -> Result<Vec<Principal>, AppError> {
    Ok(match member {
        Member::User(id) => vec![Principal::User(id)],
        Member::ServiceAccount(id) => vec![Principal::ServiceAccount(id)],
        Member::Team(id) => store::seats::members(&mut work.tx, &id.to_string()).await?,
    })
}

/// Insists that there are seats for those who are about to be given a role, wherever they will hold it. Whoever holds it
/// there already takes no further one.
pub(super) async fn take(
    work: &mut Work<'_>,
    role: RoleRef,
    scope: Scope,
    newcomers: &[Principal],
) -> Result<(), AppError> {
    let said = match scope {
        Scope::Platform | Scope::Project(..) => return Ok(()),
        Scope::Tenant(_) | Scope::Workspace(..) => Said::read(work).await?,
    };
    if !said.limits(role) {
        return Ok(());
    }
    let holders = store::seats::holders(&mut work.tx, work.tenant.id, role, work.now).await?;
    // In a workspace that says nothing and where nobody holds it by themselves there are as many as in the tenant.
    let some: BTreeSet<WorkspaceId> = said.workspaces.keys().chain(holders.within.keys()).copied().collect();
    let places = match scope {
        Scope::Workspace(_, id) => vec![Place::Workspace(id)],
        _ => [Place::Tenant].into_iter().chain(some.into_iter().map(Place::Workspace)).collect(),
    };
    for place in places {
        let Some(seats) = said.of(place, role) else { continue };
        let taken = holders.of(match place {
            Place::Tenant => None,
            Place::Workspace(id) => Some(id),
        });
        let new = newcomers.iter().filter(|newcomer| !taken.contains(newcomer)).count();
        if new > 0 && count(taken.len() + new) > seats {
            return refuse(work, role, place, seats, count(taken.len())).await;
        }
    }
    Ok(())
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

async fn refuse<T>(work: &mut Work<'_>, role: RoleRef, place: Place, seats: i64, taken: i64) -> Result<T, AppError> {
    let place = match place {
        Place::Tenant => work.tenant.id.to_string(),
        Place::Workspace(id) => id.to_string(),
    };
    let names = store::names::names(&mut work.tx, vec![place.clone(), role.to_string()]).await?;
    Err(AppError::SeatsTaken { role: names.role(role), place: names.of(place), seats, taken })
}

/// The tenant or the workspace with this name, and the scope that it is.
async fn find(work: &mut Work<'_>, name: &SeatsName) -> Result<(Place, Scope), AppError> {
    Ok(match name {
        SeatsName::Tenant(_) => (Place::Tenant, work.scope()),
        SeatsName::Workspace(name) => {
            let workspace = work.workspace(&name.workspace, name).await?;
            (Place::Workspace(workspace.id), work.workspace_scope(&workspace))
        }
    })
}

async fn named(work: &mut Work<'_>, name: SeatsName, place: Place, said: &Said) -> Result<NamedSeats, AppError> {
    let own = said.at(place);
    let mut roles: Vec<RoleRef> = said.tenant.limits.keys().chain(own.limits.keys()).copied().collect();
    roles.extend([Role::Admin, Role::BillingManager].map(RoleRef::BuiltIn));
    roles.sort_unstable();
    roles.dedup();
    let names = store::names::names(&mut work.tx, roles.iter().map(ToString::to_string).collect()).await?;
    let (mut limits, mut counts) = (Vec::new(), Vec::new());
    // A role that is gone has no name.
    for role in roles.into_iter().filter(|role| !names.role(*role).is_empty()) {
        if let Some(seats) = own.limits.get(&role) {
            limits.push((names.role(role), *seats));
        }
        if let Some(seats) = said.of(place, role) {
            let holders = store::seats::holders(&mut work.tx, work.tenant.id, role, work.now).await?;
            let taken = holders.of(match place {
                Place::Tenant => None,
                Place::Workspace(id) => Some(id),
            });
            counts.push((names.role(role), seats, count(taken.len())));
        }
    }
    Ok(NamedSeats { name, limits, counts, version: own.version })
}

/// Reads the seats of a tenant or of a workspace.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetSeats) -> Result<NamedSeats, AppError> {
    let mut work = app.read(&caller, asked.name.tenant(), &asked.name).await?;
    let (place, scope) = find(&mut work, &asked.name).await?;
    work.require(Permission::RolesRead, scope)?;
    let said = Said::read(&mut work).await?;
    named(&mut work, asked.name, place, &said).await
}

/// Sets the seats of a tenant or of a workspace. Nobody loses a role by it: when there are fewer than are taken, nobody else
/// is given the role until there is one free.
pub async fn update(app: Arc<App>, caller: Caller, asked: UpdateSeats) -> Result<Changed<NamedSeats>, AppError> {
    let mut work = app.change(&caller, asked.name.tenant(), &asked.name).await?;
    let place = match &asked.name {
        SeatsName::Tenant(_) => Place::Tenant,
        SeatsName::Workspace(name) => Place::Workspace(work.open_workspace(&name.workspace, name).await?.id),
    };
    // On the tenant: whoever runs a workspace does not lift what its tenant holds it to.
    work.require(Permission::RolesWrite, work.scope())?;
    let mut said = Said::read(&mut work).await?;
    let before = said.at(place);
    let mut limits = BTreeMap::new();
    for (name, seats) in &asked.limits {
        let role = roles::find(&mut work, name).await?.role();
        if limits.insert(role, *seats).is_some() {
            return Err(AppError::invalid("limits", "must have each role once"));
        }
    }
    let replayed = work.is_replay();
    if !replayed && asked.version.is_some_and(|version| version != before.version) {
        return Err(AppError::Etag);
    }
    if replayed || limits == before.limits {
        let record = named(&mut work, asked.name, place, &said).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    let after = Seats { limits, version: before.version + 1 };
    let id = match place {
        Place::Tenant => work.tenant.id.to_string(),
        Place::Workspace(id) => id.to_string(),
    };
    store::seats::set(&mut work.tx, work.tenant.id, &id, &after).await?;
    match place {
        Place::Tenant => said.tenant = after.clone(),
        Place::Workspace(id) => drop(said.workspaces.insert(id, after.clone())),
    }
    let record = named(&mut work, asked.name, place, &said).await?;
    let audit = Audit::new("seats.update", &record.name, Some(&before), Some(&after));
    let revision = work.commit(audit).await?;
    Ok(Changed { record, revision })
}
