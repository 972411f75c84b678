-- +goose Up
-- Each policy has its counters from its creation on, so that those that have granted
-- nothing stand in an index: the others are the many. One that the version before
-- creates meanwhile has them from its first grant on.
INSERT INTO policy_usage (organization_id, policy_id, last_matched_at, match_count)
SELECT organization_id, id, 0, 0 FROM oidc_trust_policies p
WHERE NOT EXISTS (SELECT 1 FROM policy_usage u WHERE u.organization_id = p.organization_id AND u.policy_id = p.id);
CREATE INDEX policy_usage_never ON policy_usage (organization_id, policy_id) WHERE match_count = 0;

-- Policies that end, by when; most do not.
CREATE INDEX oidc_trust_policies_expiring ON oidc_trust_policies (organization_id, expires_at, id) WHERE expires_at <> 0;
