-- Who may do what, and who did what.

ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
ALTER TABLE tokens ADD COLUMN applications TEXT;                 -- JSON: UUIDs; null: all
ALTER TABLE tokens ADD COLUMN groups TEXT;                       -- JSON: UUIDs; null: all of the applications
ALTER TABLE tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT 'system';
ALTER TABLE tokens ADD COLUMN expires_at INTEGER;                -- null: never
ALTER TABLE tokens ADD COLUMN used_at INTEGER;                   -- to the minute
ALTER TABLE tokens ADD COLUMN revoked_at INTEGER;

-- Append-only. The hash covers the line and the hash of the line before.
CREATE TABLE audit (
  no             INTEGER PRIMARY KEY,
  at             INTEGER NOT NULL,
  actor_kind     TEXT NOT NULL,
  actor          TEXT NOT NULL,
  actor_id       TEXT,
  address        TEXT NOT NULL,
  request_id     TEXT NOT NULL,
  action         TEXT NOT NULL,
  subject        TEXT NOT NULL,
  subject_id     TEXT NOT NULL,
  application_id TEXT,
  group_id       TEXT,
  before         TEXT,                   -- JSON; null: there was nothing before
  after          TEXT,                   -- JSON; null: there is nothing any more
  hash           TEXT NOT NULL           -- hexadecimal SHA-256
) STRICT;
CREATE INDEX audit_subject ON audit (subject_id);

CREATE TABLE audit_head (
  no   INTEGER NOT NULL,
  hash TEXT NOT NULL
) STRICT;
INSERT INTO audit_head (no, hash) VALUES (0, '');

CREATE TRIGGER audit_is_not_altered BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;
