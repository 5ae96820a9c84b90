-- The preset by which groups without a strategy of their own are rolled out, or "none": to all at once.
ALTER TABLE meta ADD COLUMN default_strategy TEXT NOT NULL DEFAULT 'guarded';
-- How many nodes the group had when they were last counted: a ramp may start with a share of them.
ALTER TABLE rollouts ADD COLUMN group_nodes INTEGER NOT NULL DEFAULT 0;
-- Nobody is in the stage yet: none of its time runs.
ALTER TABLE rollouts ADD COLUMN awaits_nodes INTEGER NOT NULL DEFAULT 0;
-- When `eligible` was counted; null: it was not.
ALTER TABLE rollouts ADD COLUMN eligible_at INTEGER;
