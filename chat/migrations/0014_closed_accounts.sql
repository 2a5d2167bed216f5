-- An account that was closed has a tombstone of its own, under its owner's id: as with a conversation, no copy elsewhere brings
-- it back, and it is purged once it is in no commit of the private dataset.
CREATE TRIGGER account_closed AFTER INSERT ON tombstones WHEN EXISTS (SELECT 1 FROM owners WHERE id = new.conversation)
BEGIN
    DELETE FROM offers WHERE account = new.conversation;
    DELETE FROM api_keys WHERE owner = new.conversation;
    DELETE FROM sessions WHERE owner = new.conversation;
    DELETE FROM own_defaults WHERE owner = new.conversation;
    DELETE FROM retention WHERE owner = new.conversation;
    DELETE FROM accounts WHERE owner = new.conversation;
    -- What another machine kept meanwhile goes as well: nobody is left who could delete it.
    INSERT INTO tombstones (conversation, owner, deleted_at)
    SELECT id, owner, new.deleted_at FROM conversations WHERE owner = new.conversation;
    DELETE FROM conversations WHERE owner = new.conversation;
    -- Not all of these tell by themselves that the owner's file is to be written anew.
    INSERT INTO stale_accounts (owner) VALUES (new.conversation) ON CONFLICT DO UPDATE SET marks = marks + 1;
END;

CREATE TRIGGER closed_accounts_never_come_back BEFORE INSERT ON accounts
WHEN EXISTS (SELECT 1 FROM tombstones WHERE conversation = new.owner)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER keys_of_closed_accounts_never_come_back BEFORE INSERT ON api_keys
WHEN EXISTS (SELECT 1 FROM tombstones WHERE conversation = new.owner)
BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER sessions_of_closed_accounts_never_come_back BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM tombstones WHERE conversation = new.owner)
BEGIN SELECT RAISE(IGNORE); END;
