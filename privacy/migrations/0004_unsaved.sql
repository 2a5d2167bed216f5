-- What of the ledger and the outbox is not in the private dataset yet: until it is, nothing is called saved. A row of the
-- outbox goes there once it has a shard.
CREATE TRIGGER event_to_save AFTER INSERT ON consent_events
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER subject_to_save AFTER INSERT ON subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER joined_subject_to_save AFTER UPDATE ON subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER erased_subject_to_save AFTER DELETE ON subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER dataset_to_save AFTER INSERT ON sharing_datasets
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER row_to_save AFTER INSERT ON outbox WHEN new.shard IS NOT NULL
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER changed_row_to_save AFTER UPDATE ON outbox WHEN new.shard IS NOT NULL
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
