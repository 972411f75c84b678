-- +goose Up
-- What agents authenticate with outside CI. Of a secret there is only the hash.
CREATE TABLE credentials (
    organization_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    type            TEXT NOT NULL,
    description     TEXT NOT NULL,
    scopes          TEXT NOT NULL, -- JSON, which may be an empty list; or empty: no bound
    secret_hash     TEXT NOT NULL, -- SHA-256, base64url; empty for public keys
    jwks            TEXT NOT NULL, -- a JWK set of public keys, or empty
    expires_at      BIGINT NOT NULL, -- 0: never
    revoked_at      BIGINT NOT NULL, -- 0: not revoked
    created_by      TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    revision        BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX credentials_agent ON credentials (organization_id, agent_id, id);
-- For retention. Most credentials have neither.
CREATE INDEX credentials_revoked ON credentials (organization_id, revoked_at, id) WHERE revoked_at > 0;
CREATE INDEX credentials_expiring ON credentials (organization_id, expires_at, id) WHERE expires_at > 0;

-- Apart from the credentials, so that counting neither waits for nor disturbs the rows
-- that issuing compares.
CREATE TABLE credential_usage (
    organization_id TEXT NOT NULL,
    credential_id   TEXT NOT NULL,
    last_used_at    BIGINT NOT NULL,
    PRIMARY KEY (organization_id, credential_id)
);

ALTER TABLE agents ADD COLUMN audiences TEXT NOT NULL DEFAULT '[]'; -- JSON
ALTER TABLE agents ADD COLUMN may_delegate_to TEXT NOT NULL DEFAULT '[]'; -- JSON, ids of agents
