-- Advisories, vulnerabilities and what vendors state of packages, as imported from feeds; since when which CVE is open on
-- which host; exceptions and settings. Advisories of snapshots are not here: the snapshots have them.
-- The same text rules as before: BIGINT, TEXT and BYTEA; microseconds since 1970 UTC; flags 0 or 1; JSON is TEXT.

CREATE TABLE advisory_feeds (
    id                    TEXT   NOT NULL PRIMARY KEY,
    name                  TEXT   NOT NULL UNIQUE,
    kind                  TEXT   NOT NULL,
    -- What was imported, newest last, JSON: the same bytes are not read again.
    stamps                TEXT   NOT NULL,
    -- The last import held everything the feed says.
    complete              BIGINT NOT NULL,
    advisories_total      BIGINT NOT NULL,
    vulnerabilities_total BIGINT NOT NULL,
    statements_total      BIGINT NOT NULL,
    findings              TEXT   NOT NULL,
    findings_total        BIGINT NOT NULL,
    imported_by           TEXT   NOT NULL,
    imported_at           BIGINT NOT NULL,
    created_at            BIGINT NOT NULL,
    -- Grows with every import.
    version               BIGINT NOT NULL
);

-- One advisory as one feed says it: packed JSON. Lists are answered from memory, so nothing is searched here.
CREATE TABLE advisories (
    feed_id TEXT   NOT NULL REFERENCES advisory_feeds (id) ON DELETE CASCADE,
    id      TEXT   NOT NULL,
    digest  TEXT   NOT NULL,
    body    BYTEA  NOT NULL,
    PRIMARY KEY (feed_id, id)
);
CREATE INDEX advisories_by_id ON advisories (id);

-- What a feed says of CVEs (part VULNERABILITIES) and of packages (part STATEMENTS), some hundred entries a row, packed JSON.
-- The bucket follows from the id of the CVE, so one of 300,000 is found, and changed, without the others.
CREATE TABLE feed_chunks (
    feed_id TEXT   NOT NULL REFERENCES advisory_feeds (id) ON DELETE CASCADE,
    part    TEXT   NOT NULL,
    bucket  TEXT   NOT NULL,
    digest  TEXT   NOT NULL,
    entries BIGINT NOT NULL,
    body    BYTEA  NOT NULL,
    PRIMARY KEY (feed_id, part, bucket)
);
CREATE INDEX feed_chunks_by_bucket ON feed_chunks (part, bucket);

-- Open CVEs with the time each was first seen: packed JSON, one row for all hosts of which the same is true.
CREATE TABLE open_cve_sets (
    digest     TEXT   NOT NULL PRIMARY KEY,
    body       BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE instance_open_cves (
    instance_id TEXT   NOT NULL PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    digest      TEXT   NOT NULL REFERENCES open_cve_sets (digest),
    changed_at  BIGINT NOT NULL
);
CREATE INDEX instance_open_cves_by_digest ON instance_open_cves (digest);

CREATE TABLE vulnerability_exceptions (
    id         TEXT   NOT NULL PRIMARY KEY,
    cve        TEXT   NOT NULL,
    -- Which hosts, JSON.
    scope      TEXT   NOT NULL,
    owner      TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    version    BIGINT NOT NULL
);
CREATE INDEX vulnerability_exceptions_by_cve ON vulnerability_exceptions (cve);

-- Settings that operators change while the server runs, JSON by name.
CREATE TABLE settings (
    name       TEXT   NOT NULL PRIMARY KEY,
    body       TEXT   NOT NULL,
    changed_by TEXT   NOT NULL,
    changed_at BIGINT NOT NULL,
    version    BIGINT NOT NULL
);
