/** Why a node does or does not get an update: the decision that it would get now. */
import { z } from "zod";
import { downloadCounters } from "../rollout/downloads.ts";
import { explain, nextCheckIn } from "../rollout/explain.ts";
import { findGroup as groupOfNode } from "../rollout/fleet.ts";
import { type DownloadLimits, NO_LIMITS } from "../rollout/model/server.ts";
import { loadCounters, loadFetching } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { nodeOf } from "../store/nodes.ts";
import { careFields, careOf } from "./care-objects.ts";
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
    ...careFields,
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

export function explainOperations(options: { readonly downloads: DownloadLimits }): readonly Operation[] {
  const { downloads, downloadRate } = options.downloads;
  const server = { ...NO_LIMITS, downloads, downloadRate };
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
      const found = await findNode(read, application, row, params.instance);
      const node = nodeOf(found);
      const fleet = await loadFleet(read);
      // As its next check-in will find it: by a person's hand, or else this one, which its last check-in has led to.
      const group = groupOfNode(fleet, node.applicationNo, node, { track: row.id, arch: node.arch, syncer: false });
      if (group === undefined) throw notFound("group", params.group);
      const rollouts = fleet.rollouts.filter(({ groupNo }) => groupNo === group.no).map(({ no }) => no);
      const own = node.grant === null ? [] : [node.grant];
      const loaded = await loadCounters(
        read,
        [...rollouts, ...own.map(({ rolloutNo }) => rolloutNo)],
        [group.no, ...own.map(({ groupNo }) => groupNo)],
      );
      const counters = { ...loaded, downloads: downloadCounters(fleet, await loadFetching(read)) };
      const explanation = explain(fleet, node, nextCheckIn(node, group, application.id), counters, now, server);
      return {
        instance_id: node.id,
        at: timestamp(now),
        state: node.status,
        version: node.version,
        ...careOf(found),
        reason: explanation.reason,
        text: explanation.text,
        offered_version: explanation.offered,
        not_before: explanation.until === null ? null : timestamp(explanation.until),
        steps: explanation.steps.map(({ facts, ...step }) => ({ ...step, facts: { ...facts } })),
      };
    },
  });
  return [explainNode];
}
