-- What the edge last applied. One row of `state`; the rest is keyed by record id or hostname.
CREATE TABLE state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      INTEGER NOT NULL,
    cursor     INTEGER NOT NULL,
    digest     BLOB    NOT NULL,
    confirmed_at INTEGER NOT NULL   -- seconds since 1970
) STRICT;

-- The body is a StoredHostname in CBOR: all that the index needs, without a join.
CREATE TABLE hostname (
    name     TEXT    PRIMARY KEY,
    revision INTEGER NOT NULL,
    body     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is never used again, so a cached key is never another certificate's.
CREATE TABLE certificate (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hostname    TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    not_after   INTEGER NOT NULL, -- seconds since 1970
    leaf        BLOB    NOT NULL,
    issuers     BLOB    NOT NULL, -- ids of `issuer`, 8 bytes each, big-endian
    spki_sha256 BLOB    NOT NULL,
    key_id      TEXT    NOT NULL,
    enc         BLOB    NOT NULL,
    ciphertext  BLOB    NOT NULL
) STRICT;
CREATE INDEX certificate_by_hostname ON certificate (hostname);
CREATE INDEX certificate_by_expiry ON certificate (not_after);
CREATE INDEX certificate_by_group_key ON certificate (key_id);

CREATE TABLE issuer (
    id     INTEGER PRIMARY KEY,
    sha256 BLOB    NOT NULL UNIQUE,
    der    BLOB    NOT NULL
) STRICT;

-- Records that are no hostnames, and those of kinds that this version does not know.
CREATE TABLE other (
    id       TEXT    PRIMARY KEY,
    revision INTEGER NOT NULL,
    wire     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- Records that could not be used. What the hostname had before stays in `hostname`.
CREATE TABLE quarantine (
    id       TEXT    PRIMARY KEY,
    revision INTEGER NOT NULL,
    kind     TEXT    NOT NULL, -- of the reason, in a word
    reason   TEXT    NOT NULL,
    wire     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
