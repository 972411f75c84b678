-- +goose Up
-- A grant and its event are found by the same things, so one index serves both, that
-- of the decision: the event has its id and its time. A grant writes no index of
-- events beside the primary key.
UPDATE events SET id = decision_id, at = COALESCE((
    SELECT decisions.at FROM decisions WHERE decisions.organization_id = events.organization_id AND decisions.id = events.decision_id), at)
    WHERE type = 'token_issued' AND decision_id <> '';
DROP INDEX events_agent;
DROP INDEX events_policy;
CREATE INDEX events_agent ON events (organization_id, agent_id, id) WHERE type <> 'token_issued';
CREATE INDEX events_policy ON events (organization_id, policy_id, id) WHERE type <> 'token_issued';

-- What the data of an event names, where it does. Of policies that are gone, the
-- repository is not filled in.
ALTER TABLE events ADD COLUMN repository_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN code TEXT NOT NULL DEFAULT '';
UPDATE events SET
    repository_folded = COALESCE((
        SELECT decisions.repository_folded FROM decisions WHERE decisions.organization_id = events.organization_id AND decisions.id = events.decision_id), ''),
    code = COALESCE((
        SELECT decisions.code FROM decisions WHERE decisions.organization_id = events.organization_id AND decisions.id = events.decision_id), '')
    WHERE type IN ('exchange_denied', 'token_replayed', 'repository_identity_changed');
UPDATE events SET
    repository_folded = COALESCE((
        SELECT p.repository_folded FROM oidc_trust_policies p WHERE p.organization_id = events.organization_id AND p.id = events.policy_id), '')
    WHERE type IN ('policy_created', 'policy_replaced', 'repository_pinned', 'repository_renamed');
UPDATE events SET
    repository_folded = COALESCE((
        SELECT lower(agents.registered_by_repository) FROM agents WHERE agents.organization_id = events.organization_id AND agents.id = events.agent_id), '')
    WHERE type = 'agent_registered';
CREATE INDEX events_repository ON events (organization_id, repository_folded, id) WHERE repository_folded <> '';
CREATE INDEX events_code ON events (organization_id, code, id) WHERE code <> '';
