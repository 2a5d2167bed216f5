-- What was written in a report is erased a while after it was decided; see privacy/forgetting.py. The decision stays as it is.
DROP TRIGGER reports_are_decided_once;
CREATE TRIGGER reports_are_decided_once BEFORE UPDATE OF state, decided_at ON reports
WHEN OLD.state <> 'open' AND NOT (NEW.state = 'upheld' AND OLD.state = 'rejected')
    AND NOT (NEW.state = OLD.state AND NEW.decided_at < OLD.decided_at)
BEGIN SELECT RAISE(ABORT, 'This report was decided before.'); END;

CREATE TRIGGER reports_say_what_was_written BEFORE UPDATE OF about, reason, contact ON reports
WHEN NEW.state = 'open' OR NOT (NEW.about = '-' AND NEW.reason = '-' AND NEW.contact = '')
BEGIN SELECT RAISE(ABORT, 'What was reported is never changed, and erased only once it is decided.'); END;

CREATE TRIGGER report_to_scrub AFTER UPDATE OF about, reason, contact ON reports
BEGIN UPDATE scrubbing SET marks = marks + 1; END;
