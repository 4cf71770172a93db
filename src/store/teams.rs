//! Rows of teams.

use super::{
    Inserted, Result, Tx,
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
    fetch_listed!(tx, Row, list)?.into_iter().map(team).collect()
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
