-- +goose Up
-- Subject tokens that were exchanged with success, until they expire.
CREATE TABLE used_tokens (
    organization_id TEXT NOT NULL,
    provider        TEXT NOT NULL,
    replay_key      TEXT NOT NULL,
    decision_id     TEXT NOT NULL,
    expires_at      BIGINT NOT NULL,
    PRIMARY KEY (organization_id, provider, replay_key)
);
CREATE INDEX used_tokens_expiry ON used_tokens (organization_id, expires_at);

CREATE TABLE access_tokens (
    organization_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    kind            TEXT NOT NULL,
    subject         TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    policy_id       TEXT NOT NULL,
    decision_id     TEXT NOT NULL,
    provider        TEXT NOT NULL,
    repository_id   TEXT NOT NULL,
    scope           TEXT NOT NULL,
    audience        TEXT NOT NULL,
    issued_at       BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    revoked_at      BIGINT NOT NULL, -- 0: not revoked
    PRIMARY KEY (organization_id, id)
);
