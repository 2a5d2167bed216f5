-- What anybody reported: a shared row, or a link. While a report about a row is open, none of its turns is shared; a person
-- decides later. Times are Unix seconds.
CREATE TABLE reports (
    id           TEXT PRIMARY KEY CHECK (length(id) = 32),
    at           REAL NOT NULL,
    about        TEXT NOT NULL CHECK (length(about) BETWEEN 1 AND 500),
    reason       TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 4000),
    contact      TEXT NOT NULL CHECK (length(contact) <= 200),
    row_id       TEXT,                                            -- the shared row that it names, if there is one
    conversation TEXT,
    answers      TEXT NOT NULL CHECK (json_type(answers) = 'array'),
    state        TEXT NOT NULL CHECK (state IN ('open', 'upheld', 'rejected')),
    decided_at   REAL,
    CHECK ((state = 'open') = (decided_at IS NULL)),
    CHECK ((row_id IS NULL) = (answers = '[]'))
) STRICT, WITHOUT ROWID;

CREATE INDEX reports_open ON reports (at) WHERE state = 'open';

-- Where two replicas decided, the one that upheld counts, and then the first: the same on both.
CREATE TRIGGER reports_are_decided_once BEFORE UPDATE ON reports
WHEN OLD.state <> 'open' AND NOT (NEW.state = 'upheld' AND OLD.state = 'rejected')
    AND NOT (NEW.state = OLD.state AND NEW.decided_at < OLD.decided_at)
BEGIN SELECT RAISE(ABORT, 'This report was decided before.'); END;
CREATE TRIGGER report_to_save AFTER INSERT ON reports
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER decided_report_to_save AFTER UPDATE ON reports
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;

-- Whose number it was is forgotten for ever: no copy of the dataset brings the person back.
CREATE TABLE erased_subjects (subject TEXT PRIMARY KEY CHECK (length(subject) = 32)) STRICT, WITHOUT ROWID;

CREATE TRIGGER subject_is_erased AFTER DELETE ON subjects
BEGIN INSERT OR IGNORE INTO erased_subjects VALUES (OLD.subject); END;
CREATE TRIGGER erased_subjects_never_come_back BEFORE INSERT ON subjects
WHEN EXISTS (SELECT 1 FROM erased_subjects WHERE subject = NEW.subject)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER subject_erased_elsewhere AFTER INSERT ON erased_subjects
BEGIN DELETE FROM subjects WHERE subject = NEW.subject; END;
