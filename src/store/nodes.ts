/** A node's row as the engine's node, for whoever is not a check-in. */
import type { Selectable } from "kysely";
import type { Grant, Node } from "../rollout/model/node.ts";
import { holdOf, labelsOf, sharedOf } from "./care.ts";
import type { Tables } from "./tables.ts";

export type NodeColumns = Selectable<Tables["nodes"]>;

export function nodeOf(row: NodeColumns): Node {
  return {
    no: row.no,
    applicationNo: row.application_no,
    id: row.id,
    groupNo: row.group_no,
    version: row.version,
    // These were written from the engine's own types.
    arch: row.arch as Node["arch"],
    machineAlias: row.machine_alias,
    alias: row.alias,
    ip: row.ip,
    oem: row.oem,
    oemVersion: row.oem_version,
    alephVersion: row.aleph_version,
    bootId: row.boot_id,
    brokenQuotes: row.broken_quotes === 1,
    createdAt: row.created_at,
    held: holdOf(row.held),
    ownGroup: row.own_group,
    labels: labelsOf(row.labels),
    status: row.status as Node["status"],
    statusAt: row.status_at,
    grant: grantOf(row),
    formerBoots: row.former_boots ?? "",
    shared: sharedOf(row.shared_since, row.shared_at),
  };
}

function grantOf(row: NodeColumns): Grant | null {
  if (row.rollout_no === null) return null;
  return {
    rolloutNo: row.rollout_no,
    groupNo: row.grant_group_no ?? 0,
    version: row.grant_version ?? "",
    fromVersion: row.from_version ?? "",
    needsReboot: row.needs_reboot === 1,
    grantedAt: row.granted_at ?? 0,
    attempt: row.attempt ?? 1,
    bootId: row.grant_boot_id ?? "",
    deadline: row.deadline,
    failure: row.failure as Grant["failure"],
    errorCode: row.error_code,
    cell: row.cell ?? "",
    watchedUntil: row.watched_until,
  };
}
