-- Times are seconds since 1970. Enumerations are small integers, explained where they stand.

CREATE TABLE feed_state (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    epoch        INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    -- 32 hexadecimal digits.
    digest       TEXT    NOT NULL,
    -- The highest revision of a tombstone that was pruned: a reader below it may miss a deletion.
    oldest       INTEGER NOT NULL,
    -- Until when snapshots say that they may drop many hostnames.
    shrink_until INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The clock as first epoch: a control plane that lost its database starts a higher one.
INSERT INTO feed_state (id, epoch, revision, digest, oldest)
VALUES (1, unixepoch(), 0, '00000000000000000000000000000000', 0);

CREATE TABLE feed_record (
    revision   INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    kind       TEXT    NOT NULL,
    deleted    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    encoded    BLOB    NOT NULL
) STRICT;
CREATE INDEX feed_record_tombstone ON feed_record (changed_at) WHERE deleted = 1;

CREATE TABLE property (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    zone_id    TEXT    NOT NULL UNIQUE,
    -- JSON: the origins and how they are spoken to.
    pool       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE hostname (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    property_id INTEGER NOT NULL REFERENCES property (id),
    name        TEXT    NOT NULL UNIQUE,
    -- The name without its first label: finds what a wildcard covers.
    parent      TEXT    NOT NULL,
    -- The last label in front of the system domain; null for names elsewhere.
    site        TEXT,
    -- 0: added by the owner, 1: the property's system hostname.
    system      INTEGER NOT NULL,
    -- 0: pending validation, 1: active, 2: error.
    status      INTEGER NOT NULL,
    -- 1: gets a certificate of the internal CA while none is uploaded.
    internal    INTEGER NOT NULL,
    -- JSON.
    route       TEXT    NOT NULL,
    -- JSON.
    tls         TEXT    NOT NULL,
    -- The SHA-256 of `tls`, by which policies are counted; null for the default.
    policy      BLOB,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX hostname_property ON hostname (property_id, id);
CREATE INDEX hostname_policy ON hostname (property_id, policy) WHERE policy IS NOT NULL;
CREATE INDEX hostname_parent ON hostname (parent);
CREATE INDEX hostname_site ON hostname (site) WHERE site IS NOT NULL;

CREATE TABLE certificate (
    hostname_id  INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    -- 0: ECDSA, 1: RSA.
    key_type     INTEGER NOT NULL,
    -- 0: the internal CA, 1: uploaded.
    issuer       INTEGER NOT NULL,
    fingerprint  BLOB    NOT NULL,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    -- When the internal CA issues the next one; null where it doesn't.
    renew_at     INTEGER,
    -- The certificates' DER, the leaf first, one after the other.
    chain        BLOB    NOT NULL,
    spki_sha256  BLOB    NOT NULL,
    seal_key_id  TEXT    NOT NULL,
    seal_enc     BLOB    NOT NULL,
    seal_cipher  BLOB    NOT NULL,
    PRIMARY KEY (hostname_id, key_type)
) STRICT;
CREATE INDEX certificate_renewal ON certificate (renew_at) WHERE renew_at IS NOT NULL;

CREATE TABLE pop (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    -- Separated by a space.
    addresses   TEXT    NOT NULL,
    -- The SHA-256 of the token's secret.
    token_hash  BLOB    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE pop_ack (
    pop_id   INTEGER PRIMARY KEY REFERENCES pop (id) ON DELETE CASCADE,
    epoch    INTEGER NOT NULL,
    applied  INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    -- 0: in sync, 1: behind, 2: diverged.
    state    INTEGER NOT NULL,
    -- JSON.
    rejected TEXT    NOT NULL,
    seen_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    -- The SHA-256 of the key's secret.
    secret_hash BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;
