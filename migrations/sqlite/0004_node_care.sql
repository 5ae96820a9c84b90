-- What people have set of a node. No check-in ever writes these columns.

ALTER TABLE nodes ADD COLUMN held TEXT;      -- JSON: {at, by, why}; null: it is not held
ALTER TABLE nodes ADD COLUMN own_group TEXT; -- UUID of the group that it was put into, whatever its track; null: it goes by its track
ALTER TABLE nodes ADD COLUMN labels TEXT;    -- JSON: name → value, ordered by name; null: none
CREATE INDEX nodes_held ON nodes (group_no, version) WHERE held IS NOT NULL;
