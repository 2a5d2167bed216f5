-- SHA-256 of what was said about a row's answers as it leaves, JSON; NULL where nothing was. What an auditor goes by, and
-- what tells on an empty disk whether it is still the same. Of a row that leaves not even that is kept: few words are
-- guessed by their hash.
ALTER TABLE outbox ADD COLUMN feedback_hash TEXT CHECK (length(feedback_hash) = 64);

CREATE TRIGGER what_was_said_is_forgotten AFTER UPDATE OF state ON outbox
WHEN new.state IN ('retract', 'retracted') AND new.feedback_hash IS NOT NULL
BEGIN UPDATE outbox SET feedback_hash = NULL WHERE row_id = new.row_id; END;

-- The row map says it of what stands here already, too.
INSERT INTO stale_evidence (path) SELECT DISTINCT 'rows/' || dataset || '/' || substr(row_id, 1, 1) FROM outbox WHERE shard IS NOT NULL
ON CONFLICT DO UPDATE SET marks = marks + 1;
INSERT OR REPLACE INTO sharing_notes SELECT 'untold', 'yes' WHERE EXISTS (SELECT 1 FROM outbox WHERE shard IS NOT NULL);
