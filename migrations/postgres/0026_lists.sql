-- Each place in a team says whose it is, so that a list of a team's members looks at nothing else: not for the wall either.
ALTER TABLE team_members ADD COLUMN tenant_id TEXT COLLATE "C" REFERENCES tenants (id);
UPDATE team_members SET tenant_id = (SELECT tenant_id FROM teams WHERE teams.id = team_id);
ALTER TABLE team_members ALTER COLUMN tenant_id SET NOT NULL;
CREATE INDEX team_members_by_tenant ON team_members (tenant_id);
-- What a row must be to be seen, and to be written: a place of one's own for one's own user in one's own team.
DROP POLICY wall ON team_members;
CREATE POLICY wall ON team_members
    USING (CASE (SELECT current_setting('tollreeve.tenants', TRUE)) WHEN '*' THEN TRUE
        ELSE tenant_id = ANY (string_to_array((SELECT current_setting('tollreeve.tenants', TRUE)), ',')) END)
    WITH CHECK (CASE (SELECT current_setting('tollreeve.tenants', TRUE)) WHEN '*' THEN TRUE
        ELSE tenant_id = ANY (string_to_array((SELECT current_setting('tollreeve.tenants', TRUE)), ','))
            AND EXISTS (SELECT 1 FROM teams WHERE teams.id = team_id)
            AND EXISTS (SELECT 1 FROM users WHERE users.id = user_id) END);

-- When somebody joined: who is invited has not yet. Of those who were there it is not known later than this.
ALTER TABLE users ADD COLUMN joined BIGINT;
UPDATE users SET joined = created WHERE state <> 'invited';

-- Each user has a row, from the first on, so that a list by last use is a range of an index: null until they do anything.
ALTER TABLE last_used ALTER COLUMN used DROP NOT NULL;
INSERT INTO last_used (id, tenant_id) SELECT id, tenant_id FROM users ON CONFLICT DO NOTHING;
CREATE INDEX last_used_of_users ON last_used (tenant_id, COALESCE(used, 0), id) WHERE id >= 'user_' AND id < 'user`';
