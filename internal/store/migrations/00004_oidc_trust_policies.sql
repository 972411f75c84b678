-- +goose Up
CREATE TABLE oidc_trust_policies (
    organization_id     TEXT NOT NULL,
    id                  TEXT NOT NULL,
    provider            TEXT NOT NULL,
    repository          TEXT NOT NULL,
    repository_folded   TEXT NOT NULL,
    branch              TEXT NOT NULL,
    tag                 TEXT NOT NULL,
    agent_id            TEXT NOT NULL, -- empty: bootstrap
    repository_id       TEXT NOT NULL,
    repository_owner_id TEXT NOT NULL,
    events              TEXT NOT NULL, -- JSON
    scopes              TEXT NOT NULL, -- JSON
    audiences           TEXT NOT NULL, -- JSON
    token_ttl_seconds   BIGINT NOT NULL,
    max_agents          BIGINT NOT NULL,
    agent_name_pattern  TEXT NOT NULL,
    mode                TEXT NOT NULL,
    expires_at          BIGINT NOT NULL, -- 0: never
    description         TEXT NOT NULL,
    fingerprint         TEXT NOT NULL, -- equal for policies with the same effect
    created_by          TEXT NOT NULL,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    revision            BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX oidc_trust_policies_fingerprint ON oidc_trust_policies (organization_id, fingerprint);
CREATE INDEX oidc_trust_policies_repository ON oidc_trust_policies (organization_id, provider, repository_folded);

-- Counters apart from the policies, so that counting neither waits for nor
-- disturbs the rows that issuing compares.
CREATE TABLE policy_usage (
    organization_id TEXT NOT NULL,
    policy_id       TEXT NOT NULL,
    last_matched_at BIGINT NOT NULL,
    match_count     BIGINT NOT NULL,
    PRIMARY KEY (organization_id, policy_id)
);

CREATE TABLE pins (
    organization_id     TEXT NOT NULL,
    provider            TEXT NOT NULL,
    repository_folded   TEXT NOT NULL,
    repository          TEXT NOT NULL,
    repository_id       TEXT NOT NULL,
    repository_owner_id TEXT NOT NULL,
    pinned_at           BIGINT NOT NULL,
    PRIMARY KEY (organization_id, provider, repository_folded)
);
CREATE INDEX pins_repository_id ON pins (organization_id, provider, repository_id);
