-- Under which names this disk wrote chains: a process that finds chains of its name draws another one.
CREATE TABLE former_replicas (id TEXT PRIMARY KEY CHECK (length(id) = 16)) STRICT, WITHOUT ROWID;
CREATE INDEX consent_events_of_replica ON consent_events (replica);
