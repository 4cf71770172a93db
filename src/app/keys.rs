//! Use cases of API keys.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    App, AppError, Changed, Listed, Work, access, caller::Caller, context::Audit, key_policies, key_secrets,
    listing::Paging, projects, usage::OfMonth,
};
use crate::{
    domain::{
        bindings::{Principal, Scope},
        change::Change,
        id::ProjectId,
        key_secret::{KeySecret, PublicId},
        keys::{Allowlist, Key, KeyState, Secrets},
        listing::{Field, Kind, Term, Value as Wanted},
        names::{KeyName, PlaceName, PrincipalName, ProjectName, Slug, WorkspaceName},
        peppers::SecretHash,
        permission::Permission,
        time::Timestamp,
        workspaces::Workspace,
    },
    store::{
        self, Inserted,
        keys::KeysOf,
        last_used::LastUses,
        listing::Listing,
        names::Names,
        usage_counts::{Counted, Used},
    },
};

/// Asks for a new key.
#[derive(Debug)]
pub struct CreateKey {
    /// Where.
    pub parent: WorkspaceName,
    /// Its name for people.
    pub display_name: String,
    /// Whose it is.
    pub owner: PrincipalName,
    /// Project that calls are tagged with.
    pub project: Option<ProjectName>,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// What it may be used for.
    pub allowlist: Allowlist,
    /// What it is for.
    pub description: String,
    /// Tags.
    pub labels: BTreeMap<String, String>,
}

/// Asks for a key.
#[derive(Debug)]
pub struct GetKey {
    /// Which.
    pub name: KeyName,
}

/// Asks for the keys of a workspace, or of every workspace of a tenant.
#[derive(Debug)]
pub struct ListKeys {
    /// Where.
    pub parent: PlaceName,
    /// Which, in which order, and which page.
    pub listing: Listing,
}

/// Asks for a key to be disabled, enabled or revoked.
#[derive(Debug)]
pub struct SetKeyState {
    /// Which.
    pub name: KeyName,
    /// The state it is to be in.
    pub state: KeyState,
    /// Why, for the audit log.
    pub reason: String,
}

/// A key under its name.
#[derive(Debug)]
pub struct NamedKey {
    /// The name.
    pub name: KeyName,
    /// Name of the owner.
    pub owner: String,
    /// Name of the project; empty without one.
    pub project: String,
    /// First part of the key, safe to show: `prod_tr_4Kd0...`.
    pub hint: String,
    /// When a call was last made with it.
    pub last_used: Option<Timestamp>,
    /// What was used with it this month; `None` for who may not see that.
    pub used: Option<Used>,
    /// The key.
    pub key: Key,
}

/// A key with a new secret, and the revision at which decisions see it.
pub struct KeyCreated {
    /// The key.
    pub record: NamedKey,
    /// The whole secret, for the one answer that shows it; none when nothing was to be changed.
    pub secret: Option<KeySecret>,
    /// The revision.
    pub revision: i64,
}

impl NamedKey {
    fn new(tenant: &Slug, workspace: &Workspace, names: &Names, uses: &LastUses, key: Key) -> Self {
        let shown: String = key.public_id.as_str().chars().take(4).collect();
        Self {
            name: KeyName { tenant: tenant.clone(), workspace: workspace.slug.clone(), key: key.id },
            owner: names.of(key.owner),
            project: key.project.map(|id| names.of(id)).unwrap_or_default(),
            hint: format!("{}_tr_{shown}...", workspace.key_prefix()),
            last_used: uses.of(key.id),
            used: None,
            key,
        }
    }
}

async fn names(work: &mut Work<'_>, keys: &[Key]) -> Result<Names, AppError> {
    let ids = keys
        .iter()
        .flat_map(|key| [Some(key.owner.to_string()), key.project.map(|id| id.to_string())])
        .flatten()
        .collect();
    Ok(store::names::names(&mut work.tx, ids).await?)
}

pub(super) async fn named(work: &mut Work<'_>, workspace: &Workspace, key: Key) -> Result<NamedKey, AppError> {
    let names = names(work, std::slice::from_ref(&key)).await?;
    let uses = store::last_used::of(&mut work.tx, [key.id.to_string()].into_iter()).await?;
    let used = OfMonth::read(work, work.workspace_scope(workspace), Counted::Keys, &[key.id.to_string()]).await?;
    Ok(NamedKey { used: used.of(key.id), ..NamedKey::new(&work.tenant.slug, workspace, &names, &uses, key) })
}

/// The key with this name and its workspace, if its tenant is the one at work.
pub(super) async fn find(work: &mut Work<'_>, name: &KeyName) -> Result<(Workspace, Key), AppError> {
    work.own(&name.tenant, name)?;
    let workspace = work.workspace(&name.workspace, name).await?;
    let found = store::keys::by_id(&mut work.tx, name.key).await?;
    let there = found.filter(|key| key.workspace == workspace.id && key.deleted.is_none());
    let key = there.ok_or_else(|| AppError::NotFound(name.to_string()))?;
    Ok((workspace, key))
}

/// Somebody of the tenant who is active: only they can own a new key.
async fn find_owner(work: &mut Work<'_>, name: &PrincipalName) -> Result<Principal, AppError> {
    let (principal, active) = access::find_principal(work, name).await?;
    if active { Ok(principal) } else { Err(AppError::State(format!("{name} is not active"))) }
}

/// Insists on what a role template said about keys of one's own, of a key that is made then. Whoever may make keys for others
/// answers for what they make.
pub(super) async fn require_policy(
    work: &mut Work<'_>,
    owner: Principal,
    created: Timestamp,
    (expires, allowlist): (Option<Timestamp>, &Allowlist),
) -> Result<Option<i64>, AppError> {
    let Some(policy) = store::role_templates::key_policy(&mut work.tx, owner).await? else { return Ok(None) };
    policy.check(created, expires, allowlist).map_err(|(field, why)| AppError::Invalid { field, why })?;
    Ok(policy.most_keys)
}

/// Insists that a new key fits the key policy of its owner.
async fn require_room(work: &mut Work<'_>, owner: Principal, asked: &CreateKey) -> Result<(), AppError> {
    let created = work.now;
    if let Some(most) = require_policy(work, owner, created, (asked.expires, &asked.allowlist)).await?
        && store::keys::count_of_owner(&mut work.tx, owner, work.now).await? >= most
    {
        return Err(AppError::State(format!("{} has {most} keys, the most by their key policy", asked.owner)));
    }
    Ok(())
}

/// Insists that the caller holds every permission that somebody else's key gives, for as long as it does: who has its secret
/// could do with it what it lets its owner do.
pub(super) async fn require_given(
    work: &mut Work<'_>,
    owner: Principal,
    scope: Scope,
    (expires, allowlist): (Option<Timestamp>, &Allowlist),
) -> Result<(), AppError> {
    let held = store::bindings::authority(&mut work.tx, owner, work.now).await?;
    work.require_all(allowlist.narrowed(held.reaching(scope)), scope, expires)
}

/// The project of the workspace with this name, for calls to be tagged with.
pub(super) async fn find_project(
    work: &mut Work<'_>,
    parent: &Slug,
    name: Option<&ProjectName>,
) -> Result<Option<ProjectId>, AppError> {
    match name {
        Some(name) if name.workspace != *parent => Err(AppError::NotFound(name.to_string())),
        Some(name) => Ok(Some(projects::find_open(work, name).await?.id)),
        None => Ok(None),
    }
}

/// The record of a key for the audit log: all but what is stored of its secrets.
pub(super) fn redacted(key: &Key) -> Value {
    let mut record = serde_json::to_value(key).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.remove("hash");
    }
    if let Some(retiring) = record.pointer_mut("/secrets/retiring").and_then(Value::as_object_mut) {
        retiring.remove("hash");
    }
    record
}

/// Insists that the caller may make such a key: one's own needs less than somebody else's. Gives whose it is.
pub(super) async fn require_create(
    work: &mut Work<'_>,
    workspace: &Workspace,
    asked: &CreateKey,
) -> Result<Principal, AppError> {
    let scope = work.workspace_scope(workspace);
    match find_owner(work, &asked.owner).await {
        Ok(owner) if owner == work.caller().principal => {
            work.require(workspace.policies.keys.creates(), scope)?;
            Ok(owner)
        }
        // The permission first: without it, whether there is such an owner is not the caller's business.
        other => {
            work.require(Permission::KeysWrite, scope)?;
            let owner = other?;
            require_given(work, owner, scope, (asked.expires, &asked.allowlist)).await?;
            Ok(owner)
        }
    }
}

/// Makes a key with this secret, whose owner it is known that it may be.
pub(super) async fn make(
    work: &mut Work<'_>,
    workspace: &Workspace,
    owner: Principal,
    asked: CreateKey,
    (public_id, hash): (PublicId, SecretHash),
) -> Result<Key, AppError> {
    if owner == work.caller().principal {
        require_room(work, owner, &asked).await?;
    }
    key_policies::require_terms(workspace, work.now, (asked.expires, &asked.allowlist))?;
    key_policies::require_room(work, workspace, owner, &asked.owner).await?;
    let project = find_project(work, &workspace.slug, asked.project.as_ref()).await?;
    if asked.expires.is_some_and(|expires| expires <= work.now) {
        return Err(AppError::invalid("key.expire_time", "must be in the future"));
    }
    let key = Key {
        id: work.app().new_id(work.now)?,
        tenant: work.tenant.id,
        workspace: workspace.id,
        owner,
        project,
        public_id,
        hash,
        display_name: asked.display_name,
        state: KeyState::Active,
        expires: asked.expires,
        allowlist: asked.allowlist,
        created: work.now,
        version: 1,
        description: asked.description,
        labels: asked.labels,
        secrets: Secrets { schedule: workspace.policies.keys.schedule(work.now), ..Secrets::default() },
        deleted: None,
    };
    if store::keys::insert(&mut work.tx, &key).await? == Inserted::Exists {
        // Two of 62^12 public ids: the randomness of the system must be broken.
        return Err(AppError::State("the new key's public id is taken: is the system's randomness broken?".to_owned()));
    }
    work.emit(Change::Key(Box::new(key.clone())));
    Ok(key)
}

/// Creates a key.
///
/// # Errors
/// [`AppError`]; so for every function of this module.
pub async fn create(app: Arc<App>, caller: Caller, asked: CreateKey) -> Result<KeyCreated, AppError> {
    let mut work = app.change(&caller, &asked.parent.tenant, &asked.parent).await?;
    let workspace = work.open_workspace(&asked.parent.workspace, &asked.parent).await?;
    let owner = require_create(&mut work, &workspace, &asked).await?;
    let (secret, hash) = key_secrets::draw(&work, &workspace)?;
    if work.is_replay() {
        return key_secrets::shown_again(work, workspace, None, secret).await;
    }
    let key = make(&mut work, &workspace, owner, asked, (secret.public_id, hash)).await?;
    let audit = redacted(&key);
    let record = named(&mut work, &workspace, key).await?;
    let revision = work.commit(Audit::new("keys.create", &record.name, None, Some(&audit))).await?;
    let secret = (!caller.intent.validate_only).then_some(secret);
    Ok(KeyCreated { record, secret, revision })
}

/// Reads a key.
pub async fn get(app: Arc<App>, caller: Caller, asked: GetKey) -> Result<NamedKey, AppError> {
    let mut work = app.read(&caller, &asked.name.tenant, &asked.name).await?;
    let (workspace, key) = find(&mut work, &asked.name).await?;
    work.require(Permission::KeysRead, work.workspace_scope(&workspace))?;
    named(&mut work, &workspace, key).await
}

/// Lists the keys of a workspace, or of every workspace of a tenant.
pub async fn list(app: Arc<App>, caller: Caller, mut asked: ListKeys) -> Result<Listed<NamedKey>, AppError> {
    let mut work = app.read(&caller, asked.parent.tenant(), &asked.parent).await?;
    let (scope, place, known) = match &asked.parent {
        PlaceName::Tenant(_) => (work.scope(), KeysOf::Tenant(work.tenant.id), Vec::new()),
        PlaceName::Workspace(name) => {
            let workspace = work.workspace(&name.workspace, &asked.parent).await?;
            (work.workspace_scope(&workspace), KeysOf::Workspace(workspace.id), vec![workspace])
        }
    };
    work.require(Permission::KeysRead, scope)?;
    resolve(&mut work, &mut asked.listing.terms).await?;
    let paging = Paging::begin(&app, &format!("keys of {place}"), &asked.listing)?;
    let rows = store::keys::list(&mut work.tx, place, &asked.listing, paging.after()).await?;
    let Listed { records, next } = paging.end(rows);
    Ok(Listed { records: name_all(&mut work, scope, known, records).await?, next })
}

/// Keys under their names, of workspaces of which some are known; usage is told to who may see that of the scope.
pub(super) async fn name_all(
    work: &mut Work<'_>,
    scope: Scope,
    mut workspaces: Vec<Workspace>,
    keys: Vec<Key>,
) -> Result<Vec<NamedKey>, AppError> {
    let names = names(work, &keys).await?;
    let ids: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
    let used = OfMonth::read(work, scope, Counted::Keys, &ids).await?;
    let uses = store::last_used::of(&mut work.tx, ids.into_iter()).await?;
    let mut all = Vec::with_capacity(keys.len());
    for key in keys {
        if workspaces.iter().all(|known| known.id != key.workspace) {
            workspaces.extend(store::workspaces::by_id(&mut work.tx, key.workspace).await?);
        }
        let workspace = workspaces.iter().find(|known| known.id == key.workspace);
        let workspace = workspace.ok_or(store::StoreError::Corrupt("workspace of a key".into()))?;
        let named = NamedKey::new(&work.tenant.slug, workspace, &names, &uses, key);
        all.push(NamedKey { used: used.of(named.key.id), ..named });
    }
    Ok(all)
}

/// Finds whom the terms of a filter name.
pub(super) async fn resolve(work: &mut Work<'_>, terms: &mut [Term]) -> Result<(), AppError> {
    for term in terms {
        let Term::Compares(Field { kind: Kind::Name, name: field, .. }, _, Wanted::Text(text)) = term else { continue };
        let unknown = || AppError::invalid("filter", format!("there is no {field} `{text:.128}` in the tenant"));
        let lost = |error| if matches!(error, AppError::NotFound(_)) { unknown() } else { error };
        if *field == "workspace" {
            let name: WorkspaceName = text.parse().map_err(|_| unknown())?;
            work.own(&name.tenant, &name).map_err(lost)?;
            *text = work.workspace(&name.workspace, &name).await.map_err(lost)?.id.to_string();
            continue;
        }
        let name: PrincipalName = text.parse().map_err(|_| unknown())?;
        let (owner, _) = access::find_principal(work, &name).await.map_err(lost)?;
        *text = owner.to_string();
    }
    Ok(())
}

/// Writes a changed key.
pub(super) async fn put(work: &mut Work<'_>, key: Key) -> Result<(), AppError> {
    store::keys::update(&mut work.tx, &key).await?;
    work.emit(Change::Key(Box::new(key)));
    Ok(())
}

/// Whose a key is that works again: its owner's, unless they were removed; then it is of whoever enables it.
async fn owner_again(work: &mut Work<'_>, workspace: &Workspace, key: &Key) -> Result<Principal, AppError> {
    let Principal::User(id) = key.owner else { return Ok(key.owner) };
    if store::users::by_id(&mut work.tx, id).await?.is_some() {
        return Ok(key.owner);
    }
    if work.caller().tenant == work.tenant.id {
        let caller = work.caller().principal;
        key_policies::require_room(work, workspace, caller, &"whoever enables it").await?;
        return Ok(caller);
    }
    Err(AppError::State("its owner was removed: somebody of the tenant must enable it, and owns it then".to_owned()))
}

/// Disables, enables or revokes a key, in a deleted workspace too: a leaked one is revoked wherever it is. Whose key it is
/// may do so with it; nobody brings a revoked one back.
pub async fn set_state(app: Arc<App>, caller: Caller, asked: SetKeyState) -> Result<Changed<NamedKey>, AppError> {
    let mut work = app.change(&caller, &asked.name.tenant, &asked.name).await?;
    let (workspace, before) = find(&mut work, &asked.name).await?;
    let (action, permission) = match asked.state {
        KeyState::Active => ("keys.enable", Permission::KeysWrite),
        KeyState::Disabled => ("keys.disable", Permission::KeysWrite),
        KeyState::Revoked => ("keys.revoke", Permission::KeysRevoke),
    };
    if before.owner != caller.principal {
        work.require(permission, work.workspace_scope(&workspace))?;
    }
    if before.state == asked.state {
        let record = named(&mut work, &workspace, before).await?;
        return Ok(Changed { record, revision: work.unchanged().await? });
    }
    if before.state == KeyState::Revoked {
        return Err(AppError::State(format!("{} is revoked, for good", asked.name)));
    }
    let owner = match asked.state {
        KeyState::Active => owner_again(&mut work, &workspace, &before).await?,
        KeyState::Disabled | KeyState::Revoked => before.owner,
    };
    let after = Key { state: asked.state, version: before.version + 1, owner, ..before.clone() };
    put(&mut work, after.clone()).await?;
    let audit = Audit::new(action, &asked.name, Some(&redacted(&before)), Some(&redacted(&after)));
    let record = named(&mut work, &workspace, after).await?;
    let revision = work.commit(audit.because(asked.reason)).await?;
    Ok(Changed { record, revision })
}
