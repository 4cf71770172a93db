-- The second wall: a transaction that works in a tenant sees and changes rows of that tenant alone, whatever a statement
-- forgets to ask for. The setting `tollreeve.tenants` says whose rows are in sight: ids of tenants with commas between
-- them, or `*` for everybody's. Without it nothing is. It binds the owner of the tables as well (FORCE); a user who is
-- above row-level security takes the role tollreeve_tenant for such a transaction.
--
-- Foreign keys are checked past the wall, so that what refers to a row of another tenant is refused by the wall's own rule
-- and not by what the check would tell.

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
