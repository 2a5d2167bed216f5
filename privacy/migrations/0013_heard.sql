-- When an owner's prompts were written, by the clock or by what was heard by then, whichever is later: what is said from now
-- on is dated after all of it. On whatever branch, answered or not, but for those that only came in a file.
DROP VIEW prompted;
CREATE VIEW prompted AS
SELECT c.owner, max(m.created_at, coalesce(m.heard, 0)) AS at FROM conversations AS c JOIN messages AS m ON m.conversation = c.id
WHERE m.role = 'user' AND m.surface IS NOT 'import';

-- Every prompt asks for the newest event of its owner.
CREATE INDEX consent_events_by_date ON consent_events (subject, at);
