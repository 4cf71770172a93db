-- A database that is put in another's place may have forgotten what that had committed. Each such turn is another *line*
-- of its history (PostgreSQL's timeline). Until every live server has said that nothing of its own is missing, or has put
-- it back, nothing is written to the ledger.

-- The line on which a server has put back what it had set aside; and the one on which its charges are back as well.
ALTER TABLE replicas ADD COLUMN declared BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replicas ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 0;
-- It was taken for dead before it could say so: it may have set more aside than is known.
ALTER TABLE replicas ADD COLUMN doubtful BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX doubtful_replicas ON replicas (boot_id) WHERE doubtful;
