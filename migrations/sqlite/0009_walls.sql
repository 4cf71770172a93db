-- Row-level security, which SQLite does not have: the file belongs to one server alone, and one wall stands before it.

-- A search is a range of this: see src/store/search.rs. What there is already is split at what are no letters or digits
-- of ASCII; whatever is written later, at what are none at all.
CREATE TABLE search_words (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- Of which list: `users of ten_...`.
    list TEXT NOT NULL,
    -- A name from the beginning of one of its words on, in lower case, at most 64 characters.
    word TEXT NOT NULL,
    -- Id of what is found by it.
    record TEXT NOT NULL,
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
