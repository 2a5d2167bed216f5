-- The runs of the app on this disk, and of all machines those that were taken for lost, and when: see privacy/running.py.
CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE CHECK (length(id) = 16)) STRICT;
CREATE TABLE lost_runs (id TEXT PRIMARY KEY, found_at REAL NOT NULL) STRICT, WITHOUT ROWID;

CREATE TRIGGER lost_run_to_save AFTER INSERT ON lost_runs
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER earlier_lost_run_to_save AFTER UPDATE ON lost_runs
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
