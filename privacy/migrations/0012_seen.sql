-- Of an event, what else was known of the same person when it was said: the hashes of the last events of their other chains.
-- Covered by `hash`. Empty too in the events from before this column, which know of nobody else's.
ALTER TABLE consent_events ADD COLUMN seen TEXT NOT NULL DEFAULT '[]' CHECK (json_type(seen) = 'array');
