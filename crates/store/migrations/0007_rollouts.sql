-- Rollouts: the plan of a job and what people did to it, jobs that take others back and what they bar, windows, freezes
-- and reboot slots. The same text rules as before.

-- What people and the planner did to the job: JSON; NULL: nothing.
ALTER TABLE patch_jobs ADD COLUMN control TEXT;
-- Its plans, JSON, newest last; NULL: made by an older version, or not looked up yet.
ALTER TABLE patch_jobs ADD COLUMN plans TEXT;
-- The job it takes back; of a wave that halted: which, and when it halted.
ALTER TABLE patch_jobs ADD COLUMN undo_of TEXT;
ALTER TABLE patch_jobs ADD COLUMN undo_wave TEXT;
ALTER TABLE patch_jobs ADD COLUMN undo_halt BIGINT;
-- A halt is taken back once, also between two servers. NULLs are apart: people may ask again.
CREATE UNIQUE INDEX patch_jobs_by_undo ON patch_jobs (undo_of, undo_halt);

-- Frozen when the job looks its hosts up.
ALTER TABLE patch_tasks ADD COLUMN wave BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patch_tasks ADD COLUMN zone TEXT NOT NULL DEFAULT '';
-- systemd units that had failed before the host was let go: JSON; NULL: not noted.
ALTER TABLE patch_tasks ADD COLUMN units_before TEXT;
CREATE INDEX patch_tasks_by_done ON patch_tasks (done, state, zone);

-- One row: jobs with a disruption budget queue behind it when they let hosts go.
CREATE TABLE budget_queue (
    id      BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO budget_queue (id, version) VALUES (1, 0);

-- What a task of an undo job was ordered to take back: JSON.
CREATE TABLE undo_orders (
    task_id TEXT NOT NULL PRIMARY KEY REFERENCES patch_tasks (id),
    body    TEXT NOT NULL
);

-- Versions that were taken back: no order installs them on the host again until somebody lifts the bar.
CREATE TABLE barred_versions (
    id          TEXT   NOT NULL PRIMARY KEY,
    instance_id TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    name        TEXT   NOT NULL,
    arch        TEXT   NOT NULL,
    version     TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    job_id      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    UNIQUE (instance_id, name, arch, version)
);

-- What hosts of an operating system planned in the first wave of a job that had some.
CREATE TABLE frozen_versions (
    job_id  TEXT   NOT NULL REFERENCES patch_jobs (id),
    os      TEXT   NOT NULL,
    wave    BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    arch    TEXT   NOT NULL,
    version TEXT   NOT NULL,
    PRIMARY KEY (job_id, os, name, arch, version)
);

-- Maintenance windows (WINDOW), freeze calendars (FREEZE) and groups of reboot slots (REBOOT_SLOTS).
CREATE TABLE calendars (
    id         TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    -- JSON.
    spec       TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    UNIQUE (kind, name)
);

-- Who holds a reboot slot. A task holds one of each group that its host is in.
CREATE TABLE reboot_slots (
    group_id      TEXT   NOT NULL REFERENCES calendars (id) ON DELETE CASCADE,
    task_id       TEXT   NOT NULL,
    instance_id   TEXT   NOT NULL,
    instance_name TEXT   NOT NULL,
    why           TEXT   NOT NULL,
    since         BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    PRIMARY KEY (group_id, task_id)
);
