-- +goose Up
-- What administrators changed in the last minutes, for nodes that remember how it was.
-- It repeats events, of which most are grants, so that nobody has to look for the others
-- among them; and it takes no index on a table that may be large.
CREATE TABLE changes (
    id              TEXT NOT NULL, -- the event's
    organization_id TEXT NOT NULL,
    type            TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    policy_id       TEXT NOT NULL,
    data            TEXT NOT NULL, -- JSON
    PRIMARY KEY (id, organization_id)
);
