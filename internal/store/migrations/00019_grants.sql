-- +goose Up
-- Where a token came from, if not from a subject token alone, and whose key it is bound to.
ALTER TABLE access_tokens ADD COLUMN credential_id TEXT NOT NULL DEFAULT '';
ALTER TABLE access_tokens ADD COLUMN parent_id TEXT NOT NULL DEFAULT ''; -- the access token it was exchanged for
ALTER TABLE access_tokens ADD COLUMN depth BIGINT NOT NULL DEFAULT 0;    -- how many such exchanges lie behind it
ALTER TABLE access_tokens ADD COLUMN actor_id TEXT NOT NULL DEFAULT '';  -- the agent that acts for the subject
ALTER TABLE access_tokens ADD COLUMN key_thumbprint TEXT NOT NULL DEFAULT ''; -- RFC 9449: cnf.jkt

ALTER TABLE decisions ADD COLUMN grant_type TEXT NOT NULL DEFAULT 'urn:ietf:params:oauth:grant-type:token-exchange';
ALTER TABLE decisions ADD COLUMN credential_id TEXT NOT NULL DEFAULT '';
ALTER TABLE decisions ADD COLUMN actor_id TEXT NOT NULL DEFAULT '';
ALTER TABLE decisions ADD COLUMN parent_token_id TEXT NOT NULL DEFAULT '';

-- A grant to a client has no repository and no policy: it writes neither index.
DROP INDEX decisions_repository;
DROP INDEX decisions_repository_id;
DROP INDEX decisions_policy;
CREATE INDEX decisions_repository ON decisions (organization_id, repository_folded, id) WHERE repository_folded <> '';
CREATE INDEX decisions_repository_id ON decisions (organization_id, repository_id, id) WHERE repository_id <> '';
CREATE INDEX decisions_policy ON decisions (organization_id, policy_id, id) WHERE policy_id <> '';
