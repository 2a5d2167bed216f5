-- Who may own conversations: a browser that nobody signed in to, or a Hugging Face account. Times are unix seconds.
-- `conversations.owner` refers to owners(id) without a cascade: an owner cannot go while it owns something.
CREATE TABLE owners (
    id           TEXT PRIMARY KEY CHECK (length(id) = 32),
    kind         TEXT NOT NULL CHECK (kind IN ('anonymous', 'account')),
    created_at   REAL NOT NULL,
    last_seen_at REAL NOT NULL CHECK (last_seen_at >= created_at)   -- at most an hour old while somebody is here
) STRICT, WITHOUT ROWID;

CREATE INDEX owners_to_expire ON owners (last_seen_at) WHERE kind = 'anonymous';

CREATE TABLE accounts (
    owner      TEXT PRIMARY KEY REFERENCES owners (id) ON DELETE CASCADE,
    hub_id     TEXT NOT NULL UNIQUE CHECK (hub_id <> ''),
    name       TEXT NOT NULL CHECK (name <> ''),
    orgs       TEXT NOT NULL CHECK (json_type(orgs) = 'array'),     -- [{"id", "name", "managed": bool}]
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per browser (carried by a cookie) or framed page (carried by a header). Only the SHA-256 of its value is kept.
CREATE TABLE sessions (
    token_hash   BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    owner        TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    carrier      TEXT NOT NULL CHECK (carrier IN ('cookie', 'header')),
    created_at   REAL NOT NULL,
    last_seen_at REAL NOT NULL CHECK (last_seen_at >= created_at),
    expires_at   REAL NOT NULL CHECK (expires_at > created_at)
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_owner ON sessions (owner);
CREATE INDEX sessions_to_expire ON sessions (expires_at);

CREATE TABLE api_keys (
    key_hash     BLOB PRIMARY KEY CHECK (length(key_hash) = 32),
    id           TEXT NOT NULL UNIQUE CHECK (length(id) = 16),      -- names the key in a URL; opens nothing
    owner        TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    name         TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    created_at   REAL NOT NULL,
    last_used_at REAL,
    revoked_at   REAL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_of_owner ON api_keys (owner, created_at);

-- Somebody signed in where an anonymous owner had conversations. Nothing moves until they say so.
CREATE TABLE offers (
    account    TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    anonymous  TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    declined_at REAL,
    PRIMARY KEY (account, anonymous),
    CHECK (account <> anonymous)
) STRICT, WITHOUT ROWID;

CREATE INDEX offers_of_anonymous ON offers (anonymous);
