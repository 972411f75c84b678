-- +goose Up
-- What decisions and events are looked for by; each list goes by id. An index
-- costs every exchange a write, so there is none for what most exchanges have in
-- common: a grant, and its event.
ALTER TABLE decisions ADD COLUMN repository_folded TEXT NOT NULL DEFAULT '';
UPDATE decisions SET repository_folded = lower(repository);
CREATE INDEX decisions_repository ON decisions (organization_id, repository_folded, id);
CREATE INDEX decisions_repository_id ON decisions (organization_id, repository_id, id);
CREATE INDEX decisions_agent ON decisions (organization_id, agent_id, id);
CREATE INDEX decisions_policy ON decisions (organization_id, policy_id, id);
CREATE INDEX decisions_denied ON decisions (organization_id, id) WHERE outcome = 'denied';
CREATE INDEX decisions_code ON decisions (organization_id, code, id) WHERE outcome = 'denied';
CREATE INDEX events_agent ON events (organization_id, agent_id, id);
CREATE INDEX events_policy ON events (organization_id, policy_id, id);
CREATE INDEX events_type ON events (organization_id, type, id) WHERE type <> 'token_issued';
