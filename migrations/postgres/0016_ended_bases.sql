-- What tokens rested on that has ended before them: a session, or a public key of a service account.
CREATE TABLE ended_bases (
    -- Its id.
    basis TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    -- When the last token that may rest on it has ended, in microseconds.
    until BIGINT NOT NULL
);
CREATE INDEX ended_bases_by_end ON ended_bases (until);
CREATE INDEX ended_bases_by_tenant ON ended_bases (tenant_id);
