-- Which state of a mirror was imported last: an older one is not taken again.

CREATE TABLE mirror_imports (
  application_no INTEGER NOT NULL REFERENCES applications (no) ON DELETE CASCADE,
  mirror         TEXT NOT NULL,          -- UUID, of its manifest
  created_at     INTEGER NOT NULL,       -- when the manifest was written
  sha256         TEXT NOT NULL,          -- of the manifest, hexadecimal
  signed_by      TEXT NOT NULL,          -- the key's fingerprint, hexadecimal
  imported_at    INTEGER NOT NULL,
  PRIMARY KEY (application_no, mirror)
) STRICT;
