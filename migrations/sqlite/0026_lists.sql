-- Each place in a team says whose it is, so that a list of a team's members looks at nothing else.
CREATE TABLE places (
    team_id TEXT NOT NULL REFERENCES teams (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    PRIMARY KEY (team_id, user_id)
);
INSERT INTO places (team_id, user_id, tenant_id)
SELECT team_id, user_id, teams.tenant_id FROM team_members JOIN teams ON teams.id = team_id;
DROP TABLE team_members;
ALTER TABLE places RENAME TO team_members;
CREATE INDEX team_members_by_user ON team_members (user_id);
CREATE INDEX team_members_by_tenant ON team_members (tenant_id);

-- When somebody joined: who is invited has not yet. Of those who were there it is not known later than this.
ALTER TABLE users ADD COLUMN joined BIGINT;
UPDATE users SET joined = created WHERE state <> 'invited';

-- Each user has a row, from the first on, so that a list by last use is a range of an index: null until they do anything.
CREATE TABLE uses (
    -- Id of a user, service account or key; its prefix tells which.
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- In microseconds, to the second.
    used BIGINT
);
INSERT INTO uses (id, tenant_id, used) SELECT id, tenant_id, used FROM last_used;
INSERT INTO uses (id, tenant_id) SELECT id, tenant_id FROM users WHERE id NOT IN (SELECT id FROM last_used);
DROP TABLE last_used;
ALTER TABLE uses RENAME TO last_used;
CREATE INDEX last_used_by_tenant ON last_used (tenant_id);
CREATE INDEX last_used_of_users ON last_used (tenant_id, COALESCE(used, 0), id) WHERE id >= 'user_' AND id < 'user`';
