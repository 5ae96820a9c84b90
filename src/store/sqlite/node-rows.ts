/** The node table's row as the hot path reads and writes it: raw arrays in a fixed order, no object per row in between. */
import type { Arch } from "../../rollout/model/arch.ts";
import type { Failure, Grant, Node, NodeStatus } from "../../rollout/model/node.ts";
import { holdOf, labelsOf, sharedOf } from "../care.ts";

export const NODE_COLUMNS = [
  "no",
  "application_no",
  "id",
  "group_no",
  "version",
  "arch",
  "machine_alias",
  "alias",
  "ip",
  "oem",
  "oem_version",
  "aleph_version",
  "boot_id",
  "broken_quotes",
  "created_at",
  "held",
  "own_group",
  "labels",
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
  "failure",
  "cell",
  "watched_until",
  "former_boots",
  "shared_since",
  "shared_at",
] as const;

export type NodeRow = [
  no: number,
  applicationNo: number,
  id: string,
  groupNo: number,
  version: string,
  arch: Arch,
  machineAlias: string,
  alias: string,
  ip: string,
  oem: string,
  oemVersion: string,
  alephVersion: string,
  bootId: string,
  brokenQuotes: number,
  createdAt: number,
  held: string | null,
  ownGroup: string | null,
  labels: string | null,
  status: NodeStatus,
  statusAt: number,
  ...grant: GrantRow,
  formerBoots: string | null,
  sharedSince: number | null,
  sharedAt: number | null,
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
      failure: Failure | null,
      cell: string,
      watchedUntil: number | null,
    ]
  | [null, null, null, null, null, null, null, null, null, null, null, null, null];

export function toNode(row: NodeRow): Node {
  return {
    no: row[0],
    applicationNo: row[1],
    id: row[2],
    groupNo: row[3],
    version: row[4],
    arch: row[5],
    machineAlias: row[6],
    alias: row[7],
    ip: row[8],
    oem: row[9],
    oemVersion: row[10],
    alephVersion: row[11],
    bootId: row[12],
    brokenQuotes: row[13] === 1,
    createdAt: row[14],
    held: holdOf(row[15]),
    ownGroup: row[16],
    labels: labelsOf(row[17]),
    status: row[18],
    statusAt: row[19],
    grant: toGrant(row),
    formerBoots: row[33] ?? "",
    shared: sharedOf(row[34], row[35]),
  };
}

function toGrant(row: NodeRow): Grant | null {
  if (row[20] === null) return null;
  return {
    rolloutNo: row[20],
    groupNo: row[21],
    version: row[22],
    fromVersion: row[23],
    needsReboot: row[24] === 1,
    grantedAt: row[25],
    attempt: row[26],
    bootId: row[27],
    deadline: row[28],
    errorCode: row[29],
    failure: row[30],
    cell: row[31],
    watchedUntil: row[32],
  };
}

/** What a node says of itself, and what follows from its boots: columns without an index, so not its alias and its address. */
export function describing(node: Node) {
  return [
    node.arch,
    node.oem,
    node.oemVersion,
    node.alephVersion,
    node.bootId,
    node.brokenQuotes ? 1 : 0,
    node.formerBoots || null,
    node.shared?.since ?? null,
    node.shared?.lastAt ?? null,
  ] as const;
}

/** Where a node stands: status and grant, in the order of `NODE_COLUMNS` from `status` on. */
export function standing(node: Node) {
  const grant = node.grant;
  if (grant === null)
    return [
      node.status,
      node.statusAt,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
      null,
    ] as const;
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
    grant.failure,
    grant.cell,
    grant.watchedUntil,
  ] as const;
}
