-- One owner may have several subjects. A sign-in on an empty disk makes an owner, and may make it a subject, before it is
-- known that the account has both already; when the owners become one, all that either said counts.
CREATE TABLE subjects_of_owners (
    owner   TEXT NOT NULL CHECK (length(owner) = 32),
    subject TEXT PRIMARY KEY CHECK (length(subject) = 32)
) STRICT, WITHOUT ROWID;

INSERT INTO subjects_of_owners SELECT owner, subject FROM subjects;
DROP TABLE subjects;
ALTER TABLE subjects_of_owners RENAME TO subjects;
CREATE INDEX subjects_of_an_owner ON subjects (owner);

-- Chat notes who became whom as `became:<owner>`, always with the owner that is still there.
CREATE TRIGGER subject_follows_its_owner AFTER INSERT ON backup_state WHEN new.name LIKE 'became:%'
BEGIN UPDATE subjects SET owner = new.value WHERE owner = substr(new.name, 8); END;

-- A file that was written before they were joined names the one that went.
CREATE TRIGGER subject_finds_its_owner AFTER INSERT ON subjects
WHEN EXISTS (SELECT 1 FROM backup_state WHERE name = 'became:' || new.owner)
BEGIN
    UPDATE subjects SET owner = (SELECT value FROM backup_state WHERE name = 'became:' || new.owner)
    WHERE subject = new.subject;
END;
