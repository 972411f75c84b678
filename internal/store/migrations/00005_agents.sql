-- +goose Up
CREATE TABLE agents (
    organization_id             TEXT NOT NULL,
    id                          TEXT NOT NULL,
    name                        TEXT NOT NULL,
    name_folded                 TEXT NOT NULL,
    description                 TEXT NOT NULL,
    agent_type                  TEXT NOT NULL,
    version                     TEXT NOT NULL,
    capabilities                TEXT NOT NULL, -- JSON
    owner                       TEXT NOT NULL,
    deployment_env              TEXT NOT NULL,
    labels                      TEXT NOT NULL, -- JSON
    status                      TEXT NOT NULL,
    registered_by_subject       TEXT NOT NULL,
    registered_by_policy_id     TEXT NOT NULL,
    registered_by_provider      TEXT NOT NULL,
    registered_by_repository    TEXT NOT NULL,
    registered_by_repository_id TEXT NOT NULL,
    registered_by_ref           TEXT NOT NULL,
    registered_by_run_id        TEXT NOT NULL,
    created_at                  BIGINT NOT NULL,
    updated_at                  BIGINT NOT NULL,
    revision                    BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX agents_name ON agents (organization_id, name_folded);
CREATE INDEX agents_registered_by_policy ON agents (organization_id, registered_by_policy_id);
