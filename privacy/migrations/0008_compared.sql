-- A conversation is compared again once anything that its comparison rested on is another, or `until` has come; and from
-- time to time whatever is noted here. `basis` is that anything, as `privacy/comparison.py` spells it.
CREATE TABLE compared (
    conversation TEXT PRIMARY KEY,
    basis        TEXT NOT NULL,
    until        REAL NOT NULL,
    at           REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX compared_longest_ago ON compared (at);

CREATE TRIGGER compared_is_gone AFTER INSERT ON tombstones
BEGIN DELETE FROM compared WHERE conversation = new.conversation; END;

-- With `finished_turn`, `owner_standing` and `tombstones`, all that privacy reads of chat's.
CREATE VIEW kept_conversation AS SELECT id AS conversation, owner, revision, updated_at FROM conversations;

-- `first_month`: of the row's first prompt, whatever label it leaves with. `kept_back`: why a row is quarantined.
-- `feedback`: what leaves in the dataset's second config, JSON; gone with the row's text.
ALTER TABLE outbox ADD COLUMN first_month TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN kept_back TEXT;
ALTER TABLE outbox ADD COLUMN feedback TEXT CHECK (feedback IS NULL OR json_valid(feedback));
-- What an auditor needs of each turn: [answer, when its prompt was written, through which door], JSON.
ALTER TABLE outbox ADD COLUMN turns TEXT NOT NULL DEFAULT '[]' CHECK (json_type(turns) = 'array');

CREATE INDEX outbox_live ON outbox (conversation, state) WHERE state IN ('publish', 'published', 'quarantined');
CREATE INDEX outbox_unfinished ON outbox (conversation)
WHERE (state = 'publish' AND shard IS NULL) OR (state IN ('publish', 'published') AND row IS NULL);
CREATE INDEX outbox_cells ON outbox (dataset, language, month) WHERE state IN ('publish', 'published');
CREATE INDEX outbox_per_person ON outbox (subject, dataset, first_month) WHERE state IN ('publish', 'published');
CREATE INDEX outbox_public ON outbox (shard) WHERE state IN ('publish', 'published') AND shard IS NOT NULL;
CREATE INDEX outbox_by_dataset_and_shard ON outbox (dataset, shard, state);
