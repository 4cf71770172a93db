-- The ledger. Invariants: allocated = sum of granted over open slices + settled, and is at most the ceiling;
-- spent of a slice is at most what it was granted.
CREATE TABLE replicas (
    boot_id TEXT NOT NULL PRIMARY KEY,
    started BIGINT NOT NULL,
    -- 1 live, 2 expired, 3 retired in order.
    state BIGINT NOT NULL
);

CREATE TABLE budget_periods (
    budget_id TEXT NOT NULL REFERENCES budgets (id),
    period BIGINT NOT NULL,
    cap BIGINT NOT NULL,
    ceiling BIGINT NOT NULL,
    allocated BIGINT NOT NULL CHECK (allocated >= 0),
    -- Spent outside open slices: of closed slices, and charges that had no slice to go to.
    settled BIGINT NOT NULL CHECK (settled >= 0),
    -- Recorded although there was no room.
    overrun BIGINT NOT NULL CHECK (overrun >= 0),
    PRIMARY KEY (budget_id, period),
    CHECK (allocated <= ceiling),
    CHECK (ceiling >= cap)
);

CREATE TABLE slices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    budget_id TEXT NOT NULL,
    period BIGINT NOT NULL,
    boot_id TEXT NOT NULL REFERENCES replicas (boot_id),
    granted BIGINT NOT NULL,
    spent BIGINT NOT NULL CHECK (spent >= 0),
    -- Grows with every change of the row: memory keeps what it saw under the highest.
    ver BIGINT NOT NULL,
    -- Longest hold that was promised on it, in seconds.
    promised BIGINT NOT NULL,
    -- 1 live, 2 closing, 3 closed.
    state BIGINT NOT NULL,
    UNIQUE (budget_id, period, boot_id),
    FOREIGN KEY (budget_id, period) REFERENCES budget_periods (budget_id, period),
    CHECK (spent <= granted)
);
CREATE INDEX open_slices ON slices (state) WHERE state < 3;

CREATE TABLE charges (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id TEXT NOT NULL,
    charge_id TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    caller TEXT NOT NULL,
    end_user TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    price_id BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    late BOOLEAN NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL,
    released_nanos BIGINT NOT NULL,
    overrun_nanos BIGINT NOT NULL,
    occurred BIGINT NOT NULL,
    recorded BIGINT NOT NULL,
    labels TEXT NOT NULL,
    -- Where the charge went: `budget:period:slice:in slice:direct:overrun`, separated by spaces.
    postings TEXT NOT NULL,
    UNIQUE (tenant_id, charge_id)
);
