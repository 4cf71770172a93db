-- Many servers on one ledger. Each gives signs of life; others take one for dead that has not for longer than it answers.

-- Names the place that a server runs in, where the platform starts at most one in it; empty for none.
ALTER TABLE replicas ADD COLUMN identity TEXT COLLATE "C" NOT NULL DEFAULT '';
-- Which process it is, for others on the same machine: they can see that it has ended. Empty when that cannot be told.
ALTER TABLE replicas ADD COLUMN process TEXT COLLATE "C" NOT NULL DEFAULT '';
-- Grows with every sign of life.
ALTER TABLE replicas ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
-- The last revision that its decisions see; -1 before it knows.
ALTER TABLE replicas ADD COLUMN applied BIGINT NOT NULL DEFAULT -1;
-- How long it answers after a sign of life, in microseconds.
ALTER TABLE replicas ADD COLUMN answers_for BIGINT NOT NULL DEFAULT 0;
CREATE INDEX live_replicas ON replicas (boot_id) WHERE state = 1;

-- What others did to the slices and holds of a server, until it has read it.
CREATE TABLE replica_mail (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    boot_id TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL
);
SELECT tollreeve_wall('replica_mail', 'FALSE');
CREATE INDEX replica_mail_by_replica ON replica_mail (boot_id, id);

-- What servers other than its own have charged to a slice.
ALTER TABLE slices ADD COLUMN taken_by_others BIGINT NOT NULL DEFAULT 0;
