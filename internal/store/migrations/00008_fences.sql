-- +goose Up
-- Rows that somebody is about to change: issuing leaves them alone, so that the
-- change does not wait behind an endless line of readers. Used on PostgreSQL.
CREATE TABLE fences (
    organization_id TEXT NOT NULL,
    kind            TEXT NOT NULL,
    row_id          TEXT NOT NULL,
    holder          TEXT NOT NULL,
    until           BIGINT NOT NULL,
    PRIMARY KEY (organization_id, kind, row_id, holder)
);
