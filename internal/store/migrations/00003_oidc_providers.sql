-- +goose Up
CREATE TABLE oidc_providers (
    organization_id TEXT NOT NULL,
    id              TEXT NOT NULL,
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    issuer          TEXT NOT NULL,
    audiences       TEXT NOT NULL, -- JSON
    algorithms      TEXT NOT NULL, -- JSON
    jwks_uri        TEXT NOT NULL,
    jwks            TEXT NOT NULL, -- a static key set, or empty
    max_token_age   BIGINT NOT NULL, -- microseconds
    replay          TEXT NOT NULL,
    revision        BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX oidc_providers_name ON oidc_providers (organization_id, name);
CREATE UNIQUE INDEX oidc_providers_issuer ON oidc_providers (organization_id, issuer);

-- Key sets fetched from providers, by the address they came from: a fetched set
-- belongs to its address, not to an organization.
CREATE TABLE key_sets (
    source     TEXT NOT NULL PRIMARY KEY,
    jwks       TEXT NOT NULL,
    fetched_at BIGINT NOT NULL
);
