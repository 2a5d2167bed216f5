-- When somebody let their sharing rest: nothing new leaves meanwhile, and nothing that was written then leaves by the
-- account's yes later. What is public stays. Times are Unix seconds.
CREATE TABLE pauses (
    subject  TEXT NOT NULL CHECK (length(subject) = 32),
    begun_at REAL NOT NULL,
    ended_at REAL CHECK (ended_at >= begun_at),
    PRIMARY KEY (subject, begun_at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER pause_to_save AFTER INSERT ON pauses
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER ended_pause_to_save AFTER UPDATE ON pauses
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
