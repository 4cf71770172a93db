-- The tree over each tenant's audit log, and what the log says besides.
ALTER TABLE audit_events ADD COLUMN outcome TEXT COLLATE "C" NOT NULL DEFAULT 'done';
ALTER TABLE audit_events ADD COLUMN trace_id TEXT COLLATE "C" NOT NULL DEFAULT '';
-- For each field that can be erased (before, after, source, user_agent, reason), separated by commas: its salt, `=` and its
-- commitment when it has been erased, nothing when it was empty.
ALTER TABLE audit_events ADD COLUMN seals TEXT COLLATE "C" NOT NULL DEFAULT ',,,,';
-- The hash of its leaf; empty for an event of before there was a tree, until a server has put it in.
ALTER TABLE audit_events ADD COLUMN hash TEXT COLLATE "C" NOT NULL DEFAULT '';

-- How many events are in the tree, the roots of its whole subtrees, the largest first, separated by commas, and how many events the
-- last checkpoint speaks of.
ALTER TABLE audit_heads ADD COLUMN size BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_heads ADD COLUMN roots TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE audit_heads ADD COLUMN signed BIGINT NOT NULL DEFAULT 0;
-- Empty but for the tenants that have just changed.
CREATE INDEX audit_heads_unsigned ON audit_heads (tenant_id) WHERE seq > signed;

-- The roots of whole subtrees of 256, 65,536 and so on events: a proof needs at most so many hashes between two of them.
CREATE TABLE audit_nodes (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    level BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, level, idx)
);

-- What was signed of the tree.
CREATE TABLE audit_checkpoints (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    size BIGINT NOT NULL,
    at BIGINT NOT NULL,
    note TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, size)
);

CREATE INDEX audit_events_by_source ON audit_events (tenant_id, source, seq);
CREATE INDEX audit_events_by_outcome ON audit_events (tenant_id, outcome, seq) WHERE outcome <> 'done';
CREATE INDEX audit_events_by_time ON audit_events (tenant_id, at, seq);
-- Empty but for what a new version has yet to put into the tree.
CREATE INDEX audit_events_outside ON audit_events (tenant_id, seq) WHERE hash = '';

-- What is on record stays as it is. Only what can be erased may be, and what the tree does not have yet may get its place.
CREATE FUNCTION tollreeve_keep_audit() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR TG_TABLE_NAME <> 'audit_events' THEN
        RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (OLD.tenant_id, OLD.seq, OLD.at, OLD.actor, OLD.action, OLD.resource, OLD.request_id, OLD.revision, OLD.outcome, OLD.trace_id)
            IS DISTINCT FROM
            (NEW.tenant_id, NEW.seq, NEW.at, NEW.actor, NEW.action, NEW.resource, NEW.request_id, NEW.revision, NEW.outcome, NEW.trace_id)
        OR OLD.hash NOT IN ('', NEW.hash)
        OR NEW.before NOT IN ('', OLD.before) OR NEW.after NOT IN ('', OLD.after) OR NEW.source NOT IN ('', OLD.source)
        OR NEW.user_agent NOT IN ('', OLD.user_agent) OR NEW.reason NOT IN ('', OLD.reason) THEN
        RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION tollreeve_keep_audit();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit_nodes FOR EACH ROW EXECUTE FUNCTION tollreeve_keep_audit();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION tollreeve_keep_audit();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION tollreeve_keep_audit();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit_nodes FOR EACH STATEMENT EXECUTE FUNCTION tollreeve_keep_audit();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION tollreeve_keep_audit();

-- A user who is not above rights has none to change the log, not even as the owner of its tables: rows are added, and what can be
-- erased is.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_events, audit_nodes, audit_checkpoints FROM CURRENT_USER;
GRANT UPDATE (before, after, source, user_agent, reason, seals, hash) ON audit_events TO CURRENT_USER;
