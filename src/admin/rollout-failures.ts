/** The nodes that have failed in a rollout, and their next try. */
import { z } from "zod";
import type { Rollout } from "../rollout/model/rollout.ts";
import { type NodeRow, withSeen } from "../store/node-list.ts";
import type { NodeColumns } from "../store/nodes.ts";
import { silenceOf, silentNodes } from "../store/silence-record.ts";
import { type Db, type Tx, timestamp } from "./context.ts";
import { countOf } from "./lookups.ts";
import { operation } from "./operation.ts";
import { numberAfter, pageQuery, rangeOf } from "./paging.ts";
import { actionBody, PATH, TAG } from "./rollout-bodies.ts";
import { findRollout, findSteered, groupOf, subjectOf } from "./rollout-lookups.ts";
import type { RolloutRow } from "./rollout-views.ts";

const retryBody = actionBody.extend({ instances: z.array(z.string().max(128)).min(1).max(10_000).optional() });

export const retryRollout = operation({
  id: "retryFailedNodes",
  method: "post",
  path: `${PATH}/:rollout/retry-failed`,
  tag: TAG,
  summary: "Let failed nodes try again with their next check",
  role: "operator",
  body: retryBody,
  bodyOptional: true,
  answer: z.object({ retried: z.int() }),
  async handle(call) {
    const { revision: seen, instances, reason: why = "by hand" } = call.body;
    const retried = await call.change(async (tx, _now, audit) => {
      const { rollout } = await findSteered(tx, call.params, call.ifMatch, seen);
      const nodes = await retryFailed(tx, rollout, instances ?? null);
      if (nodes > 0)
        await audit({
          ...(await subjectOf(tx, call.params, rollout)),
          before: {},
          after: { retried: nodes, reason: why },
        });
      return nodes;
    });
    return { retried };
  },
});

export const listFailures = operation({
  id: "listFailedNodes",
  method: "get",
  path: `${PATH}/:rollout/failures`,
  tag: TAG,
  summary:
    "The nodes that have failed in a rollout, and on what; also those that have fallen silent after they had completed",
  role: "viewer",
  query: z.object(pageQuery),
  answer: z.object({
    total: z.int(),
    count: z.int(),
    instances: z.array(
      z.object({
        id: z.string(),
        alias: z.string(),
        oem: z.string(),
        arch: z.int(),
        version: z.string(),
        state: z.string(),
        failure: z.string().nullable(),
        error_code: z.int().nullable(),
        attempt: z.int().nullable(),
        since: z.iso.datetime(),
      }),
    ),
  }),
  async handle({ read, params, query }) {
    const row = await findRollout(read, await groupOf(read, params), params.rollout);
    const failed = failedNodes(read, row);
    const total = await countOf(failed.select((eb) => eb.fn.countAll().as("count")));
    const { limit, offset } = rangeOf(query);
    const after = await numberAfter(query, (id) => failed.select("no").where("id", "=", id).executeTakeFirst());
    const here = after === null ? failed.offset(offset) : failed.where("no", ">", after);
    const nodes = await here.selectAll("nodes").select("seen.at").orderBy("no").limit(limit).execute();
    const instances = nodes.map((node) => ({
      id: node.id,
      alias: node.alias || node.machine_alias,
      oem: node.oem,
      arch: node.arch,
      version: node.version,
      ...(node.failure === null ? silentSince(node) : failedSince(node)),
      error_code: node.error_code,
      attempt: node.attempt,
    }));
    return { total, count: nodes.length, instances };
  },
});

function failedSince(node: NodeColumns) {
  return { state: node.status, failure: node.failure, since: timestamp(node.status_at) };
}

/** No status of a node's own: it is complete again as soon as it is heard. */
function silentSince(node: NodeRow) {
  return { state: "silent", failure: "silent", since: timestamp(node.at ?? node.created_at) };
}

/** With those that were silent when that was last looked at, and have not been heard since. */
function failedNodes(db: Db, { no, silence }: RolloutRow) {
  const nodes = withSeen(db).where("nodes.rollout_no", "=", no);
  const looked = silenceOf(silence);
  if (looked === null || looked.silent === 0) return nodes.where("nodes.failure", "is not", null);
  return nodes.where((eb) =>
    eb.or([eb("nodes.failure", "is not", null), eb("nodes.no", "in", silentNodes(db, no, looked))]),
  );
}

/** Nodes that have failed may try again with their next check, with all their tries. */
async function retryFailed(tx: Tx, rollout: Rollout, instances: readonly string[] | null): Promise<number> {
  const { numUpdatedRows } = await tx
    .updateTable("nodes")
    .set({ attempt: 0 })
    .where("rollout_no", "=", rollout.no)
    .where("failure", "is not", null)
    .where("status", "in", ["failed", "timed-out", "rolled-back", "lost"])
    .$if(instances !== null, (query) => query.where("id", "in", instances ?? []))
    .executeTakeFirst();
  return Number(numUpdatedRows);
}
