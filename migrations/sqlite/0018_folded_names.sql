-- Names as they are searched (src/store/folded.ts), where `lower`, which knows ASCII's letters only, does not say the same.
-- `fold` and `fold_labels` are there while migrations run (src/store/sqlite/migrate.ts).
ALTER TABLE nodes ADD COLUMN folded_id TEXT;
ALTER TABLE nodes ADD COLUMN folded_alias TEXT;
ALTER TABLE nodes ADD COLUMN folded_machine_alias TEXT;
ALTER TABLE nodes ADD COLUMN folded_labels TEXT; -- JSON, as labels

UPDATE nodes SET folded_id = fold(id) WHERE id GLOB '*[^ -~]*';
UPDATE nodes SET folded_alias = fold(alias) WHERE alias GLOB '*[^ -~]*';
UPDATE nodes SET folded_machine_alias = fold(machine_alias) WHERE machine_alias GLOB '*[^ -~]*';
UPDATE nodes SET folded_labels = fold_labels(labels) WHERE labels IS NOT NULL;

DROP INDEX nodes_by_text;
CREATE INDEX nodes_by_text ON nodes (
  group_no,
  coalesce(folded_id, lower(id)) || ' ' || lower(ip) || ' ' || coalesce(folded_alias, lower(alias)) || ' ' ||
    coalesce(folded_machine_alias, lower(machine_alias))
);

DROP INDEX nodes_labelled;
CREATE INDEX nodes_labelled ON nodes (group_no, coalesce(folded_labels, labels)) WHERE labels IS NOT NULL;
