-- +goose Up
ALTER TABLE oidc_providers ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE oidc_providers SET updated_at = created_at;
