-- Health checks of policy rollouts: how those of an assignment's revision stand on a host. The same text rules as before.

CREATE TABLE policy_health (
    assignment_id TEXT   NOT NULL REFERENCES policy_assignments (id) ON DELETE CASCADE,
    instance_id   TEXT   NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    revision      BIGINT NOT NULL,
    state         TEXT   NOT NULL,
    -- Since when, by the server's clock.
    since         BIGINT NOT NULL,
    -- As told, with each check: JSON.
    body          TEXT   NOT NULL,
    PRIMARY KEY (assignment_id, instance_id)
);
