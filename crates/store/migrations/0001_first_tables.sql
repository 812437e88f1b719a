-- The first tables: enrolment, instances, inventory, patch jobs, access, audit.
-- One text for SQLite and PostgreSQL: BIGINT, TEXT and BYTEA columns only; times are microseconds since 1970 UTC;
-- flags are 0 or 1; JSON is TEXT; ids are hyphenated UUIDs.

CREATE TABLE profiles (
    id            TEXT   NOT NULL PRIMARY KEY,
    token_sha256  TEXT   NOT NULL UNIQUE,
    spec          TEXT   NOT NULL,
    uses          BIGINT NOT NULL,
    revoked       BIGINT NOT NULL,
    created_by    TEXT   NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE instances (
    id                     TEXT   NOT NULL PRIMARY KEY,
    name                   TEXT   NOT NULL UNIQUE,
    state                  TEXT   NOT NULL,
    pending_reason         TEXT,
    duplicate_of           TEXT,
    reject_reason          TEXT   NOT NULL,
    profile_id             TEXT   NOT NULL REFERENCES profiles (id),
    machine_id             TEXT   NOT NULL,
    spki_sha256            TEXT   NOT NULL UNIQUE,
    previous_spki_sha256   TEXT,
    certificate_serial     TEXT,
    certificate_expires_at BIGINT,
    created_at             BIGINT NOT NULL,
    last_seen              BIGINT,
    labels                 TEXT   NOT NULL,
    zone                   TEXT   NOT NULL,
    compartment            TEXT   NOT NULL,
    os                     TEXT,
    packages               BIGINT NOT NULL,
    updates                BIGINT NOT NULL,
    security_updates       BIGINT NOT NULL,
    held_updates           BIGINT NOT NULL,
    reboot_required        BIGINT NOT NULL,
    findings               BIGINT NOT NULL,
    inventory_changed_at   BIGINT,
    -- Highest order number given out; grows only.
    order_number           BIGINT NOT NULL,
    version                BIGINT NOT NULL
);
CREATE INDEX instances_by_machine_id ON instances (machine_id);
CREATE INDEX instances_by_state ON instances (state, name);

CREATE TABLE instance_labels (
    instance_id TEXT NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    label_key   TEXT NOT NULL,
    label_value TEXT NOT NULL,
    PRIMARY KEY (instance_id, label_key)
);
CREATE INDEX instance_labels_by_label ON instance_labels (label_key, label_value);

-- Section bodies by content: equal hosts share one row.
CREATE TABLE sections (
    kind        TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    body        BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (kind, fingerprint)
);

CREATE TABLE instance_sections (
    instance_id          TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    kind                 TEXT   NOT NULL,
    fingerprint          TEXT   NOT NULL,
    reported_fingerprint TEXT   NOT NULL,
    changed_at           BIGINT NOT NULL,
    reported_at          BIGINT NOT NULL,
    PRIMARY KEY (instance_id, kind),
    FOREIGN KEY (kind, fingerprint) REFERENCES sections (kind, fingerprint)
);
CREATE INDEX instance_sections_by_body ON instance_sections (kind, fingerprint);

CREATE TABLE history (
    id            TEXT   NOT NULL PRIMARY KEY,
    instance_id   TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    at            BIGINT NOT NULL,
    kind          TEXT   NOT NULL,
    message       TEXT   NOT NULL,
    changes       TEXT   NOT NULL,
    changes_total BIGINT NOT NULL,
    task_id       TEXT
);
CREATE INDEX history_by_instance ON history (instance_id, at, id);

CREATE TABLE access_tokens (
    id            TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    secret_sha256 TEXT   NOT NULL UNIQUE,
    expires_at    BIGINT,
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT,
    revoked       BIGINT NOT NULL
);

CREATE TABLE patch_jobs (
    id               TEXT   NOT NULL PRIMARY KEY,
    spec             TEXT   NOT NULL,
    display_name     TEXT   NOT NULL,
    dry_run          BIGINT NOT NULL,
    state            TEXT   NOT NULL,
    -- 0 while hosts may still be at work: what reconcilers look at.
    done             BIGINT NOT NULL,
    created_by       TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,
    deadline         BIGINT,
    finished_at      BIGINT,
    cancel_requested BIGINT NOT NULL,
    kill_requested   BIGINT NOT NULL,
    error_message    TEXT   NOT NULL,
    version          BIGINT NOT NULL
);
CREATE INDEX patch_jobs_by_done ON patch_jobs (done, id);

-- The instance may be deleted while its tasks stay: no foreign key.
CREATE TABLE patch_tasks (
    id            TEXT   NOT NULL PRIMARY KEY,
    job_id        TEXT   NOT NULL REFERENCES patch_jobs (id),
    instance_id   TEXT   NOT NULL,
    instance_name TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    done          BIGINT NOT NULL,
    waiting_on    TEXT,
    message       TEXT   NOT NULL,
    order_number  BIGINT,
    report_seq    BIGINT NOT NULL,
    planned       BIGINT NOT NULL,
    applied       BIGINT NOT NULL,
    skipped       BIGINT NOT NULL,
    reboots       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    finished_at   BIGINT,
    version       BIGINT NOT NULL,
    UNIQUE (job_id, instance_id)
);
CREATE INDEX patch_tasks_by_job ON patch_tasks (job_id, instance_name, id);
CREATE INDEX patch_tasks_by_job_state ON patch_tasks (job_id, state);
CREATE INDEX patch_tasks_by_instance ON patch_tasks (instance_id, done, id);

-- Reports stand apart: a list of tasks never reads them (up to 4 MiB each).
CREATE TABLE patch_task_reports (
    task_id TEXT   NOT NULL PRIMARY KEY REFERENCES patch_tasks (id),
    seq     BIGINT NOT NULL,
    report  TEXT   NOT NULL
);

CREATE TABLE audit (
    id         TEXT   NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    who        TEXT   NOT NULL,
    operation  TEXT   NOT NULL,
    resource   TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    request_id TEXT   NOT NULL
);
CREATE INDEX audit_by_time ON audit (at, id);

CREATE TABLE idempotency (
    principal      TEXT   NOT NULL,
    idem_key       TEXT   NOT NULL,
    request_sha256 TEXT   NOT NULL,
    resource_id    TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    PRIMARY KEY (principal, idem_key)
);
CREATE INDEX idempotency_by_time ON idempotency (created_at);
