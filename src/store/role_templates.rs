//! Rows of role templates, and of the key policies that they gave.

use serde::{Serialize, de::DeserializeOwned};

use super::{Inserted, Result, StoreError, Tx, parse};
use crate::domain::{
    bindings::Principal,
    id::{RoleTemplateId, TenantId},
    key_policies::KeyPolicy,
    role_templates::RoleTemplate,
    time::Timestamp,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, slug, display_name, description, role, budget, key_policy, created, version
             FROM role_templates ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, String, String, String, i64, i64);

fn template(row: Row) -> Result<RoleTemplate> {
    let (id, tenant, slug, display_name, description, role, budget, key_policy, created, version) = row;
    Ok(RoleTemplate {
        id: parse(&id, "role template id")?,
        tenant: parse(&tenant, "role template's tenant")?,
        slug: parse(&slug, "role template slug")?,
        display_name,
        description,
        role: parse(&role, "role of a template")?,
        budget: optional(&budget)?,
        key_policy: optional(&key_policy)?,
        created: Timestamp::from_micros(created),
        version,
    })
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("part of a role template".into())
}

/// A value from JSON; none from an empty text.
fn optional<T: DeserializeOwned>(text: &str) -> Result<Option<T>> {
    if text.is_empty() { Ok(None) } else { serde_json::from_str(text).map(Some).map_err(|_| corrupt()) }
}

fn text<T: Serialize>(value: Option<&T>) -> Result<String> {
    value.map_or(Ok(String::new()), |value| serde_json::to_string(value).map_err(|_| corrupt()))
}

/// Adds a role template, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, template: &RoleTemplate) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO role_templates (id, tenant_id, slug, display_name, description, role, budget, key_policy, created,
             version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant_id, slug) DO NOTHING",
        template.id.to_string(),
        template.tenant.to_string(),
        template.slug.as_str(),
        &template.display_name,
        &template.description,
        template.role.to_string(),
        text(template.budget.as_ref())?,
        text(template.key_policy.as_ref())?,
        template.created.micros(),
        template.version,
    )?;
    Ok(rows.into())
}

/// Writes what can change of a role template.
pub async fn update(tx: &mut Tx, template: &RoleTemplate) -> Result<()> {
    execute!(
        tx,
        "UPDATE role_templates SET display_name = $2, description = $3, role = $4, budget = $5, key_policy = $6,
             version = $7 WHERE id = $1",
        template.id.to_string(),
        &template.display_name,
        &template.description,
        template.role.to_string(),
        text(template.budget.as_ref())?,
        text(template.key_policy.as_ref())?,
        template.version,
    )?;
    Ok(())
}

/// Removes a role template.
pub async fn delete(tx: &mut Tx, id: RoleTemplateId) -> Result<()> {
    execute!(tx, "DELETE FROM role_templates WHERE id = $1", id.to_string())?;
    Ok(())
}

/// The role template with this slug in the tenant.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<RoleTemplate>> {
    let row = fetch_optional!(tx, Row, select!("WHERE tenant_id = $1 AND slug = $2"), tenant.to_string(), slug)?;
    row.map(template).transpose()
}

/// The role templates of a tenant, oldest first: never more than [`crate::domain::role_templates::MAX_PER_TENANT`].
pub async fn of_tenant(tx: &mut Tx, tenant: TenantId) -> Result<Vec<RoleTemplate>> {
    let rows = fetch_all!(tx, Row, select!("WHERE tenant_id = $1 ORDER BY id"), tenant.to_string())?;
    rows.into_iter().map(template).collect()
}

/// What somebody may do about keys of their own; `None`: anything that their roles allow.
pub async fn key_policy(tx: &mut Tx, principal: Principal) -> Result<Option<KeyPolicy>> {
    let sql = "SELECT policy FROM key_policies WHERE principal = $1";
    let row = fetch_optional!(tx, (String,), sql, principal.to_string())?;
    row.map_or(Ok(None), |(policy,)| optional(&policy))
}

/// Sets what somebody may do about keys of their own.
pub async fn set_key_policy(tx: &mut Tx, tenant: TenantId, principal: Principal, policy: &KeyPolicy) -> Result<()> {
    execute!(
        tx,
        "INSERT INTO key_policies (principal, tenant_id, policy) VALUES ($1, $2, $3)
         ON CONFLICT (principal) DO UPDATE SET policy = excluded.policy",
        principal.to_string(),
        tenant.to_string(),
        text(Some(policy))?,
    )?;
    Ok(())
}
