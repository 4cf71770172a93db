-- Keys have a second secret while they are rotated, say more of themselves, and can be deleted.
-- JSON of the description and the labels; empty text without either.
ALTER TABLE api_keys ADD COLUMN details TEXT COLLATE "C" NOT NULL DEFAULT '';
-- JSON of the generation of the newest secret, when that was made, and the secret before it with its hash; empty text for a
-- key that never had another. What the newest is looked up by and its hash stay in their columns.
ALTER TABLE api_keys ADD COLUMN secrets TEXT COLLATE "C" NOT NULL DEFAULT '';
-- When the secret before the newest ends; null without one. The same is in `secrets`.
ALTER TABLE api_keys ADD COLUMN retires BIGINT;
-- The row stays: usage and the audit log speak of it.
ALTER TABLE api_keys ADD COLUMN deleted BIGINT;

-- Those whose older secret is due to end.
CREATE INDEX api_keys_retiring ON api_keys (retires) WHERE retires IS NOT NULL;
-- A page is a range of one of these, and what is deleted is in none.
DROP INDEX api_keys_by_workspace;
DROP INDEX api_keys_by_display_name;
DROP INDEX api_keys_by_state;
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, id) WHERE deleted IS NULL;
CREATE INDEX api_keys_by_display_name ON api_keys (workspace_id, display_name, id) WHERE deleted IS NULL;
CREATE INDEX api_keys_by_state ON api_keys (workspace_id, state, id) WHERE deleted IS NULL;
CREATE INDEX api_keys_of_owner ON api_keys (workspace_id, owner, id) WHERE deleted IS NULL;

-- In the order of creation as well, whichever of the two is taken for one owner.
DROP INDEX IF EXISTS api_keys_by_owner;
CREATE INDEX api_keys_by_owner ON api_keys (owner, id);

-- Keys are found by what their secrets begin with.
INSERT INTO search_words (tenant_id, list, word, record)
SELECT tenant_id, 'keys of ' || workspace_id, lower(public_id), id FROM api_keys WHERE TRUE
ON CONFLICT DO NOTHING;

-- Compared with the ids of keys, which are compared by their bytes: without this no index of it could be used for that.
ALTER TABLE last_used ALTER COLUMN id TYPE TEXT COLLATE "C";
