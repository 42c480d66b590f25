-- The login sessions of teachers: which there are, and what the cache has still to be told of them.
-- Nothing here refers to teachers: a session may not hinder what happens to its teacher.

-- +goose Up
CREATE TABLE login_sessions (
    id_hash       TEXT   NOT NULL PRIMARY KEY CHECK (length(id_hash) = 64), -- SHA-256; the id itself is a secret
    sealed_id     TEXT   NOT NULL, -- the id under the key ring of package session
    teacher_id    TEXT   NOT NULL CHECK (teacher_id <> ''),
    login_order   BIGINT NOT NULL, -- among the teacher's
    created_at    BIGINT NOT NULL,
    last_activity BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    agent         TEXT   NOT NULL,
    network       TEXT   NOT NULL,
    revoked_at    BIGINT NOT NULL DEFAULT 0, -- 0: alive
    pending       BIGINT NOT NULL DEFAULT 0 CHECK (pending IN (0, 1, 2)), -- what the cache misses: nothing, put, clear
    version       BIGINT NOT NULL DEFAULT 0  -- of pending
);

CREATE INDEX login_sessions_alive ON login_sessions (teacher_id, login_order) WHERE revoked_at = 0;
CREATE INDEX login_sessions_pending ON login_sessions (id_hash) WHERE pending <> 0;
CREATE INDEX login_sessions_deadline ON login_sessions (deadline);

-- The order of a teacher's last login, or of the last log-out everywhere.
CREATE TABLE login_orders (
    teacher_id TEXT   NOT NULL PRIMARY KEY,
    last_order BIGINT NOT NULL
);

-- Requests that were refused because they came from somewhere else than the login.
CREATE TABLE login_mismatches (
    id_hash  TEXT    NOT NULL PRIMARY KEY,
    agent    BOOLEAN NOT NULL, -- which differed in the last of them
    network  BOOLEAN NOT NULL,
    requests BIGINT  NOT NULL,
    last_at  BIGINT  NOT NULL
);

-- The run of the cache's server that was filled last. One row.
CREATE TABLE login_cache (
    id     BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    server TEXT   NOT NULL
);

-- +goose Down
DROP TABLE login_cache;
DROP TABLE login_mismatches;
DROP TABLE login_orders;
DROP TABLE login_sessions;
