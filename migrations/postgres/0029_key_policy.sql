-- Secrets of keys are due for others by a schedule. The same is in `secrets`.
-- When the newest secret is due for another one; null without a schedule.
ALTER TABLE api_keys ADD COLUMN rotation_due BIGINT;
-- When somebody is to be warned of that next; null when nobody is.
ALTER TABLE api_keys ADD COLUMN warns BIGINT;

CREATE INDEX api_keys_warning ON api_keys (warns) WHERE warns IS NOT NULL;
CREATE INDEX api_keys_by_rotation ON api_keys (workspace_id, rotation_due, id)
    WHERE deleted IS NULL AND rotation_due IS NOT NULL;
-- Those that end soon.
CREATE INDEX api_keys_by_end ON api_keys (workspace_id, expires, id) WHERE deleted IS NULL AND expires IS NOT NULL;

-- That of the workspace, which never changes: keys of a tenant are found by it.
ALTER TABLE api_keys ADD COLUMN environment TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE api_keys SET environment = (SELECT environment FROM workspaces WHERE workspaces.id = workspace_id);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id) WHERE deleted IS NULL;
CREATE INDEX api_keys_by_environment ON api_keys (tenant_id, environment, id) WHERE deleted IS NULL;
CREATE INDEX api_keys_by_tenant_and_name ON api_keys (tenant_id, display_name, id) WHERE deleted IS NULL;
-- And by the words of their names: one list of a tenant instead of one of each workspace.
UPDATE search_words SET list = 'keys of ' || tenant_id WHERE list LIKE 'keys of %';
