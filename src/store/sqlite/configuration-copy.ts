/** The configuration of a database, of one moment, in memory. */
import Database from "better-sqlite3";
import { migrate } from "./migrate.ts";

/** All that operations on the configuration look at. */
export const COPIED: readonly string[] = [
  "meta",
  "numbers",
  "applications",
  "packages",
  "flatcar_actions",
  "package_files",
  "package_blacklist",
  "payloads",
  "hosted_files",
  "channels",
  "channel_floors",
  "upstreams",
  "groups",
  "group_counters",
  "rollouts",
  "rollout_counters",
  "rollout_history",
  "audit_head",
  "central",
];

/** The other tables are there, and empty: they grow with the nodes and the years, or are nobody's configuration. */
export function copyConfiguration(path: string): Database.Database {
  const db = new Database(":memory:");
  migrate(db, 0);
  db.pragma("foreign_keys = OFF");
  db.prepare("ATTACH ? AS real").run(path);
  db.transaction(() => {
    for (const table of COPIED) {
      db.exec(`DELETE FROM main.${table}`);
      db.exec(`INSERT INTO main.${table} SELECT * FROM real.${table}`);
    }
  })();
  db.exec("DETACH real");
  db.pragma("foreign_keys = ON");
  return db;
}
