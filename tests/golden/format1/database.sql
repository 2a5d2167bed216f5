BEGIN TRANSACTION;
CREATE TABLE accounts (
    owner      TEXT PRIMARY KEY REFERENCES owners (id) ON DELETE CASCADE,
    hub_id     TEXT NOT NULL UNIQUE CHECK (hub_id <> ''),
    name       TEXT NOT NULL CHECK (name <> ''),
    orgs       TEXT NOT NULL CHECK (json_type(orgs) = 'array'),     -- [{"id", "name", "managed": bool}]
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "accounts" VALUES('3f0374f12685700eac977ad324190321','64a1','ada-example','[{"id": "64f0", "name": "heron-watchers", "managed": false}]',1750000000.0);
INSERT INTO "accounts" VALUES('a81ed8793639b718eeed018e7b883550','64a2','grace-example','[{"id": "64f0", "name": "heron-watchers", "managed": false}]',1750000000.0);
CREATE TABLE api_keys (
    key_hash     BLOB PRIMARY KEY CHECK (length(key_hash) = 32),
    id           TEXT NOT NULL UNIQUE CHECK (length(id) = 16),      -- names the key in a URL; opens nothing
    owner        TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    name         TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    created_at   REAL NOT NULL,
    last_used_at REAL,
    revoked_at   REAL
) STRICT, WITHOUT ROWID;
INSERT INTO "api_keys" VALUES(X'6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B','eeeeeeeeeeeeeeee','3f0374f12685700eac977ad324190321','my notebook',1750000123.0,NULL,NULL);
CREATE TABLE backup_state (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "backup_state" VALUES('head','cf6a9eac2435494e53396b37f9a147dd76c81622');
INSERT INTO "backup_state" VALUES('purge_at','1750259984.0');
CREATE TABLE consent_events (
    id             TEXT PRIMARY KEY CHECK (length(id) = 32),
    subject        TEXT NOT NULL CHECK (length(subject) = 32),
    replica        TEXT NOT NULL CHECK (length(replica) = 16),
    number         INTEGER NOT NULL CHECK (number >= 1),      -- 1, 2, 3 ... within (subject, replica)
    at             REAL NOT NULL,                             -- rises within (subject, replica), whatever the clock does
    kind           TEXT NOT NULL CHECK (kind IN
                   ('grant', 'deny', 'withdraw', 'text_changed', 'org_block', 'takedown', 'delete')),
    scope          TEXT NOT NULL CHECK (scope IN ('account', 'conversation')),
    conversation   TEXT CHECK (length(conversation) = 32),
    recipient      TEXT CHECK (recipient <> ''),              -- the authors by name; NULL: all of them
    turns          TEXT NOT NULL CHECK (json_type(turns) = 'array'),     -- answer ids that an explicit share covers
    purposes       TEXT NOT NULL CHECK (json_type(purposes) = 'array'),
    policy_version TEXT NOT NULL CHECK (policy_version <> ''),
    text_hash      TEXT NOT NULL CHECK (length(text_hash) = 64),         -- SHA-256 of the text that was shown
    language       TEXT NOT NULL CHECK (language <> ''),
    surface        TEXT NOT NULL CHECK (surface IN ('page', 'api', 'operator')),
    age_affirmed   INTEGER NOT NULL CHECK (age_affirmed IN (0, 1)),
    previous       TEXT NOT NULL CHECK (previous = '' OR length(previous) = 64),
    hash           TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),       -- SHA-256 of all of the above
    UNIQUE (subject, replica, number),
    CHECK ((scope = 'conversation') = (conversation IS NOT NULL)),
    CHECK (scope = 'conversation' OR turns = '[]'),
    -- Yes is always to somebody by name, for stated purposes, by somebody old enough; and to a conversation, for stated turns.
    CHECK (kind <> 'grant' OR (recipient IS NOT NULL AND age_affirmed = 1 AND purposes <> '[]')),
    CHECK (kind <> 'grant' OR scope = 'account' OR turns <> '[]')
) STRICT, WITHOUT ROWID;
INSERT INTO "consent_events" VALUES('4790c14b5ad23e17f75c071f2cf66af7','f6bc8fd09589afd9e1328549a618b6e0','e0fd5d646e2c02c3',2,1750000002.0,'grant','account',NULL,'globex','[]','["training", "research"]','1','1c60bfa0485b9e70fa2f0c52f35e88dea2d65662ca29bb238d83889308e109cf','en','page',1,'04f3115ad23e4848347ac4705aebf03b6dcfcda52220fcae73892cc950af1b5e','2ed72f20cea06be8b09a873c06e2dfc81aceb89d30d851a419b4ce9a873de29c');
INSERT INTO "consent_events" VALUES('90b3cd83fa14ef31201d2efe251bddc8','f6bc8fd09589afd9e1328549a618b6e0','e0fd5d646e2c02c3',3,1750259324.0,'withdraw','account',NULL,'globex','[]','["training", "research"]','1','1c60bfa0485b9e70fa2f0c52f35e88dea2d65662ca29bb238d83889308e109cf','en','page',1,'2ed72f20cea06be8b09a873c06e2dfc81aceb89d30d851a419b4ce9a873de29c','dab790a06457c76d643952805398c01a4d618c048e3bc95d08b1bab81842a626');
INSERT INTO "consent_events" VALUES('bf4bb282c81757dc113773dca174dd26','f6bc8fd09589afd9e1328549a618b6e0','e0fd5d646e2c02c3',1,1750000001.0,'grant','account',NULL,'acme','[]','["training", "research"]','1','1c60bfa0485b9e70fa2f0c52f35e88dea2d65662ca29bb238d83889308e109cf','en','page',1,'','04f3115ad23e4848347ac4705aebf03b6dcfcda52220fcae73892cc950af1b5e');
INSERT INTO "consent_events" VALUES('d227dc7571e5c7ac77c0663ab9d5007d','e3fcf63ffbe79a7a8bcd66ba8f3f4365','e0fd5d646e2c02c3',1,1750000003.0,'deny','account',NULL,'acme','[]','["training", "research"]','1','1c60bfa0485b9e70fa2f0c52f35e88dea2d65662ca29bb238d83889308e109cf','en','page',1,'','3f2c622c9703defbd91fda50fb08d31949a62013ad64d1a48014143aa6268141');
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
    updated_at    REAL NOT NULL, saved_revision INTEGER NOT NULL DEFAULT 0, part INTEGER,
    FOREIGN KEY (id, leaf) REFERENCES messages (conversation, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
INSERT INTO "conversations" VALUES('b88a1d266615cbdbe39ba5c4a88351cf','3f0374f12685700eac977ad324190321','Where do herons nest? Write to ada@example.org.','acme/alpha','','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','57497fd3fcd3278e99e061ce3d90aff3',7,1750000013.0,1750000043.0,7,0);
INSERT INTO "conversations" VALUES('93ddf447410b46333f36df8bcd731d6b','3f0374f12685700eac977ad324190321','About temperature','globex/beta','','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','610ff81babb95facccd6e2085aa0d25a',4,1750000053.0,1750000063.0,4,0);
INSERT INTO "conversations" VALUES('8a4ad9ea43ec79e73612bc945c24f2b6','a81ed8793639b718eeed018e7b883550','Hello from grace@example.org','acme/alpha','','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','950effe7e563e0f5b812169df9d1bdb8',7,1750000093.0,1750000103.0,7,0);
INSERT INTO "conversations" VALUES('dffe6734efef0b97d66e95c0fae15f34','0535ab188e72daa2a1fed86e65bf45ca','Nobody signed in','acme/alpha','','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','9658a34c2438f465f239624e1cde2de7',4,1750000113.0,1750000123.0,4,0);
CREATE TABLE ended_sessions (
    token_hash BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    owner      TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE ON UPDATE CASCADE,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "ended_sessions" VALUES(X'6565656565656565656565656565656565656565656565656565656565656565','a81ed8793639b718eeed018e7b883550',1759000123.0);
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
    error         TEXT, kept INTEGER NOT NULL DEFAULT 1 CHECK (kept IN (0, 1)), depth INTEGER NOT NULL DEFAULT 0, settled_at REAL,                       -- a sentence of ours, never text of the conversation
    UNIQUE (conversation, id),
    -- Deferred and without a cascade: cascading up a branch of 2,000 messages exceeds SQLite's trigger depth.
    FOREIGN KEY (conversation, parent) REFERENCES messages (conversation, id) DEFERRABLE INITIALLY DEFERRED,
    CHECK ((role = 'user') = (surface IS NOT NULL)),
    CHECK ((role = 'assistant') = (model IS NOT NULL AND params IS NOT NULL AND state IS NOT NULL)),
    CHECK (role = 'user' OR parent IS NOT NULL),
    CHECK ((state IN ('interrupted', 'failed')) = (error IS NOT NULL) OR state IS NULL),
    CHECK (role = 'assistant' OR (model IS NULL AND state IS NULL AND finish_reason IS NULL AND error IS NULL))
) STRICT;
INSERT INTO "messages" VALUES('035133f2fd5a3477d8c5301dc8a035c7','b88a1d266615cbdbe39ba5c4a88351cf',NULL,'user','Where do herons nest? Write to ada@example.org.',1750000013.0,'page',NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL);
INSERT INTO "messages" VALUES('ac1e5e21b57494375e08a9fcabdb0ead','b88a1d266615cbdbe39ba5c4a88351cf','035133f2fd5a3477d8c5301dc8a035c7','assistant','acme/alpha answers: Where do herons nest? Write to ada@example.org.',1750000013.0,NULL,'acme/alpha','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','done','stop',NULL,1,1,1750000023.0);
INSERT INTO "messages" VALUES('6a3586969e80775ef8b4815558b0e3e3','b88a1d266615cbdbe39ba5c4a88351cf','ac1e5e21b57494375e08a9fcabdb0ead','user','And in winter?  Ząb, 漢字, 🪶',1750000033.0,'page',NULL,NULL,NULL,NULL,NULL,NULL,1,2,NULL);
INSERT INTO "messages" VALUES('b3cc8d23125cc1cc7be1befd81268a34','b88a1d266615cbdbe39ba5c4a88351cf','6a3586969e80775ef8b4815558b0e3e3','assistant','acme/alpha answers: And in winter?  Ząb, 漢字, 🪶',1750000033.0,NULL,'acme/alpha','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','done','stop',NULL,0,3,1750000043.0);
INSERT INTO "messages" VALUES('57497fd3fcd3278e99e061ce3d90aff3','b88a1d266615cbdbe39ba5c4a88351cf','6a3586969e80775ef8b4815558b0e3e3','assistant','In winter they rest by open water.',1750000043.0,NULL,'acme/alpha','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','done','stop',NULL,1,3,1750000043.0);
INSERT INTO "messages" VALUES('9a352a196261248a33d5106a056f3e44','93ddf447410b46333f36df8bcd731d6b',NULL,'user','What does temperature do?',1750000053.0,'page',NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL);
INSERT INTO "messages" VALUES('610ff81babb95facccd6e2085aa0d25a','93ddf447410b46333f36df8bcd731d6b','9a352a196261248a33d5106a056f3e44','assistant','globex/beta answers: What does temperature do?',1750000053.0,NULL,'globex/beta','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','done','stop',NULL,1,1,1750000063.0);
INSERT INTO "messages" VALUES('eeafa0b51341bb2d63716e6167d8df0d','8a4ad9ea43ec79e73612bc945c24f2b6',NULL,'user','Hello from grace@example.org',1750000093.0,'page',NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL);
INSERT INTO "messages" VALUES('dc833a49538ee68a38fb4133cd3ab94a','8a4ad9ea43ec79e73612bc945c24f2b6','eeafa0b51341bb2d63716e6167d8df0d','assistant','acme/alpha answers: Hello from grace@example.org',1750000093.0,NULL,'acme/alpha','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','done','stop',NULL,1,1,1750000103.0);
INSERT INTO "messages" VALUES('02ce77a476d019da86ce766d78e6ae42','8a4ad9ea43ec79e73612bc945c24f2b6','dc833a49538ee68a38fb4133cd3ab94a','user','Again',1750000103.0,'api',NULL,NULL,NULL,NULL,NULL,NULL,1,2,NULL);
INSERT INTO "messages" VALUES('fd4b3234a2b6ea94566791dc6e08516f','8a4ad9ea43ec79e73612bc945c24f2b6','02ce77a476d019da86ce766d78e6ae42','assistant','',1750000103.0,NULL,'acme/alpha','r1','{"temperature": 0.3, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": 7}','failed',NULL,'The engine is gone.',0,3,1750000103.0);
INSERT INTO "messages" VALUES('950effe7e563e0f5b812169df9d1bdb8','8a4ad9ea43ec79e73612bc945c24f2b6','02ce77a476d019da86ce766d78e6ae42','assistant','Stopped here',1750000103.0,NULL,'acme/alpha','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','stopped',NULL,NULL,1,3,1750000103.0);
INSERT INTO "messages" VALUES('2b3639de3162801b9ef1cbf62f479fb5','dffe6734efef0b97d66e95c0fae15f34',NULL,'user','Nobody signed in',1750000113.0,'page',NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL);
INSERT INTO "messages" VALUES('e423c4f6a5d2d70db14c974bcfa85b4f','dffe6734efef0b97d66e95c0fae15f34','2b3639de3162801b9ef1cbf62f479fb5','assistant','acme/alpha answers: Nobody signed in',1750000113.0,NULL,'acme/alpha','r1','{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','done','stop',NULL,1,1,1750000123.0);
INSERT INTO "messages" VALUES('80e0d4098ebedb441c38233613b287ea','dffe6734efef0b97d66e95c0fae15f34','e423c4f6a5d2d70db14c974bcfa85b4f','user','Still running',1750000123.0,'page',NULL,NULL,NULL,NULL,NULL,NULL,1,2,NULL);
INSERT INTO "messages" VALUES('9658a34c2438f465f239624e1cde2de7','dffe6734efef0b97d66e95c0fae15f34','80e0d4098ebedb441c38233613b287ea','assistant','half an ans',1750000123.0,NULL,'acme/alpha',NULL,'{"temperature": 0.7, "top_p": 0.95, "top_k": 0, "max_tokens": 1024, "repetition_penalty": 1.0, "seed": null}','running',NULL,NULL,1,3,NULL);
CREATE TABLE offers (
    account    TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    anonymous  TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    declined_at REAL,
    PRIMARY KEY (account, anonymous),
    CHECK (account <> anonymous)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    row_id         TEXT PRIMARY KEY CHECK (length(row_id) = 32),    -- random, and the only id that leaves
    dataset        TEXT NOT NULL REFERENCES sharing_datasets (id),
    recipient      TEXT NOT NULL,
    subject        TEXT NOT NULL,
    event          TEXT NOT NULL REFERENCES consent_events (id),    -- the yes that it was planned under
    conversation   TEXT NOT NULL,
    answers        TEXT NOT NULL CHECK (json_type(answers) = 'array' AND answers <> '[]'),  -- ids, in order
    segment_hash   TEXT NOT NULL CHECK (length(segment_hash) = 64), -- of the turns as they are kept
    row_hash       TEXT NOT NULL CHECK (length(row_hash) = 64),     -- of the row as it leaves
    state          TEXT NOT NULL CHECK (state IN ('publish', 'published', 'retract', 'retracted', 'quarantined')),
    shard          INTEGER CHECK (shard BETWEEN 0 AND 15),          -- set before anything is sent: from then on, public
    row            TEXT CHECK (row IS NULL OR json_valid(row)),                    -- what leaves; gone as soon as it must not
    redaction      TEXT NOT NULL,                                   -- version of the redaction that made the row
    language       TEXT NOT NULL,                                   -- as they leave: "other" in a small cell
    month          TEXT NOT NULL,
    planned_at     REAL NOT NULL,
    published_at   REAL,
    published_in   TEXT,                                            -- commit
    retract_at     REAL,
    retracted_at   REAL,
    retracted_in   TEXT,                                            -- commit after which no history has it
    CHECK (state <> 'published' OR (shard IS NOT NULL AND published_at IS NOT NULL AND published_in IS NOT NULL)),
    CHECK (state NOT IN ('retract', 'retracted') OR (shard IS NOT NULL AND row IS NULL AND retract_at IS NOT NULL)),
    CHECK ((state = 'retracted') = (retracted_at IS NOT NULL)),
    CHECK (state <> 'quarantined' OR (shard IS NULL AND row IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO "outbox" VALUES('9adca01e6d759128012f234241d15056','ada/parley-acme__alpha','acme','f6bc8fd09589afd9e1328549a618b6e0','bf4bb282c81757dc113773dca174dd26','b88a1d266615cbdbe39ba5c4a88351cf','["ac1e5e21b57494375e08a9fcabdb0ead", "57497fd3fcd3278e99e061ce3d90aff3"]','fee59c42f1543e2e93d88e64f2a89a70c4c6d3b7c3535532370c7f2c057905b3','2d4ef354cfde73c3630504f7d880c70507e5aa9bc4651cdd3f1664660f75768d','published',9,'{"attachments_omitted": 0, "context_omitted": false, "finish_reason": "stop", "language": "other", "licence": "cc-by-4.0", "messages": [{"content": "Where do herons nest? Write to [EMAIL_1]", "generator": null, "role": "user", "synthetic": false}, {"content": "acme/alpha answers: Where do herons nest? Write to [EMAIL_1]", "generator": "acme/alpha@r1", "role": "assistant", "synthetic": true}, {"content": "And in winter?  Ząb, 漢字, 🪶", "generator": null, "role": "user", "synthetic": false}, {"content": "In winter they rest by open water.", "generator": "acme/alpha@r1", "role": "assistant", "synthetic": true}], "model": "acme/alpha", "month": "other", "policy_version": "1", "purposes": ["training", "research"], "rating": null, "redaction_version": "1", "redactions": [{"count": 2, "type": "email"}], "revision": "r1", "sampling": ["{\"temperature\": 0.7, \"top_p\": 0.95, \"top_k\": 0, \"max_tokens\": 1024, \"repetition_penalty\": 1.0, \"seed\": null}", "{\"temperature\": 0.7, \"top_p\": 0.95, \"top_k\": 0, \"max_tokens\": 1024, \"repetition_penalty\": 1.0, \"seed\": null}"], "schema_version": 1, "turns": 2}','1','other','other',1750259323.0,1750259323.0,'0000000000000000000000000000000000000002',NULL,NULL,NULL);
INSERT INTO "outbox" VALUES('d19402025313191dfd3b102693c08fb7','ada/parley-globex__beta','globex','f6bc8fd09589afd9e1328549a618b6e0','4790c14b5ad23e17f75c071f2cf66af7','93ddf447410b46333f36df8bcd731d6b','["610ff81babb95facccd6e2085aa0d25a"]','4562560df7d8b6d217fd0e7f8794f3b856f29ebc03ac723901ef2c2359fc4956','c9a1309fca2285b72c8e2f0e6d0d9362172d7829da8eb4d37a3d4b12b23764d8','retracted',13,NULL,'1','other','other',1750259323.0,1750259323.0,'0000000000000000000000000000000000000002',1750259384.0,1750259384.0,'0000000000000000000000000000000000000004');
CREATE TABLE owners (
    id           TEXT PRIMARY KEY CHECK (length(id) = 32),
    kind         TEXT NOT NULL CHECK (kind IN ('anonymous', 'account')),
    created_at   REAL NOT NULL,
    last_seen_at REAL NOT NULL CHECK (last_seen_at >= created_at)   -- at most an hour old while somebody is here
) STRICT, WITHOUT ROWID;
INSERT INTO "owners" VALUES('0535ab188e72daa2a1fed86e65bf45ca','anonymous',1750000000.0,1750000000.0);
INSERT INTO "owners" VALUES('3f0374f12685700eac977ad324190321','account',1750000000.0,1750000000.0);
INSERT INTO "owners" VALUES('a81ed8793639b718eeed018e7b883550','account',1750000000.0,1750000000.0);
CREATE TABLE replica (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id   TEXT NOT NULL CHECK (length(id) = 16)
) STRICT;
INSERT INTO "replica" VALUES(1,'e0fd5d646e2c02c3');
CREATE TABLE saved_files (path TEXT PRIMARY KEY, content TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "saved_files" VALUES('accounts/05.jsonl','0b0eb701945b3f47b880330a1273461ffe161d93');
INSERT INTO "saved_files" VALUES('accounts/3f.jsonl','8577742e66fa05126c8c6199d754a4e5e8590fb3');
INSERT INTO "saved_files" VALUES('accounts/a8.jsonl','c9fbff540fa00d17dab6781b1589e7889a8ff72c');
INSERT INTO "saved_files" VALUES('consent/ledger-e0fd5d646e2c02c3.jsonl','f9ace6714d3e2510ce4815539e3fb90536997beb');
INSERT INTO "saved_files" VALUES('consent/subjects.jsonl','0b8b41ba33a2f5c479c41fafeef39be9d74372c5');
INSERT INTO "saved_files" VALUES('sharing/datasets.jsonl','799831a5b5a0857019b7505f75da7cb593a9112a');
INSERT INTO "saved_files" VALUES('sharing/outbox-parley-acme__alpha.jsonl','e89497c7a43d181d69eaee548bdad3aacfa4e8ec');
INSERT INTO "saved_files" VALUES('sharing/outbox-parley-globex__beta.jsonl','5c9bfc916bb1301ec660b32f28cf29952daca07b');
INSERT INTO "saved_files" VALUES('tombstones/c1.jsonl','9a2c6745fb7f19e09242d5f099fcb5faf02be233');
INSERT INTO "saved_files" VALUES('users/05/0535ab188e72daa2a1fed86e65bf45ca.jsonl','7e8ac6126f91671019c1334e91d8944989be0751');
INSERT INTO "saved_files" VALUES('users/3f/3f0374f12685700eac977ad324190321.jsonl','394c2c3ecc8bb9c0296ce83724b7e3b373819fa7');
INSERT INTO "saved_files" VALUES('users/a8/a81ed8793639b718eeed018e7b883550.jsonl','f7afa3cc2633c6b99777022d0c982c78b9047eea');
CREATE TABLE schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO "schema_versions" VALUES('privacy',4);
CREATE TABLE sessions (
    token_hash   BLOB PRIMARY KEY CHECK (length(token_hash) = 32),
    owner        TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    carrier      TEXT NOT NULL CHECK (carrier IN ('cookie', 'header')),
    created_at   REAL NOT NULL,
    last_seen_at REAL NOT NULL CHECK (last_seen_at >= created_at),
    expires_at   REAL NOT NULL CHECK (expires_at > created_at)
) STRICT, WITHOUT ROWID;
INSERT INTO "sessions" VALUES(X'7373737373737373737373737373737373737373737373737373737373737373','3f0374f12685700eac977ad324190321','cookie',1750000123.0,1750000123.0,1759000123.0);
CREATE TABLE sharing_datasets (
    id         TEXT PRIMARY KEY CHECK (id LIKE '%_/_%'),
    model      TEXT NOT NULL UNIQUE,
    recipient  TEXT NOT NULL CHECK (recipient <> ''),
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "sharing_datasets" VALUES('ada/parley-acme__alpha','acme/alpha','acme',1750259323.0);
INSERT INTO "sharing_datasets" VALUES('ada/parley-globex__beta','globex/beta','globex',1750259323.0);
CREATE TABLE stale_accounts (owner TEXT PRIMARY KEY, marks INTEGER NOT NULL DEFAULT 1) STRICT, WITHOUT ROWID;
CREATE TABLE stale_extras (prefix TEXT PRIMARY KEY, marks INTEGER NOT NULL DEFAULT 1) STRICT, WITHOUT ROWID;
CREATE TABLE stale_parts (
    owner TEXT NOT NULL,
    part  INTEGER NOT NULL,
    marks INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (owner, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE "subjects" (
    owner   TEXT NOT NULL CHECK (length(owner) = 32),
    subject TEXT PRIMARY KEY CHECK (length(subject) = 32)
) STRICT, WITHOUT ROWID;
INSERT INTO "subjects" VALUES('3f0374f12685700eac977ad324190321','f6bc8fd09589afd9e1328549a618b6e0');
INSERT INTO "subjects" VALUES('a81ed8793639b718eeed018e7b883550','e3fcf63ffbe79a7a8bcd66ba8f3f4365');
CREATE TABLE tombstones (
    conversation TEXT PRIMARY KEY CHECK (length(conversation) = 32),
    owner        TEXT NOT NULL,
    deleted_at   REAL NOT NULL,
    saved        INTEGER NOT NULL DEFAULT 0 CHECK (saved IN (0, 1))
) STRICT, WITHOUT ROWID;
INSERT INTO "tombstones" VALUES('c18c0d67a051f63291142f45a437a9bd','3f0374f12685700eac977ad324190321',1750000083.0,1);
CREATE INDEX owners_to_expire ON owners (last_seen_at) WHERE kind = 'anonymous';
CREATE INDEX sessions_of_owner ON sessions (owner);
CREATE INDEX sessions_to_expire ON sessions (expires_at);
CREATE INDEX api_keys_of_owner ON api_keys (owner, created_at);
CREATE INDEX offers_of_anonymous ON offers (anonymous);
CREATE INDEX conversations_newest_first ON conversations (owner, updated_at DESC, id DESC);
CREATE INDEX messages_siblings ON messages (conversation, parent, created_at);
CREATE UNIQUE INDEX messages_one_running ON messages (conversation) WHERE state = 'running';
CREATE INDEX conversations_unsaved ON conversations (owner) WHERE revision > saved_revision;
CREATE INDEX tombstones_unsaved ON tombstones (conversation) WHERE saved = 0;
CREATE TRIGGER conversations_never_come_back BEFORE INSERT ON conversations
WHEN EXISTS (SELECT 1 FROM tombstones WHERE conversation = new.id)
BEGIN SELECT RAISE(ABORT, 'this conversation was deleted'); END;
CREATE TRIGGER conversation_deleted AFTER DELETE ON conversations WHEN old.part IS NOT NULL
BEGIN INSERT INTO stale_parts (owner, part) VALUES (old.owner, old.part) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER conversation_moved AFTER UPDATE OF owner ON conversations WHEN old.owner <> new.owner
BEGIN
    INSERT INTO stale_parts (owner, part) SELECT old.owner, old.part WHERE old.part IS NOT NULL
    ON CONFLICT DO UPDATE SET marks = marks + 1;
    UPDATE conversations SET part = NULL, saved_revision = 0 WHERE id = new.id;
END;
CREATE TRIGGER owner_added AFTER INSERT ON owners
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.id) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER owner_gone AFTER DELETE ON owners
BEGIN INSERT INTO stale_accounts (owner) VALUES (old.id) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER account_added AFTER INSERT ON accounts
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER account_changed AFTER UPDATE ON accounts WHEN old.name <> new.name OR old.orgs <> new.orgs
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER session_added AFTER INSERT ON sessions
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER session_gone AFTER DELETE ON sessions
BEGIN INSERT INTO stale_accounts (owner) VALUES (old.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER key_added AFTER INSERT ON api_keys
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER key_revoked AFTER UPDATE OF revoked_at ON api_keys
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE VIEW finished_turn AS
SELECT a.conversation, c.owner, a.depth AS position,
       p.id AS prompt_id, p.content AS prompt, a.id AS answer_id, a.content AS answer,
       a.model, a.model_revision, a.params, a.finish_reason, p.surface,
       p.created_at, a.settled_at, c.system_prompt, c.updated_at AS conversation_updated_at
FROM messages AS a
JOIN messages AS p ON p.id = a.parent
JOIN conversations AS c ON c.id = a.conversation
WHERE a.role = 'assistant' AND a.kept = 1 AND a.state IN ('done', 'stopped') AND a.content <> '';
CREATE INDEX ended_sessions_of_owner ON ended_sessions (owner);
CREATE TRIGGER session_ended AFTER DELETE ON sessions WHEN EXISTS (SELECT 1 FROM owners WHERE id = old.owner)
BEGIN INSERT OR IGNORE INTO ended_sessions VALUES (old.token_hash, old.owner, old.expires_at); END;
CREATE TRIGGER sessions_never_come_back BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM ended_sessions WHERE token_hash = new.token_hash)
BEGIN SELECT RAISE(IGNORE); END;
CREATE INDEX consent_events_of_conversation ON consent_events (conversation) WHERE conversation IS NOT NULL;
CREATE TRIGGER consent_events_stay BEFORE DELETE ON consent_events
BEGIN SELECT RAISE(ABORT, 'The ledger of consent is append-only.'); END;
CREATE TRIGGER consent_events_are_never_changed BEFORE UPDATE ON consent_events
BEGIN SELECT RAISE(ABORT, 'The ledger of consent is append-only.'); END;
CREATE TRIGGER consent_events_continue_their_chain BEFORE INSERT ON consent_events
BEGIN
    SELECT RAISE(ABORT, 'The ledger of consent is append-only.')
    WHERE EXISTS (SELECT 1 FROM consent_events WHERE id = NEW.id OR hash = NEW.hash);
    SELECT RAISE(ABORT, 'This event does not follow the last one of its chain.')
    WHERE NEW.number <> 1 + coalesce((SELECT max(number) FROM consent_events
                                      WHERE subject = NEW.subject AND replica = NEW.replica), 0)
       OR NEW.previous <> coalesce((SELECT hash FROM consent_events WHERE subject = NEW.subject
                                    AND replica = NEW.replica AND number = NEW.number - 1), '')
       OR NEW.at <= coalesce((SELECT at FROM consent_events WHERE subject = NEW.subject
                              AND replica = NEW.replica AND number = NEW.number - 1), NEW.at - 1);
END;
CREATE VIEW owner_standing AS
SELECT o.id AS owner,
       CASE WHEN a.owner IS NULL THEN 'anonymous'
            WHEN EXISTS (SELECT 1 FROM json_each(a.orgs) WHERE json_extract(value, '$.managed')) THEN 'managed'
            ELSE 'account' END AS standing
FROM owners AS o LEFT JOIN accounts AS a ON a.owner = o.id;
CREATE TRIGGER sharing_datasets_are_remembered BEFORE DELETE ON sharing_datasets
BEGIN SELECT RAISE(ABORT, 'A sharing dataset is remembered for ever.'); END;
CREATE INDEX outbox_by_state ON outbox (dataset, state);
CREATE INDEX outbox_of_conversation ON outbox (conversation);
CREATE INDEX outbox_of_subject ON outbox (subject);
CREATE TRIGGER outbox_goes_one_way BEFORE UPDATE OF state ON outbox
WHEN (OLD.state = 'published' AND NEW.state NOT IN ('published', 'retract'))
  OR (OLD.state = 'retract' AND NEW.state NOT IN ('retract', 'retracted'))
  OR (OLD.state = 'retracted' AND NEW.state <> 'retracted')
BEGIN SELECT RAISE(ABORT, 'A shared row goes from publish to published to retract to retracted.'); END;
CREATE TRIGGER outbox_keeps_what_may_be_public BEFORE DELETE ON outbox
WHEN OLD.shard IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'A row that may be public is retracted, not forgotten.'); END;
CREATE INDEX subjects_of_an_owner ON subjects (owner);
CREATE TRIGGER subject_follows_its_owner AFTER INSERT ON backup_state WHEN new.name LIKE 'became:%'
BEGIN UPDATE subjects SET owner = new.value WHERE owner = substr(new.name, 8); END;
CREATE TRIGGER subject_finds_its_owner AFTER INSERT ON subjects
WHEN EXISTS (SELECT 1 FROM backup_state WHERE name = 'became:' || new.owner)
BEGIN
    UPDATE subjects SET owner = (SELECT value FROM backup_state WHERE name = 'became:' || new.owner)
    WHERE subject = new.subject;
END;
CREATE TRIGGER event_to_save AFTER INSERT ON consent_events
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER subject_to_save AFTER INSERT ON subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER joined_subject_to_save AFTER UPDATE ON subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER erased_subject_to_save AFTER DELETE ON subjects
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER dataset_to_save AFTER INSERT ON sharing_datasets
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER row_to_save AFTER INSERT ON outbox WHEN new.shard IS NOT NULL
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER changed_row_to_save AFTER UPDATE ON outbox WHEN new.shard IS NOT NULL
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
COMMIT;
PRAGMA user_version = 5;
