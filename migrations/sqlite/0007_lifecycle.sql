-- Soft deletion, roles that end, what lists are searched and ordered by, and requests that may be repeated.
ALTER TABLE tenants ADD COLUMN deleted BIGINT;
-- Nothing is left of it but its id, which charges and the audit log refer to; its slug is free.
ALTER TABLE tenants ADD COLUMN purged BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE workspaces ADD COLUMN deleted BIGINT;
ALTER TABLE projects ADD COLUMN state TEXT NOT NULL DEFAULT 'active';
ALTER TABLE projects ADD COLUMN deleted BIGINT;

-- What a search looks in: slug and display name, in lower case.
ALTER TABLE tenants ADD COLUMN words TEXT NOT NULL DEFAULT '';
ALTER TABLE workspaces ADD COLUMN words TEXT NOT NULL DEFAULT '';
ALTER TABLE projects ADD COLUMN words TEXT NOT NULL DEFAULT '';
UPDATE tenants SET words = slug || ' ' || lower(display_name);
UPDATE workspaces SET words = slug || ' ' || lower(display_name);
UPDATE projects SET words = slug || ' ' || lower(display_name);

-- A page is a range of one of these: by creation, by display name, and by creation among those in one state.
CREATE INDEX tenants_by_display_name ON tenants (display_name, id);
CREATE INDEX tenants_by_state ON tenants ((CASE WHEN deleted IS NULL THEN state ELSE 'deleted' END), id);
CREATE INDEX workspaces_by_tenant ON workspaces (tenant_id, id);
CREATE INDEX workspaces_by_display_name ON workspaces (tenant_id, display_name, id);
CREATE INDEX workspaces_by_state ON workspaces (tenant_id, (CASE WHEN deleted IS NULL THEN state ELSE 'deleted' END), id);
CREATE INDEX projects_by_workspace ON projects (workspace_id, id);
CREATE INDEX projects_by_display_name ON projects (workspace_id, display_name, id);
CREATE INDEX projects_by_state ON projects (workspace_id, (CASE WHEN deleted IS NULL THEN state ELSE 'deleted' END), id);

-- When a role ends; null: never. Whoever asks looks at it: nothing has to happen at that moment.
ALTER TABLE bindings ADD COLUMN expires BIGINT;

-- Who could give a role: those who hold certain roles in the tenant.
CREATE INDEX bindings_by_role ON bindings (tenant_id, role, id);

-- Requests that were carried out under an id of the caller's, so that they are carried out once. Never removed: there
-- are at most as many as audit events.
CREATE TABLE requests (
    -- Id of a user or service account.
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (caller, request_id)
);
