-- What the owner of a conversation thinks of an answer in it. One row an answer: whoever may see the answer gave it, also
-- after the conversation moved to their account. It goes with the answer.
CREATE TABLE feedback (
    answer     TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    rating     TEXT NOT NULL CHECK (rating IN ('up', 'down')),
    reasons    TEXT NOT NULL DEFAULT '[]' CHECK (json_type(reasons) = 'array'),   -- of the list in chat/feedback.py
    comment    TEXT NOT NULL DEFAULT '',
    given_at   REAL NOT NULL                                                      -- unix seconds, of the last change
) STRICT, WITHOUT ROWID;

-- For privacy/, which reads it beside finished_turn, joined on answer_id. A rating whose answer is on no kept branch, or
-- not settled, is here and not there.
CREATE VIEW answer_feedback AS
SELECT f.answer AS answer_id, m.conversation, c.owner, m.model, f.rating, f.reasons, f.comment, f.given_at
FROM feedback AS f
JOIN messages AS m ON m.id = f.answer
JOIN conversations AS c ON c.id = m.conversation;
