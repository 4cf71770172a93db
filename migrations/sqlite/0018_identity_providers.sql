-- Who else may say who somebody is, and whom they have said it of.
CREATE TABLE identity_providers (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    slug TEXT NOT NULL,
    display_name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    created BIGINT NOT NULL,
    UNIQUE (tenant_id, slug)
);

-- Which user somebody is to a provider, from the first time that they sign in by it: an address may go to somebody else later.
CREATE TABLE external_identities (
    provider_id TEXT NOT NULL REFERENCES identity_providers (id),
    subject TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    created BIGINT NOT NULL,
    PRIMARY KEY (provider_id, subject),
    UNIQUE (provider_id, user_id)
);
CREATE INDEX external_identities_by_user ON external_identities (user_id);
CREATE INDEX external_identities_by_tenant ON external_identities (tenant_id);
