-- Budgets, credit and prices: what people set. What is spent stands in the ledger.
CREATE TABLE budgets (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    scope_kind TEXT NOT NULL,
    -- Id of what it limits, or the end user's name; empty for the tenant itself.
    scope_ref TEXT NOT NULL,
    unit TEXT NOT NULL,
    span TEXT NOT NULL,
    amount BIGINT NOT NULL CHECK (amount >= 0),
    hard BOOLEAN NOT NULL,
    credit BOOLEAN NOT NULL,
    display_name TEXT NOT NULL,
    created BIGINT NOT NULL,
    version BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL
);
CREATE INDEX budgets_by_tenant ON budgets (tenant_id, id);
CREATE INDEX budgets_by_scope ON budgets (tenant_id, scope_kind, scope_ref);
CREATE UNIQUE INDEX one_credit_pool ON budgets (scope_ref) WHERE credit;

CREATE TABLE credit_entries (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    reference TEXT NOT NULL,
    budget_id TEXT NOT NULL REFERENCES budgets (id),
    amount BIGINT NOT NULL,
    actor TEXT NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, reference)
);

CREATE TABLE prices (
    id BIGINT NOT NULL PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- JSON of the price: billionths of a US dollar per million units.
    body TEXT NOT NULL,
    created BIGINT NOT NULL,
    -- The newest price of a provider's model; older ones are kept for the holds that remember them.
    current BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX one_current_price ON prices (provider, model) WHERE current;
