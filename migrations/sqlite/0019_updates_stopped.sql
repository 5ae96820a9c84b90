-- What safe mode has stopped, apart from what a person has set. A group that it had stopped before this has policy_updates_enabled = 0,
-- which can't be told from a person's doing: it stays so, and a person turns it on again as until now.

ALTER TABLE groups ADD COLUMN updates_stopped TEXT; -- JSON: {by, at, why, version, rolloutId, nodeId}; null: nothing has stopped them
