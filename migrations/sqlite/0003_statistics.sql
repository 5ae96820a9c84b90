-- What statistics and timelines are answered from, whatever the fleet's size.

-- How many nodes of a group came to which status on which version, by quarter of an hour: kept with the check-ins.
CREATE TABLE status_slots (
  group_no INTEGER NOT NULL,
  slot     INTEGER NOT NULL,             -- quarters of an hour since the epoch
  status   TEXT NOT NULL,
  version  TEXT NOT NULL,
  entries  INTEGER NOT NULL,
  PRIMARY KEY (group_no, slot, status, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX status_slots_slot ON status_slots (slot);
INSERT INTO status_slots (group_no, slot, status, version, entries)
  SELECT group_no, at / 900000, status, version, count(*) FROM status_history GROUP BY 1, 2, 3, 4;

-- How many nodes of a group run which version in which status, and how many of them were seen lately: counted in the
-- background every quarter of an hour, thinned with age.
CREATE TABLE census (
  group_no   INTEGER NOT NULL,
  slot       INTEGER NOT NULL,           -- quarters of an hour since the epoch
  version    TEXT NOT NULL,
  status     TEXT NOT NULL,
  at         INTEGER NOT NULL,
  total      INTEGER NOT NULL,           -- as node_counts has them
  within_1h  INTEGER NOT NULL,           -- without fake ids, as the others
  within_1d  INTEGER NOT NULL,
  within_7d  INTEGER NOT NULL,
  within_30d INTEGER NOT NULL,
  PRIMARY KEY (group_no, slot, version, status)
) STRICT, WITHOUT ROWID;
CREATE INDEX census_slot ON census (slot);

-- The orders that a group's nodes are listed in, and the text that they are searched by. No check-in touches them but a
-- node's first, and one that says another alias or comes from another address.
CREATE INDEX nodes_by_name ON nodes (group_no, coalesce(nullif(alias, ''), nullif(machine_alias, ''), id), id);
CREATE INDEX nodes_by_ip ON nodes (group_no, ip, id);
CREATE INDEX nodes_by_text ON nodes (group_no, lower(id || ' ' || ip || ' ' || alias || ' ' || machine_alias));
