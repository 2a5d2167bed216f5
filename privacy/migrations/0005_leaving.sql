-- Whether anything waits to be pushed is asked every second.
CREATE INDEX outbox_to_push ON outbox (state) WHERE state IN ('publish', 'retract');

-- Text that leaves the outbox leaves the file as well: see chat's table `scrubbing`.
CREATE TRIGGER row_text_to_scrub AFTER UPDATE OF row ON outbox WHEN old.row IS NOT NULL AND new.row IS NULL
BEGIN UPDATE scrubbing SET marks = marks + 1; END;
CREATE TRIGGER row_to_scrub AFTER DELETE ON outbox WHEN old.row IS NOT NULL
BEGIN UPDATE scrubbing SET marks = marks + 1; END;
