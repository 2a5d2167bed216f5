-- The list of conversations, and the search. A conversation whose `deletes_at` is set is being deleted: nobody sees it, and
-- until then its owner may take that back. `title_by`: the prompt's first words, the model, or the visitor.
ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
ALTER TABLE conversations ADD COLUMN archived INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1));
ALTER TABLE conversations ADD COLUMN title_by TEXT NOT NULL DEFAULT 'words' CHECK (title_by IN ('words', 'model', 'visitor'));
ALTER TABLE conversations ADD COLUMN deletion TEXT;                    -- names what was deleted together
ALTER TABLE conversations ADD COLUMN deletes_at REAL CHECK ((deletes_at IS NULL) = (deletion IS NULL));
ALTER TABLE conversations ADD COLUMN title_entry INTEGER;              -- of the title in `search`; NULL: not in it yet
ALTER TABLE messages ADD COLUMN search_entry INTEGER;                  -- of the message in `search`; NULL: not in it yet

DROP INDEX conversations_newest_first;
CREATE INDEX conversations_listed ON conversations (owner, archived, pinned DESC, updated_at DESC, id DESC, deletes_at);
CREATE INDEX conversations_being_deleted ON conversations (deletes_at) WHERE deletes_at IS NOT NULL;

-- How many days after their last change an owner wants conversations deleted. A choice taken back stays as NULL, so that
-- of two copies the newer one counts.
CREATE TABLE retention (
    owner      TEXT PRIMARY KEY REFERENCES owners (id) ON DELETE CASCADE,
    days       INTEGER CHECK (days > 0),
    changed_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER retention_added AFTER INSERT ON retention
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER retention_changed AFTER UPDATE ON retention
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;

-- The words of titles and of settled messages, as `search_words` (chat/words.py) makes them; no text. Entries rise with the
-- time of what they stand for, so that the newest are found first without sorting. `prefix`: two letters after the owner's.
CREATE VIRTUAL TABLE search USING fts5 (words, content = '', columnsize = 0, tokenize = 'ascii', prefix = '14');

CREATE UNIQUE INDEX messages_found ON messages (search_entry) WHERE search_entry IS NOT NULL;
CREATE UNIQUE INDEX titles_found ON conversations (title_entry) WHERE title_entry IS NOT NULL;
CREATE INDEX messages_to_find ON messages (created_at)
WHERE search_entry IS NULL AND content <> '' AND coalesce(state, '') <> 'running';
CREATE INDEX titles_to_find ON conversations (updated_at) WHERE title_entry IS NULL;

-- What leaves the index is still in its file until its parts have been merged: `chat/scrub.py`.
CREATE TRIGGER conversation_unfound BEFORE DELETE ON conversations
BEGIN
    INSERT INTO search (search, rowid, words)
    SELECT 'delete', search_entry, search_words(old.owner, content)
    FROM messages WHERE conversation = old.id AND search_entry IS NOT NULL
    UNION ALL
    SELECT 'delete', old.title_entry, search_words(old.owner, old.title) WHERE old.title_entry IS NOT NULL;
    UPDATE scrubbing SET marks = marks + 1;
END;

-- Of a message alone: where its conversation goes as well, the trigger above has taken it out.
CREATE TRIGGER message_unfound BEFORE DELETE ON messages WHEN old.search_entry IS NOT NULL
BEGIN
    INSERT INTO search (search, rowid, words)
    SELECT 'delete', old.search_entry, search_words(owner, old.content) FROM conversations WHERE id = old.conversation;
    UPDATE scrubbing SET marks = marks + 1;
END;

CREATE TRIGGER message_changed AFTER UPDATE OF content ON messages
WHEN old.search_entry IS NOT NULL AND old.content <> new.content
BEGIN
    INSERT INTO search (search, rowid, words)
    SELECT 'delete', old.search_entry, search_words(owner, old.content) FROM conversations WHERE id = old.conversation;
    UPDATE messages SET search_entry = NULL WHERE id = new.id;
    UPDATE scrubbing SET marks = marks + 1;
END;

CREATE TRIGGER title_changed AFTER UPDATE OF title, owner ON conversations
WHEN old.title_entry IS NOT NULL AND (old.title <> new.title OR old.owner <> new.owner)
BEGIN
    INSERT INTO search (search, rowid, words) VALUES ('delete', old.title_entry, search_words(old.owner, old.title));
    UPDATE conversations SET title_entry = NULL WHERE id = new.id;
    UPDATE scrubbing SET marks = marks + 1 WHERE new.title_by <> 'model';  -- that one replaces words of the prompt, which stay
END;

CREATE TRIGGER words_moved AFTER UPDATE OF owner ON conversations WHEN old.owner <> new.owner
BEGIN
    INSERT INTO search (search, rowid, words)
    SELECT 'delete', search_entry, search_words(old.owner, content)
    FROM messages WHERE conversation = new.id AND search_entry IS NOT NULL;
    UPDATE messages SET search_entry = NULL WHERE conversation = new.id AND search_entry IS NOT NULL;
    UPDATE scrubbing SET marks = marks + 1;
END;

-- As before, but that a deletion which can still be undone counts as a change: nothing new leaves meanwhile, and what is
-- public is taken back once it is final.
DROP VIEW finished_turn;
CREATE VIEW finished_turn AS
SELECT a.conversation, c.owner, a.depth AS position,
       p.id AS prompt_id, p.content AS prompt, a.id AS answer_id, a.content AS answer,
       a.model, a.model_revision, a.params, a.finish_reason, p.surface,
       p.created_at, a.settled_at, c.system_prompt, max(c.updated_at, coalesce(c.deletes_at, 0)) AS conversation_updated_at
FROM messages AS a
JOIN messages AS p ON p.id = a.parent
JOIN conversations AS c ON c.id = a.conversation
WHERE a.role = 'assistant' AND a.kept = 1 AND a.state IN ('done', 'stopped') AND a.content <> '';
