-- Many servers on one ledger. On this database there is one; the tables are the same.

ALTER TABLE replicas ADD COLUMN identity TEXT NOT NULL DEFAULT '';
ALTER TABLE replicas ADD COLUMN process TEXT NOT NULL DEFAULT '';
ALTER TABLE replicas ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE replicas ADD COLUMN applied BIGINT NOT NULL DEFAULT -1;
ALTER TABLE replicas ADD COLUMN answers_for BIGINT NOT NULL DEFAULT 0;
CREATE INDEX live_replicas ON replicas (boot_id) WHERE state = 1;

CREATE TABLE replica_mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX replica_mail_by_replica ON replica_mail (boot_id, id);

ALTER TABLE slices ADD COLUMN taken_by_others BIGINT NOT NULL DEFAULT 0;
