//! Rows of teams.

use std::collections::HashMap;

use super::{
    Inserted, Result, Tx, dialect,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
};
use crate::domain::{
    id::{TeamKind, TenantId},
    teams::Team,
    time::Timestamp,
};

pub(super) const NOUN: Noun = Noun::plain::<TeamKind>("teams");

type Row = (String, String, String, String, String, i64, i64);

fn team((id, tenant, slug, display_name, description, created, version): Row) -> Result<Team> {
    Ok(Team {
        id: parse(&id, "team id")?,
        tenant: parse(&tenant, "team's tenant")?,
        slug: parse(&slug, "team slug")?,
        display_name,
        description,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Adds a team, unless its slug is taken in the tenant.
///
/// # Errors
/// As [`super::StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, team: &Team) -> Result<Inserted> {
    let rows = execute!(
        tx,
        "INSERT INTO teams (id, tenant_id, slug, display_name, description, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, slug) DO NOTHING",
        team.id.to_string(),
        team.tenant.to_string(),
        team.slug.as_str(),
        &team.display_name,
        &team.description,
        team.created.micros(),
        team.version,
    )?;
    if rows > 0 {
        put_words(tx, team).await?;
    }
    Ok(rows.into())
}

async fn put_words(tx: &mut Tx, team: &Team) -> Result<()> {
    let list = search::list(NOUN.name, team.tenant);
    let texts = [team.slug.as_str(), &team.display_name];
    search::put(tx, &Words { tenant: team.tenant, list, id: team.id.to_string(), texts: &texts }).await
}

/// Writes what of a team can change.
pub async fn update(tx: &mut Tx, team: &Team) -> Result<()> {
    execute!(
        tx,
        "UPDATE teams SET display_name = $2, description = $3, version = $4 WHERE id = $1",
        team.id.to_string(),
        &team.display_name,
        &team.description,
        team.version,
    )?;
    put_words(tx, team).await
}

/// Removes a team, and takes its members out of it, however many there are; nothing else may refer to it.
pub async fn delete(tx: &mut Tx, team: &Team) -> Result<()> {
    let id = team.id.to_string();
    // Out of a list of ids in quotes: between two of them, at the end, or alone.
    execute!(
        tx,
        "UPDATE users SET version = version + 1, teams =
             REPLACE(REPLACE(REPLACE(teams, '\"' || $1 || '\",', ''), ',\"' || $1 || '\"', ''), '\"' || $1 || '\"', '')
         WHERE id IN (SELECT user_id FROM team_members WHERE team_id = $1)",
        &id
    )?;
    execute!(tx, "DELETE FROM team_members WHERE team_id = $1", &id)?;
    execute!(tx, "DELETE FROM teams WHERE id = $1", &id)?;
    search::drop(tx, team.tenant, &id).await
}

/// How many users are in each of these teams, by the team's id; nothing for none.
pub async fn member_counts(tx: &mut Tx, teams: Vec<String>) -> Result<HashMap<String, i64>> {
    let (statement, list) = (dialect::MEMBER_COUNTS.text(tx), serde_json::Value::from(teams).to_string());
    Ok(fetch_all!(tx, (String, i64), statement, list)?.into_iter().collect())
}

/// The team with this slug in the tenant.
pub async fn by_slug(tx: &mut Tx, tenant: TenantId, slug: &str) -> Result<Option<Team>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, description, created, version FROM teams
         WHERE tenant_id = $1 AND slug = $2",
        tenant.to_string(),
        slug
    )?;
    row.map(team).transpose()
}

/// A page of the teams of a tenant.
pub async fn list(tx: &mut Tx, tenant: TenantId, listing: &Listing, after: Option<&Position>) -> Result<Vec<Team>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List {
        noun: &NOUN,
        select: "SELECT id, tenant_id, slug, display_name, description, created, version FROM teams WHERE TRUE",
        within,
        among: None,
        listing,
        after,
    };
    list.fetch::<Row>(tx).await?.into_iter().map(team).collect()
}

/// Every team after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Team>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, slug, display_name, description, created, version FROM teams
         WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(team).collect()
}
