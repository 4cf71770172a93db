-- Statements of months: once closed, neither they nor their lines change.
CREATE TABLE statements (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- The first hour of the month, in hours since 1970.
    month BIGINT NOT NULL,
    -- 1, 2, 3 and so on in the tenant, in the order of closing.
    number BIGINT NOT NULL,
    closed BIGINT NOT NULL,
    actor TEXT NOT NULL,
    lines BIGINT NOT NULL,
    charges BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    -- Five kinds of tokens with spaces between them, as those of lines.
    tokens TEXT NOT NULL,
    cost BIGINT NOT NULL,
    -- SHA-256 of the lines as CSV.
    hash TEXT NOT NULL,
    PRIMARY KEY (tenant_id, month),
    UNIQUE (tenant_id, number)
);

CREATE TABLE statement_lines (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    month BIGINT NOT NULL,
    number BIGINT NOT NULL,
    -- Names as they were when it was closed. Of lines by team, the team; the other lines have none, and come to the total.
    team TEXT NOT NULL,
    workspace TEXT NOT NULL,
    project TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    charges BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    tokens TEXT NOT NULL,
    cost BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, month, number)
);

CREATE FUNCTION tollreeve_closed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a closed statement does not change' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER statements_do_not_change BEFORE UPDATE OR DELETE ON statements
    FOR EACH ROW EXECUTE FUNCTION tollreeve_closed();
CREATE TRIGGER statements_stay BEFORE TRUNCATE ON statements EXECUTE FUNCTION tollreeve_closed();
CREATE TRIGGER statement_lines_do_not_change BEFORE UPDATE OR DELETE ON statement_lines
    FOR EACH ROW EXECUTE FUNCTION tollreeve_closed();
CREATE TRIGGER statement_lines_stay BEFORE TRUNCATE ON statement_lines EXECUTE FUNCTION tollreeve_closed();
-- Lines are written before the statement is.
CREATE FUNCTION tollreeve_complete() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM statements WHERE tenant_id = NEW.tenant_id AND month = NEW.month) THEN
        RAISE EXCEPTION 'a closed statement does not change' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER statement_lines_are_complete BEFORE INSERT ON statement_lines
    FOR EACH ROW EXECUTE FUNCTION tollreeve_complete();
