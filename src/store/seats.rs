//! Rows of seats, and who takes them.

use std::collections::HashMap;

use super::{Result, StoreError, Tx, bindings, invitations, parse};
use crate::domain::{
    bindings::Principal,
    id::{TenantId, WorkspaceId},
    roles::RoleRef,
    seats::{Holders, Seats},
    time::Timestamp,
};

/// What a tenant and its workspaces say about seats, by the id of each that says something.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn of_tenant(tx: &mut Tx, tenant: TenantId) -> Result<HashMap<String, Seats>> {
    let sql = "SELECT scope, limits, version FROM seats WHERE tenant_id = $1";
    let rows = fetch_all!(tx, (String, String, i64), sql, tenant.to_string())?;
    let seats = |(scope, limits, version): (String, String, i64)| {
        let limits = serde_json::from_str(&limits).map_err(|_| StoreError::Corrupt("list of seats".into()))?;
        Ok((scope, Seats { limits, version }))
    };
    rows.into_iter().map(seats).collect()
}

/// Sets what a tenant or one of its workspaces says, by its id.
pub async fn set(tx: &mut Tx, tenant: TenantId, scope: &str, seats: &Seats) -> Result<()> {
    let limits = serde_json::to_string(&seats.limits).map_err(|_| StoreError::Corrupt("list of seats".into()))?;
    execute!(
        tx,
        "INSERT INTO seats (scope, tenant_id, limits, version) VALUES ($1, $2, $3, $4)
         ON CONFLICT (scope) DO UPDATE SET limits = excluded.limits, version = excluded.version",
        scope,
        tenant.to_string(),
        limits,
        seats.version,
    )?;
    Ok(())
}

/// Who holds a role on a tenant and in its workspaces: themselves or by a team, whether they may act or not; and
/// for whom a seat is kept, because they are invited.
pub async fn holders(tx: &mut Tx, tenant: TenantId, role: RoleRef, now: Timestamp) -> Result<Holders> {
    let rows = fetch_all!(
        tx,
        (Option<String>, String, Option<String>),
        "SELECT bindings.scope_workspace, bindings.member, team_members.user_id
         FROM bindings LEFT JOIN team_members ON team_members.team_id = bindings.member
         WHERE bindings.tenant_id = $1 AND bindings.role = $2 AND bindings.scope_tenant = $1
           AND bindings.scope_project IS NULL AND (bindings.expires IS NULL OR bindings.expires > $3)",
        tenant.to_string(),
        role.to_string(),
        now.micros()
    )?;
    let mut holders = Holders::default();
    for (workspace, member, of_team) in rows {
        // A team of nobody has no user: it takes no seat itself.
        let Some(principal) = bindings::principal_of(of_team.as_deref().unwrap_or(&member))? else { continue };
        let place = match workspace {
            None => &mut holders.everywhere,
            Some(id) => holders.within.entry(parse::<WorkspaceId>(&id, "workspace of a binding")?).or_default(),
        };
        place.insert(principal);
    }
    // Who is invited finds the seat that was promised.
    for (workspace, principal) in invitations::awaited(tx, tenant, role, now).await? {
        let place = match workspace {
            None => &mut holders.everywhere,
            Some(id) => holders.within.entry(parse::<WorkspaceId>(&id, "workspace of an invitation")?).or_default(),
        };
        place.insert(principal);
    }
    Ok(holders)
}

/// Those in a team.
pub async fn members(tx: &mut Tx, team: &str) -> Result<Vec<Principal>> {
    let rows = fetch_all!(tx, (String,), "SELECT user_id FROM team_members WHERE team_id = $1", team)?;
    rows.into_iter().map(|(id,)| Ok(Principal::User(parse(&id, "member of a team")?))).collect()
}
