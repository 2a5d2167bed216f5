-- What a reasoning model thought before it answered, apart from the answer: no engine reads it again, and no view of
-- privacy/ holds it. `reasoning_seconds`: from its first word to the first of the answer.
ALTER TABLE messages ADD COLUMN reasoning TEXT CHECK (reasoning IS NULL OR (role = 'assistant' AND reasoning <> ''));
ALTER TABLE messages ADD COLUMN reasoning_seconds REAL CHECK ((reasoning_seconds IS NULL) = (reasoning IS NULL));
