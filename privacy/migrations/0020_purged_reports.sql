-- When the history of the private dataset was rewritten without what a report said. NULL where that is erased: it may hold it
-- still, and whoever has the lease rewrites it, on whatever machine it was erased.
ALTER TABLE reports ADD COLUMN purged_at REAL;
CREATE INDEX reports_to_purge ON reports (id) WHERE purged_at IS NULL AND about = '-' AND reason = '-' AND contact = '';
DELETE FROM sharing_notes WHERE name = 'forgetting';
