-- Who is asked to join a tenant. The user is there from the beginning, as `invited`; the role and the teams are given when
-- the invitation is accepted.
CREATE TABLE invitations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    user_id TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C" NOT NULL,
    email_folded TEXT COLLATE "C" NOT NULL,
    -- The role that is given: built in, or a tenant's own.
    role TEXT COLLATE "C" NOT NULL,
    -- Id of the role template that gives it, and its slug; empty without one.
    template_id TEXT COLLATE "C" NOT NULL,
    template TEXT COLLATE "C" NOT NULL,
    -- The workspace that the role is given on; null: the whole tenant.
    workspace_id TEXT COLLATE "C",
    -- JSON array of team ids.
    teams TEXT COLLATE "C" NOT NULL,
    -- Who invites, and the tenant that they belong to.
    inviter TEXT COLLATE "C" NOT NULL,
    inviter_tenant TEXT COLLATE "C" NOT NULL,
    -- pending, accepted, cancelled or void.
    state TEXT COLLATE "C" NOT NULL,
    -- What is stored of the secret in the link, under a key that is not in the database; null when there is no link any more.
    hash TEXT COLLATE "C" UNIQUE,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    version BIGINT NOT NULL
);
-- A page of those that are pending is a range of one of these; nobody has two.
CREATE INDEX invitations_by_tenant ON invitations (tenant_id, id) WHERE state = 'pending';
CREATE UNIQUE INDEX invitations_by_email ON invitations (tenant_id, email_folded) WHERE state = 'pending';
-- The last invitation of an address.
CREATE INDEX invitations_of_email ON invitations (tenant_id, email_folded, id);
-- Seats that are kept for those who are invited.
CREATE INDEX invitations_by_role ON invitations (tenant_id, role) WHERE state = 'pending';
