-- Sessions that were ended before their time, until they would have expired: no copy elsewhere brings them back.
CREATE TABLE ended_sessions (
    token_hash BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    owner      TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE ON UPDATE CASCADE,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_sessions_of_owner ON ended_sessions (owner);

CREATE TRIGGER session_ended AFTER DELETE ON sessions WHEN EXISTS (SELECT 1 FROM owners WHERE id = old.owner)
BEGIN INSERT OR IGNORE INTO ended_sessions VALUES (old.token_hash, old.owner, old.expires_at); END;

CREATE TRIGGER sessions_never_come_back BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM ended_sessions WHERE token_hash = new.token_hash)
BEGIN SELECT RAISE(IGNORE); END;
