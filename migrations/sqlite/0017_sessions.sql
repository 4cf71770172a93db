-- Passwords of users, and where they have signed in. No token is stored: those that are given away are authenticated with keys
-- that are not in the database.
CREATE TABLE passwords (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- Argon2id, with its salt and parameters, as a PHC string.
    hash TEXT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE INDEX passwords_by_tenant ON passwords (tenant_id);

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    created BIGINT NOT NULL,
    refreshed BIGINT NOT NULL,
    -- NULL while nobody has ended it.
    ended BIGINT,
    source TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    -- Which refresh token is the newest, and which it was exchanged for: see src/domain/sessions.rs.
    generation BIGINT NOT NULL,
    nonce TEXT NOT NULL,
    nonce_before TEXT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_tenant ON sessions (tenant_id);
