-- What is, or may become, public: one row per segment. Times are Unix seconds.

-- Every sharing dataset that was ever written to, and those about to be. A row here is never deleted.
CREATE TABLE sharing_datasets (
    id         TEXT PRIMARY KEY CHECK (id LIKE '%_/_%'),
    model      TEXT NOT NULL UNIQUE,
    recipient  TEXT NOT NULL CHECK (recipient <> ''),
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER sharing_datasets_are_remembered BEFORE DELETE ON sharing_datasets
BEGIN SELECT RAISE(ABORT, 'A sharing dataset is remembered for ever.'); END;

CREATE TABLE outbox (
    row_id         TEXT PRIMARY KEY CHECK (length(row_id) = 32),    -- random, and the only id that leaves
    dataset        TEXT NOT NULL REFERENCES sharing_datasets (id),
    recipient      TEXT NOT NULL,
    subject        TEXT NOT NULL,
    event          TEXT NOT NULL REFERENCES consent_events (id),    -- the yes that it was planned under
    conversation   TEXT NOT NULL,
    answers        TEXT NOT NULL CHECK (json_type(answers) = 'array' AND answers <> '[]'),  -- ids, in order
    segment_hash   TEXT NOT NULL CHECK (length(segment_hash) = 64), -- of the turns as they are kept
    row_hash       TEXT NOT NULL CHECK (length(row_hash) = 64),     -- of the row as it leaves
    state          TEXT NOT NULL CHECK (state IN ('publish', 'published', 'retract', 'retracted', 'quarantined')),
    shard          INTEGER CHECK (shard BETWEEN 0 AND 15),          -- set before anything is sent: from then on, public
    row            TEXT CHECK (row IS NULL OR json_valid(row)),                    -- what leaves; gone as soon as it must not
    redaction      TEXT NOT NULL,                                   -- version of the redaction that made the row
    language       TEXT NOT NULL,                                   -- as they leave: "other" in a small cell
    month          TEXT NOT NULL,
    planned_at     REAL NOT NULL,
    published_at   REAL,
    published_in   TEXT,                                            -- commit
    retract_at     REAL,
    retracted_at   REAL,
    retracted_in   TEXT,                                            -- commit after which no history has it
    CHECK (state <> 'published' OR (shard IS NOT NULL AND published_at IS NOT NULL AND published_in IS NOT NULL)),
    CHECK (state NOT IN ('retract', 'retracted') OR (shard IS NOT NULL AND row IS NULL AND retract_at IS NOT NULL)),
    CHECK ((state = 'retracted') = (retracted_at IS NOT NULL)),
    CHECK (state <> 'quarantined' OR (shard IS NULL AND row IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_by_state ON outbox (dataset, state);
CREATE INDEX outbox_of_conversation ON outbox (conversation);
CREATE INDEX outbox_of_subject ON outbox (subject);

-- What has been public can only go the way out, and a row that is out is out for ever.
CREATE TRIGGER outbox_goes_one_way BEFORE UPDATE OF state ON outbox
WHEN (OLD.state = 'published' AND NEW.state NOT IN ('published', 'retract'))
  OR (OLD.state = 'retract' AND NEW.state NOT IN ('retract', 'retracted'))
  OR (OLD.state = 'retracted' AND NEW.state <> 'retracted')
BEGIN SELECT RAISE(ABORT, 'A shared row goes from publish to published to retract to retracted.'); END;

-- A row with a shard counts as public until a push has removed it.
CREATE TRIGGER outbox_keeps_what_may_be_public BEFORE DELETE ON outbox
WHEN OLD.shard IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'A row that may be public is retracted, not forgotten.'); END;
