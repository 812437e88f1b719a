-- Software sources, their snapshots, lifecycle environments, what points at what, and the jobs that make it so.
-- The same text rules as before: BIGINT, TEXT and BYTEA; microseconds since 1970 UTC; flags 0 or 1; JSON is TEXT.

CREATE TABLE sources (
    id                 TEXT   NOT NULL PRIMARY KEY,
    name               TEXT   NOT NULL UNIQUE,
    format             TEXT   NOT NULL,
    -- What reconcilers look at without reading the specification, which may hold a megabyte of keys.
    kind               TEXT   NOT NULL,
    parent             TEXT,
    derived_from       TEXT   NOT NULL,
    sync_interval_secs BIGINT,
    -- Holds secrets (the upstream's client key, the proxy's password): never shown as it is.
    spec               TEXT   NOT NULL,
    -- What the last sync remembers for the next; another room's document.
    sync_state         TEXT,
    last_sync_at       BIGINT,
    -- Jobs that failed since the last one that did not.
    failures           BIGINT NOT NULL,
    last_job_id        TEXT,
    created_by         TEXT   NOT NULL,
    created_at         BIGINT NOT NULL,
    version            BIGINT NOT NULL
);

CREATE TABLE snapshots (
    id             TEXT   NOT NULL PRIMARY KEY,
    source_id      TEXT   NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    number         BIGINT NOT NULL,
    root           TEXT   NOT NULL,
    stats          TEXT   NOT NULL,
    origin         TEXT   NOT NULL,
    findings       TEXT   NOT NULL,
    findings_total BIGINT NOT NULL,
    kept           BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    UNIQUE (source_id, number),
    UNIQUE (source_id, id)
);
CREATE INDEX snapshots_by_time ON snapshots (source_id, created_at, number);

CREATE TABLE environments (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    rank        BIGINT NOT NULL UNIQUE,
    description TEXT   NOT NULL,
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);

-- environment_id is empty for the view `latest`: no foreign key. A pointer names a snapshot of its own source only.
CREATE TABLE pointers (
    environment_id TEXT   NOT NULL,
    source_id      TEXT   NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    snapshot_id    TEXT   NOT NULL,
    head           TEXT   NOT NULL,
    moved_at       BIGINT NOT NULL,
    moved_by       TEXT   NOT NULL,
    version        BIGINT NOT NULL,
    PRIMARY KEY (environment_id, source_id),
    FOREIGN KEY (source_id, snapshot_id) REFERENCES snapshots (source_id, id)
);
CREATE INDEX pointers_by_source ON pointers (source_id, snapshot_id);

-- Snapshots named here may be gone: no foreign key.
CREATE TABLE pointer_moves (
    id             TEXT   NOT NULL PRIMARY KEY,
    environment_id TEXT   NOT NULL,
    source_id      TEXT   NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    from_snapshot  TEXT,
    to_snapshot    TEXT   NOT NULL,
    to_number      BIGINT NOT NULL,
    from_number    BIGINT,
    pointer_version BIGINT NOT NULL,
    at             BIGINT NOT NULL,
    who            TEXT   NOT NULL,
    UNIQUE (environment_id, source_id, pointer_version)
);
CREATE INDEX pointer_moves_by_time ON pointer_moves (environment_id, at, id);
CREATE INDEX pointer_moves_by_source ON pointer_moves (source_id);

CREATE TABLE attachments (
    target_kind TEXT   NOT NULL,
    target_id   TEXT   NOT NULL,
    source_id   TEXT   NOT NULL REFERENCES sources (id),
    attached_at BIGINT NOT NULL,
    attached_by TEXT   NOT NULL,
    PRIMARY KEY (target_kind, target_id, source_id)
);
CREATE INDEX attachments_by_source ON attachments (source_id, target_kind, target_id);

ALTER TABLE instances ADD COLUMN sources_mode TEXT NOT NULL DEFAULT 'additive';
ALTER TABLE instances ADD COLUMN environment_id TEXT REFERENCES environments (id);
ALTER TABLE instances ADD COLUMN content_spki_sha256 TEXT;
ALTER TABLE instances ADD COLUMN previous_content_spki_sha256 TEXT;
CREATE INDEX instances_by_environment ON instances (environment_id, name);
CREATE UNIQUE INDEX instances_by_content_key ON instances (content_spki_sha256);
CREATE INDEX instances_by_previous_content_key ON instances (previous_content_spki_sha256);

CREATE TABLE host_sources (
    instance_id TEXT   NOT NULL PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    -- Grows only. 0 = no document yet, only a report.
    generation  BIGINT NOT NULL,
    fingerprint TEXT   NOT NULL,
    document    TEXT   NOT NULL,
    problems    TEXT   NOT NULL,
    made_at     BIGINT,
    report      TEXT,
    reported_at BIGINT
);

-- subject: the source's id, or the kind where there is no source. At most one job runs on a subject, at most one
-- SYNC or DERIVE waits for it.
CREATE TABLE content_jobs (
    id               TEXT   NOT NULL PRIMARY KEY,
    kind             TEXT   NOT NULL,
    source_id        TEXT   REFERENCES sources (id) ON DELETE CASCADE,
    subject          TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    input            TEXT,
    progress         TEXT,
    message          TEXT   NOT NULL,
    findings         TEXT   NOT NULL,
    findings_total   BIGINT NOT NULL,
    requested_by     TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,
    started_at       BIGINT,
    finished_at      BIGINT,
    attempts         BIGINT NOT NULL,
    lease_owner      TEXT,
    lease_until      BIGINT,
    cancel_requested BIGINT NOT NULL,
    version          BIGINT NOT NULL
);
CREATE INDEX content_jobs_by_source ON content_jobs (source_id, id);
CREATE INDEX content_jobs_by_state ON content_jobs (state, id);
CREATE UNIQUE INDEX content_jobs_running ON content_jobs (subject) WHERE state = 'RUNNING';
CREATE UNIQUE INDEX content_jobs_waiting ON content_jobs (subject, kind) WHERE state = 'PENDING' AND kind IN ('SYNC', 'DERIVE');
