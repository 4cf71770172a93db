-- What of a budget's limit is spent, and what went past it, goes on record once for each period.

-- Whoever charges a slice, or a period without one, marks it as due when that reaches what it is watched for: somebody then
-- adds up what is spent. As long as none is due, no threshold is reached: together they are watched for less than is missing.
ALTER TABLE slices ADD COLUMN watch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE slices ADD COLUMN due BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE budget_periods ADD COLUMN watch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE budget_periods ADD COLUMN due BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX due_slices ON slices (budget_id, period) WHERE due;
CREATE INDEX due_periods ON budget_periods (budget_id, period) WHERE due;

-- What is on record of a period.
CREATE TABLE budget_alerts (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    budget_id TEXT NOT NULL REFERENCES budgets (id),
    period BIGINT NOT NULL,
    -- Which threshold, in percent of the limit; 0 for what went past it.
    percent BIGINT NOT NULL,
    -- When it was seen.
    created BIGINT NOT NULL,
    PRIMARY KEY (budget_id, period, percent)
) WITHOUT ROWID;

-- What a request that was carried out under an id has made or changed.
ALTER TABLE requests ADD COLUMN resource TEXT NOT NULL DEFAULT '';
