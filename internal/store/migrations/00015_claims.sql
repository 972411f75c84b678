-- +goose Up
-- Conditions on further claims of the subject token. A policy with an empty repository
-- is for a provider whose tokens name none; it is found by that.
ALTER TABLE oidc_trust_policies ADD COLUMN claims TEXT NOT NULL DEFAULT '{}'; -- JSON

-- Who a caller is that has no repository.
ALTER TABLE decisions ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN registered_by_workload_subject TEXT NOT NULL DEFAULT '';
