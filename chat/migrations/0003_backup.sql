-- The private dataset: what of each conversation is saved there, what was deleted, which of its files need writing anew.
-- It keeps an owner's conversations in numbered parts, and each row here says which part, and at which revision.
ALTER TABLE conversations ADD COLUMN saved_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN part INTEGER;                     -- NULL: in no file yet

CREATE INDEX conversations_unsaved ON conversations (owner) WHERE revision > saved_revision;

-- `kept`: on the branch that ends with the conversation's leaf. `depth`: messages above it on its branch.
ALTER TABLE messages ADD COLUMN kept INTEGER NOT NULL DEFAULT 1 CHECK (kept IN (0, 1));
ALTER TABLE messages ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN settled_at REAL;                       -- of an answer: when its text became final

WITH RECURSIVE up AS (
    SELECT m.id, m.parent FROM conversations AS c JOIN messages AS m ON m.id = c.leaf
    UNION ALL
    SELECT m.id, m.parent FROM messages AS m JOIN up ON m.id = up.parent
)
UPDATE messages SET kept = 0 WHERE id NOT IN (SELECT id FROM up);

WITH RECURSIVE down (id, depth) AS (
    SELECT id, 0 FROM messages WHERE parent IS NULL
    UNION ALL
    SELECT m.id, down.depth + 1 FROM down JOIN messages AS p ON p.id = down.id
    JOIN messages AS m ON m.conversation = p.conversation AND m.parent = down.id
)
UPDATE messages SET depth = down.depth FROM down WHERE down.id = messages.id;

UPDATE messages SET settled_at = (SELECT updated_at FROM conversations WHERE id = messages.conversation)
WHERE state IS NOT NULL AND state <> 'running';

-- A deleted conversation, for ever: whatever a copy elsewhere still says of it, it does not come back.
CREATE TABLE tombstones (
    conversation TEXT PRIMARY KEY CHECK (length(conversation) = 32),
    owner        TEXT NOT NULL,
    deleted_at   REAL NOT NULL,
    saved        INTEGER NOT NULL DEFAULT 0 CHECK (saved IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_unsaved ON tombstones (conversation) WHERE saved = 0;

CREATE TRIGGER conversations_never_come_back BEFORE INSERT ON conversations
WHEN EXISTS (SELECT 1 FROM tombstones WHERE conversation = new.id)
BEGIN SELECT RAISE(ABORT, 'this conversation was deleted'); END;

-- What must be written anew though no conversation in it changed: one was deleted from it, or moved to another owner.
-- `marks` counts the reasons, so that one which comes while the file is being written is not lost.
CREATE TABLE stale_parts (
    owner TEXT NOT NULL,
    part  INTEGER NOT NULL,
    marks INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (owner, part)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER conversation_deleted AFTER DELETE ON conversations WHEN old.part IS NOT NULL
BEGIN INSERT INTO stale_parts (owner, part) VALUES (old.owner, old.part) ON CONFLICT DO UPDATE SET marks = marks + 1; END;

CREATE TRIGGER conversation_moved AFTER UPDATE OF owner ON conversations WHEN old.owner <> new.owner
BEGIN
    INSERT INTO stale_parts (owner, part) SELECT old.owner, old.part WHERE old.part IS NOT NULL
    ON CONFLICT DO UPDATE SET marks = marks + 1;
    UPDATE conversations SET part = NULL, saved_revision = 0 WHERE id = new.id;
END;

-- Owners whose file under accounts/ must be written anew. A visit alone writes nothing.
CREATE TABLE stale_accounts (owner TEXT PRIMARY KEY, marks INTEGER NOT NULL DEFAULT 1) STRICT, WITHOUT ROWID;

INSERT INTO stale_accounts (owner) SELECT id FROM owners;

CREATE TRIGGER owner_added AFTER INSERT ON owners
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.id) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER owner_gone AFTER DELETE ON owners
BEGIN INSERT INTO stale_accounts (owner) VALUES (old.id) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER account_added AFTER INSERT ON accounts
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER account_changed AFTER UPDATE ON accounts WHEN old.name <> new.name OR old.orgs <> new.orgs
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER session_added AFTER INSERT ON sessions
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER session_gone AFTER DELETE ON sessions
BEGIN INSERT INTO stale_accounts (owner) VALUES (old.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER key_added AFTER INSERT ON api_keys
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER key_revoked AFTER UPDATE OF revoked_at ON api_keys
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;

-- The dataset's files as this app last wrote or read them: `content` is git's id of the bytes.
CREATE TABLE saved_files (path TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE backup_state (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Settled turns on the kept branch, one row each: the only thing of the chat's tables that privacy/ reads.
-- `position` grows along the branch. Times are unix seconds; `created_at` is the prompt's.
CREATE VIEW finished_turn AS
SELECT a.conversation, c.owner, a.depth AS position,
       p.id AS prompt_id, p.content AS prompt, a.id AS answer_id, a.content AS answer,
       a.model, a.model_revision, a.params, a.finish_reason, p.surface,
       p.created_at, a.settled_at, c.system_prompt, c.updated_at AS conversation_updated_at
FROM messages AS a
JOIN messages AS p ON p.id = a.parent
JOIN conversations AS c ON c.id = a.conversation
WHERE a.role = 'assistant' AND a.kept = 1 AND a.state IN ('done', 'stopped') AND a.content <> '';
