//! The second wall between tenants: row-level security of `PostgreSQL`. What it says stands in the migration `walls`.

use sqlx::PgConnection;

use super::OpenError;

/// The role that a user above row-level security takes while it works in a tenant. Roles are of the whole cluster, so it
/// is the same for all databases of it; it cannot log in.
const ROLE: &str = "tollreeve_tenant";

/// Makes the role, unless there is one: another database of the cluster may be making it at this moment.
const MAKE_ROLE: &str = "DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'tollreeve_tenant') THEN
        CREATE ROLE tollreeve_tenant NOLOGIN NOSUPERUSER NOBYPASSRLS;
    END IF;
    IF NOT pg_has_role(current_user, 'tollreeve_tenant', 'MEMBER') THEN
        GRANT tollreeve_tenant TO CURRENT_USER;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$";

/// Lets the role use what stands behind the wall, and nothing else.
const GRANT: &str = "DO $$ DECLARE walled TEXT; BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollreeve_tenant', current_schema());
    FOR walled IN
        SELECT relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relrowsecurity AND relforcerowsecurity
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tollreeve_tenant', walled);
    END LOOP;
    -- What is on record stays: see the migration `audit_tree`.
    REVOKE UPDATE, DELETE ON audit_events, audit_nodes, audit_checkpoints FROM tollreeve_tenant;
    GRANT UPDATE (before, after, source, user_agent, reason, seals, hash) ON audit_events TO tollreeve_tenant;
END $$";

/// How transactions that work in a tenant are kept in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wall {
    /// The user is bound by row-level security itself.
    Bound,
    /// The user is above it, and takes the role.
    ByRole,
    /// The user is above it, and cannot take the role: why not.
    Off(String),
}

impl Wall {
    /// The role that a transaction takes when it begins to work in a tenant.
    pub(super) const fn role(&self) -> &'static str {
        match self {
            Self::ByRole => ROLE,
            Self::Bound | Self::Off(_) => "none",
        }
    }
}

/// Raises the wall before tables that migrations have made, and finds out how the user is kept behind it.
///
/// # Errors
/// [`OpenError::Unavailable`].
///
/// Whoever is not `alone` with the database finds it raised: two who grant rights at once get in each other's way.
pub(super) async fn raise(connection: &mut PgConnection, alone: bool) -> Result<Wall, OpenError> {
    if alone {
        sqlx::query("SELECT tollreeve_raise_walls()").execute(&mut *connection).await?;
    }
    let (above,): (bool,) =
        sqlx::query_as("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&mut *connection)
            .await?;
    if !above {
        return Ok(Wall::Bound);
    }
    for statement in [MAKE_ROLE, GRANT].into_iter().filter(|_| alone) {
        match sqlx::raw_sql(statement).execute(&mut *connection).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(refused)) => return Ok(Wall::Off(refused.message().to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
    // Whoever made it may have given it more than it is made with here, and not to us.
    let (above, ours): (bool, bool) = sqlx::query_as(
        "SELECT rolsuper OR rolbypassrls, pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles
         WHERE rolname = 'tollreeve_tenant'",
    )
    .fetch_one(connection)
    .await?;
    Ok(match (above, ours) {
        (false, true) => Wall::ByRole,
        (true, _) => Wall::Off(format!("the role {ROLE} is above row-level security itself")),
        (false, false) => Wall::Off(format!("{ROLE} is not a role of this user's")),
    })
}
