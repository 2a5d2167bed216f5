-- When a deleted conversation left the dataset and its history, and whether the dataset says so too. It is still to be
-- purged where that is NULL or before `deleted_at`: a copy that came back was deleted again.
ALTER TABLE tombstones ADD COLUMN purged_at REAL;
ALTER TABLE tombstones ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1));

CREATE INDEX tombstones_to_purge ON tombstones (owner) WHERE purged_at IS NULL OR purged_at < deleted_at;
CREATE INDEX tombstones_to_tell ON tombstones (conversation) WHERE purged_at IS NOT NULL AND told = 0;
CREATE INDEX tombstones_of_owner ON tombstones (owner, deleted_at);

-- Something was deleted, and its words may still stand in an index or in the write-ahead log: `marks` counts how often,
-- `done` up to where they were cleaned (`chat/scrub.py`).
CREATE TABLE scrubbing (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    marks INTEGER NOT NULL,
    done  INTEGER NOT NULL
) STRICT;

INSERT INTO scrubbing VALUES (1, 1, 0);

CREATE TRIGGER deleted_message_to_scrub AFTER DELETE ON messages
BEGIN UPDATE scrubbing SET marks = marks + 1; END;
