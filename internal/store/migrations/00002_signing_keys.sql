-- +goose Up
CREATE TABLE signing_keys (
    organization_id    TEXT NOT NULL,
    key_id             TEXT NOT NULL,
    algorithm          TEXT NOT NULL,
    public_jwk         TEXT NOT NULL,
    sealed_private_key TEXT NOT NULL, -- base64
    created_at         BIGINT NOT NULL,
    PRIMARY KEY (organization_id, key_id)
);
