/** Why a node does or does not get an update: the decision that it would get now. */
import { z } from "zod";
import { explain, nextCheckIn } from "../rollout/explain.ts";
import type { Node } from "../rollout/model.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import type { NodeRow } from "../store/node-list.ts";
import { timestamp } from "./context.ts";
import { findNode } from "./instance-objects.ts";
import { findApplication, findGroup } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { notFound } from "./problem.ts";

const explanationObject = z
  .object({
    instance_id: z.string(),
    at: z.iso.datetime(),
    state: z.string(),
    version: z.string(),
    reason: z.string(),
    text: z.string(),
    /** Null: nothing would be offered. */
    offered_version: z.string().nullable(),
    /** When it can change by itself, at the earliest; null: nobody knows. */
    not_before: z.iso.datetime().nullable(),
    steps: z.array(
      z.object({
        rule: z.string(),
        verdict: z.enum(["pass", "stop", "skip"]),
        text: z.string(),
        facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
      }),
    ),
  })
  .meta({ id: "Explanation" });

const explainNode = operation({
  id: "explainInstance",
  method: "get",
  path: "/apps/:app/groups/:group/instances/:instance/explain",
  tag: "instances",
  summary: "The decision that the node would get now, rule by rule, and when it could change",
  role: "viewer",
  answer: explanationObject,
  async handle({ read, params, now }) {
    const application = await findApplication(read, params.app);
    const row = await findGroup(read, application, params.group);
    const node = nodeOf(await findNode(read, application, row, params.instance));
    const fleet = await loadFleet(read);
    const group = fleet.groupByNo.get(row.no);
    if (group === undefined) throw notFound("group", params.group);
    const rollouts = fleet.rollouts.filter(({ groupNo }) => groupNo === group.no).map(({ no }) => no);
    const own = node.grant === null ? [] : [node.grant];
    const counters = await loadCounters(
      read,
      [...rollouts, ...own.map(({ rolloutNo }) => rolloutNo)],
      [group.no, ...own.map(({ groupNo }) => groupNo)],
    );
    const explanation = explain(fleet, node, nextCheckIn(node, group, application.id), counters, now);
    return {
      instance_id: node.id,
      at: timestamp(now),
      state: node.status,
      version: node.version,
      reason: explanation.reason,
      text: explanation.text,
      offered_version: explanation.offered,
      not_before: explanation.until === null ? null : timestamp(explanation.until),
      steps: explanation.steps.map(({ facts, ...step }) => ({ ...step, facts: { ...facts } })),
    };
  },
});

export const explainOperations: readonly Operation[] = [explainNode];

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
