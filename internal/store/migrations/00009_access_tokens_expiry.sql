-- +goose Up
-- Tokens that still live are few among all that were ever issued; whoever revokes
-- many looks through them alone.
CREATE INDEX access_tokens_expiry ON access_tokens (organization_id, expires_at, id);
