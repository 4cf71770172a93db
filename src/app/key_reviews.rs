//! Use cases of keys that break the key policy of their workspace: which they are, and that they end.
//!
//! What a policy says of allowlists no index knows. So a call looks at so many keys in the order of creation and no more, and
//! the next call begins behind them.

use std::{collections::HashMap, sync::Arc};

use super::{
    App, AppError, Listed, Work,
    caller::Caller,
    context::{Audit, undeleted},
    keys::{NamedKey, name_all, put, redacted},
    listing::Paging,
};
use crate::{
    domain::{
        bindings::Principal,
        id::KeyId,
        key_policies::{Breach, WorkspaceKeyPolicy},
        keys::{Key, KeyState},
        listing::CREATION,
        names::{KeyName, WorkspaceName},
        permission::Permission,
        time::Timestamp,
        workspaces::Workspace,
    },
    store::{self, Page, listing::Listing},
};

/// Most keys that one call looks at.
const LOOKS: i64 = 1000;
/// Up to where those that are left are counted.
const COUNTED: i64 = 10_000;

/// Asks which keys of a workspace break a policy.
#[derive(Debug)]
pub struct ReviewKeys {
    /// Of which workspace.
    pub parent: WorkspaceName,
    /// Which page.
    pub page: Page,
    /// The policy to be tried; `None`: the one that the workspace has.
    pub policy: Option<WorkspaceKeyPolicy>,
}

/// A key that breaks a policy.
#[derive(Debug)]
pub struct BreakingKey {
    /// The key.
    pub record: NamedKey,
    /// How.
    pub breaches: Vec<Breach>,
}

/// Asks for keys to end that break the policy of their workspace.
#[derive(Debug)]
pub struct RetireKeys {
    /// Of which workspace.
    pub parent: WorkspaceName,
    /// When they are to end.
    pub expires: Timestamp,
    /// Why, for the audit log.
    pub reason: String,
    /// Where the last call ended; empty for the first one.
    pub after: String,
}

/// Which keys end, or would.
#[derive(Debug)]
pub struct KeysRetired {
    /// Their names.
    pub names: Vec<KeyName>,
    /// How many are left to be looked at, counted up to [`COUNTED`].
    pub left: i64,
    /// Where the next call is to begin; empty when none is left.
    pub next: String,
    /// The revision at which decisions see it.
    pub revision: i64,
}

/// Keys that were looked at.
struct Looked {
    /// Those that break the policy, and how.
    breaking: Vec<(Key, Vec<Breach>)>,
    /// The last key that was looked at, when there may be more behind it.
    last: Option<Key>,
}

/// Looks at keys in the order of creation until as many break the policy as are asked for, or as many as may be were looked at.
async fn look(
    work: &mut Work<'_>,
    workspace: &Workspace,
    policy: &WorkspaceKeyPolicy,
    paging: &Paging<'_>,
    most: usize,
) -> Result<Looked, AppError> {
    let listing = everything(Page { after: String::new(), limit: LOOKS }, String::new());
    let rows =
        store::keys::list(&mut work.tx, store::keys::KeysOf::Workspace(workspace.id), &listing, paging.after()).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|many| many >= LOOKS);
    let mut beyond: HashMap<Principal, Option<KeyId>> = HashMap::new();
    let (mut breaking, mut rows) = (Vec::new(), rows.into_iter().peekable());
    while let Some(key) = rows.next() {
        let mut breaches = Vec::new();
        if key.state != KeyState::Revoked && !key.has_expired(work.now) {
            breaches = policy.breaches(&key);
            if let Some(many) = policy.limits.most_keys
                && first_beyond(work, &key, many, &mut beyond).await?.is_some_and(|first| key.id >= first)
            {
                breaches.push(Breach::Exceeds(many));
            }
        }
        let more = full || rows.peek().is_some();
        let is_last = rows.peek().is_none() || breaking.len() + usize::from(!breaches.is_empty()) >= most;
        let last = (is_last && more).then(|| key.clone());
        if !breaches.is_empty() {
            breaking.push((key, breaches));
        }
        if is_last {
            return Ok(Looked { breaking, last });
        }
    }
    Ok(Looked { breaking, last: None })
}

/// The first key of an owner that is one too many.
async fn first_beyond(
    work: &mut Work<'_>,
    key: &Key,
    many: i64,
    known: &mut HashMap<Principal, Option<KeyId>>,
) -> Result<Option<KeyId>, AppError> {
    if let Some(first) = known.get(&key.owner) {
        return Ok(*first);
    }
    let first = store::keys::beyond(&mut work.tx, key.workspace, key.owner, many, work.now).await?;
    known.insert(key.owner, first);
    Ok(first)
}

/// A list of all keys in the order of creation.
const fn everything(page: Page, asked: String) -> Listing {
    Listing { page, terms: Vec::new(), order: CREATION, show_deleted: false, asked }
}

/// Lists the keys that break a policy.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn review(app: Arc<App>, caller: Caller, asked: ReviewKeys) -> Result<Listed<BreakingKey>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.workspace(&asked.parent.workspace, &asked.parent).await?;
    let scope = work.workspace_scope(&workspace);
    work.require(Permission::KeysRead, scope)?;
    let most = usize::try_from(asked.page.limit - 1).unwrap_or_default();
    let listing = everything(asked.page, format!("{:?}", asked.policy));
    let paging = Paging::begin(&app, &format!("keys to review of {}", workspace.id), &listing)?;
    let policy = asked.policy.as_ref().unwrap_or(&workspace.policies.keys);
    let looked = look(&mut work, &workspace, policy, &paging, most).await?;
    let next = looked.last.map(|key| paging.token(&key.id.to_string(), "")).unwrap_or_default();
    let (keys, breaches): (Vec<Key>, Vec<_>) = looked.breaking.into_iter().unzip();
    let named = name_all(&mut work, scope, vec![workspace], keys).await?;
    let records = named.into_iter().zip(breaches).map(|(record, breaches)| BreakingKey { record, breaches });
    Ok(Listed { records: records.collect(), next })
}

/// Lets keys that break the policy end, where they do not end before. Each has an event of its own in the audit log.
pub async fn retire(app: Arc<App>, caller: Caller, asked: RetireKeys) -> Result<KeysRetired, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.workspace(&asked.parent.workspace, &asked.parent).await?;
    work.require(Permission::KeysRevoke, work.workspace_scope(&workspace))?;
    undeleted(workspace.deleted, &asked.parent)?;
    let replay = work.is_replay();
    if asked.expires <= work.now && !replay {
        return Err(AppError::invalid("expire_time", "must be in the future"));
    }
    let listing = everything(Page { after: asked.after, limit: LOOKS }, asked.expires.to_string());
    let paging = Paging::begin(&app, &format!("keys to retire of {}", workspace.id), &listing)?;
    let looked = look(&mut work, &workspace, &workspace.policies.keys, &paging, usize::MAX).await?;
    let (mut left, mut next) = (0, String::new());
    if let Some(key) = &looked.last {
        left = store::keys::left(&mut work.tx, workspace.id, key.id, COUNTED).await?;
        next = if left > 0 { paging.token(&key.id.to_string(), "") } else { next };
    }
    let (mut names, mut audit) = (Vec::new(), None);
    for (before, _) in looked.breaking {
        if replay || before.expires.is_some_and(|ends| ends <= asked.expires) {
            continue;
        }
        let WorkspaceName { tenant, workspace } = asked.parent.clone();
        let name = KeyName { tenant, workspace, key: before.id };
        if let Some(audit) = audit.take() {
            work.also(audit);
        }
        audit = Some(retired(&mut work, &before, &name, asked.expires).await?.because(asked.reason.clone()));
        names.push(name);
    }
    let revision = match audit {
        Some(audit) => work.commit(audit).await?,
        None => work.unchanged().await?,
    };
    Ok(KeysRetired { names, left, next, revision })
}

async fn retired(work: &mut Work<'_>, before: &Key, name: &KeyName, ends: Timestamp) -> Result<Audit, AppError> {
    let after = Key { expires: Some(ends), version: before.version + 1, ..before.clone() };
    // What is only to be checked is not written first.
    if !work.caller().intent.validate_only {
        put(work, after.clone()).await?;
    }
    Ok(Audit::new("keys.retire", name, Some(&redacted(before)), Some(&redacted(&after))))
}
