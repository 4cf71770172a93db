-- Sums of charges by hour and by day (UTC), by the time at which they were recorded. Whoever writes a charge writes them in
-- the same transaction, so that they are always what the charges come to.

-- What charges have in common that are added up together. There may be several of the same.
CREATE TABLE usage_series (
    tenant_id TEXT COLLATE "C" NOT NULL,
    -- 1: by place and model, whoever called. 2: by owner and key too. 3: as 1, once for each team that the owner was in.
    level BIGINT NOT NULL,
    id BIGINT NOT NULL,
    workspace_id TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    -- Of level 2.
    owner TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    -- Of level 2: the teams that the owner was in then, as `/team_.../team_.../`.
    teams TEXT COLLATE "C" NOT NULL,
    -- Of level 3.
    team_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, level, id)
);
CREATE INDEX usage_series_by_key ON usage_series (tenant_id, key_id) WHERE level = 2;
CREATE INDEX usage_series_by_owner ON usage_series (tenant_id, owner) WHERE level = 2;
CREATE INDEX usage_series_by_team ON usage_series (tenant_id, team_id) WHERE level = 3;

CREATE TABLE usage_sums (
    tenant_id TEXT COLLATE "C" NOT NULL,
    series BIGINT NOT NULL,
    -- How many hours: 1 or 24.
    span BIGINT NOT NULL,
    -- The first of them, in hours since 1970.
    start BIGINT NOT NULL,
    -- Servers of different shards do not wait for each other.
    shard BIGINT NOT NULL,
    charges BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    -- What they cost, dollars and billionths added up apart: no sum is more than fits.
    dollars BIGINT NOT NULL,
    billionths BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, series, span, start, shard)
) WITH (fillfactor = 70);

-- The log of requests, newest first. By time alone: an index by owner as well would more than double what a charge costs to
-- write. When somebody called is known by the hour: from the sums.
CREATE INDEX charges_by_time ON charges (tenant_id, recorded, seq);

-- What there is already. Nobody knows who was in which team then. Numbers below zero: none is given out again.
INSERT INTO usage_series (tenant_id, level, id, workspace_id, project_id, provider, model, owner, key_id, teams, team_id)
SELECT tenant_id, level, -ROW_NUMBER() OVER (ORDER BY tenant_id, level, workspace_id, project_id, provider, model, owner, key_id),
    workspace_id, project_id, provider, model, owner, key_id, '/', ''
FROM (
    SELECT DISTINCT tenant_id, 1 AS level, workspace_id, project_id, provider, model, '' AS owner, '' AS key_id FROM charges
    UNION ALL SELECT DISTINCT tenant_id, 2, workspace_id, project_id, provider, model, owner, key_id FROM charges
) AS known;
INSERT INTO usage_sums (tenant_id, series, span, start, shard, charges, requests, input_tokens, cached_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, dollars, billionths)
SELECT known.tenant_id, id, 1, recorded / 3600000000, 0, COUNT(*), SUM(requests), SUM(input_tokens), SUM(cached_tokens),
    SUM(cache_write_tokens), SUM(output_tokens), SUM(reasoning_tokens), SUM(cost_nanos / 1000000000),
    SUM(cost_nanos % 1000000000)
FROM charges JOIN usage_series AS known ON known.tenant_id = charges.tenant_id
    AND known.workspace_id = charges.workspace_id AND known.project_id = charges.project_id
    AND known.provider = charges.provider AND known.model = charges.model
    AND known.owner = CASE level WHEN 2 THEN charges.owner ELSE '' END
    AND known.key_id = CASE level WHEN 2 THEN charges.key_id ELSE '' END
GROUP BY known.tenant_id, id, recorded / 3600000000;
INSERT INTO usage_sums (tenant_id, series, span, start, shard, charges, requests, input_tokens, cached_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, dollars, billionths)
SELECT tenant_id, series, 24, start - start % 24, 0, SUM(charges), SUM(requests), SUM(input_tokens), SUM(cached_tokens),
    SUM(cache_write_tokens), SUM(output_tokens), SUM(reasoning_tokens), SUM(dollars), SUM(billionths)
FROM usage_sums GROUP BY tenant_id, series, start - start % 24;
