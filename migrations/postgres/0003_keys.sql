-- API keys. The hash is HMAC-SHA-256 under a pepper that is not in this database.
CREATE TABLE api_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    -- Id of a user or service account; its prefix tells which.
    owner TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" REFERENCES projects (id),
    public_id TEXT COLLATE "C" NOT NULL UNIQUE,
    hash TEXT COLLATE "C" NOT NULL,
    display_name TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    expires BIGINT,
    -- JSON; empty text when nothing is restricted.
    allowlist TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, id);
