-- Of an answer: how many messages above it its model did not read, because they did not fit, the oldest ones; and how often
-- it was gone on with after it had been cut off.
ALTER TABLE messages ADD COLUMN omitted INTEGER NOT NULL DEFAULT 0 CHECK (omitted >= 0);
ALTER TABLE messages ADD COLUMN continued INTEGER NOT NULL DEFAULT 0 CHECK (continued >= 0);

-- When a message left the kept branch: whoever steps back to it finds what was shown below it last. Counts as the
-- conversation's revision does. A copy elsewhere does not have it: there, the newest is shown.
ALTER TABLE messages ADD COLUMN left_at INTEGER NOT NULL DEFAULT 0;
