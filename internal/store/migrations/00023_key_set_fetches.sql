-- +goose Up
-- Nodes tell each other when one of them asks an issuer for its keys, and when that
-- failed. A set that was asked for and never fetched is empty.
ALTER TABLE key_sets ADD COLUMN asked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE key_sets ADD COLUMN failed_at BIGINT NOT NULL DEFAULT 0;
