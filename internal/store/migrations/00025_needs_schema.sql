-- +goose Up
-- The schema version of the oldest program that may work with an organization. It is
-- raised, together with the revision, by what an older program would overlook.
ALTER TABLE organizations ADD COLUMN needs_schema BIGINT NOT NULL DEFAULT 0;
