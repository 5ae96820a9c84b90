-- Configuration. Every row has a number of our own (`no`, the key inside the store) and the UUID that people see (`id`).
-- Times are milliseconds since the epoch. Intervals are texts as people wrote them.

CREATE TABLE meta (
  revision INTEGER NOT NULL              -- moves with every change of the configuration
) STRICT;
INSERT INTO meta (revision) VALUES (0);

CREATE TABLE applications (
  no          INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  product_id  TEXT UNIQUE COLLATE NOCASE,
  name        TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE packages (
  no             INTEGER PRIMARY KEY,
  id             TEXT NOT NULL UNIQUE,
  application_no INTEGER NOT NULL REFERENCES applications (no) ON DELETE CASCADE,
  type           INTEGER NOT NULL,
  version        TEXT NOT NULL,
  arch           INTEGER NOT NULL,
  url            TEXT NOT NULL,
  filename       TEXT,
  description    TEXT,
  size           TEXT,                   -- bytes, as a text of digits
  hash           TEXT,                   -- base64 of SHA-1
  created_at     INTEGER NOT NULL,
  UNIQUE (application_no, version, arch)
) STRICT;

CREATE TABLE flatcar_actions (
  package_no              INTEGER PRIMARY KEY REFERENCES packages (no) ON DELETE CASCADE,
  id                      TEXT NOT NULL UNIQUE,
  event                   TEXT NOT NULL,
  chromeos_version        TEXT NOT NULL,
  sha256                  TEXT NOT NULL, -- base64
  needs_admin             INTEGER NOT NULL,
  is_delta                INTEGER NOT NULL,
  disable_payload_backoff INTEGER NOT NULL,
  metadata_signature_rsa  TEXT NOT NULL,
  metadata_size           TEXT NOT NULL,
  deadline                TEXT NOT NULL,
  created_at              INTEGER NOT NULL
) STRICT;

-- OEM images and system extensions that belong to a package.
CREATE TABLE package_files (
  no         INTEGER PRIMARY KEY,
  package_no INTEGER NOT NULL REFERENCES packages (no) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  size       TEXT NOT NULL,
  hash       TEXT NOT NULL,              -- base64 of SHA-1, or empty
  hash256    TEXT NOT NULL,              -- hexadecimal SHA-256, or empty
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX package_files_package ON package_files (package_no);

CREATE TABLE channels (
  no             INTEGER PRIMARY KEY,
  id             TEXT NOT NULL UNIQUE,
  application_no INTEGER NOT NULL REFERENCES applications (no) ON DELETE CASCADE,
  name           TEXT NOT NULL,
  color          TEXT NOT NULL,
  arch           INTEGER NOT NULL,
  package_no     INTEGER REFERENCES packages (no) ON DELETE SET NULL,
  created_at     INTEGER NOT NULL,
  UNIQUE (application_no, name, arch)
) STRICT;
CREATE INDEX channels_package ON channels (package_no);

CREATE TABLE channel_floors (
  channel_no INTEGER NOT NULL REFERENCES channels (no) ON DELETE CASCADE,
  package_no INTEGER NOT NULL REFERENCES packages (no),
  reason     TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (channel_no, package_no)
) STRICT;
CREATE INDEX channel_floors_package ON channel_floors (package_no);

CREATE TABLE package_blacklist (
  package_no INTEGER NOT NULL REFERENCES packages (no) ON DELETE CASCADE,
  channel_no INTEGER NOT NULL REFERENCES channels (no) ON DELETE CASCADE,
  PRIMARY KEY (package_no, channel_no)
) STRICT;
CREATE INDEX package_blacklist_channel ON package_blacklist (channel_no);

CREATE TABLE groups (
  no                            INTEGER PRIMARY KEY,
  id                            TEXT NOT NULL UNIQUE,
  application_no                INTEGER NOT NULL REFERENCES applications (no) ON DELETE CASCADE,
  name                          TEXT NOT NULL,
  description                   TEXT NOT NULL,
  channel_no                    INTEGER REFERENCES channels (no) ON DELETE SET NULL,
  track                         TEXT NOT NULL,
  policy_updates_enabled        INTEGER NOT NULL,
  policy_safe_mode              INTEGER NOT NULL,
  policy_office_hours           INTEGER NOT NULL,
  policy_timezone               TEXT NOT NULL,
  policy_period_interval        TEXT NOT NULL,
  policy_max_updates_per_period INTEGER NOT NULL,
  policy_update_timeout         TEXT NOT NULL,
  created_at                    INTEGER NOT NULL,
  UNIQUE (application_no, name)
) STRICT;
CREATE INDEX groups_channel ON groups (channel_no);

-- One package going out to one group.
CREATE TABLE rollouts (
  no         INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  group_no   INTEGER NOT NULL REFERENCES groups (no) ON DELETE CASCADE,
  package_no INTEGER NOT NULL REFERENCES packages (no) ON DELETE CASCADE,
  state      TEXT NOT NULL,
  stages     TEXT NOT NULL,              -- JSON
  retry      TEXT NOT NULL,              -- JSON
  created_at INTEGER NOT NULL,
  state_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX rollouts_group ON rollouts (group_no, state);
CREATE INDEX rollouts_package ON rollouts (package_no);

CREATE TABLE rollout_history (
  no         INTEGER PRIMARY KEY,
  rollout_no INTEGER NOT NULL REFERENCES rollouts (no) ON DELETE CASCADE,
  at         INTEGER NOT NULL,
  from_state TEXT,
  to_state   TEXT NOT NULL,
  actor      TEXT NOT NULL,
  reason     TEXT NOT NULL,
  counters   TEXT NOT NULL               -- JSON, as they stood at that moment
) STRICT;
CREATE INDEX rollout_history_rollout ON rollout_history (rollout_no);

-- Where the nodes of a rollout stand: moved in the same transaction as the node.
CREATE TABLE rollout_counters (
  rollout_no  INTEGER PRIMARY KEY REFERENCES rollouts (no) ON DELETE CASCADE,
  granted     INTEGER NOT NULL DEFAULT 0,
  downloading INTEGER NOT NULL DEFAULT 0,
  downloaded  INTEGER NOT NULL DEFAULT 0,
  installed   INTEGER NOT NULL DEFAULT 0,
  complete    INTEGER NOT NULL DEFAULT 0,
  failed      INTEGER NOT NULL DEFAULT 0,
  timed_out   INTEGER NOT NULL DEFAULT 0,
  rolled_back INTEGER NOT NULL DEFAULT 0,
  lost        INTEGER NOT NULL DEFAULT 0,
  withdrawn   INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE group_counters (
  group_no  INTEGER PRIMARY KEY REFERENCES groups (no) ON DELETE CASCADE,
  in_flight INTEGER NOT NULL,
  slices    TEXT NOT NULL                -- JSON: [[startsAt, count], …], grants in slices of the group's period
) STRICT;

CREATE TABLE tokens (
  no           INTEGER PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,
  name         TEXT NOT NULL,
  hash         TEXT NOT NULL UNIQUE,     -- hexadecimal SHA-256 of the token
  created_at   INTEGER NOT NULL
) STRICT;

-- The fleet. These tables grow with it, so they refer to configuration by number and carry no foreign keys.

CREATE TABLE nodes (
  no             INTEGER PRIMARY KEY,
  id             TEXT NOT NULL,          -- the Omaha machineid, as sent
  application_no INTEGER NOT NULL,
  group_no       INTEGER NOT NULL,
  version        TEXT NOT NULL,
  arch           INTEGER NOT NULL,
  machine_alias  TEXT NOT NULL,          -- as the node sends it
  alias          TEXT NOT NULL DEFAULT '', -- given by a person; wins for display
  ip             TEXT NOT NULL,
  oem            TEXT NOT NULL,
  oem_version    TEXT NOT NULL,
  aleph_version  TEXT NOT NULL,
  boot_id        TEXT NOT NULL,
  broken_quotes  INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,
  status         TEXT NOT NULL,
  status_at      INTEGER NOT NULL,
  -- The present grant, all null without one.
  rollout_no     INTEGER,
  grant_group_no INTEGER,
  grant_version  TEXT,
  from_version   TEXT,
  needs_reboot   INTEGER,
  granted_at     INTEGER,
  attempt        INTEGER,
  grant_boot_id  TEXT,
  deadline       INTEGER,
  error_code     INTEGER
) STRICT;
CREATE UNIQUE INDEX nodes_id ON nodes (id, application_no);
CREATE INDEX nodes_group ON nodes (group_no, version, status);
CREATE INDEX nodes_application ON nodes (application_no);
CREATE INDEX nodes_deadline ON nodes (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX nodes_rollout ON nodes (rollout_no) WHERE rollout_no IS NOT NULL;

-- When a node was last seen: kept apart and narrow, because it moves with every heartbeat.
CREATE TABLE seen (
  node_no INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL
) STRICT;

-- Grants that another one replaced, so that an older rollout's counters can always be counted again.
CREATE TABLE past_grants (
  no         INTEGER PRIMARY KEY,
  rollout_no INTEGER NOT NULL,
  node_no    INTEGER NOT NULL,
  status     TEXT NOT NULL,
  version    TEXT NOT NULL,
  granted_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  error_code INTEGER
) STRICT;
CREATE INDEX past_grants_rollout ON past_grants (rollout_no, status);
CREATE INDEX past_grants_node ON past_grants (node_no);

CREATE TABLE status_history (
  no         INTEGER PRIMARY KEY,
  node_no    INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  status     TEXT NOT NULL,
  version    TEXT NOT NULL,
  group_no   INTEGER NOT NULL,
  rollout_no INTEGER,
  error_code INTEGER
) STRICT;
CREATE INDEX status_history_node ON status_history (node_no);

CREATE TABLE events (
  no               INTEGER PRIMARY KEY,
  node_no          INTEGER NOT NULL,
  at               INTEGER NOT NULL,
  type             INTEGER NOT NULL,
  result           INTEGER NOT NULL,
  error_code       INTEGER,              -- as sent: 32 bits with flags
  version          TEXT NOT NULL,
  previous_version TEXT NOT NULL
) STRICT;
CREATE INDEX events_node ON events (node_no);

CREATE TABLE activity (
  no             INTEGER PRIMARY KEY,
  id             TEXT NOT NULL UNIQUE,
  at             INTEGER NOT NULL,
  class          INTEGER NOT NULL,
  severity       INTEGER NOT NULL,
  application_no INTEGER NOT NULL,
  group_no       INTEGER,
  channel_no     INTEGER,
  instance_id    TEXT,
  version        TEXT NOT NULL
) STRICT;
CREATE INDEX activity_application ON activity (application_no);
CREATE INDEX activity_group ON activity (group_no, class, version, at);

-- How many nodes of a group run which version in which status: what metrics and lists read instead of counting nodes.
CREATE TABLE node_counts (
  group_no INTEGER NOT NULL,
  version  TEXT NOT NULL,
  status   TEXT NOT NULL,
  count    INTEGER NOT NULL,
  PRIMARY KEY (group_no, version, status)
) STRICT, WITHOUT ROWID;
