-- Managed instance groups: hosts of one operating-system family that share sources and an environment.
-- The same text rules as before.

CREATE TABLE instance_groups (
    id             TEXT   NOT NULL PRIMARY KEY,
    name           TEXT   NOT NULL UNIQUE,
    description    TEXT   NOT NULL,
    environment_id TEXT   REFERENCES environments (id),
    -- What the first member was: all three or none.
    os_id          TEXT,
    os_release     TEXT,
    architecture   TEXT,
    created_by     TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    -- Grows with every edit and every change of members.
    version        BIGINT NOT NULL
);
CREATE INDEX instance_groups_by_environment ON instance_groups (environment_id);

ALTER TABLE instances ADD COLUMN group_id TEXT REFERENCES instance_groups (id);
CREATE INDEX instances_by_group ON instances (group_id, name);
