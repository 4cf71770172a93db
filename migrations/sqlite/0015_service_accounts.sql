-- Service accounts can be deleted, softly, and be named by certificates.
ALTER TABLE service_accounts ADD COLUMN deleted BIGINT;
-- Empty without one; spiffe_ids says the same.
ALTER TABLE service_accounts ADD COLUMN spiffe_id TEXT NOT NULL DEFAULT '';
DROP INDEX service_accounts_by_state;
CREATE INDEX service_accounts_by_state
    ON service_accounts (tenant_id, (CASE WHEN deleted IS NULL THEN state ELSE 'deleted' END), id);

-- Whose a SPIFFE id is: one account's, among those of all tenants.
CREATE TABLE spiffe_ids (
    spiffe_id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    service_account_id TEXT NOT NULL UNIQUE REFERENCES service_accounts (id)
);
CREATE INDEX spiffe_ids_by_tenant ON spiffe_ids (tenant_id);
