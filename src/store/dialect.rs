//! What the two databases cannot share: each statement in both forms, side by side.

use super::Tx;

/// One statement in the words of either database. Same placeholders, same columns.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Statement {
    /// The text for the database of `tx`.
    #[must_use]
    pub const fn text(self, tx: &Tx) -> &'static str {
        match tx {
            Tx::Sqlite(_) => self.sqlite,
            Tx::Postgres(_) => self.postgres,
        }
    }
}

/// The joins that turn ids into resource names; `asked` is the list of ids.
macro_rules! names_of {
    ($asked:literal) => {
        concat!(
            "WITH asked (id) AS (SELECT value FROM ",
            $asked,
            ")
             SELECT tenants.id, 'tenants/' || tenants.slug FROM asked JOIN tenants ON tenants.id = asked.id
             UNION ALL
             SELECT workspaces.id, 'tenants/' || tenants.slug || '/workspaces/' || workspaces.slug
             FROM asked JOIN workspaces ON workspaces.id = asked.id JOIN tenants ON tenants.id = workspaces.tenant_id
             UNION ALL
             SELECT projects.id,
                 'tenants/' || tenants.slug || '/workspaces/' || workspaces.slug || '/projects/' || projects.slug
             FROM asked JOIN projects ON projects.id = asked.id
                 JOIN workspaces ON workspaces.id = projects.workspace_id
                 JOIN tenants ON tenants.id = projects.tenant_id
             UNION ALL
             SELECT teams.id, 'tenants/' || tenants.slug || '/teams/' || teams.slug
             FROM asked JOIN teams ON teams.id = asked.id JOIN tenants ON tenants.id = teams.tenant_id
             UNION ALL
             SELECT users.id, 'tenants/' || tenants.slug || '/users/' || users.id
             FROM asked JOIN users ON users.id = asked.id JOIN tenants ON tenants.id = users.tenant_id
             UNION ALL
             SELECT service_accounts.id, 'tenants/' || tenants.slug || '/serviceAccounts/' || service_accounts.slug
             FROM asked JOIN service_accounts ON service_accounts.id = asked.id
                 JOIN tenants ON tenants.id = service_accounts.tenant_id
             UNION ALL
             SELECT api_keys.id,
                 'tenants/' || tenants.slug || '/workspaces/' || workspaces.slug || '/keys/' || api_keys.id
             FROM asked JOIN api_keys ON api_keys.id = asked.id
                 JOIN workspaces ON workspaces.id = api_keys.workspace_id
                 JOIN tenants ON tenants.id = api_keys.tenant_id"
        )
    };
}

/// Id and resource name of each of the records whose ids are in the JSON array `$1`.
pub const NAMES: Statement = Statement {
    sqlite: names_of!("json_each($1)"),
    postgres: names_of!("jsonb_array_elements_text(CAST($1 AS JSONB)) AS ids (value)"),
};

/// The keys after the id `$1`, by id, at most `$2`: the last id, and all of them as one JSON array of arrays. On SQLite a million rows as rows take
/// several times as long as the same rows as JSON: each row there is a message from the thread that reads the file.
pub const KEYS_AS_JSON: &str =
    "SELECT COALESCE(MAX(id), ''), json_group_array(json_array(id, tenant_id, workspace_id, owner, project_id,
    public_id, hash, display_name, state, expires, allowlist, created, version))
    FROM (SELECT * FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2)";
