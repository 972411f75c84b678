-- +goose Up
-- When a key signs, and whether it was given up. A key from before this migration
-- signs from the beginning and without an end.
ALTER TABLE signing_keys ADD COLUMN signs_from BIGINT NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN signs_until BIGINT NOT NULL DEFAULT 0; -- 0: no end yet
ALTER TABLE signing_keys ADD COLUMN compromised_at BIGINT NOT NULL DEFAULT 0; -- 0: not compromised
