/** Nodes straight into their tables, with the counts that check-ins would have kept. */
import { NODE_STATUSES, type NodeStatus } from "../../src/rollout/model/node.ts";
import { keptFold, keptFoldOfLabels } from "../../src/store/folded.ts";
import type { InProcess } from "./in-process.ts";

export interface FilledNode {
  readonly no: number;
  readonly id: string;
  readonly groupNo: number;
  readonly version: string;
  readonly status: NodeStatus;
  readonly alias: string;
  readonly machineAlias: string;
  readonly ip: string;
  readonly seenAt: number;
  readonly held: boolean;
  readonly labels: Readonly<Record<string, string>> | null;
  /** Null: its id is its own. */
  readonly sharedAt: number | null;
}

export function aFilledNode(no: number, changes: Partial<FilledNode> = {}): FilledNode {
  return {
    no,
    id: (no * 0x9e37_79b1).toString(16).padStart(32, "0"),
    groupNo: 1,
    version: "4081.2.0",
    status: "unknown",
    alias: "",
    machineAlias: "",
    ip: "192.0.2.1",
    seenAt: 0,
    held: false,
    labels: null,
    sharedAt: null,
    ...changes,
  };
}

const HELD = JSON.stringify({ at: 0, by: "somebody", why: "" });

export function fill({ db }: InProcess, nodes: readonly FilledNode[]): void {
  const node = db.prepare<unknown[]>(`
    INSERT INTO nodes (no, id, application_no, group_no, version, arch, machine_alias, alias, ip, oem, oem_version, aleph_version,
                       boot_id, broken_quotes, created_at, status, status_at, held, labels, shared_since, shared_at,
                       folded_id, folded_alias, folded_machine_alias, folded_labels)
    VALUES (?, ?, 1, ?, ?, 1, ?, ?, ?, 'azure', '', '', '', 0, 0, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const seen = db.prepare<unknown[]>("INSERT INTO seen (node_no, at) VALUES (?, ?)");
  const count = db.prepare<unknown[]>(`
    INSERT INTO node_counts (group_no, version, status, count)
    VALUES (?, ?, ?, 1)
    ON CONFLICT (group_no, version, status) DO UPDATE SET count = count + 1`);
  for (const { no, id, groupNo, version, machineAlias, alias, ip, status, seenAt, held, labels, sharedAt } of nodes) {
    node.run(
      no,
      id,
      groupNo,
      version,
      machineAlias,
      alias,
      ip,
      status,
      held ? HELD : null,
      labels && JSON.stringify(labels),
      sharedAt,
      sharedAt,
      keptFold(id),
      keptFold(alias),
      keptFold(machineAlias),
      labels && keptFoldOfLabels(labels),
    );
    seen.run(no, seenAt);
    count.run(groupNo, version, status);
  }
}

export const someStatus = (n: number): NodeStatus => NODE_STATUSES[n % NODE_STATUSES.length] ?? "unknown";
