-- What becomes of a node after it has completed.

-- Up to then a fall-back is the release's failure; kept when it has fallen back; null: it has not completed this grant.
ALTER TABLE nodes ADD COLUMN watched_until INTEGER;
UPDATE nodes SET watched_until = status_at + 604800000 WHERE status = 'complete';

ALTER TABLE past_grants ADD COLUMN relapsed INTEGER NOT NULL DEFAULT 0;      -- 1: it ended badly after it had completed
ALTER TABLE rollout_counters ADD COLUMN relapsed INTEGER NOT NULL DEFAULT 0; -- of those that ended badly
