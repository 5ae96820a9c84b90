/** The node table's row as the hot path reads and writes it: raw arrays in a fixed order, no object per row in between. */
import type { Arch, Grant, Node, NodeStatus } from "../../rollout/model.ts";

export const NODE_COLUMNS = [
  "no",
  "application_no",
  "id",
  "group_no",
  "version",
  "arch",
  "machine_alias",
  "ip",
  "oem",
  "oem_version",
  "aleph_version",
  "boot_id",
  "broken_quotes",
  "created_at",
  "status",
  "status_at",
  "rollout_no",
  "grant_group_no",
  "grant_version",
  "from_version",
  "needs_reboot",
  "granted_at",
  "attempt",
  "grant_boot_id",
  "deadline",
  "error_code",
] as const;

export type NodeRow = [
  no: number,
  applicationNo: number,
  id: string,
  groupNo: number,
  version: string,
  arch: Arch,
  machineAlias: string,
  ip: string,
  oem: string,
  oemVersion: string,
  alephVersion: string,
  bootId: string,
  brokenQuotes: number,
  createdAt: number,
  status: NodeStatus,
  statusAt: number,
  ...grant: GrantRow,
];

/** All null without a grant. */
type GrantRow =
  | [
      rolloutNo: number,
      groupNo: number,
      version: string,
      fromVersion: string,
      needsReboot: number,
      grantedAt: number,
      attempt: number,
      bootId: string,
      deadline: number | null,
      errorCode: number | null,
    ]
  | [null, null, null, null, null, null, null, null, null, null];

export function toNode(row: NodeRow): Node {
  return {
    no: row[0],
    applicationNo: row[1],
    id: row[2],
    groupNo: row[3],
    version: row[4],
    arch: row[5],
    machineAlias: row[6],
    ip: row[7],
    oem: row[8],
    oemVersion: row[9],
    alephVersion: row[10],
    bootId: row[11],
    brokenQuotes: row[12] === 1,
    createdAt: row[13],
    status: row[14],
    statusAt: row[15],
    grant: toGrant(row),
  };
}

function toGrant(row: NodeRow): Grant | null {
  if (row[16] === null) return null;
  return {
    rolloutNo: row[16],
    groupNo: row[17],
    version: row[18],
    fromVersion: row[19],
    needsReboot: row[20] === 1,
    grantedAt: row[21],
    attempt: row[22],
    bootId: row[23],
    deadline: row[24],
    errorCode: row[25],
  };
}

/** What a node says of itself: columns without an index, in the order of `NODE_COLUMNS` from `arch` to `broken_quotes`. */
export function describing(node: Node) {
  return [
    node.arch,
    node.machineAlias,
    node.ip,
    node.oem,
    node.oemVersion,
    node.alephVersion,
    node.bootId,
    node.brokenQuotes ? 1 : 0,
  ] as const;
}

/** Where a node stands: status and grant, in the order of `NODE_COLUMNS` from `status` on. */
export function standing(node: Node) {
  const grant = node.grant;
  if (grant === null)
    return [node.status, node.statusAt, null, null, null, null, null, null, null, null, null, null] as const;
  return [
    node.status,
    node.statusAt,
    grant.rolloutNo,
    grant.groupNo,
    grant.version,
    grant.fromVersion,
    grant.needsReboot ? 1 : 0,
    grant.grantedAt,
    grant.attempt,
    grant.bootId,
    grant.deadline,
    grant.errorCode,
  ] as const;
}
