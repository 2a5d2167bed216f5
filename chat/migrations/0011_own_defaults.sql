-- What an owner's new conversations with a model begin with. `params` NULL: forgotten, and no older copy brings it back.
CREATE TABLE own_defaults (
    owner         TEXT NOT NULL REFERENCES owners (id) ON DELETE CASCADE,
    model         TEXT NOT NULL CHECK (model <> ''),
    params        TEXT CHECK (params IS NULL OR json_type(params) = 'object'),
    system_prompt TEXT NOT NULL DEFAULT '' CHECK (params IS NOT NULL OR system_prompt = ''),
    set_at        REAL NOT NULL,                                                  -- unix seconds
    PRIMARY KEY (owner, model)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER default_set AFTER INSERT ON own_defaults
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER default_changed AFTER UPDATE ON own_defaults
BEGIN INSERT INTO stale_accounts (owner) VALUES (new.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
CREATE TRIGGER default_gone AFTER DELETE ON own_defaults
BEGIN INSERT INTO stale_accounts (owner) VALUES (old.owner) ON CONFLICT DO UPDATE SET marks = marks + 1; END;
