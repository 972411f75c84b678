-- +goose Up
-- When the database was put back to an earlier state; 0: never. What was exchanged
-- between that state and this instant is not remembered. It stands where every
-- exchange reads it anyway.
ALTER TABLE organizations ADD COLUMN restored_at BIGINT NOT NULL DEFAULT 0;
