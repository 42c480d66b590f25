-- Teachers, their class sessions, and who is in them. Times are microseconds since 1970, 0 for "not".

-- +goose Up
CREATE TABLE teachers (
    id            TEXT   NOT NULL PRIMARY KEY CHECK (id <> ''),
    email         TEXT   NOT NULL CHECK (email <> ''), -- in lower case
    name          TEXT   NOT NULL,
    password_hash TEXT   NOT NULL CHECK (password_hash <> ''),
    created_at    BIGINT NOT NULL
);

CREATE UNIQUE INDEX teachers_email ON teachers (email);

CREATE TABLE class_sessions (
    id          TEXT   NOT NULL PRIMARY KEY CHECK (id <> ''),
    teacher_id  TEXT   NOT NULL REFERENCES teachers (id) ON DELETE CASCADE,
    title       TEXT   NOT NULL,
    state       TEXT   NOT NULL CHECK (state IN ('created', 'active', 'paused', 'ended')),
    access_code TEXT   CHECK (access_code <> ''), -- NULL: none
    created_at  BIGINT NOT NULL,
    started_at  BIGINT NOT NULL DEFAULT 0,
    paused_at   BIGINT NOT NULL DEFAULT 0,
    ended_at    BIGINT NOT NULL DEFAULT 0,
    CHECK (state <> 'ended' OR access_code IS NULL) -- at its end a session gives its code back
);

-- A page of a teacher's sessions, the newest first.
CREATE INDEX class_sessions_teacher ON class_sessions (teacher_id, created_at DESC, id DESC);

-- Two living sessions never share a code, and by the check above only living ones have one.
CREATE UNIQUE INDEX class_sessions_code ON class_sessions (access_code) WHERE access_code IS NOT NULL;

-- All living sessions, in the order in which the sync of the analytics walks over them.
CREATE INDEX class_sessions_living ON class_sessions (id) WHERE state <> 'ended';

CREATE TABLE class_groups (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (id <> ''),
    session_id TEXT    NOT NULL REFERENCES class_sessions (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL CHECK (name <> ''),
    ready      BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (session_id, name),
    UNIQUE (session_id, id) -- what participants refer to
);

CREATE TABLE participants (
    id         TEXT   NOT NULL PRIMARY KEY CHECK (id <> ''),
    session_id TEXT   NOT NULL REFERENCES class_sessions (id) ON DELETE CASCADE,
    group_id   TEXT, -- NULL: in no group
    name       TEXT   NOT NULL CHECK (name <> ''),
    joined_at  BIGINT NOT NULL,
    -- With the session's id, so that nobody is in a group of another session.
    FOREIGN KEY (session_id, group_id) REFERENCES class_groups (session_id, id) ON DELETE CASCADE
);

CREATE INDEX participants_session ON participants (session_id, joined_at, id);
CREATE INDEX participants_group ON participants (session_id, group_id);

-- +goose Down
DROP TABLE participants;
DROP TABLE class_groups;
DROP TABLE class_sessions;
DROP TABLE teachers;
