-- The groups of a class session have an order, that in which its teacher named them. Those from before
-- have none, and stay in that of their names.

-- +goose Up
ALTER TABLE class_groups ADD COLUMN position BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE class_groups DROP COLUMN position;
