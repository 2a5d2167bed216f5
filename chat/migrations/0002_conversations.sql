-- A conversation is a tree of messages; `leaf` ends the branch that is kept and shown.
CREATE TABLE conversations (
    id            TEXT PRIMARY KEY CHECK (length(id) = 32),
    owner         TEXT NOT NULL REFERENCES owners (id),
    title         TEXT NOT NULL CHECK (title <> ''),
    model         TEXT NOT NULL,              -- what the next turn will use
    system_prompt TEXT NOT NULL DEFAULT '',
    params        TEXT NOT NULL CHECK (json_valid(params)),
    leaf          TEXT,
    revision      INTEGER NOT NULL DEFAULT 1, -- counts every change; merging compares it
    created_at    REAL NOT NULL,              -- Unix seconds, as everywhere
    updated_at    REAL NOT NULL,
    FOREIGN KEY (id, leaf) REFERENCES messages (conversation, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE INDEX conversations_newest_first ON conversations (owner, updated_at DESC, id DESC);

CREATE TABLE messages (
    id            TEXT PRIMARY KEY CHECK (length(id) = 32),
    conversation  TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent        TEXT,                       -- NULL: the first prompt. Siblings share a parent.
    role          TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    content       TEXT NOT NULL,
    created_at    REAL NOT NULL,
    -- Of a prompt: the door through which its turn came in.
    surface       TEXT CHECK (surface IN ('page', 'api', 'import')),
    -- Of an answer: who wrote it, how, and how it ended.
    model         TEXT,
    model_revision TEXT,
    params        TEXT CHECK (params IS NULL OR json_valid(params)),
    state         TEXT CHECK (state IN ('running', 'done', 'stopped', 'interrupted', 'failed')),
    finish_reason TEXT,
    error         TEXT,                       -- a sentence of ours, never text of the conversation
    UNIQUE (conversation, id),
    -- Deferred and without a cascade: cascading up a branch of 2,000 messages exceeds SQLite's trigger depth.
    FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((role = 'user') = (surface IS NOT NULL)),
    CHECK ((role = 'assistant') = (model IS NOT NULL AND params IS NOT NULL AND state IS NOT NULL)),
    CHECK (role = 'user' OR parent IS NOT NULL),
    CHECK ((state IN ('interrupted', 'failed')) = (error IS NOT NULL) OR state IS NULL),
    CHECK (role = 'assistant' OR (model IS NULL AND state IS NULL AND finish_reason IS NULL AND error IS NULL))
) STRICT;

CREATE INDEX messages_siblings ON messages (conversation, parent, created_at);

-- Two tabs cannot have one conversation answered twice at once.
CREATE UNIQUE INDEX messages_one_running ON messages (conversation) WHERE state = 'running';
