//! Key policies of workspaces: what a key that is made, or made wider, has to keep to.

use super::{AppError, Work};
use crate::{
    domain::{
        bindings::{Principal, Scope},
        keys::Allowlist,
        permission::Permission,
        time::Timestamp,
        workspaces::Workspace,
    },
    store,
};

/// Insists that a key of the workspace that is made then may end then (`None`: never) and may be used for that, whoever makes it.
///
/// # Errors
/// [`AppError::Invalid`] with the field at fault.
pub(super) fn require_terms(
    workspace: &Workspace,
    created: Timestamp,
    (expires, allowlist): (Option<Timestamp>, &Allowlist),
) -> Result<(), AppError> {
    let checked = workspace.policies.keys.check(created, expires, allowlist);
    checked.map_err(|(field, why)| AppError::Invalid { field, why })
}

/// Insists that somebody, whose name is `owner`, may have one more key in the workspace.
///
/// # Errors
/// [`AppError::KeysTaken`].
pub(super) async fn require_room(
    work: &mut Work<'_>,
    workspace: &Workspace,
    owner: Principal,
    name: &impl ToString,
) -> Result<(), AppError> {
    match room(work, workspace, owner).await? {
        None => Ok(()),
        Some(limit) => Err(AppError::KeysTaken {
            owner: name.to_string(),
            workspace: format!("{}/workspaces/{}", work.tenant.name(), workspace.slug),
            limit,
        }),
    }
}

/// The number of keys that somebody has in the workspace when that is the most that they may have.
async fn room(work: &mut Work<'_>, workspace: &Workspace, owner: Principal) -> Result<Option<i64>, AppError> {
    let Some(most) = workspace.policies.keys.limits.most_keys else { return Ok(None) };
    let taken = store::keys::count_in(&mut work.tx, workspace.id, owner, work.now).await?;
    Ok((taken >= most).then_some(most))
}

/// Whether the caller may take over one more key in the workspace: one that they could have made for themselves.
pub(super) async fn may_take_over(work: &mut Work<'_>, workspace: &Workspace) -> Result<bool, AppError> {
    let policy = &workspace.policies.keys;
    let scope = Scope::Workspace(workspace.tenant, workspace.id);
    if policy.creates() == Permission::KeysWrite && work.require(Permission::KeysWrite, scope).is_err() {
        return Ok(false);
    }
    let caller = work.caller().principal;
    Ok(room(work, workspace, caller).await?.is_none())
}
