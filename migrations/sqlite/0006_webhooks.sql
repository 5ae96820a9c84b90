-- Whom to tell of what happens.

CREATE TABLE webhooks (
  no              INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: deliveries outlive their webhook
  id              TEXT NOT NULL UNIQUE,
  name            TEXT NOT NULL UNIQUE,
  url             TEXT NOT NULL,
  events          TEXT NOT NULL,         -- JSON: names; []: all
  applications    TEXT,                  -- JSON: UUIDs; null: all
  groups          TEXT,                  -- JSON: UUIDs; null: all of the applications
  enabled         INTEGER NOT NULL,
  secret          TEXT NOT NULL,         -- as it is: every delivery is signed with it
  secret_at       INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  created_by      TEXT NOT NULL,
  last_success_at INTEGER,
  last_failure_at INTEGER,
  last_error      TEXT,
  failures        INTEGER NOT NULL DEFAULT 0, -- since the last success
  rest_until      INTEGER                -- after many failures: nothing is sent before
) STRICT;

-- The outbox, and the log when they are through. Grows with what happens, so it carries no foreign keys.
CREATE TABLE webhook_deliveries (
  no         INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  webhook_no INTEGER NOT NULL,
  event      TEXT NOT NULL,
  event_id   TEXT NOT NULL,
  body       TEXT NOT NULL,              -- JSON, as it is sent
  at         INTEGER NOT NULL,
  state      TEXT NOT NULL,
  tries      INTEGER NOT NULL,
  due_at     INTEGER,                    -- when to try; while it is sent: when its sender must be dead; null: it is through
  give_up_at INTEGER NOT NULL,
  tried_at   INTEGER,
  took_ms    INTEGER,
  status     INTEGER,                    -- HTTP
  error      TEXT,
  response   TEXT                        -- its beginning
) STRICT;
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_no, no);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_no, due_at, give_up_at) WHERE due_at IS NOT NULL;

-- Activity that no webhook has been told of yet. A queue, and no cursor into the activity: lines may be numbered in one order
-- and committed in another, and SQLite gives the last number again when its line is gone.
CREATE TABLE untold (
  activity_no INTEGER PRIMARY KEY
) STRICT;

CREATE TRIGGER activity_is_to_be_told AFTER INSERT ON activity
BEGIN
  INSERT OR IGNORE INTO untold (activity_no) VALUES (new.no);
END;
