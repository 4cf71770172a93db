-- What is done when a database has forgotten something. On this database nobody needs it; the tables are the same.

ALTER TABLE replicas ADD COLUMN declared BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replicas ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replicas ADD COLUMN doubtful BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX doubtful_replicas ON replicas (boot_id) WHERE doubtful;
