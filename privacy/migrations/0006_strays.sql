-- What a sharing dataset held that no row here explains. It leaves head and history, and its tombstone stays for ever.
CREATE TABLE strays (
    dataset  TEXT NOT NULL REFERENCES sharing_datasets (id),
    row_id   TEXT NOT NULL,
    found_at REAL NOT NULL,
    gone_at  REAL,                                            -- NULL: not squashed yet
    PRIMARY KEY (dataset, row_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER stray_to_save AFTER INSERT ON strays
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER stray_gone_to_save AFTER UPDATE ON strays
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;

-- Datasets whose history held what must not be there: all that was found by `done_to` is squashed and purged. Both only
-- rise, so that replicas agree on them. What was found later waits.
CREATE TABLE unsquashed (
    dataset  TEXT PRIMARY KEY REFERENCES sharing_datasets (id),
    found_at REAL NOT NULL,
    done_to  REAL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER unsquashed_to_save AFTER INSERT ON unsquashed
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER squashed_to_save AFTER UPDATE ON unsquashed
BEGIN INSERT INTO stale_extras (prefix) VALUES ('sharing/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;

-- Git's ids of the files as this database last wrote them: what differs was written by another hand, or from another disk.
CREATE TABLE pushed_files (
    dataset TEXT NOT NULL REFERENCES sharing_datasets (id),
    path    TEXT NOT NULL,
    content TEXT NOT NULL CHECK (length(content) = 40),
    PRIMARY KEY (dataset, path, content)
) STRICT, WITHOUT ROWID;

-- What the comparison remembers from one time to the next, by name.
CREATE TABLE sharing_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- When what was agreed to and taken back was not all here, as after a start on an empty disk. `ended_at` NULL: it is not.
CREATE TABLE unread (
    replica  TEXT NOT NULL CHECK (length(replica) = 16),
    begun_at REAL NOT NULL,
    ended_at REAL,
    PRIMARY KEY (replica, begun_at)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER unread_to_save AFTER INSERT ON unread
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER read_to_save AFTER UPDATE ON unread
BEGIN INSERT INTO stale_extras (prefix) VALUES ('consent/') ON CONFLICT DO UPDATE SET marks = marks + 1; END;
