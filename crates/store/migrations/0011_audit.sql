-- The audit becomes a chain. Records are written into the inbox by whatever happens, in its own transaction; one place takes
-- them from there, numbers them and hashes each with the one before. Hashes, keys and signatures are lower-case hexadecimal.

CREATE TABLE audit_inbox (
    -- Sorts by time.
    id          TEXT   NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    who_kind    TEXT   NOT NULL,
    who_id      TEXT   NOT NULL,
    who         TEXT   NOT NULL,
    address     TEXT   NOT NULL,
    request_id  TEXT   NOT NULL,
    operation   TEXT   NOT NULL,
    compartment TEXT   NOT NULL,
    resource    TEXT   NOT NULL,
    -- allow, deny
    decision    TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    -- JSON
    parameters  TEXT   NOT NULL,
    -- allowed, denied, failed
    outcome     TEXT   NOT NULL,
    error       TEXT   NOT NULL,
    duration_ms BIGINT
);

-- What was recorded before there was a chain is chained first.
INSERT INTO audit_inbox (id, at, who_kind, who_id, who, address, request_id, operation, compartment, resource, decision, reason,
    parameters, outcome, error, duration_ms)
SELECT id, at,
    CASE WHEN who = 'server' THEN 'server' WHEN who LIKE 'instance %' THEN 'instance' ELSE 'token' END,
    CASE WHEN who LIKE 'instance %' THEN substr(who, 10) ELSE '' END,
    who, '', request_id, operation, '/', resource,
    CASE WHEN outcome = 'denied' THEN 'deny' ELSE 'allow' END,
    '', '{}', outcome, '', NULL
FROM audit;
DROP TABLE audit;

CREATE TABLE audit_chain (
    seq         BIGINT NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    who_kind    TEXT   NOT NULL,
    who_id      TEXT   NOT NULL,
    who         TEXT   NOT NULL,
    address     TEXT   NOT NULL,
    request_id  TEXT   NOT NULL,
    operation   TEXT   NOT NULL,
    compartment TEXT   NOT NULL,
    resource    TEXT   NOT NULL,
    decision    TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    parameters  TEXT   NOT NULL,
    outcome     TEXT   NOT NULL,
    error       TEXT   NOT NULL,
    duration_ms BIGINT,
    hash        TEXT   NOT NULL
);
CREATE INDEX audit_chain_by_time ON audit_chain (at);
CREATE INDEX audit_chain_by_who ON audit_chain (who, seq);
CREATE INDEX audit_chain_by_operation ON audit_chain (operation, seq);

-- Where the chain ends: one row. Who moves it has read it: two servers on one database do not number a record twice.
CREATE TABLE audit_head (
    id   BIGINT NOT NULL PRIMARY KEY,
    seq  BIGINT NOT NULL,
    hash TEXT   NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Signed heads.
CREATE TABLE audit_seals (
    seq        BIGINT NOT NULL PRIMARY KEY,
    after_seq  BIGINT NOT NULL,
    hash       TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    public_key TEXT   NOT NULL,
    signature  TEXT   NOT NULL
);
CREATE INDEX audit_seals_by_time ON audit_seals (at);

-- How far each receiver outside has got all records.
CREATE TABLE audit_forwards (
    target     TEXT   NOT NULL PRIMARY KEY,
    seq        BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
