-- Files of packages that are kept here, by their content.

CREATE TABLE payloads (
  no         INTEGER PRIMARY KEY,
  sha256     TEXT NOT NULL UNIQUE,       -- hexadecimal: also the file's name on disk
  sha1       TEXT NOT NULL,              -- hexadecimal
  size       INTEGER NOT NULL,
  state      TEXT NOT NULL,              -- stored, or corrupt: then it is served to nobody
  stored_at  INTEGER NOT NULL,
  checked_at INTEGER NOT NULL            -- when it was last read and found whole
) STRICT;
CREATE INDEX payloads_checked ON payloads (state, checked_at);

-- Which file of a package is which content. What nothing here refers to may be deleted.
CREATE TABLE hosted_files (
  package_no INTEGER NOT NULL REFERENCES packages (no) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  payload_no INTEGER NOT NULL REFERENCES payloads (no),
  created_at INTEGER NOT NULL,
  PRIMARY KEY (package_no, name)
) STRICT;
CREATE INDEX hosted_files_payload ON hosted_files (payload_no);

-- first: from here, then from the package's URL. only: from here alone, so not before all of its files are here.
ALTER TABLE packages ADD COLUMN hosting TEXT NOT NULL DEFAULT 'first';

ALTER TABLE applications ADD COLUMN payload_key TEXT;            -- PEM; null: signatures are not looked at
