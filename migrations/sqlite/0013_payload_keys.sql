-- Files that were here before their application's payload key was set or changed: are they signed with it?

ALTER TABLE hosted_files ADD COLUMN look_again INTEGER NOT NULL DEFAULT 0; -- 1: the key has changed since it was looked at
ALTER TABLE hosted_files ADD COLUMN refused TEXT;                          -- why it is kept out; null: it is not
CREATE INDEX hosted_files_look_again ON hosted_files (package_no) WHERE look_again = 1;

-- Until now nobody has looked.
UPDATE hosted_files SET look_again = 1
WHERE package_no IN (
  SELECT packages.no FROM packages
  JOIN applications ON applications.no = packages.application_no
  WHERE applications.payload_key IS NOT NULL
);
