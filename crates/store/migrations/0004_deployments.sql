-- Patch deployments: patch jobs on a schedule, and what became of each run. The same text rules as before.

CREATE TABLE patch_deployments (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    spec       TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    -- Who paused it; empty while it is ACTIVE.
    paused_by  TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- The next run by the schedule; NULL: none is due any more. Moves only together with what became of the run before.
    next_at    BIGINT,
    -- The newest job.
    last_at    BIGINT,
    last_job   TEXT,
    version    BIGINT NOT NULL
);
CREATE INDEX patch_deployments_by_next ON patch_deployments (next_at);

CREATE TABLE patch_executions (
    id            TEXT   NOT NULL PRIMARY KEY,
    deployment_id TEXT   NOT NULL REFERENCES patch_deployments (id),
    -- When the schedule said; NULL: a person asked for it.
    due_at        BIGINT,
    -- When it was decided.
    at            BIGINT NOT NULL,
    outcome       TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    who           TEXT   NOT NULL,
    job_id        TEXT,
    -- A moment of a schedule is decided once.
    UNIQUE (deployment_id, due_at)
);
CREATE INDEX patch_executions_by_deployment ON patch_executions (deployment_id, id);
CREATE INDEX patch_executions_by_outcome ON patch_executions (outcome, id);

-- Why there is a job: a run of a deployment (which may be deleted since), or an ended job once more.
ALTER TABLE patch_jobs ADD COLUMN deployment_id TEXT;
ALTER TABLE patch_jobs ADD COLUMN deployment_name TEXT;
ALTER TABLE patch_jobs ADD COLUMN rerun_of TEXT;
ALTER TABLE patch_jobs ADD COLUMN rerun_all BIGINT;
CREATE INDEX patch_jobs_by_deployment ON patch_jobs (deployment_id, done, id);
