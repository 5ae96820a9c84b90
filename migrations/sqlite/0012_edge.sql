-- A central server and its sites. Every server may be both: somebody's site, and the central server of others.

-- Which server this is, for as long as its database lives: so that none gets its configuration from itself.
ALTER TABLE meta ADD COLUMN instance_id TEXT NOT NULL DEFAULT '';
UPDATE meta SET instance_id = lower(
  hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||
  substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)));

ALTER TABLE tokens ADD COLUMN site TEXT; -- a site's, and good for nothing else; null: a person's or a script's

-- At the central server: what each site last said.
CREATE TABLE sites (
  no           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL UNIQUE,
  instance_id  TEXT NOT NULL,
  applications TEXT,                  -- JSON: UUIDs, its token's; null: all
  report       TEXT NOT NULL,         -- JSON
  first_at     INTEGER NOT NULL,
  reported_at  INTEGER NOT NULL
) STRICT;

-- At the site: where its configuration comes from, and how that goes. One row, or none.
CREATE TABLE central (
  one          INTEGER PRIMARY KEY CHECK (one = 1),
  url          TEXT NOT NULL,
  site         TEXT NOT NULL,
  path         TEXT NOT NULL DEFAULT '[]', -- JSON: instance ids that it comes through, the topmost first
  etag         TEXT,                  -- of the document; null: none was applied yet
  document     TEXT,                  -- JSON: what was applied last
  applications TEXT NOT NULL DEFAULT '[]', -- JSON: UUIDs of those that come from there
  held         TEXT NOT NULL DEFAULT '[]', -- JSON: channels that wait for files
  fetched_at   INTEGER,               -- when it last answered with the configuration, changed or not
  applied_at   INTEGER,
  reported_at  INTEGER,
  error        TEXT,                  -- of the last try; null: it went well
  failures     INTEGER NOT NULL DEFAULT 0, -- since the last that went well
  next_at      INTEGER NOT NULL,
  lease_until  INTEGER NOT NULL DEFAULT 0 -- while one process is at it
) STRICT;
