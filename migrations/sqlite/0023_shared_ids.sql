-- Two machines or more that report with one machine id.

ALTER TABLE nodes ADD COLUMN former_boots TEXT;   -- JSON: boots that it was heard from before the present one; null: none
ALTER TABLE nodes ADD COLUMN shared_since INTEGER; -- null: the id is one machine's
ALTER TABLE nodes ADD COLUMN shared_at INTEGER;    -- when one of them was last heard again after another; a day later it is over
CREATE INDEX nodes_shared ON nodes (group_no) WHERE shared_since IS NOT NULL;
