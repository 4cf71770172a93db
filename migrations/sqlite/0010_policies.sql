-- What a workspace lays down for what is made in it, as JSON; empty for what a new workspace has.
ALTER TABLE workspaces ADD COLUMN policies TEXT NOT NULL DEFAULT '';

-- When somebody, or a key, was last seen: written now and then, from memory.
CREATE TABLE last_used (
    -- Id of a user, service account or key; its prefix tells which.
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- In microseconds, to the second.
    used BIGINT NOT NULL
);
CREATE INDEX last_used_by_tenant ON last_used (tenant_id);
