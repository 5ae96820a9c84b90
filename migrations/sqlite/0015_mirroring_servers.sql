-- Other update servers that mirror this one. They are no nodes: this is all that is kept of them.
CREATE TABLE mirroring_servers (
  no             INTEGER PRIMARY KEY,
  address        TEXT NOT NULL,
  group_id       TEXT NOT NULL,    -- UUID of the group that it is answered from; empty: of none
  arch           INTEGER NOT NULL,
  application    TEXT NOT NULL,    -- from here on: as it asked last, cut off
  track          TEXT NOT NULL,
  version        TEXT NOT NULL,
  multi_manifest INTEGER NOT NULL, -- 1: it takes several manifests
  reason         TEXT NOT NULL,    -- of its answer
  left_out       TEXT NOT NULL,    -- JSON: what its answer could not tell of
  first_at       INTEGER NOT NULL,
  last_at        INTEGER NOT NULL,
  asked          INTEGER NOT NULL, -- how often
  UNIQUE (address, group_id, arch)
) STRICT;
