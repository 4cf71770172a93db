-- Prices by more than plain tokens.

-- What a charge used beside the plain counts, and in which tier of service, as JSON; empty for nothing, in the standard tier.
ALTER TABLE charges ADD COLUMN metered TEXT COLLATE "C" NOT NULL DEFAULT '';
