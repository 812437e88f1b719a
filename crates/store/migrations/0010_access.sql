-- Access: compartments, policies, users and what they sign in with. The same text rules as before. A resource keeps the path
-- of its compartment ('/' is the tenancy, '/A/web' lies two levels below), so that lists can be narrowed by one column and a
-- row can be read by people; renaming or moving a compartment rewrites the paths in the same transaction.

CREATE TABLE compartments (
    id          TEXT   NOT NULL PRIMARY KEY,
    path        TEXT   NOT NULL UNIQUE,
    description TEXT   NOT NULL,
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);

-- Until now a profile could name any path, and nothing looked at it.
UPDATE instances SET compartment = '/';

ALTER TABLE profiles ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE instance_groups ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE sources ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE environments ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE patch_jobs ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE patch_deployments ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE calendars ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE policy_assignments ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE policy_previews ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE policy_secrets ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
ALTER TABLE vulnerability_exceptions ADD COLUMN compartment TEXT NOT NULL DEFAULT '/';
CREATE INDEX instances_by_compartment ON instances (compartment);
-- In whose name runs of a deployment start: the principal's key, for example 'user 0198…'; empty: made before there were any.
ALTER TABLE patch_deployments ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- In whose name a job reaches hosts; empty: the server's.
ALTER TABLE patch_jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- Policies of statements, each attached to a compartment.
CREATE TABLE access_policies (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    compartment TEXT   NOT NULL,
    description TEXT   NOT NULL,
    statements  TEXT   NOT NULL,
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);

CREATE TABLE dynamic_groups (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    description TEXT   NOT NULL,
    rules       TEXT   NOT NULL,
    match_all   BIGINT NOT NULL,
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);

-- People and programs. folded_name is the name in lower case: names differ in any case.
CREATE TABLE users (
    id                  TEXT   NOT NULL PRIMARY KEY,
    name                TEXT   NOT NULL,
    folded_name         TEXT   NOT NULL UNIQUE,
    -- user, service-account
    kind                TEXT   NOT NULL,
    description         TEXT   NOT NULL,
    email               TEXT   NOT NULL,
    disabled            BIGINT NOT NULL,
    -- PHC text of argon2id; NULL: no password.
    password_hash       TEXT,
    password_changed_at BIGINT,
    -- 1: the next sign-in has to choose another one.
    password_expired    BIGINT NOT NULL DEFAULT 0,
    -- Sealed under the server's key; NULL: no second factor.
    totp_secret         BYTEA,
    totp_confirmed      BIGINT NOT NULL DEFAULT 0,
    -- The step of the last code that was taken: a code is good once.
    totp_last_step      BIGINT NOT NULL DEFAULT 0,
    failed_count        BIGINT NOT NULL DEFAULT 0,
    locked_until        BIGINT,
    oidc_issuer         TEXT,
    oidc_subject        TEXT,
    created_by          TEXT   NOT NULL,
    created_at          BIGINT NOT NULL,
    last_sign_in_at     BIGINT,
    version             BIGINT NOT NULL,
    UNIQUE (oidc_issuer, oidc_subject)
);

-- What opens the door once when the second factor is lost; by SHA-256: they are random.
CREATE TABLE recovery_codes (
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_sha256 TEXT NOT NULL,
    PRIMARY KEY (user_id, code_sha256)
);

CREATE TABLE user_groups (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    folded_name TEXT   NOT NULL UNIQUE,
    description TEXT   NOT NULL,
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL
);

-- Members of stored groups and of the built-in ones, which have no row of their own: group_id is an id of user_groups, or
-- 'administrators', 'operators', 'viewers'.
CREATE TABLE user_group_members (
    group_id TEXT   NOT NULL,
    user_id  TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    added_by TEXT   NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX user_group_members_by_user ON user_group_members (user_id);

-- NULL user_id: a token of its own, in the group of its role. scope: what it is narrowed to (JSON), NULL: not narrowed.
ALTER TABLE access_tokens ADD COLUMN user_id TEXT;
ALTER TABLE access_tokens ADD COLUMN scope TEXT;
-- The token was made by somebody who had just shown a second factor.
ALTER TABLE access_tokens ADD COLUMN second_factor BIGINT NOT NULL DEFAULT 0;
-- It was got by signing in, and ends when what its user signs in with changes.
ALTER TABLE access_tokens ADD COLUMN signed_in BIGINT NOT NULL DEFAULT 0;
-- Who made it, as the key of a principal ('user 0198…'); empty: the server's own operator, or made before there were users.
ALTER TABLE access_tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
CREATE INDEX access_tokens_by_user ON access_tokens (user_id);

CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    user_id      TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    fingerprint  TEXT   NOT NULL,
    public_key   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (user_id, fingerprint)
);

-- Signatures of changing requests that were taken, until they are too old to be taken again anyway.
CREATE TABLE seen_signatures (
    signature_sha256 TEXT   NOT NULL PRIMARY KEY,
    until            BIGINT NOT NULL
);
CREATE INDEX seen_signatures_by_until ON seen_signatures (until);

-- Sessions of the console, by the SHA-256 of what the browser keeps.
CREATE TABLE sessions (
    id            TEXT   NOT NULL PRIMARY KEY,
    secret_sha256 TEXT   NOT NULL UNIQUE,
    user_id       TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    csrf          TEXT   NOT NULL,
    -- password, oidc
    way           TEXT   NOT NULL,
    second_factor BIGINT NOT NULL,
    address       TEXT   NOT NULL,
    user_agent    TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    used_at       BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

-- Grows with every change of what decides: compartments, policies, groups, dynamic groups. Servers compile anew when it did.
CREATE TABLE access_version (
    id      BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
INSERT INTO access_version (id, version) VALUES (1, 1);

-- Which operations need another principal's approval.
CREATE TABLE approval_rules (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    spec       TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version    BIGINT NOT NULL
);

CREATE TABLE approval_requests (
    id            TEXT   NOT NULL PRIMARY KEY,
    rule          TEXT   NOT NULL,
    operation     TEXT   NOT NULL,
    resource      TEXT   NOT NULL,
    compartment   TEXT   NOT NULL,
    -- SHA-256 of what was asked for: an approval is for exactly that.
    fingerprint   TEXT   NOT NULL,
    requester     TEXT   NOT NULL,
    requester_key TEXT   NOT NULL,
    approver      TEXT,
    approver_key  TEXT,
    -- PENDING, APPROVED, REFUSED, USED, EXPIRED
    state         TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    decided_at    BIGINT
);
CREATE INDEX approval_requests_by_what ON approval_requests (fingerprint, requester_key, state);
