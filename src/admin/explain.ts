/** Why a node does or does not get an update: the decision that it would get now. */
import type { Router } from "express";
import { explain, nextCheckIn } from "../rollout/explain.ts";
import type { Node } from "../rollout/model.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { type AdminContext, timestamp } from "./context.ts";
import { findNode, type NodeRow } from "./instances.ts";
import { findApplication, findGroup } from "./lookups.ts";
import { notFound, onlyMethods } from "./problem.ts";

export function explainRoutes(router: Router, { store, clock }: AdminContext): void {
  router
    .route("/apps/:app/groups/:group/instances/:instance/explain")
    .get(async (request, response) => {
      const application = await findApplication(store.read, request.params.app);
      const row = await findGroup(store.read, application, request.params.group);
      const node = nodeOf(await findNode(store.read, application, row, request.params.instance));
      const fleet = await loadFleet(store.read);
      const group = fleet.groupByNo.get(row.no);
      if (group === undefined) throw notFound("group", request.params.group);
      const rollouts = fleet.rollouts.filter(({ groupNo }) => groupNo === group.no).map(({ no }) => no);
      const own = node.grant === null ? [] : [node.grant];
      const counters = await loadCounters(
        store.read,
        [...rollouts, ...own.map(({ rolloutNo }) => rolloutNo)],
        [group.no, ...own.map(({ groupNo }) => groupNo)],
      );
      const now = clock.now();
      const explanation = explain(fleet, node, nextCheckIn(node, group, application.id), counters, now);
      response.json({
        instance_id: node.id,
        at: timestamp(now),
        state: node.status,
        version: node.version,
        reason: explanation.reason,
        text: explanation.text,
        offered_version: explanation.offered,
        not_before: explanation.until === null ? null : timestamp(explanation.until),
        steps: explanation.steps,
      });
    })
    .all(onlyMethods("GET"));
}

/** The engine's node from its row. */
function nodeOf(row: NodeRow): Node {
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
    status: row.status as Node["status"],
    statusAt: row.status_at,
    grant: grantOf(row),
  };
}

function grantOf(row: NodeRow): Node["grant"] {
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
    failure: row.failure as NonNullable<Node["grant"]>["failure"],
    errorCode: row.error_code,
    cell: row.cell ?? "",
  };
}
