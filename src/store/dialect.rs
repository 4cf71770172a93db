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

/// The keys after the id `$1`, by id, at most `$2`: the last id, and all of them as one JSON array of arrays. On `SQLite` a
/// million rows as rows take several times as long as the same rows as JSON: each row there is a message from the thread
/// that reads the file.
pub const KEYS_AS_JSON: &str =
    "SELECT COALESCE(MAX(id), ''), json_group_array(json_array(id, tenant_id, workspace_id, owner, project_id,
    public_id, hash, display_name, state, expires, allowlist, created, version))
    FROM (SELECT * FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2)";

/// Writes charges from a JSON array of arrays `$1`, in the order of the columns; those whose id is taken are passed over.
/// Gives tenant, id and position of those written.
pub const INSERT_CHARGES: Statement = Statement {
    sqlite: "INSERT INTO charges (tenant_id, charge_id, body_hash, workspace_id, project_id, key_id, owner, caller,
            end_user, provider, model, price_id, outcome, late, requests, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, cost_nanos, released_nanos, overrun_nanos, occurred,
            recorded, labels, postings)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
            value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
            value ->> 15, value ->> 16, value ->> 17, value ->> 18, value ->> 19, value ->> 20, value ->> 21,
            value ->> 22, value ->> 23, value ->> 24, value ->> 25, value ->> 26
        FROM json_each($1) WHERE TRUE ORDER BY key
        ON CONFLICT (tenant_id, charge_id) DO NOTHING
        RETURNING tenant_id, charge_id, seq",
    postgres: "INSERT INTO charges (tenant_id, charge_id, body_hash, workspace_id, project_id, key_id, owner, caller,
            end_user, provider, model, price_id, outcome, late, requests, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, cost_nanos, released_nanos, overrun_nanos, occurred,
            recorded, labels, postings)
        SELECT r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6, r ->> 7, r ->> 8, r ->> 9, r ->> 10,
            (r ->> 11)::BIGINT, r ->> 12, (r ->> 13) = '1', (r ->> 14)::BIGINT, (r ->> 15)::BIGINT,
            (r ->> 16)::BIGINT, (r ->> 17)::BIGINT, (r ->> 18)::BIGINT, (r ->> 19)::BIGINT, (r ->> 20)::BIGINT,
            (r ->> 21)::BIGINT, (r ->> 22)::BIGINT, (r ->> 23)::BIGINT, (r ->> 24)::BIGINT, r ->> 25, r ->> 26
        FROM jsonb_array_elements(CAST($1 AS JSONB)) WITH ORDINALITY AS rows (r, place) ORDER BY place
        ON CONFLICT (tenant_id, charge_id) DO NOTHING
        RETURNING tenant_id, charge_id, seq",
};

/// Adds amounts to slices from a JSON array of `[id, amount]` `$1`, to those that are open and have room. Gives those.
pub const ADD_TO_SLICES: Statement = Statement {
    sqlite: "UPDATE slices SET spent = slices.spent + added.amount, ver = slices.ver + 1
        FROM (SELECT value ->> 0 AS id, value ->> 1 AS amount FROM json_each($1)) AS added
        WHERE slices.id = added.id AND slices.state < 3 AND slices.spent + added.amount <= slices.granted
        RETURNING slices.id, slices.granted, slices.spent, slices.ver",
    postgres: "UPDATE slices SET spent = slices.spent + added.amount, ver = slices.ver + 1
        FROM (SELECT (r ->> 0)::BIGINT AS id, (r ->> 1)::BIGINT AS amount
              FROM jsonb_array_elements(CAST($1 AS JSONB)) AS rows (r) ORDER BY 1) AS added
        WHERE slices.id = added.id AND slices.state < 3 AND slices.spent + added.amount <= slices.granted
        RETURNING slices.id, slices.granted, slices.spent, slices.ver",
};
