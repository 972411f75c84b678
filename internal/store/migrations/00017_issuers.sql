-- +goose Up
-- Whose word an agent was registered on: a provider's name can be another issuer's later.
-- Of agents from before, it is known where the provider is still the one that was there
-- then; '' is the provider of the configuration, or one that is gone.
ALTER TABLE agents ADD COLUMN registered_by_issuer TEXT NOT NULL DEFAULT '';
UPDATE agents SET registered_by_issuer = COALESCE((
    SELECT p.issuer FROM oidc_providers p WHERE p.organization_id = agents.organization_id
        AND p.name = agents.registered_by_provider AND p.created_at <= agents.created_at), '')
    WHERE registered_by_provider <> '';

-- From here on, provider is the issuer of a registered provider, and the name of one of
-- the configuration: a token stays used when its issuer is registered anew.
UPDATE used_tokens SET provider = COALESCE((
    SELECT p.issuer FROM oidc_providers p WHERE p.organization_id = used_tokens.organization_id AND p.name = used_tokens.provider), provider);
