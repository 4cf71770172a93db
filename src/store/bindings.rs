//! Rows of bindings.

use std::collections::HashMap;

use super::{
    Inserted, Result, StoreError, Tx, dialect,
    listing::{List, Listing, Noun, Position},
    parse, roles,
};
use crate::domain::{
    bindings::{Authority, Binding, Held, Member, Principal, Scope},
    id::{BindingId, BindingKind, TenantId},
    roles::{CustomRole, RoleRef},
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun::plain::<BindingKind>("bindings");

type Row = (String, String, String, String, Option<String>, Option<String>, Option<String>, i64, Option<i64>);

fn binding(row: Row) -> Result<Binding> {
    let (id, tenant, role, member, scope_tenant, scope_workspace, scope_project, created, expires) = row;
    Ok(Binding {
        id: parse(&id, "binding id")?,
        tenant: parse(&tenant, "binding's tenant")?,
        role: parse(&role, "role")?,
        member: member_of(&member)?,
        scope: scope_of(scope_tenant.as_deref(), scope_workspace.as_deref(), scope_project.as_deref())?,
        created: Timestamp::from_micros(created),
        expires: expires.map(Timestamp::from_micros),
    })
}

fn member_of(text: &str) -> Result<Member> {
    match text.split_once('_').map(|(prefix, _)| prefix) {
        Some("user") => Ok(Member::User(parse(text, "member")?)),
        Some("team") => Ok(Member::Team(parse(text, "member")?)),
        Some("sa") => Ok(Member::ServiceAccount(parse(text, "member")?)),
        _ => Err(StoreError::Corrupt("member".into())),
    }
}

/// The person or program that a member is; none when it is a team.
pub(super) fn principal_of(text: &str) -> Result<Option<Principal>> {
    Ok(match member_of(text)? {
        Member::User(id) => Some(Principal::User(id)),
        Member::ServiceAccount(id) => Some(Principal::ServiceAccount(id)),
        Member::Team(_) => None,
    })
}

fn scope_of(tenant: Option<&str>, workspace: Option<&str>, project: Option<&str>) -> Result<Scope> {
    let what = "scope of a binding";
    Ok(match (tenant, workspace, project) {
        (None, None, None) => Scope::Platform,
        (Some(t), None, None) => Scope::Tenant(parse(t, what)?),
        (Some(t), Some(w), None) => Scope::Workspace(parse(t, what)?, parse(w, what)?),
        (Some(t), Some(w), Some(p)) => Scope::Project(parse(t, what)?, parse(w, what)?, parse(p, what)?),
        _ => return Err(StoreError::Corrupt(what.into())),
    })
}

fn scope_texts(scope: Scope) -> (Option<String>, Option<String>, Option<String>) {
    match scope {
        Scope::Platform => (None, None, None),
        Scope::Tenant(t) => (Some(t.to_string()), None, None),
        Scope::Workspace(t, w) => (Some(t.to_string()), Some(w.to_string()), None),
        Scope::Project(t, w, p) => (Some(t.to_string()), Some(w.to_string()), Some(p.to_string())),
    }
}

/// Adds a binding, unless the same role is bound to the same member on the same scope.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, binding: &Binding) -> Result<Inserted> {
    let (scope_tenant, scope_workspace, scope_project) = scope_texts(binding.scope);
    let rows = execute!(
        tx,
        "INSERT INTO bindings (id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        binding.id.to_string(),
        binding.tenant.to_string(),
        binding.role.to_string(),
        binding.member.to_string(),
        scope_tenant,
        scope_workspace,
        scope_project,
        binding.created.micros(),
        binding.expires.map(Timestamp::micros),
    )?;
    Ok(rows.into())
}

/// Removes a binding.
pub async fn delete(tx: &mut Tx, id: BindingId) -> Result<()> {
    execute!(tx, "DELETE FROM bindings WHERE id = $1", id.to_string())?;
    Ok(())
}

/// The binding with this id.
pub async fn by_id(tx: &mut Tx, id: BindingId) -> Result<Option<Binding>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings
         WHERE id = $1",
        id.to_string()
    )?;
    row.map(binding).transpose()
}

/// The binding that gives this role to this member on this scope.
pub async fn same(tx: &mut Tx, wanted: &Binding) -> Result<Option<Binding>> {
    let (scope_tenant, scope_workspace, scope_project) = scope_texts(wanted.scope);
    let narrowest = scope_project.or(scope_workspace).or(scope_tenant).unwrap_or_default();
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings
         WHERE member = $1 AND role = $2 AND COALESCE(scope_project, scope_workspace, scope_tenant, '') = $3",
        wanted.member.to_string(),
        wanted.role.to_string(),
        narrowest
    )?;
    row.map(binding).transpose()
}

/// A page of the bindings of a tenant's members.
pub async fn list(tx: &mut Tx, tenant: TenantId, listing: &Listing, after: Option<&Position>) -> Result<Vec<Binding>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List { noun: &NOUN, select: "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created, expires FROM bindings
            WHERE TRUE", within, among: None, listing, after };
    list.fetch::<Row>(tx).await?.into_iter().map(binding).collect()
}

/// Every binding after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Binding>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings
         WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(binding).collect()
}

/// The bindings of somebody and of their teams that have not ended, by id, and what each gives.
pub async fn held(tx: &mut Tx, principal: Principal, now: Timestamp) -> Result<Vec<Held>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings
         WHERE member IN (SELECT CAST($1 AS TEXT) UNION ALL SELECT team_id FROM team_members WHERE user_id = $1)
           AND (expires IS NULL OR expires > $2) ORDER BY id",
        principal.to_string(),
        now.micros()
    )?;
    giving(tx, rows).await
}

/// The bindings of a member itself, by id, those that have ended among them, and what each gives.
pub async fn of_member(tx: &mut Tx, member: Member) -> Result<Vec<Held>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings WHERE member = $1 ORDER BY id",
        member.to_string()
    )?;
    giving(tx, rows).await
}

/// The roles that members are bound to on the whole of a tenant by themselves, by the member's id.
pub async fn roles_on_tenant(
    tx: &mut Tx,
    tenant: TenantId,
    members: Vec<String>,
    now: Timestamp,
) -> Result<HashMap<String, Vec<RoleRef>>> {
    let mut roles: HashMap<String, Vec<RoleRef>> = HashMap::new();
    let (statement, list) = (dialect::ROLES_ON_TENANT.text(tx), serde_json::Value::from(members).to_string());
    for (member, role) in fetch_all!(tx, (String, String), statement, list, tenant.to_string(), now.micros())? {
        roles.entry(member).or_default().push(parse(&role, "role")?);
    }
    Ok(roles)
}

/// What each binding gives. Somebody holds few roles of a tenant's own.
async fn giving(tx: &mut Tx, rows: Vec<Row>) -> Result<Vec<Held>> {
    let mut all: Vec<Held> = Vec::with_capacity(rows.len());
    for row in rows {
        let binding = binding(row)?;
        let known = all.iter().find(|held| held.binding.role == binding.role).map(|held| held.permissions);
        let permissions = match known {
            Some(permissions) => permissions,
            None => roles::permissions(tx, binding.role).await?,
        };
        all.push(Held { binding, permissions });
    }
    Ok(all)
}

/// Everything that somebody may do: their own bindings and those of their teams.
pub async fn authority(tx: &mut Tx, principal: Principal, now: Timestamp) -> Result<Authority> {
    let held = held(tx, principal, now).await?;
    Ok(Authority::new(held.iter().map(|held| (held.binding.scope, held.permissions, held.binding.expires)).collect()))
}

/// Every binding of a tenant's own role, those that have ended among them. Only the tenant's members are bound to it.
pub async fn of_custom_role(tx: &mut Tx, role: &CustomRole) -> Result<Vec<Binding>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings WHERE tenant_id = $1 AND role = $2 ORDER BY id",
        role.tenant.to_string(),
        role.id.to_string()
    )?;
    rows.into_iter().map(binding).collect()
}

/// The bindings for good of one role in a tenant, on the whole of it or below, oldest first, at most `limit`.
pub async fn of_role(tx: &mut Tx, tenant: TenantId, role: RoleRef, limit: i64) -> Result<Vec<Binding>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, role, member, scope_tenant, scope_workspace, scope_project, created,
             expires FROM bindings
         WHERE tenant_id = $1 AND role = $2 AND scope_tenant = $1 AND expires IS NULL ORDER BY id LIMIT $3",
        tenant.to_string(),
        role.to_string(),
        limit
    )?;
    rows.into_iter().map(binding).collect()
}

/// Whether somebody may act at all: they are active, and so is their tenant.
pub async fn is_active(tx: &mut Tx, principal: Principal) -> Result<bool> {
    let row = match principal {
        Principal::User(id) => fetch_optional!(
            tx,
            (String,),
            "SELECT users.id FROM users JOIN tenants ON tenants.id = users.tenant_id
             WHERE users.id = $1 AND users.state = 'active' AND tenants.state = 'active' AND tenants.deleted IS NULL",
            id.to_string()
        )?,
        Principal::ServiceAccount(id) => fetch_optional!(
            tx,
            (String,),
            "SELECT service_accounts.id FROM service_accounts JOIN tenants ON tenants.id = service_accounts.tenant_id
             WHERE service_accounts.id = $1 AND service_accounts.state = 'active' AND service_accounts.deleted IS NULL
               AND tenants.state = 'active' AND tenants.deleted IS NULL",
            id.to_string()
        )?,
    };
    Ok(row.is_some())
}

/// The active users who own the tenant for good, by a binding of their own: at most two of them, which is enough to know whether
/// somebody is the last.
pub async fn owners(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Principal>> {
    let rows = fetch_all!(
        tx,
        (String,),
        "SELECT bindings.member FROM bindings JOIN users ON users.id = bindings.member
         WHERE bindings.tenant_id = $1 AND bindings.scope_tenant = $1 AND bindings.scope_workspace IS NULL
           AND bindings.role = 'owner' AND bindings.expires IS NULL AND users.state = 'active' LIMIT 2",
        tenant.to_string()
    )?;
    rows.into_iter().map(|(member,)| Ok(Principal::User(parse(&member, "owner")?))).collect()
}

/// The active users and service accounts who run the platform by a binding of their own: at most two of each. Only members of
/// the system tenant can.
pub async fn operators(tx: &mut Tx, system: TenantId) -> Result<Vec<Principal>> {
    let users = fetch_all!(
        tx,
        (String,),
        "SELECT bindings.member FROM bindings JOIN users ON users.id = bindings.member
         WHERE bindings.tenant_id = $1 AND bindings.scope_tenant IS NULL AND bindings.role = 'operator' AND bindings.expires IS NULL
           AND users.state = 'active' LIMIT 2",
        system.to_string()
    )?;
    let accounts = fetch_all!(
        tx,
        (String,),
        "SELECT bindings.member FROM bindings JOIN service_accounts ON service_accounts.id = bindings.member
         WHERE bindings.tenant_id = $1 AND bindings.scope_tenant IS NULL AND bindings.role = 'operator' AND bindings.expires IS NULL
           AND service_accounts.state = 'active' AND service_accounts.deleted IS NULL LIMIT 2",
        system.to_string()
    )?;
    let user = |(id,): (String,)| Ok(Principal::User(parse(&id, "operator")?));
    let account = |(id,): (String,)| Ok(Principal::ServiceAccount(parse(&id, "operator")?));
    users.into_iter().map(user).chain(accounts.into_iter().map(account)).collect()
}
