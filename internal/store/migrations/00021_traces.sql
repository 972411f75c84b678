-- +goose Up
ALTER TABLE decisions ADD COLUMN nearest TEXT NOT NULL DEFAULT ''; -- JSON, or empty
ALTER TABLE decisions ADD COLUMN shadow TEXT NOT NULL DEFAULT '';  -- JSON, or empty

-- Claims of subject tokens, apart from the decisions because they are kept for less long.
CREATE TABLE recorded_claims (
    organization_id TEXT NOT NULL,
    decision_id     TEXT NOT NULL,
    claims          TEXT NOT NULL, -- JSON
    PRIMARY KEY (organization_id, decision_id)
);
