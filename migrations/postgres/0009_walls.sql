-- The second wall: a transaction that works in a tenant sees and changes rows of that tenant alone, whatever a statement
-- forgets to ask for. The setting `tollreeve.tenants` says whose rows are in sight: ids of tenants with commas between
-- them, or `*` for everybody's. Without it nothing is. It binds the owner of the tables as well (FORCE); a user who is
-- above row-level security takes the role tollreeve_tenant for such a transaction.
--
-- Foreign keys are checked past the wall, so that what refers to a row of another tenant is refused by the wall's own rule
-- and not by what the check would tell.

-- A search is a range of this: see src/store/search.rs. What there is already is split at what are no letters or digits
-- of ASCII; whatever is written later, at what are none at all.
CREATE TABLE search_words (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    -- Of which list: `users of ten_...`.
    list TEXT COLLATE "C" NOT NULL,
    -- A name from the beginning of one of its words on, in lower case, at most 64 characters.
    word TEXT COLLATE "C" NOT NULL,
    -- Id of what is found by it.
    record TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (list, word, record)
);
CREATE INDEX search_words_by_record ON search_words (tenant_id, record);
INSERT INTO search_words (tenant_id, list, word, record)
WITH RECURSIVE texts (tenant_id, list, record, names) AS (
    SELECT id, 'tenants of all', id, lower(slug) FROM tenants WHERE NOT purged
    UNION ALL SELECT id, 'tenants of all', id, lower(display_name) FROM tenants WHERE NOT purged
    UNION ALL SELECT tenant_id, 'workspaces of ' || tenant_id, id, lower(slug) FROM workspaces
    UNION ALL SELECT tenant_id, 'workspaces of ' || tenant_id, id, lower(display_name) FROM workspaces
    UNION ALL SELECT tenant_id, 'projects of ' || workspace_id, id, lower(slug) FROM projects
    UNION ALL SELECT tenant_id, 'projects of ' || workspace_id, id, lower(display_name) FROM projects
    UNION ALL SELECT tenant_id, 'teams of ' || tenant_id, id, lower(slug) FROM teams
    UNION ALL SELECT tenant_id, 'teams of ' || tenant_id, id, lower(display_name) FROM teams
    UNION ALL SELECT tenant_id, 'service accounts of ' || tenant_id, id, lower(slug) FROM service_accounts
    UNION ALL SELECT tenant_id, 'service accounts of ' || tenant_id, id, lower(display_name) FROM service_accounts
    UNION ALL SELECT tenant_id, 'users of ' || tenant_id, id, email_folded FROM users
    UNION ALL SELECT tenant_id, 'users of ' || tenant_id, id, lower(display_name) FROM users
    UNION ALL SELECT tenant_id, 'keys of ' || workspace_id, id, lower(display_name) FROM api_keys
    UNION ALL SELECT tenant_id, 'budgets of ' || tenant_id, id, lower(display_name) FROM budgets
), places (tenant_id, list, record, names, place) AS (
    SELECT tenant_id, list, record, names, 1 FROM texts
    UNION ALL SELECT tenant_id, list, record, names, place + 1 FROM places WHERE place < length(names)
), letters (tenant_id, list, record, names, place, this, last) AS (
    SELECT tenant_id, list, record, names, place, substr(names, place, 1),
        CASE WHEN place > 1 THEN substr(names, place - 1, 1) ELSE ' ' END
    FROM places
)
SELECT DISTINCT tenant_id, list, substr(names, place, 64), record FROM letters
WHERE (this BETWEEN '0' AND '9' OR this BETWEEN 'a' AND 'z' OR this > '~')
    AND NOT (last BETWEEN '0' AND '9' OR last BETWEEN 'a' AND 'z' OR last > '~');
ALTER TABLE tenants DROP COLUMN words;
ALTER TABLE workspaces DROP COLUMN words;
ALTER TABLE projects DROP COLUMN words;

-- A page is a range of one of these: by creation, by a name, and by creation among those with one value.
CREATE INDEX teams_by_tenant ON teams (tenant_id, id);
CREATE INDEX teams_by_display_name ON teams (tenant_id, display_name, id);
CREATE INDEX users_by_display_name ON users (tenant_id, display_name, id);
CREATE INDEX users_by_state ON users (tenant_id, state, id);
CREATE INDEX service_accounts_by_tenant ON service_accounts (tenant_id, id);
CREATE INDEX service_accounts_by_display_name ON service_accounts (tenant_id, display_name, id);
CREATE INDEX service_accounts_by_state ON service_accounts (tenant_id, state, id);
CREATE INDEX api_keys_by_display_name ON api_keys (workspace_id, display_name, id);
CREATE INDEX api_keys_by_state ON api_keys (workspace_id, state, id);
CREATE INDEX budgets_by_display_name ON budgets (tenant_id, display_name, id) WHERE NOT deleted;
CREATE INDEX audit_events_by_actor ON audit_events (tenant_id, actor, seq);
CREATE INDEX audit_events_by_action ON audit_events (tenant_id, action, seq);
CREATE INDEX audit_events_by_resource ON audit_events (tenant_id, resource, seq);

-- Raises the wall in front of a table: `inside` is what a row must be when not everything is in sight.
-- CASE, because it asks for `*` first, once a statement, and because PostgreSQL then takes half of the rows to be in
-- sight: a plan is made for what the statement itself asks for.
CREATE FUNCTION tollreeve_wall(walled TEXT, inside TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE POLICY wall ON %I USING (CASE (SELECT current_setting(''tollreeve.tenants'', TRUE)) WHEN ''*'' THEN TRUE ELSE %s END)',
        walled, inside);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
END $$;

-- Raises the wall in front of every table that says of each row whose it is and has none yet. Called after every
-- migration: such a table needs nothing more. Any other needs a call of tollreeve_wall in the migration that makes it.
CREATE FUNCTION tollreeve_raise_walls() RETURNS VOID LANGUAGE sql AS $$
    SELECT tollreeve_wall(
        relname::TEXT,
        'tenant_id = ANY (string_to_array((SELECT current_setting(''tollreeve.tenants'', TRUE)), '',''))')
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id' AND NOT attisdropped
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND NOT relrowsecurity
    ORDER BY relname
$$;
SELECT tollreeve_raise_walls();

SELECT tollreeve_wall('tenants', 'id = ANY (string_to_array((SELECT current_setting(''tollreeve.tenants'', TRUE)), '',''))');
-- These belong to whom the rows belong that they refer to; those are behind the wall themselves.
SELECT tollreeve_wall('team_members',
    'EXISTS (SELECT 1 FROM teams WHERE teams.id = team_id) AND EXISTS (SELECT 1 FROM users WHERE users.id = user_id)');
SELECT tollreeve_wall('credit_entries', 'EXISTS (SELECT 1 FROM workspaces WHERE workspaces.id = workspace_id)');
SELECT tollreeve_wall('budget_periods', 'EXISTS (SELECT 1 FROM budgets WHERE budgets.id = budget_id)');
SELECT tollreeve_wall('slices', 'EXISTS (SELECT 1 FROM budgets WHERE budgets.id = budget_id)');
SELECT tollreeve_wall('requests',
    'EXISTS (SELECT 1 FROM users WHERE users.id = caller)
     OR EXISTS (SELECT 1 FROM service_accounts WHERE service_accounts.id = caller)');
-- Of nobody: every tenant reads the one, and takes the next revision from the other.
SELECT tollreeve_wall('prices', 'TRUE');
SELECT tollreeve_wall('feed_head', 'TRUE');
-- Only for the server itself; a change of a tenant is added to the feed, and read by nobody who works in a tenant.
SELECT tollreeve_wall('feed_events', 'FALSE');
CREATE POLICY append ON feed_events FOR INSERT WITH CHECK (TRUE);
SELECT tollreeve_wall('keyring', 'FALSE');
SELECT tollreeve_wall('replicas', 'FALSE');
