-- Other parts whose files in the private dataset must be written anew, by the prefix of those files' paths. Their own
-- triggers write it; the backup removes what it has written. `marks` counts the reasons, as in stale_parts.
CREATE TABLE stale_extras (prefix TEXT PRIMARY KEY, marks INTEGER NOT NULL DEFAULT 1) STRICT, WITHOUT ROWID;
