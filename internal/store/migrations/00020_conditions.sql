-- +goose Up
ALTER TABLE oidc_trust_policies ADD COLUMN environment TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_trust_policies ADD COLUMN workflow TEXT NOT NULL DEFAULT '';
ALTER TABLE oidc_trust_policies ADD COLUMN condition TEXT NOT NULL DEFAULT ''; -- CEL
ALTER TABLE oidc_trust_policies ADD COLUMN accept_risk TEXT NOT NULL DEFAULT '';
