-- Where releases come from: for a channel, an upstream.

CREATE TABLE upstreams (
  no                INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: a turn may outlive its upstream
  id                TEXT NOT NULL UNIQUE,
  application_no    INTEGER NOT NULL REFERENCES applications (no) ON DELETE CASCADE,
  channel_no        INTEGER NOT NULL UNIQUE REFERENCES channels (no) ON DELETE CASCADE, -- two would pull at one channel
  kind              TEXT NOT NULL,
  url               TEXT NOT NULL,
  track             TEXT NOT NULL,         -- what the upstream calls the channel
  policy            TEXT NOT NULL,         -- follow, import-only, off
  check_interval    TEXT NOT NULL,
  min_age           TEXT,                  -- null: none
  versions          TEXT NOT NULL,         -- JSON: these and no others; []: any
  up_to             TEXT,                  -- no version above it; null: any
  download          INTEGER NOT NULL,
  private_addresses INTEGER NOT NULL,
  created_at        INTEGER NOT NULL,
  created_by        TEXT NOT NULL,
  next_check_at     INTEGER,               -- null: not by itself
  lease             TEXT,                  -- of whoever checks it now
  lease_until       INTEGER,               -- whoever holds it must be dead by then
  checked_at        INTEGER,
  succeeded_at      INTEGER,
  failures          INTEGER NOT NULL DEFAULT 0, -- since the last success
  last_error        TEXT,
  found             TEXT,                  -- JSON: what it answered last
  held_back         TEXT,                  -- why the channel was not moved
  moved_to          TEXT                   -- the version that the channel was last moved to from here
) STRICT;

CREATE TABLE upstream_releases (
  upstream_no   INTEGER NOT NULL REFERENCES upstreams (no) ON DELETE CASCADE,
  version       TEXT NOT NULL,
  first_seen_at INTEGER NOT NULL,
  is_target     INTEGER NOT NULL,          -- it was where the channel led to; else only a floor
  here          INTEGER NOT NULL,          -- it was brought in
  PRIMARY KEY (upstream_no, version)
) STRICT;
