-- When the history of the private dataset was rewritten without whose number it was; NULL: it may hold it still.
ALTER TABLE erased_subjects ADD COLUMN purged_at REAL;
CREATE INDEX erased_subjects_to_purge ON erased_subjects (subject) WHERE purged_at IS NULL;

DROP TRIGGER subject_is_erased;
CREATE TRIGGER subject_is_erased AFTER DELETE ON subjects
BEGIN INSERT OR IGNORE INTO erased_subjects (subject) VALUES (OLD.subject); END;

CREATE TRIGGER erased_number_to_save AFTER INSERT ON erased_subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER purged_number_to_save AFTER UPDATE ON erased_subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
