-- Roles given to users, teams and service accounts. The scope is the last column that is not null; all null is the platform.
CREATE TABLE bindings (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    role TEXT COLLATE "C" NOT NULL,
    -- Id of a user, team or service account; its prefix tells which.
    member TEXT COLLATE "C" NOT NULL,
    scope_tenant TEXT COLLATE "C" REFERENCES tenants (id),
    scope_workspace TEXT COLLATE "C" REFERENCES workspaces (id),
    scope_project TEXT COLLATE "C" REFERENCES projects (id),
    created BIGINT NOT NULL
);
CREATE INDEX bindings_by_member ON bindings (member);
CREATE INDEX bindings_by_tenant ON bindings (tenant_id, id);
CREATE UNIQUE INDEX bindings_once
    ON bindings (member, role, COALESCE(scope_project, scope_workspace, scope_tenant, ''));
