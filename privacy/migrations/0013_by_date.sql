-- What is said is dated after the newest thing that was said and after the newest change of a conversation, which no message
-- in it is newer than.
CREATE INDEX consent_events_by_date ON consent_events (subject, at);
DROP VIEW prompted;
