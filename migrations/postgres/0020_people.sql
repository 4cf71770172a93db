-- People leave for good: their rows go, and of each an id stays, which keys, charges and the audit log still refer to.
CREATE TABLE former_users (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    removed BIGINT NOT NULL
);
CREATE INDEX former_users_by_tenant ON former_users (tenant_id);

-- Who holds a role on a whole tenant: a list of users by their role is a range of it.
CREATE INDEX bindings_on_tenant ON bindings (tenant_id, role, member)
    WHERE scope_tenant IS NOT NULL AND scope_workspace IS NULL;

-- A request of somebody who removed themselves is still one of the tenant's.
DROP POLICY wall ON requests;
SELECT tollreeve_wall('requests',
    'EXISTS (SELECT 1 FROM users WHERE users.id = caller)
     OR EXISTS (SELECT 1 FROM service_accounts WHERE service_accounts.id = caller)
     OR EXISTS (SELECT 1 FROM former_users WHERE former_users.id = caller)');
