-- Files of the audit repository that no longer say what is here. `marks` counts the reasons, as in stale_extras.
CREATE TABLE stale_evidence (path TEXT PRIMARY KEY, marks INTEGER NOT NULL DEFAULT 1) STRICT, WITHOUT ROWID;

-- Git's ids of its files as this database last wrote them.
CREATE TABLE evidence_files (path TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (path, content)) STRICT, WITHOUT ROWID;

-- Every hash of the ledger's heads that was told, and when first.
CREATE TABLE told_heads (number INTEGER PRIMARY KEY, at REAL NOT NULL, hash TEXT NOT NULL UNIQUE) STRICT;

CREATE TRIGGER told_head_to_save AFTER INSERT ON told_heads
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER earlier_head_to_save AFTER UPDATE ON told_heads
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;

CREATE TRIGGER event_as_evidence AFTER INSERT ON consent_events
BEGIN INSERT INTO stale_evidence (path) VALUES ('ledger/' || substr(new.subject, 1, 1)) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER row_as_evidence AFTER INSERT ON outbox WHEN new.shard IS NOT NULL
BEGIN
    INSERT INTO stale_evidence (path) VALUES ('rows/' || new.dataset || '/' || substr(new.row_id, 1, 1))
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;
CREATE TRIGGER changed_row_as_evidence AFTER UPDATE OF state, shard ON outbox WHEN new.shard IS NOT NULL
BEGIN
    INSERT INTO stale_evidence (path) VALUES ('rows/' || new.dataset || '/' || substr(new.row_id, 1, 1))
    ON CONFLICT DO UPDATE SET marks = marks + 1;
END;
-- What stood here before this file.
INSERT INTO stale_evidence (path) SELECT DISTINCT 'ledger/' || substr(subject, 1, 1) FROM consent_events;
INSERT INTO stale_evidence (path) SELECT DISTINCT 'rows/' || dataset || '/' || substr(row_id, 1, 1) FROM outbox WHERE shard IS NOT NULL;
