-- Whoever is invited and does not come leaves as whoever is removed does: of both an id stays. When they left was not written
-- down: not before they were invited.
INSERT INTO former_users (id, tenant_id, removed) SELECT id, tenant_id, created FROM users WHERE state = 'forgotten';
DELETE FROM team_members WHERE user_id IN (SELECT id FROM users WHERE state = 'forgotten');
DELETE FROM users WHERE state = 'forgotten';
