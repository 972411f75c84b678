-- +goose Up
-- Two programs that migrate at the same time both run a migration's statements;
-- this index lets only one of them commit.
CREATE UNIQUE INDEX goose_db_version_once ON goose_db_version (version_id);

CREATE TABLE organizations (
    organization_id TEXT NOT NULL PRIMARY KEY,
    slug            TEXT NOT NULL,
    name            TEXT NOT NULL,
    status          TEXT NOT NULL,
    revision        BIGINT NOT NULL,
    created_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX organizations_slug ON organizations (slug);

-- What belongs to the installation and to no organization.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
