-- The record of changes, the feed that carries them to memory, and the keys that this database belongs to.
CREATE TABLE audit_heads (
    tenant_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tenants (id),
    seq BIGINT NOT NULL
);

CREATE TABLE audit_events (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    before TEXT COLLATE "C" NOT NULL,
    after TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);

-- One row: taken last in every changing transaction, so that commit order is revision order.
CREATE TABLE feed_head (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL
);
INSERT INTO feed_head (id, revision) VALUES (1, 0);

CREATE TABLE feed_events (
    revision BIGINT NOT NULL PRIMARY KEY,
    body TEXT COLLATE "C" NOT NULL
);

-- Fingerprints of the key files that this database needs: a start with other files is refused.
CREATE TABLE keyring (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    fingerprint TEXT COLLATE "C" NOT NULL
);
