-- Soak: since when each version of a package is known here. The same text rules as before.

CREATE TABLE seen_versions (
    name       TEXT   NOT NULL,
    arch       TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    -- When a host or a snapshot first offered it, and when one was last noticed to.
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    -- 1: some host got or would get it without having the package.
    fresh      BIGINT NOT NULL,
    PRIMARY KEY (name, arch, version)
);
CREATE INDEX seen_versions_by_time ON seen_versions (last_seen);
CREATE INDEX seen_versions_fresh ON seen_versions (last_seen) WHERE fresh = 1;

-- When the versions that an update section names were last noted; 0: never. What is stored already counts from the moment
-- it was stored.
ALTER TABLE sections ADD COLUMN noted_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX sections_to_note ON sections (noted_at) WHERE kind = 'updates';

-- 1: the versions that the snapshot brought are noted.
ALTER TABLE snapshots ADD COLUMN noted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX snapshots_to_note ON snapshots (created_at) WHERE noted = 0;
