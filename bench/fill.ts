/** A database with many nodes, all on one version and seen within the last day. */
import { join } from "node:path";
import { openWriter } from "../src/store/sqlite/connection.ts";
import { machineId } from "./load.ts";
import { aTurnout } from "./processes.ts";

export const FLATCAR = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";
export const STABLE_GROUP = "9a2deb70-37be-4026-853f-bfdd6b347bbe";
const STABLE_CHANNEL = "e06064ad-4414-4904-9a6e-fd465593d1b2";

/** The channel's package: nodes that run it are up to date. */
export const RELEASE = "4230.2.1";

/** Seeded by a first start, with a package on the stable channel; then the nodes, straight into their tables. */
export async function fill(dataDir: string, nodes: number): Promise<void> {
  const server = await aTurnout(dataDir);
  await release(server.url);
  await server.stop();
  const db = openWriter(join(dataDir, "turnout.db"));
  db.pragma("synchronous = OFF");
  const { applicationNo, groupNo } = db
    .prepare<[string], { applicationNo: number; groupNo: number }>(
      "SELECT no AS groupNo, application_no AS applicationNo FROM groups WHERE id = ?",
    )
    .get(STABLE_GROUP) ?? { applicationNo: 0, groupNo: 0 };
  const insertNode = db.prepare<unknown[]>(`
    INSERT INTO nodes (no, id, application_no, group_no, version, arch, machine_alias, ip, oem, oem_version, aleph_version, boot_id,
                       broken_quotes, created_at, status, status_at)
    VALUES (?, ?, ?, ?, ?, 1, '', '127.0.0.1', 'azure', ?, '4081.2.0', '{3f0c7a52-91de-4c3b-8a46-0b6f1d2e7c95}', 0, ?, 'unknown', ?)`);
  const insertSeen = db.prepare<unknown[]>("INSERT INTO seen (node_no, at) VALUES (?, ?)");
  const now = Date.now();
  for (let from = 0; from < nodes; from += 50_000) {
    db.transaction(() => {
      for (let n = from; n < Math.min(from + 50_000, nodes); n += 1) {
        insertNode.run(n + 1, machineId(n), applicationNo, groupNo, RELEASE, RELEASE, now, now);
        insertSeen.run(n + 1, now - (n % 3_600_000));
      }
    })();
  }
  db.prepare<unknown[]>("INSERT INTO node_counts (group_no, version, status, count) VALUES (?, ?, 'unknown', ?)").run(
    groupNo,
    RELEASE,
    nodes,
  );
  db.pragma("wal_checkpoint(TRUNCATE)");
  db.close();
}

async function release(url: string): Promise<void> {
  const api = async (method: string, path: string, body: unknown) => {
    const response = await fetch(`${url}/api/apps/${FLATCAR}${path}`, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return response.json() as Promise<{ id: string }>; // a package or a channel: both have one
  };
  const { id } = await api("POST", "/packages", {
    type: 1,
    arch: 1,
    version: RELEASE,
    url: `https://update.release.flatcar-linux.net/amd64-usr/${RELEASE}/`,
    filename: "flatcar_production_update.gz",
    size: "501234567",
    hash: "DWDFOxrHPmQs9BW4iyawePscnD0=",
    flatcar_action: { sha256: "sGWSKGG6ThF1d1Q79UPTq1xN7mJyz870KaIUGrDJIDA=" },
  });
  await api("PUT", `/channels/${STABLE_CHANNEL}`, { name: "stable", color: "#14b9d6", arch: 1, package_id: id });
}
