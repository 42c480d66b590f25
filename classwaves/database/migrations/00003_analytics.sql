-- The records of class sessions' analytics, whose bytes are package analytics' own.

-- +goose Up
CREATE TABLE session_analytics (
    session_id TEXT   NOT NULL PRIMARY KEY REFERENCES class_sessions (id) ON DELETE CASCADE,
    record     TEXT   NOT NULL CHECK (record <> ''),
    revision   BIGINT NOT NULL CHECK (revision > 0), -- one more at every save
    saved_at   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE session_analytics;
