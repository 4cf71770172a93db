//! Rows of users, and who is in which team.

use sqlx::{ColumnIndex, Decode, FromRow, Type};

use super::{
    Inserted, Result, StoreError, Tx, former_users,
    listing::{LAST_USE, List, Listing, Noun, Position},
    parse,
    search::{self, Words},
    text_of, value_of,
};
use crate::domain::{
    id::{TeamId, TenantId, UserId, UserKind, WorkspaceId},
    listing::Sorted,
    time::Timestamp,
    users::{FormerUser, User, fold_email},
};

pub(super) const NOUN: Noun = Noun::plain::<UserKind>("users");

macro_rules! select {
    ($rest:literal) => {
        select!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT id, tenant_id, email, display_name, state, teams, created, joined, version",
            $more,
            " FROM ",
            $rest
        )
    };
}

type Row = (String, String, String, String, String, String, i64, Option<i64>, i64);

fn user((id, tenant, email, display_name, state, teams, created, joined, version): Row) -> Result<User> {
    Ok(User {
        id: parse(&id, "user id")?,
        tenant: parse(&tenant, "user's tenant")?,
        email,
        display_name,
        state: value_of(state, "user state")?,
        teams: serde_json::from_str(&teams).map_err(|_| StoreError::Corrupt("list of a user's teams".into()))?,
        created: Timestamp::from_micros(created),
        joined: joined.map(Timestamp::from_micros),
        version,
    })
}

/// Adds a user and their place in their teams, unless the address is taken in the tenant.
///
/// # Errors
/// As [`StoreError`] says; so for every function of this module.
pub async fn insert(tx: &mut Tx, user: &User) -> Result<Inserted> {
    let teams = teams_text(user)?;
    let rows = execute!(
        tx,
        "INSERT INTO users (id, tenant_id, email, email_folded, display_name, state, teams, created, joined, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant_id, email_folded) DO NOTHING",
        user.id.to_string(),
        user.tenant.to_string(),
        &user.email,
        fold_email(&user.email),
        &user.display_name,
        text_of(&user.state),
        teams,
        user.created.micros(),
        user.joined.map(Timestamp::micros),
        user.version,
    )?;
    if rows == 0 {
        return Ok(Inserted::Exists);
    }
    // Never used: the row is there for the lists that go by it.
    let unused = "INSERT INTO last_used (id, tenant_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    execute!(tx, unused, user.id.to_string(), user.tenant.to_string())?;
    put_into(tx, user, &user.teams).await?;
    put_words(tx, user).await?;
    Ok(Inserted::New)
}

fn teams_text(user: &User) -> Result<String> {
    serde_json::to_string(&user.teams).map_err(|_| StoreError::Corrupt("list of a user's teams".into()))
}

async fn put_into(tx: &mut Tx, user: &User, teams: &[TeamId]) -> Result<()> {
    for team in teams {
        execute!(
            tx,
            "INSERT INTO team_members (team_id, user_id, tenant_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            team.to_string(),
            user.id.to_string(),
            user.tenant.to_string()
        )?;
    }
    Ok(())
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

/// Writes which teams a user is in, and their name for people, instead of what there was before.
pub async fn move_to_teams(tx: &mut Tx, before: &User, after: &User) -> Result<()> {
    for left in before.teams.iter().filter(|team| !after.teams.contains(team)) {
        let sql = "DELETE FROM team_members WHERE team_id = $1 AND user_id = $2";
        execute!(tx, sql, left.to_string(), after.id.to_string())?;
    }
    let joined: Vec<TeamId> = after.teams.iter().filter(|team| !before.teams.contains(team)).copied().collect();
    put_into(tx, after, &joined).await?;
    let sql = "UPDATE users SET teams = $2, display_name = $3, version = $4 WHERE id = $1";
    execute!(tx, sql, after.id.to_string(), teams_text(after)?, &after.display_name, after.version)?;
    if after.display_name == before.display_name { Ok(()) } else { put_words(tx, after).await }
}

/// Removes a user; whatever refers to them must have an end first, but for their keys.
pub async fn delete(tx: &mut Tx, user: &User, now: Timestamp) -> Result<()> {
    let id = user.id.to_string();
    // Before the row goes: on PostgreSQL the rows of what somebody asked for lie behind either.
    former_users::insert(tx, &FormerUser { id: user.id, tenant: user.tenant, removed: now }).await?;
    for statement in [
        "DELETE FROM team_members WHERE user_id = $1",
        "DELETE FROM key_policies WHERE principal = $1",
        "DELETE FROM last_used WHERE id = $1",
        "DELETE FROM external_identities WHERE user_id = $1",
        "DELETE FROM sessions WHERE user_id = $1",
        "DELETE FROM passwords WHERE user_id = $1",
        "DELETE FROM users WHERE id = $1",
    ] {
        execute!(tx, statement, &id)?;
    }
    search::drop(tx, user.tenant, &id).await
}

/// The user with this id.
pub async fn by_id(tx: &mut Tx, id: UserId) -> Result<Option<User>> {
    let row = fetch_optional!(tx, Row, select!("users WHERE id = $1"), id.to_string())?;
    row.map(user).transpose()
}

/// The user of a tenant with this address, in any case.
pub async fn by_email(tx: &mut Tx, tenant: TenantId, email: &str) -> Result<Option<User>> {
    let row = fetch_optional!(
        tx,
        Row,
        select!("users WHERE tenant_id = $1 AND email_folded = $2"),
        tenant.to_string(),
        fold_email(email)
    )?;
    row.map(user).transpose()
}

/// The addresses of the active users who own or administer a tenant, by themselves or in a team, at most `limit`.
pub async fn in_charge(tx: &mut Tx, tenant: TenantId, now: Timestamp, limit: i64) -> Result<Vec<String>> {
    in_charge_of(tx, tenant, None, now, limit).await
}

/// The same of a workspace, or of the whole tenant.
pub async fn in_charge_of(
    tx: &mut Tx,
    tenant: TenantId,
    workspace: Option<WorkspaceId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<String>> {
    holding(tx, tenant, (workspace, false), now, limit).await
}

/// As [`in_charge_of`], and those who pay for it.
pub async fn concerned_by_budgets(
    tx: &mut Tx,
    tenant: TenantId,
    workspace: Option<WorkspaceId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<String>> {
    holding(tx, tenant, (workspace, true), now, limit).await
}

async fn holding(
    tx: &mut Tx,
    tenant: TenantId,
    (workspace, billing): (Option<WorkspaceId>, bool),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<String>> {
    let rows = fetch_all!(
        tx,
        (String,),
        "WITH holders AS (
             SELECT member FROM bindings
             WHERE tenant_id = $1 AND scope_tenant = $1 AND COALESCE(scope_workspace, '') = $4
               AND scope_project IS NULL AND (role IN ('owner', 'admin') OR (role = 'billing_manager' AND $5)) AND (expires IS NULL OR expires > $2)
         )
         SELECT email FROM users
         WHERE tenant_id = $1 AND state = 'active' AND id IN (
             SELECT member FROM holders
             UNION SELECT team_members.user_id FROM team_members JOIN holders ON holders.member = team_members.team_id
         )
         ORDER BY id LIMIT $3",
        tenant.to_string(),
        now.micros(),
        limit,
        workspace.map(|id| id.to_string()).unwrap_or_default(),
        billing
    )?;
    Ok(rows.into_iter().map(|(email,)| email).collect())
}

/// A user in a list.
pub struct ListedUser {
    /// The user.
    pub user: User,
    /// When they were last used, in microseconds, where that gives the order; zero for never.
    last_use: i64,
}

impl Sorted for ListedUser {
    fn id(&self) -> String {
        self.user.id()
    }

    fn key(&self, field: &str) -> String {
        if field == LAST_USE { self.last_use.to_string() } else { self.user.key(field) }
    }
}

/// A page of the users of a tenant.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    listing: &Listing,
    after: Option<&Position>,
) -> Result<Vec<ListedUser>> {
    if listing.order.field != LAST_USE {
        let within = Some(("tenant_id", tenant.to_string()));
        let list = List { noun: &NOUN, select: select!("users WHERE TRUE"), within, among: None, listing, after };
        let listed = |row| Ok(ListedUser { user: user(row)?, last_use: 0 });
        return list.fetch::<Row>(tx).await?.into_iter().map(listed).collect();
    }
    // In the order of other rows, of which each user has one.
    let select = select!(
        ", last_use",
        "(SELECT id AS used_id, tenant_id AS used_tenant, COALESCE(used, 0) AS last_use FROM last_used
             WHERE id >= 'user_' AND id < 'user`') AS uses
         JOIN users ON users.id = used_id WHERE TRUE"
    );
    let list =
        List { noun: &NOUN, select, within: Some(("used_tenant", tenant.to_string())), among: None, listing, after };
    let rows = list.fetch::<UsedRow>(tx).await?;
    rows.into_iter().map(|UsedRow(row, last_use)| Ok(ListedUser { user: user(row)?, last_use })).collect()
}

/// A row of a user, and when they were last used.
struct UsedRow(Row, i64);

impl<'r, D: sqlx::Row> FromRow<'r, D> for UsedRow
where
    Row: FromRow<'r, D>,
    for<'c> &'c str: ColumnIndex<D>,
    i64: Decode<'r, D::Database> + Type<D::Database>,
{
    fn from_row(row: &'r D) -> sqlx::Result<Self> {
        Ok(Self(Row::from_row(row)?, row.try_get("last_use")?))
    }
}

/// Every user after the id `after`, by id, at most `limit`.
pub async fn chunk(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<User>> {
    let rows = fetch_all!(tx, Row, select!("users WHERE id > $1 ORDER BY id LIMIT $2"), after, limit)?;
    rows.into_iter().map(user).collect()
}
