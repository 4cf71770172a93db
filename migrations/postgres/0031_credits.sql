-- Entries of credit have numbers, kinds and ends.
-- Whose it is, for the second wall: to look it up by the workspace would read all of those.
ALTER TABLE credit_entries ADD COLUMN tenant_id TEXT COLLATE "C" NOT NULL DEFAULT '';
-- 1, 2, 3 and so on in the workspace.
ALTER TABLE credit_entries ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
-- 'purchase', 'grant', 'adjustment', 'expiry'.
ALTER TABLE credit_entries ADD COLUMN kind TEXT COLLATE "C" NOT NULL DEFAULT 'grant';
ALTER TABLE credit_entries ADD COLUMN note TEXT COLLATE "C" NOT NULL DEFAULT '';
-- When what is left of it is gone; null for never.
ALTER TABLE credit_entries ADD COLUMN expires BIGINT;
-- The pool's period in which it was made, and how much had been spent in that by then: what was spent before it did not draw
-- on it.
ALTER TABLE credit_entries ADD COLUMN period BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_entries ADD COLUMN mark BIGINT NOT NULL DEFAULT 0;
-- Of an expiry: the entry of which it is the rest; 0 for none.
ALTER TABLE credit_entries ADD COLUMN of_entry BIGINT NOT NULL DEFAULT 0;
-- Whether its end is on record. The one column that changes.
ALTER TABLE credit_entries ADD COLUMN ended BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE credit_entries SET
    tenant_id = (SELECT tenant_id FROM workspaces WHERE workspaces.id = workspace_id),
    kind = CASE WHEN amount < 0 THEN 'adjustment' ELSE 'grant' END,
    seq = (SELECT COUNT(*) FROM credit_entries AS earlier WHERE earlier.workspace_id = credit_entries.workspace_id
           AND (earlier.created, earlier.reference) <= (credit_entries.created, credit_entries.reference));
DROP POLICY wall ON credit_entries;
SELECT tollreeve_wall('credit_entries',
    'tenant_id = ANY (string_to_array((SELECT current_setting(''tollreeve.tenants'', TRUE)), '',''))');
CREATE UNIQUE INDEX credit_entries_by_number ON credit_entries (workspace_id, seq);
CREATE INDEX credit_entries_by_reference ON credit_entries (workspace_id, reference, seq);
CREATE INDEX credit_entries_by_kind ON credit_entries (workspace_id, kind, seq);
CREATE UNIQUE INDEX one_expiry ON credit_entries (workspace_id, of_entry) WHERE of_entry <> 0;
CREATE INDEX credit_entries_ending ON credit_entries (expires) WHERE expires IS NOT NULL AND NOT ended;

-- When credit of a pool expires: the hours since 1970 with spaces between them, from the last one that has passed on.
ALTER TABLE budgets ADD COLUMN turns TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX turning_pools ON budgets (id) WHERE turns <> '';
