-- Prices have versions, each from a moment on. Rows of prices and of their versions never change.

-- Whose price it is: empty for the list that is the same for every tenant.
ALTER TABLE prices ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';
-- In which of the owner's versions it was set. An empty body: the model has no price from then on.
ALTER TABLE prices ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
-- From when on it counts, until the next of the same provider and model does. When that is when it was made, it has counted on
-- every server since that was acknowledged, whatever their clocks show.
ALTER TABLE prices ADD COLUMN effective BIGINT NOT NULL DEFAULT 0;

DROP INDEX one_current_price;
ALTER TABLE prices DROP COLUMN current;
-- What was imported at once was one version. No price counts sooner than one before it, whatever a clock showed.
UPDATE prices SET version = dated.version, effective = dated.effective, created = dated.effective
    FROM (SELECT id, effective, DENSE_RANK() OVER (ORDER BY effective) AS version
          FROM (SELECT id, MAX(created) OVER (ORDER BY id) AS effective FROM prices) AS ordered) AS dated
    WHERE dated.id = prices.id;
CREATE INDEX prices_by_model ON prices (owner, provider, model, effective, id);
CREATE INDEX prices_by_version ON prices (owner, version, provider, model);

CREATE TABLE price_versions (
    -- As in prices.
    owner TEXT COLLATE "C" NOT NULL,
    -- 1, 2, 3 and so on.
    number BIGINT NOT NULL,
    effective BIGINT NOT NULL,
    created BIGINT NOT NULL,
    -- Who made it; empty when that was not noted.
    actor TEXT COLLATE "C" NOT NULL,
    -- Position of its event in the audit log; 0 when that was not noted.
    audit_seq BIGINT NOT NULL,
    -- The version whose content it brought back, 0 for what was before the first; null for none.
    restores BIGINT,
    -- How many prices it set, and how many it took away.
    sets BIGINT NOT NULL,
    removals BIGINT NOT NULL,
    PRIMARY KEY (owner, number)
);
INSERT INTO price_versions (owner, number, effective, created, actor, audit_seq, restores, sets, removals)
    SELECT '', version, MAX(effective), MAX(created), '', 0, NULL, COUNT(*), 0 FROM prices GROUP BY version;

-- The last id of any price: one row, which whoever sets prices locks.
CREATE TABLE price_head (last BIGINT NOT NULL);
INSERT INTO price_head (last) SELECT COALESCE(MAX(id), 0) FROM prices;

DROP POLICY wall ON prices;
SELECT tollreeve_wall(name, 'owner = '''' OR owner = ANY (string_to_array((SELECT current_setting(''tollreeve.tenants'', TRUE)), '',''))')
    FROM (VALUES ('prices'), ('price_versions')) AS walled (name);
SELECT tollreeve_wall('price_head', 'TRUE');
