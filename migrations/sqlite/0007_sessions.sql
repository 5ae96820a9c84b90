-- People who have logged in at the identity provider. A session that is over is deleted: the audit log knows of it.
CREATE TABLE sessions (
  no         INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,       -- UUID: what it is called by
  hash       TEXT NOT NULL UNIQUE,       -- SHA-256, in hexadecimal, of what the cookie says
  issuer     TEXT NOT NULL,
  subject    TEXT NOT NULL,              -- who it is, as the issuer calls them
  name       TEXT NOT NULL,              -- and as people do
  role       TEXT NOT NULL,
  id_token   TEXT NOT NULL,              -- sealed: only the cookie opens it
  address    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,           -- to the minute
  idle_until INTEGER NOT NULL,           -- over unless it is used before; never after expires_at
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_idle_until ON sessions (idle_until);
