-- Write-ahead objects: what is kept here and not yet in the private dataset, in a storage bucket. A conversation is safe
-- where its `safe_revision` is its `revision`: then the bucket's objects and the dataset together hold all of it.
ALTER TABLE conversations ADD COLUMN safe_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tombstones ADD COLUMN safe INTEGER NOT NULL DEFAULT 0 CHECK (safe IN (0, 1));

CREATE INDEX conversations_unsafe ON conversations (id) WHERE revision > safe_revision AND revision > saved_revision;
CREATE INDEX tombstones_unsafe ON tombstones (conversation) WHERE saved = 0 AND safe = 0;

-- Messages that are in neither. `marks` counts the reasons, as in stale_parts.
CREATE TABLE unsafe_messages (
    conversation TEXT NOT NULL,
    message      TEXT NOT NULL,
    marks        INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (conversation, message)
) STRICT, WITHOUT ROWID;

INSERT INTO unsafe_messages (conversation, message)
SELECT m.conversation, m.id FROM messages AS m JOIN conversations AS c ON c.id = m.conversation
WHERE c.revision > c.saved_revision;

CREATE TRIGGER unsafe_message_added AFTER INSERT ON messages
BEGIN
    INSERT INTO unsafe_messages (conversation, message) VALUES (new.conversation, new.id)
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

-- Of the columns that travel: those of SavedMessage in chat/formats.py. What a running answer has so far is not acknowledged.
CREATE TRIGGER unsafe_message_changed
AFTER UPDATE OF parent, role, content, created_at, surface, model, model_revision, params, state, finish_reason, error,
    settled_at, reasoning, reasoning_seconds, omitted, continued ON messages
WHEN new.state IS NOT 'running'
BEGIN
    INSERT INTO unsafe_messages (conversation, message) VALUES (new.conversation, new.id)
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

-- A rating travels in its answer's message. Where that is gone, so is the rating.
CREATE TRIGGER unsafe_rating_added AFTER INSERT ON feedback
BEGIN
    INSERT INTO unsafe_messages (conversation, message) SELECT conversation, id FROM messages WHERE id = new.answer
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;
CREATE TRIGGER unsafe_rating_changed AFTER UPDATE ON feedback
BEGIN
    INSERT INTO unsafe_messages (conversation, message) SELECT conversation, id FROM messages WHERE id = new.answer
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;
CREATE TRIGGER unsafe_rating_gone AFTER DELETE ON feedback
BEGIN
    INSERT INTO unsafe_messages (conversation, message) SELECT conversation, id FROM messages WHERE id = old.answer
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

CREATE TRIGGER conversation_saved AFTER UPDATE OF saved_revision ON conversations WHEN new.saved_revision >= new.revision
BEGIN DELETE FROM unsafe_messages WHERE conversation = new.id; END;

CREATE TRIGGER conversation_gone AFTER DELETE ON conversations
BEGIN DELETE FROM unsafe_messages WHERE conversation = old.id; END;

-- The dataset lost it, or it moved to another file there: what the dataset alone held must be written anew.
CREATE TRIGGER conversation_unsaved AFTER UPDATE OF saved_revision ON conversations
WHEN new.saved_revision < old.saved_revision
BEGIN
    UPDATE conversations SET safe_revision = 0 WHERE id = new.id;
    INSERT INTO unsafe_messages (conversation, message) SELECT conversation, id FROM messages WHERE conversation = new.id
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

-- Of stale_accounts ('owner') and stale_extras ('extra'): the marks up to which an object holds them.
CREATE TABLE safe_marks (
    kind    TEXT NOT NULL CHECK (kind IN ('owner', 'extra')),
    subject TEXT NOT NULL,
    marks   INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER account_saved AFTER DELETE ON stale_accounts
BEGIN DELETE FROM safe_marks WHERE kind = 'owner' AND subject = old.owner; END;
CREATE TRIGGER extra_saved AFTER DELETE ON stale_extras
BEGIN DELETE FROM safe_marks WHERE kind = 'extra' AND subject = old.prefix; END;

-- The objects, each with one thing in it. `put`: it is known to be there; else it may be, and counts for nothing.
CREATE TABLE write_ahead_objects (
    path     TEXT PRIMARY KEY,
    kind     TEXT NOT NULL CHECK (kind IN ('conversation', 'tombstone', 'owner', 'extra')),
    subject  TEXT NOT NULL,
    revision INTEGER NOT NULL,
    put      INTEGER NOT NULL CHECK (put IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX write_ahead_objects_of ON write_ahead_objects (kind, subject);
