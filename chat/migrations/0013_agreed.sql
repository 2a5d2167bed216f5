-- Under which of its owner's yeses a prompt or an answer was written: their ids, each followed by a comma, as privacy/ gives
-- them; chat only keeps them. An answer has no more than its prompt. NULL: from before this column.
ALTER TABLE messages ADD COLUMN agreed TEXT;

-- As before, with it.
DROP TRIGGER unsafe_message_changed;
CREATE TRIGGER unsafe_message_changed
AFTER UPDATE OF parent, role, content, created_at, surface, model, model_revision, params, state, finish_reason, error,
    settled_at, reasoning, reasoning_seconds, omitted, continued, agreed ON messages
WHEN new.state IS NOT 'running'
BEGIN
    INSERT INTO unsafe_messages (conversation, message) VALUES (new.conversation, new.id)
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

DROP VIEW finished_turn;
CREATE VIEW finished_turn AS
SELECT a.conversation, c.owner, a.depth AS position,
       p.id AS prompt_id, p.content AS prompt, a.id AS answer_id, a.content AS answer, a.continued, a.agreed,
       a.model, a.model_revision, a.params, a.finish_reason, p.surface,
       p.created_at, a.settled_at, c.system_prompt, max(c.updated_at, coalesce(c.deletes_at, 0)) AS conversation_updated_at
FROM messages AS a
JOIN messages AS p ON p.id = a.parent
JOIN conversations AS c ON c.id = a.conversation
WHERE a.role = 'assistant' AND a.kept = 1 AND a.state IN ('done', 'stopped') AND a.content <> '';
