-- How an application's versions are read and ordered.
ALTER TABLE applications ADD COLUMN version_scheme TEXT NOT NULL DEFAULT 'semver'; -- or 'four-part'
ALTER TABLE applications ADD COLUMN build_metadata TEXT NOT NULL DEFAULT 'ignore'; -- or 'order': versions that differ in it alone are told apart
