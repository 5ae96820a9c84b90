-- Numbers are given once. Nodes, their grants and their history refer to groups and rollouts by number, also after these
-- are gone: another one that got the same number would take them for its own.
CREATE TABLE numbers (
  of   TEXT PRIMARY KEY,
  last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO numbers (of, last) VALUES
  ('groups', max(
    coalesce((SELECT max(no) FROM groups), 0),
    coalesce((SELECT max(group_no) FROM nodes), 0),
    coalesce((SELECT max(group_no) FROM node_counts), 0))),
  ('channels', coalesce((SELECT max(no) FROM channels), 0)),
  ('rollouts', max(
    coalesce((SELECT max(no) FROM rollouts), 0),
    coalesce((SELECT max(rollout_no) FROM nodes), 0),
    coalesce((SELECT max(rollout_no) FROM past_grants), 0)));

-- Who has failed in a rollout: few, also in a big one.
CREATE INDEX nodes_failed ON nodes (rollout_no) WHERE failure IS NOT NULL;

-- Whoever looks for a label runs through this one.
CREATE INDEX nodes_labelled ON nodes (group_no, labels) WHERE labels IS NOT NULL;

-- What happened in some days.
CREATE INDEX activity_at ON activity (at);
