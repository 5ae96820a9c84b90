-- At a site: what it has turned off itself stays so, also when the central server turns it off and on again.

ALTER TABLE central ADD COLUMN switched_off TEXT NOT NULL DEFAULT '[]'; -- JSON: UUIDs of groups whose updates were turned off here
