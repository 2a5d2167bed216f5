-- Who closed their account and was forgotten, by the random id that the tombstones of their conversations name as well: a
-- number that another machine gave them comes late, and is forgotten too.
CREATE TABLE erased_owners (owner TEXT PRIMARY KEY CHECK (length(owner) = 32)) STRICT, WITHOUT ROWID;

CREATE TRIGGER erased_owner_to_save AFTER INSERT ON erased_owners
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
