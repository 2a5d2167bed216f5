-- The events that still say something: see privacy/knowing.py. What follows from the ledger, and is never saved.
CREATE TABLE speaking_events (id TEXT PRIMARY KEY, subject TEXT NOT NULL, conversation TEXT) STRICT, WITHOUT ROWID;
INSERT INTO speaking_events SELECT id, subject, conversation FROM consent_events;
CREATE INDEX speaking_events_of_subject ON speaking_events (subject, conversation);
CREATE INDEX speaking_events_of_conversation ON speaking_events (conversation) WHERE conversation IS NOT NULL;

-- Only these know more of the other chains than the one before them.
CREATE INDEX consent_events_that_have_seen ON consent_events (subject, replica, number) WHERE seen <> '[]';
CREATE INDEX pauses_by_end ON pauses (subject, ended_at);
