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

/// The line of the database's history: another one when a standby has taken its place.
macro_rules! line {
    () => {
        "('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint"
    };
}

/// Lets a server join. What it may not know it has never known.
pub const JOIN: Statement = Statement {
    sqlite: "INSERT INTO replicas (boot_id, started, state, identity, process, answers_for)
             VALUES ($1, $2, 1, $3, $4, $5)",
    postgres: concat!(
        "INSERT INTO replicas (boot_id, started, state, identity, process, answers_for, declared, confirmed)
         VALUES ($1, $2, 1, $3, $4, $5, ",
        line!(),
        ", ",
        line!(),
        ")"
    ),
};

/// Takes down a sign of life: the server, what its decisions see, how many there were. Gives how many there are, and whether
/// nothing can have been forgotten.
pub const BEAT: Statement = Statement {
    sqlite: "UPDATE replicas SET seq = seq + 1, applied = $2 WHERE boot_id = $1 AND state = 1 AND seq >= $3
             RETURNING seq, TRUE",
    postgres: concat!(
        "UPDATE replicas SET seq = seq + 1,
             applied = CASE WHEN seq >= $3 AND confirmed = ",
        line!(),
        " THEN $2 ELSE -1 END,
             declared = CASE WHEN seq >= $3 THEN declared ELSE -1 END,
             confirmed = CASE WHEN seq >= $3 THEN confirmed ELSE -1 END
         WHERE boot_id = $1 AND state = 1 RETURNING seq, confirmed = ",
        line!()
    ),
};

/// Takes a server for dead. On another line than it has confirmed it may have set more aside than is known.
pub const EXPIRE: Statement = Statement {
    sqlite: "UPDATE replicas SET state = 2 WHERE boot_id = $1",
    postgres: concat!("UPDATE replicas SET state = 2, doubtful = confirmed <> ", line!(), " WHERE boot_id = $1"),
};

macro_rules! standing {
    ($lock:literal) => {
        concat!(
            "SELECT state, confirmed = ",
            line!(),
            " AND NOT EXISTS (SELECT 1 FROM replicas AS o WHERE o.state = 1 AND o.confirmed <> ",
            line!(),
            "), EXISTS (SELECT 1 FROM replicas AS o WHERE o.doubtful)
             FROM replicas AS own WHERE own.boot_id = $1",
            $lock
        )
    };
}

/// Whether a server is live, whether every live one has confirmed this line of history, and whether a dead one is in doubt.
pub const STANDING: Statement =
    Statement { sqlite: "SELECT state, TRUE, FALSE FROM replicas WHERE boot_id = $1", postgres: standing!("") };

/// As [`STANDING`], and it stays live until the commit.
pub const STANDING_KEPT: Statement = Statement { postgres: standing!(" FOR KEY SHARE OF own"), ..STANDING };

/// Where a server stands in putting back what was forgotten: whether its slices are declared, and all of it is confirmed.
pub const RECOVERED: Statement = Statement {
    sqlite: "SELECT state, TRUE, TRUE FROM replicas WHERE boot_id = $1",
    postgres: concat!(
        "SELECT state, declared = ",
        line!(),
        ", confirmed = ",
        line!(),
        " FROM replicas WHERE boot_id = $1 FOR UPDATE"
    ),
};

/// Whether a live server has not declared its slices.
pub const UNDECLARED: Statement = Statement {
    sqlite: "SELECT FALSE",
    postgres: concat!("SELECT EXISTS (SELECT 1 FROM replicas WHERE state = 1 AND declared <> ", line!(), ")"),
};

/// Notes that a server has declared its slices. It is taken down again when it was forgotten.
pub const DECLARE: Statement = Statement {
    sqlite: "SELECT $1, $2, $3",
    postgres: concat!(
        "INSERT INTO replicas (boot_id, started, state, seq, answers_for, declared) VALUES ($1, 0, 1, $2, $3, ",
        line!(),
        ") ON CONFLICT (boot_id) DO UPDATE SET declared = excluded.declared, seq = GREATEST(replicas.seq, excluded.seq)"
    ),
};

/// Notes that everything of a server is back: $2 when nothing was missing, and it goes on.
pub const CONFIRM: Statement = Statement {
    sqlite: "SELECT $1, $2",
    postgres: concat!(
        "UPDATE replicas SET declared = ",
        line!(),
        ", confirmed = ",
        line!(),
        ", doubtful = FALSE, state = CASE WHEN $2 THEN state ELSE 2 END WHERE boot_id = $1"
    ),
};

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
             SELECT roles.id, 'tenants/' || tenants.slug || '/roles/' || roles.slug
             FROM asked JOIN roles ON roles.id = asked.id JOIN tenants ON tenants.id = roles.tenant_id
             UNION ALL
             SELECT users.id, 'tenants/' || tenants.slug || '/users/' || users.id
             FROM asked JOIN users ON users.id = asked.id JOIN tenants ON tenants.id = users.tenant_id
             UNION ALL
             SELECT former_users.id, 'tenants/' || tenants.slug || '/users/' || former_users.id
             FROM asked JOIN former_users ON former_users.id = asked.id
                 JOIN tenants ON tenants.id = former_users.tenant_id
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

/// The words in the JSON array `$4` by which the record `$3` of the tenant `$1` is found in the list `$2`.
pub const INSERT_WORDS: Statement = Statement {
    sqlite: "INSERT INTO search_words (tenant_id, list, record, word) SELECT $1, $2, $3, value FROM json_each($4)",
    postgres: "INSERT INTO search_words (tenant_id, list, record, word)
        SELECT $1, $2, $3, value FROM jsonb_array_elements_text(CAST($4 AS JSONB)) AS words (value)",
};

/// Id and resource name of each of the records whose ids are in the JSON array `$1`.
pub const NAMES: Statement = Statement {
    sqlite: names_of!("json_each($1)"),
    postgres: names_of!("jsonb_array_elements_text(CAST($1 AS JSONB)) AS ids (value)"),
};

/// Writes the last uses in a JSON array of `[id, tenant, microseconds]` `$1`, where they are later than what is there.
pub const PUT_LAST_USES: Statement = Statement {
    sqlite: "INSERT INTO last_used (id, tenant_id, used)
        SELECT value ->> 0, tenants.id, value ->> 2
        FROM json_each($1) JOIN tenants ON tenants.id = value ->> 1 WHERE NOT purged
        ON CONFLICT (id) DO UPDATE SET used = excluded.used WHERE COALESCE(last_used.used, 0) < excluded.used",
    postgres: "INSERT INTO last_used (id, tenant_id, used)
        SELECT r ->> 0, tenants.id, (r ->> 2)::BIGINT
        FROM jsonb_array_elements(CAST($1 AS JSONB)) AS rows (r) JOIN tenants ON tenants.id = r ->> 1 WHERE NOT purged
        ON CONFLICT (id) DO UPDATE SET used = excluded.used WHERE COALESCE(last_used.used, 0) < excluded.used",
};

/// Id and last use of each of the records whose ids are in the JSON array `$1`, if they were ever used.
pub const LAST_USES: Statement = Statement {
    sqlite: "SELECT id, used FROM last_used WHERE id IN (SELECT value FROM json_each($1)) AND used IS NOT NULL",
    postgres: "SELECT id, used FROM last_used
        WHERE id IN (SELECT jsonb_array_elements_text(CAST($1 AS JSONB))) AND used IS NOT NULL",
};

/// Member and role of each binding on the whole of the tenant `$2` of those whose ids are in the JSON array `$1`, but for those
/// that have ended at `$3`.
pub const ROLES_ON_TENANT: Statement = Statement {
    sqlite: "SELECT member, role FROM bindings
        WHERE member IN (SELECT value FROM json_each($1)) AND scope_tenant = $2 AND scope_workspace IS NULL
            AND (expires IS NULL OR expires > $3) ORDER BY id",
    postgres: "SELECT member, role FROM bindings
        WHERE member IN (SELECT jsonb_array_elements_text(CAST($1 AS JSONB))) AND scope_tenant = $2
            AND scope_workspace IS NULL AND (expires IS NULL OR expires > $3) ORDER BY id",
};

/// Team and number of members, of those teams whose ids are in the JSON array `$1`.
pub const MEMBER_COUNTS: Statement = Statement {
    sqlite: "SELECT team_id, COUNT(*) FROM team_members WHERE team_id IN (SELECT value FROM json_each($1))
        GROUP BY team_id",
    postgres: "SELECT team_id, COUNT(*) FROM team_members
        WHERE team_id IN (SELECT jsonb_array_elements_text(CAST($1 AS JSONB))) GROUP BY team_id",
};

/// The hard monthly budgets in dollars of the tenant `$1` on those teams whose ids are in the JSON array `$2`.
pub const MONTHLY_OF_TEAMS: Statement = Statement {
    sqlite:
        "SELECT id, tenant_id, scope_kind, scope_ref, unit, span, amount, hard, credit, display_name, created, version,
            on_expiry, calendar, thresholds || ';' || turns, paused
        FROM budgets WHERE tenant_id = $1 AND scope_kind = 'team'
            AND scope_ref IN (SELECT value FROM json_each($2))
            AND unit = 'usd' AND span = 'month' AND hard AND NOT credit AND NOT deleted ORDER BY id",
    postgres:
        "SELECT id, tenant_id, scope_kind, scope_ref, unit, span, amount, hard, credit, display_name, created, version,
            on_expiry, calendar, thresholds || ';' || turns, paused
        FROM budgets WHERE tenant_id = $1 AND scope_kind = 'team'
            AND scope_ref IN (SELECT jsonb_array_elements_text(CAST($2 AS JSONB)))
            AND unit = 'usd' AND span = 'month' AND hard AND NOT credit AND NOT deleted ORDER BY id",
};

/// Owner and number of keys, of those whose ids are in the JSON array `$1`: keys that are neither revoked nor at their end
/// at `$2`.
pub const KEY_COUNTS: Statement = Statement {
    sqlite: "SELECT owner, COUNT(*) FROM api_keys
        WHERE owner IN (SELECT value FROM json_each($1)) AND state <> 'revoked' AND (expires IS NULL OR expires > $2)
        GROUP BY owner",
    postgres: "SELECT owner, COUNT(*) FROM api_keys
        WHERE owner IN (SELECT jsonb_array_elements_text(CAST($1 AS JSONB))) AND state <> 'revoked'
            AND (expires IS NULL OR expires > $2)
        GROUP BY owner",
};

/// The keys after the row `$1` (a number as text, or nothing), at most `$2`: the last row's number, and all of them as one
/// JSON array of arrays. On `SQLite` a million rows as rows take several times as long as the same rows as JSON: each row
/// there is a message from the thread that reads the file. By row, not by id: that needs no look into an index for each.
pub const KEYS_AS_JSON: &str =
    "SELECT COALESCE(CAST(MAX(rowid) AS TEXT), ''), json_group_array(json_array(id, tenant_id, workspace_id, owner,
    project_id, public_id, CASE WHEN pepper = 1 THEN hash ELSE pepper || ':' || hash END, display_name, state, expires,
    allowlist, created, version, details, secrets, deleted))
    FROM (SELECT rowid, * FROM api_keys WHERE rowid > CAST($1 AS INTEGER) ORDER BY rowid LIMIT $2)";

/// The columns of a charge that its entry fills: texts first, then numbers.
macro_rules! charge_columns {
    () => {
        "tenant_id, charge_id, body_hash, workspace_id, project_id, key_id, owner, caller, end_user, provider, model,
            outcome, labels, postings, metered,
            price_id, late, requests, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
            cost_nanos, released_nanos, overrun_nanos, occurred, recorded, hold_run, hold, hold_issued, ended_hold"
    };
}

/// A list of placeholders, four times over.
macro_rules! four {
    ($($rows:tt)+) => {
        concat!($($rows)+, ",", $($rows)+, ",", $($rows)+, ",", $($rows)+)
    };
}

/// A row of placeholders.
macro_rules! one_charge {
    () => {
        "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    };
}

/// Writes so many charges as there are rows of placeholders; passes over those whose id is taken.
macro_rules! insert_charges {
    ($($rows:tt)+) => {
        concat!(
            "INSERT INTO charges (",
            charge_columns!(),
            ") VALUES ",
            $($rows)+,
            " ON CONFLICT (tenant_id, charge_id) DO NOTHING"
        )
    };
}

/// Writes 64, 16, 4 or 1 charges on `SQLite`. By far the fastest way in there: unpacked from JSON a row takes ten times as
/// long, and rows that a statement gives back are a message each from the thread that writes the file.
pub const INSERT_CHARGES_SQLITE: [(u8, &str); 4] = [
    (64, insert_charges!(four!(four!(four!(one_charge!()))))),
    (16, insert_charges!(four!(four!(one_charge!())))),
    (4, insert_charges!(four!(one_charge!()))),
    (1, insert_charges!(one_charge!())),
];

/// Writes charges on `PostgreSQL`, from one array for each column; passes over those whose id is taken. Gives tenant, id
/// and position of those written. In the order of their ids: another server that writes some of them waits for us, and
/// must not have us wait for it.
pub const INSERT_CHARGES_POSTGRES: &str = concat!(
    "INSERT INTO charges (",
    charge_columns!(),
    ")
    SELECT tenant_id, charge_id, body_hash, workspace_id, project_id, key_id, owner, caller, end_user, provider, model,
        outcome, labels, postings, metered,
        price_id, late <> 0, requests, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
        cost_nanos, released_nanos, overrun_nanos, occurred, recorded, hold_run, hold, hold_issued, ended_hold <> 0
    FROM UNNEST($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[],
        $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::TEXT[], $13::TEXT[], $14::TEXT[],
        $15::TEXT[], $16::BIGINT[], $17::BIGINT[], $18::BIGINT[], $19::BIGINT[], $20::BIGINT[], $21::BIGINT[],
        $22::BIGINT[], $23::BIGINT[], $24::BIGINT[], $25::BIGINT[], $26::BIGINT[], $27::BIGINT[], $28::BIGINT[],
        $29::BIGINT[], $30::BIGINT[], $31::BIGINT[], $32::BIGINT[])
        AS rows (",
    charge_columns!(),
    ")
    ORDER BY tenant_id, charge_id
    ON CONFLICT (tenant_id, charge_id) DO NOTHING
    RETURNING tenant_id, charge_id, seq"
);

/// The charges of the holds in a JSON array of `[issued, hold, run]` `$1`: those three, position, whether it ended the hold,
/// and postings.
pub const CHARGES_OF_HOLDS: Statement = Statement {
    sqlite: "SELECT hold_issued, charges.hold, hold_run, seq, CAST(ended_hold AS BIGINT), postings
        FROM (SELECT value ->> 0 AS issued, value ->> 1 AS hold, value ->> 2 AS run FROM json_each($1)) AS asked
            JOIN charges ON hold_issued = issued
        WHERE hold_issued <> 0 AND charges.hold = asked.hold AND hold_run = run",
    postgres: "SELECT hold_issued, charges.hold, hold_run, seq, ended_hold::INT::BIGINT, postings
        FROM (SELECT (r ->> 0)::BIGINT AS issued, (r ->> 1)::BIGINT AS hold, (r ->> 2)::BIGINT AS run
              FROM jsonb_array_elements(CAST($1 AS JSONB)) AS rows (r)) AS asked
            -- Hold by hold through the index, whatever is known of how many charges there are.
            CROSS JOIN LATERAL (
                SELECT * FROM charges
                WHERE hold_issued = issued AND hold_issued <> 0 AND charges.hold = asked.hold AND hold_run = run
                OFFSET 0) AS charges",
};

/// How [`ADD_TO_SLICES`] would leave those slices, as one JSON array of arrays: many rows are slow on `SQLite`.
pub const SLICES_AFTER_SQLITE: &str =
    "SELECT json_group_array(json_array(slices.id, granted, spent + added.amount, ver + 1))
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS amount, value ->> 2 AS known FROM json_each($1)) AS added
        JOIN slices ON slices.id = added.id
    WHERE state < 3 AND spent + added.amount <= granted AND (known < 0 OR known = taken_by_others)";

/// [`ADD_TO_SLICES`] without giving anything.
pub const ADD_TO_SLICES_SQLITE: &str = "UPDATE slices SET spent = slices.spent + added.amount, ver = slices.ver + 1,
        taken_by_others = taken_by_others + CASE WHEN known < 0 THEN added.amount ELSE 0 END,
        due = due OR slices.spent + added.amount >= watch
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS amount, value ->> 2 AS known FROM json_each($1)) AS added
    WHERE slices.id = added.id";

/// Adds amounts to slices from a JSON array of `[id, amount, known]` `$1`, to those that are open and have room. Gives
/// those. `known` is what others took out of the slice as its own server knows, and must be all; or below 0 when it is not
/// its own server that adds.
/// They are locked in the order of their ids, in which an update alone would not.
pub const ADD_TO_SLICES: Statement = Statement {
    sqlite: "UPDATE slices SET spent = slices.spent + added.amount, ver = slices.ver + 1,
            taken_by_others = taken_by_others + CASE WHEN known < 0 THEN added.amount ELSE 0 END,
            due = due OR slices.spent + added.amount >= watch
        FROM (SELECT value ->> 0 AS id, value ->> 1 AS amount, value ->> 2 AS known FROM json_each($1)) AS added
        WHERE slices.id = added.id AND slices.state < 3 AND slices.spent + added.amount <= slices.granted
            AND (known < 0 OR known = taken_by_others)
        RETURNING slices.id, slices.granted, slices.spent, slices.ver",
    postgres: "WITH added AS (
            SELECT (r ->> 0)::BIGINT AS id, (r ->> 1)::BIGINT AS amount, (r ->> 2)::BIGINT AS known
            FROM jsonb_array_elements(CAST($1 AS JSONB)) AS rows (r)
        ), locked AS MATERIALIZED (
            SELECT id FROM slices WHERE id IN (SELECT id FROM added) ORDER BY id FOR UPDATE
        )
        UPDATE slices SET spent = slices.spent + added.amount, ver = slices.ver + 1,
            taken_by_others = taken_by_others + CASE WHEN known < 0 THEN added.amount ELSE 0 END,
            due = due OR slices.spent + added.amount >= watch
        FROM added JOIN locked ON locked.id = added.id
        WHERE slices.id = added.id AND slices.state < 3 AND slices.spent + added.amount <= slices.granted
            AND (known < 0 OR known = taken_by_others)
        RETURNING slices.id, slices.granted, slices.spent, slices.ver",
};

/// Writes the series in a JSON array of `[tenant, level, id, [texts]]` `$1` that are not there. In one order: another server
/// that writes some of them waits for us, and must not have us wait for it.
pub const INSERT_USAGE_SERIES: Statement = Statement {
    sqlite: "INSERT INTO usage_series (tenant_id, level, id, workspace_id, project_id, provider, model, owner, key_id,
            teams, team_id)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> '$[3][0]', value ->> '$[3][1]', value ->> '$[3][2]',
            value ->> '$[3][3]', value ->> '$[3][4]', value ->> '$[3][5]', value ->> '$[3][6]', value ->> '$[3][7]'
        FROM json_each($1) WHERE TRUE
        ON CONFLICT (tenant_id, level, id) DO NOTHING",
    postgres:
        "INSERT INTO usage_series (tenant_id, level, id, workspace_id, project_id, provider, model, owner, key_id,
            teams, team_id)
        SELECT r ->> 0, (r ->> 1)::BIGINT, (r ->> 2)::BIGINT, r -> 3 ->> 0, r -> 3 ->> 1, r -> 3 ->> 2,
            r -> 3 ->> 3, r -> 3 ->> 4, r -> 3 ->> 5, r -> 3 ->> 6, r -> 3 ->> 7
        FROM jsonb_array_elements(CAST($1 AS JSONB)) AS rows (r)
        ORDER BY 1, 2, 3
        ON CONFLICT (tenant_id, level, id) DO NOTHING",
};

/// The columns of a row of sums.
macro_rules! usage_columns {
    () => {
        "tenant_id, series, span, start, shard, charges, requests, input_tokens, cached_tokens, cache_write_tokens,
            output_tokens, reasoning_tokens, dollars, billionths"
    };
}

/// Adds a count to a row of sums. One that is close to the most that there can be stays where it is: no count is more than
/// the column holds, and no charge is refused for its sake.
macro_rules! grows {
    ($($column:literal)+) => {
        concat!($(
            ", ", $column, " = usage_sums.", $column, " + CASE WHEN usage_sums.", $column,
            " > 9000000000000000000 THEN 0 ELSE excluded.", $column, " END"
        ),+)
    };
}

/// What becomes of a row of sums that is there.
macro_rules! or_add {
    () => {
        concat!(
            " ON CONFLICT (tenant_id, series, span, start, shard) DO UPDATE SET charges = usage_sums.charges + excluded.charges",
            grows!("requests" "input_tokens" "cached_tokens" "cache_write_tokens" "output_tokens" "reasoning_tokens"),
            ", dollars = usage_sums.dollars + excluded.dollars, billionths = usage_sums.billionths + excluded.billionths"
        )
    };
}

/// A row of placeholders.
macro_rules! one_sum {
    () => {
        "(?,?,?,?,?,?,?,?,?,?,?,?)"
    };
}

/// Adds to the hour and the day of so many sums as there are rows of placeholders: tenant, series, hour, amounts. One server
/// writes: one shard.
macro_rules! add_usage {
    ($($rows:tt)+) => {
        concat!(
            "INSERT INTO usage_sums (", usage_columns!(), ")
             SELECT column1, column2, span, column3 - column3 % span, 0, column4, column5, column6, column7, column8, column9,
                column10, column11, column12
             FROM (VALUES ", $($rows)+, ") AS hours CROSS JOIN (SELECT 1 AS span UNION ALL SELECT 24) AS spans WHERE TRUE",
            or_add!()
        )
    };
}

/// Adds to 64, 16, 4 or 1 sums on `SQLite`.
pub const ADD_USAGE_SQLITE: [(u8, &str); 4] = [
    (64, add_usage!(four!(four!(four!(one_sum!()))))),
    (16, add_usage!(four!(four!(one_sum!())))),
    (4, add_usage!(four!(one_sum!()))),
    (1, add_usage!(one_sum!())),
];

/// Adds to rows of sums of the shard `$2` on `PostgreSQL`, from one array for each other column. They are locked in the
/// order of their keys, which is that of every server.
pub const ADD_USAGE_POSTGRES: &str = concat!(
    "INSERT INTO usage_sums (",
    usage_columns!(),
    ")
    SELECT tenant_id, series, span, start, $2::BIGINT, charges, requests, input_tokens, cached_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, dollars, billionths
    FROM UNNEST($1::TEXT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[], $8::BIGINT[],
        $9::BIGINT[], $10::BIGINT[], $11::BIGINT[], $12::BIGINT[], $13::BIGINT[], $14::BIGINT[])
        AS rows (tenant_id, series, span, start, charges, requests, input_tokens, cached_tokens, cache_write_tokens,
            output_tokens, reasoning_tokens, dollars, billionths)
    ORDER BY 1, 2, 3, 4",
    or_add!()
);
