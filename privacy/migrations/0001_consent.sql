-- The ledger of consent. An event is written once and stays. Times are Unix seconds.

-- Which chains this database writes. A database that was lost and restored writes chains of its own.
CREATE TABLE replica (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id   TEXT NOT NULL CHECK (length(id) = 16)
) STRICT;

INSERT INTO replica VALUES (1, lower(hex(randomblob(8))));

-- Whose subject it is. Erasing a person deletes this row; the events then speak of nobody.
CREATE TABLE subjects (
    owner   TEXT PRIMARY KEY CHECK (length(owner) = 32),
    subject TEXT NOT NULL UNIQUE CHECK (length(subject) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE consent_events (
    id             TEXT PRIMARY KEY CHECK (length(id) = 32),
    subject        TEXT NOT NULL CHECK (length(subject) = 32),
    replica        TEXT NOT NULL CHECK (length(replica) = 16),
    number         INTEGER NOT NULL CHECK (number >= 1),      -- 1, 2, 3 ... within (subject, replica)
    at             REAL NOT NULL,                             -- rises within (subject, replica), whatever the clock does
    kind           TEXT NOT NULL CHECK (kind IN
                   ('grant', 'deny', 'withdraw', 'text_changed', 'org_block', 'takedown', 'delete')),
    scope          TEXT NOT NULL CHECK (scope IN ('account', 'conversation')),
    conversation   TEXT CHECK (length(conversation) = 32),
    recipient      TEXT CHECK (recipient <> ''),              -- the authors by name; NULL: all of them
    turns          TEXT NOT NULL CHECK (json_type(turns) = 'array'),     -- answer ids that an explicit share covers
    purposes       TEXT NOT NULL CHECK (json_type(purposes) = 'array'),
    policy_version TEXT NOT NULL CHECK (policy_version <> ''),
    text_hash      TEXT NOT NULL CHECK (length(text_hash) = 64),         -- SHA-256 of the text that was shown
    language       TEXT NOT NULL CHECK (language <> ''),
    surface        TEXT NOT NULL CHECK (surface IN ('page', 'api', 'operator')),
    age_affirmed   INTEGER NOT NULL CHECK (age_affirmed IN (0, 1)),
    previous       TEXT NOT NULL CHECK (previous = '' OR length(previous) = 64),
    hash           TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),       -- SHA-256 of all of the above
    UNIQUE (subject, replica, number),
    CHECK ((scope = 'conversation') = (conversation IS NOT NULL)),
    CHECK (scope = 'conversation' OR turns = '[]'),
    -- Yes is always to somebody by name, for stated purposes, by somebody old enough; and to a conversation, for stated turns.
    CHECK (kind <> 'grant' OR (recipient IS NOT NULL AND age_affirmed = 1 AND purposes <> '[]')),
    CHECK (kind <> 'grant' OR scope = 'account' OR turns <> '[]')
) STRICT, WITHOUT ROWID;

CREATE INDEX consent_events_of_conversation ON consent_events (conversation) WHERE conversation IS NOT NULL;

CREATE TRIGGER consent_events_stay BEFORE DELETE ON consent_events
BEGIN SELECT RAISE(ABORT, 'The ledger of consent is append-only.'); END;

CREATE TRIGGER consent_events_are_never_changed BEFORE UPDATE ON consent_events
BEGIN SELECT RAISE(ABORT, 'The ledger of consent is append-only.'); END;

-- INSERT OR REPLACE deletes without asking the trigger above, so a second event of the same key is refused here.
CREATE TRIGGER consent_events_continue_their_chain BEFORE INSERT ON consent_events
BEGIN
    SELECT RAISE(ABORT, 'The ledger of consent is append-only.')
    WHERE EXISTS (SELECT 1 FROM consent_events WHERE id = NEW.id OR hash = NEW.hash);
    SELECT RAISE(ABORT, 'This event does not follow the last one of its chain.')
    WHERE NEW.number <> 1 + coalesce((SELECT max(number) FROM consent_events
                                      WHERE subject = NEW.subject AND replica = NEW.replica), 0)
       OR NEW.previous <> coalesce((SELECT hash FROM consent_events WHERE subject = NEW.subject
                                    AND replica = NEW.replica AND number = NEW.number - 1), '')
       OR NEW.at <= coalesce((SELECT at FROM consent_events WHERE subject = NEW.subject
                              AND replica = NEW.replica AND number = NEW.number - 1), NEW.at - 1);
END;

-- Who cannot share, whatever they said: visitors who could not withdraw, and members of organisations that decide for
-- them. With `finished_turn` and `tombstones`, all that privacy reads of chat's.
CREATE VIEW owner_standing AS
SELECT o.id AS owner,
       CASE WHEN a.owner IS NULL THEN 'anonymous'
            WHEN EXISTS (SELECT 1 FROM json_each(a.orgs) WHERE json_extract(value, '$.managed')) THEN 'managed'
            ELSE 'account' END AS standing
FROM owners AS o LEFT JOIN accounts AS a ON a.owner = o.id;
