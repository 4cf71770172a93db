-- API keys. The hash is HMAC-SHA-256 under a pepper that is not in this database.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    -- Id of a user or service account; its prefix tells which.
    owner TEXT NOT NULL,
    project_id TEXT REFERENCES projects (id),
    public_id TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL,
    display_name TEXT NOT NULL,
    state TEXT NOT NULL,
    expires BIGINT,
    -- JSON; empty text when nothing is restricted.
    allowlist TEXT NOT NULL,
    created BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, id);
