//! Rows of users, and who is in which team.

use super::{
    Inserted, Result, StoreError, Tx,
    listing::{List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    id::{TenantId, UserId, UserKind},
    time::Timestamp,
    users::{User, fold_email},
};

pub(super) const NOUN: Noun = Noun::plain::<UserKind>("users");

type Row = (String, String, String, String, String, String, i64, i64);

fn user((id, tenant, email, display_name, state, teams, created, version): Row) -> Result<User> {
    Ok(User {
        id: parse(&id, "user id")?,
        tenant: parse(&tenant, "user's tenant")?,
        email,
        display_name,
        state: value_of(state, "user state")?,
        teams: serde_json::from_str(&teams).map_err(|_| StoreError::Corrupt("list of a user's teams".into()))?,
        created: Timestamp::from_micros(created),
        version,
    })
}

/// Adds a user and their place in their teams, unless the address is taken in the tenant.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, user: &User) -> Result<Inserted> {
    let teams = serde_json::to_string(&user.teams).map_err(|_| StoreError::Corrupt("list of a user's teams".into()))?;
    let rows = execute!(
        tx,
        "INSERT INTO users (id, tenant_id, email, email_folded, display_name, state, teams, created, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, email_folded) DO NOTHING",
        user.id.to_string(),
        user.tenant.to_string(),
        &user.email,
        fold_email(&user.email),
        &user.display_name,
        text_of(&user.state),
        teams,
        user.created.micros(),
        user.version,
    )?;
    if rows == 0 {
        return Ok(Inserted::Exists);
    }
    for team in &user.teams {
        execute!(
            tx,
            "INSERT INTO team_members (team_id, user_id) VALUES ($1, $2)",
            team.to_string(),
            user.id.to_string()
        )?;
    }
    put_words(tx, user).await?;
    Ok(Inserted::New)
}

async fn put_words(tx: &mut Tx, user: &User) -> Result<()> {
    let list = search::list(NOUN.name, user.tenant);
    let texts = [user.email.as_str(), &user.display_name];
    search::put(tx, &Words { tenant: user.tenant, list, id: user.id.to_string(), texts: &texts }).await
}

/// Writes where a user stands.
pub async fn update(tx: &mut Tx, user: &User) -> Result<()> {
    execute!(
        tx,
        "UPDATE users SET display_name = $2, state = $3, version = $4 WHERE id = $1",
        user.id.to_string(),
        &user.display_name,
        text_of(&user.state),
        user.version,
    )?;
    put_words(tx, user).await
}

/// The user with this id.
pub async fn by_id(tx: &mut Tx, id: UserId) -> Result<Option<User>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, email, display_name, state, teams, created, version FROM users WHERE id = $1",
        id.to_string()
    )?;
    row.map(user).transpose()
}

/// The tenant's user with this address, in any case.
pub async fn by_email(tx: &mut Tx, tenant: TenantId, email: &str) -> Result<Option<User>> {
    let row = fetch_optional!(
        tx,
        Row,
        "SELECT id, tenant_id, email, display_name, state, teams, created, version FROM users
         WHERE tenant_id = $1 AND email_folded = $2",
        tenant.to_string(),
        fold_email(email)
    )?;
    row.map(user).transpose()
}

/// A page of the users of a tenant.
pub async fn list(tx: &mut Tx, tenant: TenantId, listing: &Listing, after: Option<&Position>) -> Result<Vec<User>> {
    let within = Some(("tenant_id", tenant.to_string()));
    let list = List {
        noun: &NOUN,
        select: "SELECT id, tenant_id, email, display_name, state, teams, created, version FROM users WHERE TRUE",
        within,
        among: None,
        listing,
        after,
    };
    fetch_listed!(tx, Row, list)?.into_iter().map(user).collect()
}

/// Every user after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<User>> {
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT id, tenant_id, email, display_name, state, teams, created, version FROM users
         WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )?;
    rows.into_iter().map(user).collect()
}
