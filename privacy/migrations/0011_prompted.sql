-- When an owner's prompts were written, on whatever branch, answered or not, but for those that only came in a file.
-- With `finished_turn`, `kept_conversation`, `owner_standing` and `tombstones`, all that privacy reads of chat's.
CREATE VIEW prompted AS
SELECT c.owner, m.created_at FROM conversations AS c JOIN messages AS m ON m.conversation = c.id
WHERE m.role = 'user' AND m.surface IS NOT 'import';
