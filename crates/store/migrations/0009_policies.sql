-- OS policies: assignments and their revisions, what each host is to have, how it stands, drift, previews, secrets. The same
-- text rules as before.

CREATE TABLE policy_assignments (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    -- What is not part of a revision, JSON: the description and the rollout's settings.
    settings   TEXT   NOT NULL,
    -- Ids of the newest revision's policies, JSON.
    policies   TEXT   NOT NULL,
    -- The newest revision; the last one that was rolled out to the end, 0: none was.
    target     BIGINT NOT NULL,
    baseline   BIGINT NOT NULL,
    -- 1: the newest revision takes the assignment away.
    deleted    BIGINT NOT NULL,
    -- The newest revision's rollout: its state, and what people and the planner did to it (JSON).
    state      TEXT   NOT NULL,
    control    TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version    BIGINT NOT NULL
);

-- Never changed but for the state of its rollout.
CREATE TABLE policy_revisions (
    assignment_id TEXT   NOT NULL REFERENCES policy_assignments (id) ON DELETE CASCADE,
    number        BIGINT NOT NULL,
    -- JSON as written.
    document      TEXT   NOT NULL,
    deleted       BIGINT NOT NULL,
    reason        TEXT   NOT NULL,
    created_by    TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    state         TEXT   NOT NULL,
    PRIMARY KEY (assignment_id, number)
);

-- Which revision of an assignment a host is to have, and how far it is with the newest one.
CREATE TABLE policy_hosts (
    assignment_id TEXT   NOT NULL REFERENCES policy_assignments (id) ON DELETE CASCADE,
    instance_id   TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    zone          TEXT   NOT NULL,
    -- 0: none yet.
    revision      BIGINT NOT NULL,
    phase         TEXT   NOT NULL,
    -- The host's document that first carried the revision; 0: it is not made.
    generation    BIGINT NOT NULL,
    let_go_at     BIGINT,
    -- When the host said that it has it.
    has_at        BIGINT,
    -- Why it is held: JSON.
    waiting_on    TEXT,
    PRIMARY KEY (assignment_id, instance_id)
);
CREATE INDEX policy_hosts_by_instance ON policy_hosts (instance_id);
CREATE INDEX policy_hosts_by_phase ON policy_hosts (phase, zone);

-- The policies document of each host, and what is known of its last report.
CREATE TABLE host_policies (
    instance_id       TEXT   NOT NULL PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    generation        BIGINT NOT NULL,
    fingerprint       TEXT   NOT NULL,
    -- JSON, exactly as it is signed.
    document          TEXT   NOT NULL,
    -- What is not in it as written, JSON.
    problems          TEXT   NOT NULL,
    made_at           BIGINT,
    -- When the agent first asked: an older one never does.
    pulled_at         BIGINT,
    -- Why nothing newer is known of the host: a reason in the words of reports; empty: it speaks.
    absent            TEXT   NOT NULL,
    check_asked       BIGINT NOT NULL,
    check_done        BIGINT NOT NULL,
    report_seq        BIGINT NOT NULL,
    report_generation BIGINT NOT NULL,
    report_problem    TEXT   NOT NULL,
    reported_at       BIGINT
);

-- How each policy stands on each host that is to have it.
CREATE TABLE policy_results (
    instance_id TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    -- Name of the assignment.
    assignment  TEXT   NOT NULL,
    policy      TEXT   NOT NULL,
    revision    BIGINT NOT NULL,
    state       TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    run         TEXT   NOT NULL,
    checked_at  BIGINT,
    -- In this state since.
    since       BIGINT NOT NULL,
    PRIMARY KEY (instance_id, assignment, policy)
);
CREATE INDEX policy_results_by_policy ON policy_results (assignment, policy, state);

CREATE TABLE policy_resources (
    instance_id TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    assignment  TEXT   NOT NULL,
    policy      TEXT   NOT NULL,
    resource    TEXT   NOT NULL,
    -- Its place in the policy.
    position    BIGINT NOT NULL,
    state       TEXT   NOT NULL,
    -- As reported, with steps and evidence: JSON.
    body        TEXT   NOT NULL,
    PRIMARY KEY (instance_id, assignment, policy, resource)
);
CREATE INDEX policy_resources_by_resource ON policy_resources (assignment, policy, resource, state);

-- What was reported of a policy, from when to when.
CREATE TABLE policy_intervals (
    instance_id TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    assignment  TEXT   NOT NULL,
    policy      TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    since       BIGINT NOT NULL,
    -- NULL: still.
    until_at    BIGINT,
    PRIMARY KEY (instance_id, assignment, policy, since)
);
CREATE INDEX policy_intervals_by_end ON policy_intervals (until_at);
CREATE INDEX policy_intervals_by_time ON policy_intervals (since);

CREATE TABLE drift_events (
    instance_id TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    number      BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    repaired_at BIGINT,
    assignment  TEXT   NOT NULL,
    policy      TEXT   NOT NULL,
    outcome     TEXT   NOT NULL,
    -- As reported: JSON.
    body        TEXT   NOT NULL,
    -- A host whose agent was made anew counts from the beginning.
    PRIMARY KEY (instance_id, number, seen_at)
);
CREATE INDEX drift_events_by_time ON drift_events (seen_at);

CREATE TABLE policy_previews (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    document   TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE policy_preview_hosts (
    preview_id   TEXT   NOT NULL REFERENCES policy_previews (id) ON DELETE CASCADE,
    instance_id  TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    source       TEXT   NOT NULL,
    at           BIGINT,
    would_change BIGINT NOT NULL,
    problem      TEXT   NOT NULL,
    -- Results by policy: JSON.
    body         TEXT   NOT NULL,
    PRIMARY KEY (preview_id, instance_id)
);
CREATE INDEX policy_preview_hosts_by_instance ON policy_preview_hosts (instance_id, source);

-- Values of secrets, encrypted under a key that is not in the database.
CREATE TABLE policy_secrets (
    name       TEXT   NOT NULL PRIMARY KEY,
    version    BIGINT NOT NULL,
    sealed     BYTEA  NOT NULL,
    updated_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
