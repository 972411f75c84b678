-- +goose Up
CREATE TABLE decisions (
    organization_id     TEXT NOT NULL,
    id                  TEXT NOT NULL,
    request_id          TEXT NOT NULL,
    at                  BIGINT NOT NULL,
    outcome             TEXT NOT NULL,
    code                TEXT NOT NULL,
    reason              TEXT NOT NULL,
    provider            TEXT NOT NULL,
    repository          TEXT NOT NULL,
    repository_id       TEXT NOT NULL,
    repository_owner_id TEXT NOT NULL,
    ref                 TEXT NOT NULL,
    event               TEXT NOT NULL,
    run_id              TEXT NOT NULL,
    agent_id            TEXT NOT NULL,
    policy_id           TEXT NOT NULL,
    token_id            TEXT NOT NULL,
    checks              TEXT NOT NULL, -- JSON
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE events (
    organization_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    at              BIGINT NOT NULL,
    type            TEXT NOT NULL,
    actor           TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    policy_id       TEXT NOT NULL,
    token_id        TEXT NOT NULL,
    decision_id     TEXT NOT NULL,
    request_id      TEXT NOT NULL,
    data            TEXT NOT NULL, -- JSON
    PRIMARY KEY (organization_id, id)
);
