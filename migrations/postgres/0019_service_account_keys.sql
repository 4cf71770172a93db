-- Public keys of service accounts: whoever signs with the private one is the account.
CREATE TABLE service_account_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    service_account_id TEXT COLLATE "C" NOT NULL REFERENCES service_accounts (id),
    display_name TEXT COLLATE "C" NOT NULL,
    -- PEM, SubjectPublicKeyInfo.
    public_key TEXT COLLATE "C" NOT NULL,
    expires BIGINT,
    created BIGINT NOT NULL
);
CREATE INDEX service_account_keys_by_account ON service_account_keys (service_account_id, id);
CREATE INDEX service_account_keys_by_tenant ON service_account_keys (tenant_id);

-- Assertions that were taken, until they are too old to be taken again. Of keys that may be gone.
CREATE TABLE assertions (
    public_key_id TEXT COLLATE "C" NOT NULL,
    jti TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    -- When it is refused for its age, in microseconds.
    until BIGINT NOT NULL,
    PRIMARY KEY (public_key_id, jti)
);
CREATE INDEX assertions_by_end ON assertions (until);
CREATE INDEX assertions_by_tenant ON assertions (tenant_id);
