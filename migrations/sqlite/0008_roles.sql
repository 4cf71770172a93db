-- Roles of a tenant's own, role templates, what a template says about keys, and seats.
CREATE TABLE roles (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    slug TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    -- JSON array of permissions by name.
    permissions TEXT NOT NULL,
    created BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (tenant_id, slug)
);

CREATE TABLE role_templates (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    slug TEXT NOT NULL,
    display_name TEXT NOT NULL,
    description TEXT NOT NULL,
    -- As in bindings: the name of a built-in role, or the id of one of the tenant's own.
    role TEXT NOT NULL,
    -- JSON; empty text when nothing is said.
    budget TEXT NOT NULL,
    key_policy TEXT NOT NULL,
    created BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (tenant_id, slug)
);

-- What somebody may do about keys of their own; no row: anything that their roles allow.
CREATE TABLE key_policies (
    -- Id of a user or service account.
    principal TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- JSON.
    policy TEXT NOT NULL
);
-- How many keys somebody has.
CREATE INDEX api_keys_by_owner ON api_keys (owner);

-- What a tenant or a workspace says about seats itself.
CREATE TABLE seats (
    -- Id of the tenant or of one of its workspaces.
    scope TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- JSON object of role and number.
    limits TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX seats_by_tenant ON seats (tenant_id);
