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
    -- 32 hexadecimal digits: its id in the Cloudflare-compatible API.
    zone_id    TEXT    NOT NULL UNIQUE,
    -- JSON: the origins and how they are spoken to.
    pool       TEXT    NOT NULL,
    -- JSON: an origin that takes the place of the pool's; null: none.
    fallback   TEXT,
    -- The CA that issues for its hostnames, unless their own is another one; null: any.
    authority  TEXT,
    -- How many hostnames it has.
    hostnames  INTEGER NOT NULL DEFAULT 0,
    -- Counts changes; entity tags are made of it.
    version    INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
) STRICT;

-- A property's claim on a name. Whether it also has the name stands in `held_name`.
CREATE TABLE hostname (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    property_id     INTEGER NOT NULL REFERENCES property (id),
    name            TEXT    NOT NULL,
    -- 32 hexadecimal digits: its id in the Cloudflare-compatible API.
    public_id       TEXT    NOT NULL UNIQUE,
    -- A UUID: its certificate's id there, and the last segment of the ownership token's URL.
    ssl_id          TEXT    NOT NULL UNIQUE,
    -- A UUID, which proves that whoever publishes it may speak for the name.
    ownership_token TEXT    NOT NULL,
    -- 0: added by the owner, 1: the property's system hostname.
    system          INTEGER NOT NULL,
    -- 0: pending validation, 1: active, 2: given up, 3: taken over by another property.
    status          INTEGER NOT NULL,
    -- 1: it has no name in `held_name`.
    claimed         INTEGER NOT NULL DEFAULT 1,
    -- 1: gets a certificate of the internal CA while none is uploaded.
    internal        INTEGER NOT NULL,
    -- JSON.
    route           TEXT    NOT NULL,
    -- JSON.
    tls             TEXT    NOT NULL,
    -- The SHA-256 of `tls`, by which policies are counted; null for the default.
    policy          BLOB,
    -- JSON: the owner's own keys and values.
    metadata        TEXT    NOT NULL,
    -- JSON: what is asked of its managed certificate.
    wish            TEXT    NOT NULL,
    -- Counts changes; entity tags are made of it.
    version         INTEGER NOT NULL DEFAULT 1,
    created_at      INTEGER NOT NULL,
    -- When it became active last, and when a PoP was first seen to serve it, both in milliseconds.
    activated_ms    INTEGER,
    served_ms       INTEGER,
    UNIQUE (property_id, name)
) STRICT;
CREATE INDEX hostname_property ON hostname (property_id, id);
CREATE INDEX hostname_policy ON hostname (property_id, policy) WHERE policy IS NOT NULL;
CREATE INDEX hostname_status ON hostname (property_id, status, id);
CREATE INDEX hostname_name ON hostname (name);
CREATE INDEX hostname_internal ON hostname (id) WHERE internal = 1 AND status = 1;
CREATE INDEX hostname_claimed ON hostname (property_id) WHERE claimed = 1;
CREATE TRIGGER hostname_added AFTER INSERT ON hostname
BEGIN UPDATE property SET hostnames = hostnames + 1 WHERE id = NEW.property_id; END;
CREATE TRIGGER hostname_added_active AFTER INSERT ON hostname WHEN NEW.status = 1
BEGIN
    UPDATE hostname SET activated_ms = cast(unixepoch('subsec') * 1000 AS INTEGER) WHERE id = NEW.id;
END;
CREATE TRIGGER hostname_activated AFTER UPDATE OF status ON hostname
WHEN NEW.status = 1 AND OLD.status <> 1
BEGIN
    UPDATE hostname SET activated_ms = cast(unixepoch('subsec') * 1000 AS INTEGER) WHERE id = NEW.id;
END;
CREATE TRIGGER hostname_deleted AFTER DELETE ON hostname
BEGIN UPDATE property SET hostnames = hostnames - 1 WHERE id = OLD.property_id; END;

-- Who has a name: what edges know is what stands here. A hostname whose certificate also covers
-- what is one label below it has two.
CREATE TABLE held_name (
    -- A hostname or a wildcard.
    name        TEXT    PRIMARY KEY,
    hostname_id INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    property_id INTEGER NOT NULL REFERENCES property (id),
    -- The name without its first label: finds what a wildcard covers.
    parent      TEXT    NOT NULL,
    -- The label right below the system domain, which is `*` in the wildcard of all sites; null for names
    -- elsewhere.
    site        TEXT,
    -- 1: as `verified_name` has it. Edges serve it; what is not verified stands in no other's way.
    verified    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX held_name_hostname ON held_name (hostname_id);
CREATE INDEX held_name_parent ON held_name (parent) WHERE verified = 1;
CREATE INDEX held_name_site ON held_name (site) WHERE site IS NOT NULL;

-- Whose all names under a label right below the system domain are. A site stays its property's when
-- nothing is left in it, and when the property is gone: who had it may be remembered elsewhere.
CREATE TABLE site (
    -- The label.
    name        TEXT    PRIMARY KEY,
    property_id INTEGER NOT NULL
) STRICT;

-- A version counts every change of what the object's owner is shown of its own state, whoever makes it.
CREATE TRIGGER property_changed AFTER UPDATE OF name, pool, fallback, authority ON property
BEGIN UPDATE property SET version = version + 1 WHERE id = NEW.id; END;
CREATE TRIGGER hostname_changed
AFTER UPDATE OF name, status, internal, route, tls, metadata, wish, ownership_token ON hostname
BEGIN UPDATE hostname SET version = version + 1 WHERE id = NEW.id; END;
CREATE TRIGGER hostname_name_held AFTER INSERT ON held_name
BEGIN UPDATE hostname SET claimed = 0, version = version + 1 WHERE id = NEW.hostname_id; END;
CREATE TRIGGER hostname_name_released AFTER DELETE ON held_name
BEGIN
    UPDATE hostname SET version = version + 1, claimed = NOT EXISTS
        (SELECT 1 FROM held_name WHERE hostname_id = OLD.hostname_id) WHERE id = OLD.hostname_id;
END;

-- Where a hostname's verification stands. System hostnames have none.
CREATE TABLE verification (
    hostname_id INTEGER PRIMARY KEY REFERENCES hostname (id) ON DELETE CASCADE,
    -- The hostname's, which never changes: properties take turns.
    property_id INTEGER NOT NULL,
    -- 0: a pending hostname's first check, 1: a pending one's later checks, 2: an active one's.
    lane        INTEGER NOT NULL,
    -- When it is checked next; null: not by itself.
    next_at     INTEGER,
    -- How many checks in a row failed.
    tries       INTEGER NOT NULL DEFAULT 0,
    -- How many checks in a row could not tell.
    unclear     INTEGER NOT NULL DEFAULT 0,
    -- When this series of checks began; of an active hostname, when the first that failed was.
    since       INTEGER NOT NULL,
    -- When an active hostname's DNS was found to have left.
    left_at     INTEGER,
    checked_at  INTEGER,
    -- JSON: what the last check saw.
    evidence    TEXT,
    -- 1: the last check could not tell for want of a PoP that is active, or of the right addresses.
    awaits_pop  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX verification_due ON verification (lane, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX verification_property ON verification (lane, property_id, next_at)
    WHERE next_at IS NOT NULL;
CREATE INDEX verification_awaits_pop ON verification (next_at) WHERE awaits_pop = 1;
CREATE INDEX verification_left ON verification (left_at) WHERE left_at IS NOT NULL;

-- When the first check of each property is due in each lane: whose turn it is can be told without a look
-- at all that a property with many hostnames has. Kept by the triggers below.
CREATE TABLE verification_turn (
    lane        INTEGER NOT NULL,
    property_id INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    PRIMARY KEY (lane, property_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX verification_turn_due ON verification_turn (lane, next_at);

CREATE TRIGGER verification_begun AFTER INSERT ON verification WHEN NEW.next_at IS NOT NULL
BEGIN
    INSERT INTO verification_turn (lane, property_id, next_at)
    VALUES (NEW.lane, NEW.property_id, NEW.next_at)
    ON CONFLICT (lane, property_id) DO UPDATE SET next_at = min(next_at, excluded.next_at);
END;
CREATE TRIGGER verification_moved AFTER UPDATE OF lane, next_at ON verification
BEGIN
    DELETE FROM verification_turn
    WHERE property_id = NEW.property_id AND lane IN (OLD.lane, NEW.lane);
    INSERT INTO verification_turn (lane, property_id, next_at)
    SELECT lane, property_id, next_at FROM verification
    WHERE lane = NEW.lane AND property_id = NEW.property_id AND next_at IS NOT NULL
    ORDER BY next_at LIMIT 1;
    INSERT INTO verification_turn (lane, property_id, next_at)
    SELECT lane, property_id, next_at FROM verification
    WHERE lane = OLD.lane AND lane <> NEW.lane AND property_id = NEW.property_id
        AND next_at IS NOT NULL
    ORDER BY next_at LIMIT 1;
END;
CREATE TRIGGER verification_ended AFTER DELETE ON verification
BEGIN
    DELETE FROM verification_turn WHERE lane = OLD.lane AND property_id = OLD.property_id;
    INSERT INTO verification_turn (lane, property_id, next_at)
    SELECT lane, property_id, next_at FROM verification
    WHERE lane = OLD.lane AND property_id = OLD.property_id AND next_at IS NOT NULL
    ORDER BY next_at LIMIT 1;
END;

-- What the last look for a claim's ownership token saw.
CREATE TABLE ownership (
    hostname_id INTEGER PRIMARY KEY REFERENCES hostname (id) ON DELETE CASCADE,
    -- 1: the token was in the TXT record, which proves the hostname's wildcard too.
    record      INTEGER NOT NULL,
    -- 1: it was in the file.
    file        INTEGER NOT NULL,
    -- JSON.
    evidence    TEXT    NOT NULL
) STRICT;

-- Which names are their hostnames' to be served for: the DNS of an active one leads here, and a name
-- that was proven is its owner's before that is known.
CREATE VIEW verified_name AS
SELECT held_name.name, held_name.hostname_id
FROM held_name JOIN hostname ON hostname.id = held_name.hostname_id
LEFT JOIN ownership ON ownership.hostname_id = hostname.id
WHERE hostname.status = 1 OR record = 1 OR (file = 1 AND held_name.name NOT LIKE '*.%');

CREATE TRIGGER name_verified_by_hostname AFTER UPDATE OF status ON hostname BEGIN
    UPDATE held_name SET verified = name IN
        (SELECT name FROM verified_name WHERE hostname_id = NEW.id) WHERE hostname_id = NEW.id;
END;
CREATE TRIGGER name_verified_when_held AFTER INSERT ON held_name BEGIN
    UPDATE held_name SET verified = name IN
        (SELECT name FROM verified_name WHERE hostname_id = NEW.hostname_id) WHERE name = NEW.name;
END;
CREATE TRIGGER name_verified_by_proof AFTER INSERT ON ownership BEGIN
    UPDATE held_name SET verified = name IN
        (SELECT name FROM verified_name WHERE hostname_id = NEW.hostname_id)
    WHERE hostname_id = NEW.hostname_id;
END;
CREATE TRIGGER name_verified_by_another_proof AFTER UPDATE ON ownership BEGIN
    UPDATE held_name SET verified = name IN
        (SELECT name FROM verified_name WHERE hostname_id = NEW.hostname_id)
    WHERE hostname_id = NEW.hostname_id;
END;
CREATE TRIGGER name_verified_without_proof AFTER DELETE ON ownership BEGIN
    UPDATE held_name SET verified = name IN
        (SELECT name FROM verified_name WHERE hostname_id = OLD.hostname_id)
    WHERE hostname_id = OLD.hostname_id;
END;

-- Which CA issues for a hostname: the one that it chooses, else its property; empty: any.
CREATE VIEW chosen_authority AS
SELECT hostname.id AS hostname_id,
    coalesce(hostname.wish ->> '$.authority', property.authority, '') AS name
FROM hostname JOIN property ON property.id = hostname.property_id;

-- Certificates that are to be issued, and were.
CREATE TABLE job (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    hostname_id  INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    -- Who does it. 0: agents at the edges, 1: the internal CA.
    issuer       INTEGER NOT NULL,
    -- The hostname's, which never changes: properties take turns.
    property_id  INTEGER NOT NULL,
    -- Of agents' jobs. 0: in the place of a certificate that is served, 1: a new one, 2: one whose attempts
    -- fail by the name's own fault.
    lane         INTEGER NOT NULL,
    -- In the place of a certificate that is served: from when on it goes before others.
    deadline     INTEGER,
    -- The hostname's handshakes of late, as `traffic` has them.
    traffic      INTEGER NOT NULL DEFAULT 0,
    -- As `chosen_authority` had it, by which jobs take turns.
    choice       TEXT    NOT NULL,
    -- 0: open, 1: done, 2: cancelled.
    state        INTEGER NOT NULL,
    -- Why there is one. 0: somebody, or a change of the hostname, asked for it, 1: a certificate was due.
    cause        INTEGER NOT NULL DEFAULT 0,
    -- How many attempts failed.
    attempts     INTEGER NOT NULL DEFAULT 0,
    -- When the last attempt failed, and the last one that asked a CA for anything.
    attempted_at INTEGER,
    asked_at     INTEGER,
    -- Not before then is it attempted next.
    next_at      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    -- The last failed attempt's error in the CA's own words; of a cancelled job, why it is one.
    error        TEXT,
    -- How many attempts in a row failed by the name's own fault, how many by what passes, and what of the
    -- former a rehearsal has shown to be mended.
    failures     INTEGER NOT NULL DEFAULT 0,
    hitches      INTEGER NOT NULL DEFAULT 0,
    rehearsed    INTEGER NOT NULL DEFAULT 0,
    -- Of the failures, those that somebody knew of who asked for another attempt: it goes before what fails.
    forgiven     INTEGER NOT NULL DEFAULT 0,
    -- JSON: the methods that failed, the latest last.
    failed_methods   TEXT    NOT NULL DEFAULT '[]',
    -- 1: orders don't say which certificate they replace.
    without_replaces INTEGER NOT NULL DEFAULT 0,
    -- JSON: what it waits for; null: nothing, or nobody has looked.
    waits_for    TEXT,
    -- JSON: an order that may still be good, and its CA.
    open_order   TEXT,
    -- JSON: the TXT records that the owner is to make, and the one that would do in their place; none in
    -- it: an agent finds out.
    txt          TEXT,
    -- Counts leases, and those that ran out once more.
    fence        INTEGER NOT NULL DEFAULT 0,
    -- Since when, and until when, it is an agent's; the latter null: nobody's.
    leased_at    INTEGER,
    leased_until INTEGER,
    -- Of the last lease: the CA, for which one it rehearses, whether its limits were drawn from, whose.
    authority    TEXT,
    rehearsal_of TEXT,
    counted      INTEGER NOT NULL DEFAULT 0,
    pop          TEXT,
    agent        TEXT
) STRICT;
CREATE UNIQUE INDEX job_open ON job (hostname_id) WHERE state = 0;
CREATE INDEX job_due ON job (issuer, next_at) WHERE state = 0;
CREATE INDEX job_age ON job (issuer, created_at) WHERE state = 0;
CREATE INDEX job_hostname ON job (hostname_id, id);
CREATE INDEX job_of_owners ON job (property_id) WHERE state = 0 AND txt IS NOT NULL;
CREATE INDEX job_turn ON job (lane, choice, property_id, next_at)
    WHERE state = 0 AND issuer = 0 AND leased_until IS NULL;
CREATE INDEX job_waiting ON job (lane, choice, next_at)
    WHERE state = 0 AND issuer = 0 AND leased_until IS NULL;
CREATE INDEX job_next ON job (next_at) WHERE state = 0 AND issuer = 0 AND leased_until IS NULL;
CREATE INDEX job_deadline ON job (choice, deadline, next_at)
    WHERE state = 0 AND issuer = 0 AND leased_until IS NULL AND deadline IS NOT NULL;
CREATE INDEX job_busy ON job (choice, traffic, next_at)
    WHERE state = 0 AND issuer = 0 AND leased_until IS NULL AND deadline IS NOT NULL AND traffic > 0;
CREATE INDEX job_leased ON job (leased_until) WHERE leased_until IS NOT NULL;

-- How many orders properties began for new names of late: who began fewer goes first.
CREATE TABLE turn (
    property_id INTEGER PRIMARY KEY REFERENCES property (id) ON DELETE CASCADE,
    -- Which three hours are counted, since 1970, and how many orders there were in those and in those before.
    span        INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    before      INTEGER NOT NULL
) STRICT;

-- How many handshakes edges counted for hostnames of late, as far as these were among a PoP's busiest: of what
-- must be renewed at once, the busiest goes first.
CREATE TABLE traffic (
    hostname_id INTEGER PRIMARY KEY REFERENCES hostname (id) ON DELETE CASCADE,
    -- Which day is counted, since 1970, and how many there were on it and on the one before.
    span        INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    before      INTEGER NOT NULL
) STRICT;
CREATE INDEX traffic_span ON traffic (span);
CREATE TRIGGER traffic_begun AFTER INSERT ON traffic
BEGIN UPDATE job SET traffic = NEW.count WHERE hostname_id = NEW.hostname_id AND state = 0; END;
CREATE TRIGGER traffic_counted AFTER UPDATE ON traffic
BEGIN
    UPDATE job SET traffic = NEW.count + NEW.before WHERE hostname_id = NEW.hostname_id AND state = 0;
END;

-- How many there are of what there may be a million of, kept by triggers: nobody counts rows.
CREATE TABLE tally (
    -- 'job': open ones, by `lane`, 3: of the internal CA. 'certificate': by `issuer`.
    kind  TEXT    NOT NULL,
    label INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, label)
) STRICT, WITHOUT ROWID;
INSERT INTO tally (kind, label, count)
VALUES ('job', 0, 0), ('job', 1, 0), ('job', 2, 0), ('job', 3, 0),
       ('certificate', 0, 0), ('certificate', 1, 0), ('certificate', 2, 0), ('certificate', 3, 0);

CREATE TRIGGER job_opened AFTER INSERT ON job WHEN NEW.state = 0
BEGIN
    UPDATE tally SET count = count + 1
    WHERE kind = 'job' AND label = iif(NEW.issuer = 1, 3, NEW.lane);
END;
CREATE TRIGGER job_ended AFTER UPDATE OF state ON job WHEN OLD.state = 0 AND NEW.state <> 0
BEGIN
    UPDATE tally SET count = count - 1
    WHERE kind = 'job' AND label = iif(OLD.issuer = 1, 3, OLD.lane);
END;
CREATE TRIGGER job_moved AFTER UPDATE OF lane ON job
WHEN OLD.state = 0 AND NEW.state = 0 AND OLD.issuer = 0 AND NEW.lane <> OLD.lane
BEGIN
    UPDATE tally SET count = count + iif(label = NEW.lane, 1, -1)
    WHERE kind = 'job' AND label IN (OLD.lane, NEW.lane);
END;
CREATE TRIGGER job_removed AFTER DELETE ON job WHEN OLD.state = 0
BEGIN
    UPDATE tally SET count = count - 1
    WHERE kind = 'job' AND label = iif(OLD.issuer = 1, 3, OLD.lane);
END;

-- What attempts of agents came to: the newest of each hostname.
CREATE TABLE attempt (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hostname_id INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    property_id INTEGER NOT NULL,
    job_id      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    authority   TEXT    NOT NULL,
    pop         TEXT    NOT NULL,
    -- By which method names were proven, or could not be; null: that is not known.
    method      TEXT,
    -- The class of its failure; null: it was none.
    class       TEXT,
    -- The CA's own words, and what the owner and the operator are told.
    words       TEXT,
    owner       TEXT,
    operator    TEXT,
    -- When the next one is.
    next_at     INTEGER
) STRICT;
CREATE INDEX attempt_hostname ON attempt (hostname_id, id);
CREATE INDEX attempt_property ON attempt (property_id, at);

-- Our accounts at CAs.
CREATE TABLE account (
    authority   TEXT    NOT NULL,
    -- The URL of the CA's directory: under a name there may once have been another CA.
    directory   TEXT    NOT NULL,
    thumbprint  TEXT    NOT NULL,
    -- The private key, which the holders of the group's private key alone can open.
    seal_key_id TEXT    NOT NULL,
    seal_enc    BLOB    NOT NULL,
    seal_cipher BLOB    NOT NULL,
    -- Where the CA keeps it; null: it is not registered.
    url         TEXT,
    -- When it was registered, and whom the CA was told that it may write to: JSON.
    registered_at INTEGER,
    contact     TEXT,
    -- The key that is to take the place of its own; null: none is.
    next_thumbprint  TEXT,
    next_seal_key_id TEXT,
    next_seal_enc    BLOB,
    next_seal_cipher BLOB,
    PRIMARY KEY (authority, directory)
) STRICT;

-- What agents do at CAs besides issuing. A row outlives its hostname.
CREATE TABLE errand (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 0: a certificate is revoked, 1: an account gets a new key, 2: a CA is told whom it may write to.
    kind         INTEGER NOT NULL,
    authority    TEXT    NOT NULL,
    -- 0: open, 1: done, 2: ended without being done.
    state        INTEGER NOT NULL DEFAULT 0,
    -- Not before then is it done; null: not before the certificate is replaced.
    next_at      INTEGER,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    -- How many attempts failed, and the last one's error in the CA's own words.
    attempts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT,
    -- 1: it is not known whether the CA has the account's old key or the new one.
    unsettled    INTEGER NOT NULL DEFAULT 0,
    -- Of a certificate: its hostname, its leaf's fingerprint and DER, why (RFC 5280 section 5.3.1), and when
    -- it ends.
    hostname_id  INTEGER,
    hostname     TEXT,
    fingerprint  BLOB,
    certificate  BLOB,
    reason       INTEGER,
    not_after    INTEGER,
    -- JSON: its sealed key, with which it can be revoked where the account is lost. While this is open.
    seal         TEXT,
    -- The feed's revision from which on edges don't serve it; null: they may.
    replaced_at  INTEGER,
    -- Counts leases.
    fence        INTEGER NOT NULL DEFAULT 0,
    -- Until when it is an agent's; null: nobody's.
    leased_until INTEGER,
    pop          TEXT
) STRICT;
CREATE TRIGGER errand_ended AFTER UPDATE OF state ON errand WHEN NEW.state <> 0 AND NEW.seal IS NOT NULL
BEGIN UPDATE errand SET seal = NULL WHERE id = NEW.id; END;
CREATE UNIQUE INDEX errand_certificate ON errand (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE UNIQUE INDEX errand_account ON errand (authority, kind) WHERE state = 0 AND kind > 0;
CREATE INDEX errand_open ON errand (next_at) WHERE state = 0;
CREATE INDEX errand_hostname ON errand (hostname_id) WHERE hostname_id IS NOT NULL;
CREATE INDEX errand_ended ON errand (ended_at) WHERE ended_at IS NOT NULL;

-- What CAs' limits leave: buckets that are not full.
CREATE TABLE bucket (
    subject   TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    authority TEXT    NOT NULL,
    -- When it is full if nothing else is drawn.
    arrival   INTEGER NOT NULL,
    PRIMARY KEY (subject, kind, authority)
) STRICT, WITHOUT ROWID;
CREATE INDEX bucket_full ON bucket (arrival);

-- What CAs are not to be asked for a while.
CREATE TABLE hold (
    subject   TEXT    NOT NULL,
    scope     TEXT    NOT NULL,
    authority TEXT    NOT NULL,
    since     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    class     TEXT    NOT NULL,
    PRIMARY KEY (subject, scope, authority)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_over ON hold (until);

-- How many times in a row CAs failed whatever they were asked for.
CREATE TABLE outage (
    authority TEXT    PRIMARY KEY,
    count     INTEGER NOT NULL
) STRICT;

-- Names that a CA is being shown to be their owner's.
CREATE TABLE validation (
    name       TEXT    PRIMARY KEY,
    job_id     INTEGER NOT NULL,
    -- JSON: what was asked for, so that it is known when it is asked for again.
    challenges TEXT    NOT NULL,
    -- Of the feed's record.
    revision   INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT;
CREATE INDEX validation_job ON validation (job_id);
CREATE INDEX validation_over ON validation (until);

-- TXT records in the zone of challenges. A row outlives its job and its hostname until the record is gone
-- from where it was published.
CREATE TABLE dns_challenge (
    -- The hostname's public id: the record's label in the zone.
    label  TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    -- The job that it proves something for.
    job_id INTEGER NOT NULL,
    -- 0: to be published, 1: published, 2: to be removed.
    state  INTEGER NOT NULL,
    -- When it is removed, if nobody asks for that before.
    until  INTEGER NOT NULL,
    PRIMARY KEY (label, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX dns_challenge_job ON dns_challenge (job_id);
CREATE INDEX dns_challenge_open ON dns_challenge (state) WHERE state <> 1;
CREATE INDEX dns_challenge_over ON dns_challenge (until);

-- Whatever ends a lease, what was shown for it is shown no longer.
CREATE TRIGGER dns_challenge_lease_ended AFTER UPDATE OF leased_until ON job
WHEN NEW.leased_until IS NULL AND OLD.leased_until IS NOT NULL
BEGIN UPDATE dns_challenge SET state = 2 WHERE job_id = NEW.id AND state <> 2; END;
CREATE TRIGGER dns_challenge_job_gone AFTER DELETE ON job
BEGIN UPDATE dns_challenge SET state = 2 WHERE job_id = OLD.id AND state <> 2; END;

-- Counts what is still to be published or removed: the serial of the zone, and how a change is noticed.
CREATE TABLE dns_serial (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    serial INTEGER NOT NULL
) STRICT;
INSERT INTO dns_serial (id, serial) VALUES (1, 1);
CREATE TRIGGER dns_challenge_added AFTER INSERT ON dns_challenge
BEGIN UPDATE dns_serial SET serial = serial + 1; END;
CREATE TRIGGER dns_challenge_changed AFTER UPDATE OF state ON dns_challenge WHEN NEW.state <> 1
BEGIN UPDATE dns_serial SET serial = serial + 1; END;

-- What happened to a hostname, for its owner.
CREATE TABLE event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    hostname_id INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    at          INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    -- JSON.
    detail      TEXT    NOT NULL
) STRICT;
CREATE INDEX event_hostname ON event (hostname_id, id);

CREATE TABLE certificate (
    hostname_id  INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    -- 0: ECDSA, 1: RSA.
    key_type     INTEGER NOT NULL,
    -- 0: the internal CA, 1: uploaded, 2: came with the name from the property that had it, 3: a CA that
    -- an agent asked.
    issuer       INTEGER NOT NULL,
    fingerprint  BLOB    NOT NULL,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    -- When the next one is asked for; null where it isn't, because its owner uploaded it.
    renew_at     INTEGER CHECK (renew_at IS NOT NULL OR issuer IN (1, 2)),
    -- From when on that goes before others, of one that an agent obtained.
    urgent_at    INTEGER,
    -- 1: it is asked for once that is due, 0: it is already, or the hostname's DNS has left. Kept by triggers.
    unasked      INTEGER NOT NULL DEFAULT 1,
    -- The CA that an agent asked, and what it knows the certificate by (RFC 9773 section 4.1).
    authority    TEXT,
    ari_id       TEXT,
    -- JSON: when the CA wants it renewed.
    advice       TEXT,
    -- When the CA was asked last, and when it is next.
    polled_at    INTEGER,
    poll_at      INTEGER,
    -- The PoP whose agent asks the CA and may answer until `poll_at`; null: nobody does.
    asked_pop    INTEGER,
    -- The certificates' DER, the leaf first, one after the other.
    chain        BLOB    NOT NULL,
    spki_sha256  BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- When a handshake with a PoP first showed it, and which PoPs have: bit n for the PoP with the id n.
    shown_at     INTEGER,
    shown_by     BLOB,
    -- When PoPs are looked at for it next, null: not; and how many looks in a row brought nothing new.
    look_at      INTEGER,
    looks        INTEGER NOT NULL DEFAULT 0,
    -- JSON: what some PoPs showed in its place at the last look.
    missed       TEXT,
    PRIMARY KEY (hostname_id, key_type)
) STRICT;
CREATE INDEX certificate_end ON certificate (not_after);
CREATE INDEX certificate_look ON certificate (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX certificate_renewal ON certificate (renew_at) WHERE renew_at IS NOT NULL;
CREATE INDEX certificate_unasked ON certificate (renew_at) WHERE renew_at IS NOT NULL AND unasked = 1;
CREATE INDEX certificate_begin ON certificate (not_before) WHERE issuer = 0 AND unasked = 1;
CREATE INDEX certificate_poll ON certificate (poll_at) WHERE poll_at IS NOT NULL;

-- What was served to nobody for want of a name is looked for once there is one.
CREATE TRIGGER name_held_with_certificate AFTER INSERT ON held_name
BEGIN
    UPDATE certificate SET look_at = unixepoch(), looks = 0
    WHERE hostname_id = NEW.hostname_id AND shown_at IS NULL;
END;
CREATE TRIGGER hostname_certificate_kept AFTER INSERT ON certificate
BEGIN UPDATE hostname SET version = version + 1 WHERE id = NEW.hostname_id; END;
CREATE TRIGGER certificate_kept AFTER INSERT ON certificate
BEGIN UPDATE tally SET count = count + 1 WHERE kind = 'certificate' AND label = NEW.issuer; END;
CREATE TRIGGER certificate_removed AFTER DELETE ON certificate
BEGIN UPDATE tally SET count = count - 1 WHERE kind = 'certificate' AND label = OLD.issuer; END;
CREATE TRIGGER hostname_certificate_removed AFTER DELETE ON certificate
BEGIN UPDATE hostname SET version = version + 1 WHERE id = OLD.hostname_id; END;

-- However many renewals wait, what is not asked for yet is found by `unasked` alone.
CREATE TRIGGER certificate_kept_while_asked AFTER INSERT ON certificate
WHEN EXISTS (SELECT 1 FROM job WHERE hostname_id = NEW.hostname_id AND state = 0)
    OR EXISTS (SELECT 1 FROM verification
               WHERE hostname_id = NEW.hostname_id AND left_at IS NOT NULL)
BEGIN
    UPDATE certificate SET unasked = 0
    WHERE hostname_id = NEW.hostname_id AND key_type = NEW.key_type;
END;
CREATE TRIGGER certificate_asked AFTER INSERT ON job WHEN NEW.state = 0
BEGIN UPDATE certificate SET unasked = 0 WHERE hostname_id = NEW.hostname_id AND unasked = 1; END;
CREATE TRIGGER certificate_job_ended AFTER UPDATE OF state ON job WHEN OLD.state = 0 AND NEW.state <> 0
BEGIN
    UPDATE certificate SET unasked = 1 WHERE hostname_id = OLD.hostname_id AND unasked = 0
        AND NOT EXISTS (SELECT 1 FROM verification
                        WHERE hostname_id = OLD.hostname_id AND left_at IS NOT NULL);
END;
CREATE TRIGGER certificate_name_left AFTER UPDATE OF left_at ON verification
WHEN OLD.left_at IS NULL AND NEW.left_at IS NOT NULL
BEGIN UPDATE certificate SET unasked = 0 WHERE hostname_id = NEW.hostname_id AND unasked = 1; END;
CREATE TRIGGER certificate_name_returned AFTER UPDATE OF left_at ON verification
WHEN OLD.left_at IS NOT NULL AND NEW.left_at IS NULL
BEGIN
    UPDATE certificate SET unasked = 1 WHERE hostname_id = NEW.hostname_id AND unasked = 0
        AND NOT EXISTS (SELECT 1 FROM job WHERE hostname_id = NEW.hostname_id AND state = 0);
END;
CREATE TRIGGER certificate_name_unverified AFTER DELETE ON verification WHEN OLD.left_at IS NOT NULL
BEGIN
    UPDATE certificate SET unasked = 1 WHERE hostname_id = OLD.hostname_id AND unasked = 0
        AND NOT EXISTS (SELECT 1 FROM job WHERE hostname_id = OLD.hostname_id AND state = 0);
END;

-- A certificate that is to be revoked is, once no edge serves it any more: at most two records tell them,
-- right after it is gone from here. Edges that don't hear of it hold it up for ten minutes at most, or for as
-- long as there are predecessors: an edge that refuses what came in its place goes on with it.
CREATE INDEX certificate_fingerprint ON certificate (fingerprint) WHERE issuer = 3;
CREATE TRIGGER certificate_gone AFTER DELETE ON certificate WHEN OLD.issuer = 3
BEGIN
    UPDATE errand SET replaced_at = (SELECT revision + 2 FROM feed_state),
        next_at = min(ifnull(next_at, unixepoch() + 600), unixepoch() + 600)
    WHERE fingerprint = OLD.fingerprint AND state = 0 AND NOT EXISTS
        (SELECT 1 FROM certificate WHERE fingerprint = OLD.fingerprint AND issuer = 3);
END;

-- A certificate's private key, sealed for each name that it is served for.
CREATE TABLE certificate_key (
    hostname_id INTEGER NOT NULL,
    key_type    INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    seal_key_id TEXT    NOT NULL,
    seal_enc    BLOB    NOT NULL,
    seal_cipher BLOB    NOT NULL,
    PRIMARY KEY (hostname_id, key_type, name),
    FOREIGN KEY (hostname_id, key_type)
        REFERENCES certificate (hostname_id, key_type) ON DELETE CASCADE
) STRICT;
CREATE INDEX certificate_key_seal ON certificate_key (seal_key_id, hostname_id, key_type);

-- What certificates took the place of, as edges get it: one that can't use the new one goes on with it. It is
-- gone once every active PoP has the new ones and they were seen. At most one of each type of key.
CREATE TABLE predecessor (
    hostname_id INTEGER NOT NULL REFERENCES hostname (id) ON DELETE CASCADE,
    key_type    INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    not_after   INTEGER NOT NULL,
    chain       BLOB    NOT NULL,
    spki_sha256 BLOB    NOT NULL,
    seal_key_id TEXT    NOT NULL,
    seal_enc    BLOB    NOT NULL,
    seal_cipher BLOB    NOT NULL,
    PRIMARY KEY (hostname_id, key_type, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX predecessor_fingerprint ON predecessor (fingerprint);

CREATE TABLE pop (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    -- Separated by a space.
    addresses   TEXT    NOT NULL,
    -- The SHA-256 of the token's secret.
    token_hash  BLOB    NOT NULL,
    -- 1: takes traffic, so that hostnames may lead to it.
    traffic     INTEGER NOT NULL DEFAULT 1,
    -- When it last asked for anything of the feed, within half a minute; null: never.
    seen_at     INTEGER,
    -- When something last asked in its name with another token than its own, within half a minute; null: not
    -- since it got that.
    refused_at  INTEGER,
    created_at  INTEGER NOT NULL,
    -- When it was last heard which hostnames are used most there.
    counted_at  INTEGER,
    -- The feed's revision that jobs first waited for it to apply, since it last had applied what they
    -- waited for, and since when.
    awaited_revision INTEGER,
    awaited_since    INTEGER
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
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL,
    -- The SHA-256 of the key's secret.
    secret_hash  BLOB    NOT NULL,
    -- 0: read, 1: write, 2: admin. Each may do what those below it may.
    scope        INTEGER NOT NULL,
    -- The one property that it is for; null: all.
    property_id  INTEGER REFERENCES property (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    -- Within a minute.
    last_used_at INTEGER
) STRICT;
-- Names are told apart within a property: nobody learns of another's by what is taken.
CREATE UNIQUE INDEX api_key_name ON api_key (ifnull(property_id, 0), name);
CREATE INDEX api_key_property ON api_key (property_id) WHERE revoked_at IS NULL;

-- What creations with an Idempotency-Key made, so that a repeated one makes nothing anew.
CREATE TABLE idempotency (
    api_key_id  INTEGER NOT NULL,
    -- The SHA-256 of what the client calls it.
    key         BLOB    NOT NULL,
    -- The SHA-256 of the method, the path and the body.
    fingerprint BLOB    NOT NULL,
    -- The id of what was made.
    object_id   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (api_key_id, key)
) STRICT;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Who changed what. Rows are only ever added.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    -- `key/<id>`, `operator` or `system`.
    actor       TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    -- The property that it is about, which may be gone.
    property_id INTEGER,
    -- What was changed: a name.
    object      TEXT    NOT NULL,
    -- JSON, without secrets.
    detail      TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_property ON audit (property_id, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
