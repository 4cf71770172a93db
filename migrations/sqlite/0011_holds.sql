-- Which hold a charge settled: the run of the server that made it, its number there, and when it was made; 0 without one.
ALTER TABLE charges ADD COLUMN hold_run BIGINT NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN hold BIGINT NOT NULL DEFAULT 0;
ALTER TABLE charges ADD COLUMN hold_issued BIGINT NOT NULL DEFAULT 0;
-- Whether the charge ended it.
ALTER TABLE charges ADD COLUMN ended_hold BOOLEAN NOT NULL DEFAULT FALSE;

-- What was taken of a hold before, for a server that did not make it. By time, so that it grows at its end.
CREATE INDEX charges_by_hold ON charges (hold_issued) WHERE hold_issued <> 0;
