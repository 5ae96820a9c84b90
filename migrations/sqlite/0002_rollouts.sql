-- Rollouts with stages, a health gate and a place in time; counters by stage, architecture and OEM.

ALTER TABLE groups ADD COLUMN strategy TEXT;                     -- JSON, as written; null: a plain group
ALTER TABLE groups ADD COLUMN maintenance_windows TEXT NOT NULL DEFAULT '[]'; -- JSON, as written
ALTER TABLE groups ADD COLUMN freezes TEXT NOT NULL DEFAULT '[]';             -- JSON, as written

ALTER TABLE rollouts ADD COLUMN strategy TEXT NOT NULL DEFAULT '{}';          -- JSON, as written
ALTER TABLE rollouts ADD COLUMN seed TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN undoes TEXT;                     -- the version that it takes back; null: an update
ALTER TABLE rollouts ADD COLUMN present INTEGER NOT NULL DEFAULT 0; -- 1: it stands for its group and package
ALTER TABLE rollouts ADD COLUMN start_at INTEGER;
ALTER TABLE rollouts ADD COLUMN stage INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN stage_opened_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN baking_since INTEGER;
ALTER TABLE rollouts ADD COLUMN awaits_approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN paused_by_gate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN closed TEXT NOT NULL DEFAULT '[]';   -- JSON: slices that the gate has closed
ALTER TABLE rollouts ADD COLUMN baseline TEXT NOT NULL DEFAULT '{}'; -- JSON: what had finished at the last resume
ALTER TABLE rollouts ADD COLUMN eligible TEXT NOT NULL DEFAULT '[]'; -- JSON: how many nodes were in each stage when it was last counted
ALTER TABLE rollouts ADD COLUMN revision INTEGER NOT NULL DEFAULT 1; -- moves with every change of this rollout
UPDATE rollouts SET
  seed = id,
  stage_opened_at = created_at,
  present = state NOT IN ('superseded', 'aborted'),
  strategy = json_object('retry', json_object('after', (json_extract(retry, '$.afterMs') / 1000) || 's', 'max', json_extract(retry, '$.max')));
ALTER TABLE rollouts DROP COLUMN stages;
ALTER TABLE rollouts DROP COLUMN retry;
DROP INDEX rollouts_group;
CREATE INDEX rollouts_group ON rollouts (group_no, no);
CREATE INDEX rollouts_present ON rollouts (no) WHERE present = 1;

ALTER TABLE rollout_history ADD COLUMN stage INTEGER NOT NULL DEFAULT 0;

-- A failure sticks to a grant until it completes; the cell ("STAGE ARCH OEM") is where it is counted.
ALTER TABLE nodes ADD COLUMN failure TEXT;
ALTER TABLE nodes ADD COLUMN cell TEXT;
UPDATE nodes SET
  cell = '0 ' || arch || ' ' || oem,
  failure = CASE WHEN status IN ('failed', 'timed-out', 'rolled-back', 'lost') THEN status END
WHERE rollout_no IS NOT NULL;
ALTER TABLE past_grants ADD COLUMN failure TEXT;
ALTER TABLE past_grants ADD COLUMN cell TEXT NOT NULL DEFAULT '0 0 ';
UPDATE past_grants SET failure = CASE WHEN status IN ('failed', 'timed-out', 'rolled-back', 'lost') THEN status END;

ALTER TABLE rollout_counters ADD COLUMN retrying INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout_counters ADD COLUMN cells TEXT NOT NULL DEFAULT '{}';  -- JSON: cell → the counts, in the order of the columns
ALTER TABLE rollout_counters ADD COLUMN causes TEXT NOT NULL DEFAULT '{}'; -- JSON: error code → nodes that failed with it
CREATE TEMP TABLE counted AS
  SELECT rollout_no, cell, status, failure, error_code FROM nodes
  WHERE rollout_no IS NOT NULL AND status NOT IN ('unknown', 'on-hold')
  UNION ALL
  SELECT rollout_no, cell, status, failure, error_code FROM past_grants;
UPDATE rollout_counters SET
  cells = (
    SELECT json_group_object(cell, json(counts)) FROM (
      SELECT cell, json_array(
        sum(status = 'granted'), sum(status = 'downloading'), sum(status = 'downloaded'), sum(status = 'installed'),
        sum(status = 'complete'), sum(status = 'failed'), sum(status = 'timed-out'), sum(status = 'rolled-back'),
        sum(status = 'lost'), sum(status = 'withdrawn'), 0) AS counts
      FROM counted WHERE counted.rollout_no = rollout_counters.rollout_no GROUP BY cell)),
  causes = (
    SELECT json_group_object(code, nodes) FROM (
      SELECT coalesce(error_code, 0) AS code, count(*) AS nodes
      FROM counted WHERE counted.rollout_no = rollout_counters.rollout_no AND failure = 'failed' GROUP BY 1));
DROP TABLE counted;
