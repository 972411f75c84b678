-- +goose Up
ALTER TABLE oidc_trust_policies ADD COLUMN trust_registered_agents BOOLEAN NOT NULL DEFAULT FALSE;

-- What policies and agents are looked for by; each list goes by id.
CREATE INDEX oidc_trust_policies_repository_name ON oidc_trust_policies (organization_id, repository_folded, id);
CREATE INDEX oidc_trust_policies_provider ON oidc_trust_policies (organization_id, provider, id);
CREATE INDEX oidc_trust_policies_agent ON oidc_trust_policies (organization_id, agent_id, id);
CREATE INDEX oidc_trust_policies_of_agents ON oidc_trust_policies (organization_id, id) WHERE agent_id <> '';
CREATE INDEX oidc_trust_policies_mode ON oidc_trust_policies (organization_id, mode, id);
DROP INDEX agents_registered_by_policy;
CREATE INDEX agents_registered_by_policy ON agents (organization_id, registered_by_policy_id, id);
CREATE INDEX agents_status ON agents (organization_id, status, id);
