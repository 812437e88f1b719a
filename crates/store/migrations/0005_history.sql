-- Inventory history: packages as numbers, package sets as classes, what each host had when.
-- The same text rules as before; ids are INTEGER, because SQLite then keeps a table by them without a second index, and
-- are given out by the one row of history_state, which every transaction that writes here holds.

CREATE TABLE history_packages (
    id      INTEGER NOT NULL PRIMARY KEY,
    -- 31 bits of the name's SHA-256, 32 bits of the rest's: one small index finds a package and all of one name.
    digest  BIGINT  NOT NULL,
    name    TEXT    NOT NULL,
    arch    TEXT    NOT NULL,
    version TEXT    NOT NULL,
    -- Name and version inside it are written short.
    source  TEXT    NOT NULL,
    vendor  TEXT    NOT NULL
);
CREATE INDEX history_packages_by_digest ON history_packages (digest);

CREATE TABLE history_classes (
    id      INTEGER NOT NULL PRIMARY KEY,
    -- 64 bits of the SHA-256 of the ids.
    digest  BIGINT  NOT NULL,
    -- The class that the bytes are the difference to; always an older one.
    base_id INTEGER,
    -- Classes between this one and one written in full.
    depth   INTEGER NOT NULL,
    ids     BYTEA   NOT NULL
);
CREATE INDEX history_classes_by_digest ON history_classes (digest);

CREATE TABLE history_timelines (
    instance_id TEXT    NOT NULL PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    -- What the host has now.
    class_id    INTEGER NOT NULL,
    -- Second in which the oldest span ended; absent while there is one span.
    first_end   BIGINT,
    spans       BYTEA   NOT NULL
);

CREATE TABLE history_state (
    id           INTEGER NOT NULL PRIMARY KEY,
    next_package BIGINT  NOT NULL,
    next_class   BIGINT  NOT NULL,
    -- Grows whenever packages or classes were forgotten: what was remembered by id is void.
    sweeps       BIGINT  NOT NULL,
    swept_at     BIGINT  NOT NULL
);
INSERT INTO history_state (id, next_package, next_class, sweeps, swept_at) VALUES (1, 1, 1, 0, 0);
