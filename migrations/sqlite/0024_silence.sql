-- Who falls silent after success, and what is normal.

-- By when the node is back at the latest, if it was told to stay away for longer than usual; null: it was not.
ALTER TABLE seen ADD COLUMN due_at INTEGER;
-- JSON: [[from, to], …], when it was away in the days up to the last time that it came back, and when that was; null: never.
ALTER TABLE seen ADD COLUMN away TEXT;
ALTER TABLE seen ADD COLUMN away_until INTEGER;

-- Of those that are never away and could be missed within the last day, how many were; 0 and 0: nobody could tell.
ALTER TABLE census ADD COLUMN judged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE census ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;

-- JSON: how many of those that have completed were silent when that was last looked at; null: nobody has looked.
ALTER TABLE rollouts ADD COLUMN silence TEXT;
-- And who they were.
CREATE TABLE silent_nodes (
  rollout_no INTEGER NOT NULL,
  node_no    INTEGER NOT NULL,
  PRIMARY KEY (rollout_no, node_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX silent_nodes_node ON silent_nodes (node_no);
