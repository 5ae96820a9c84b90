/** Rollouts: one package going out to one group. Looked at, made, and steered. */
import { z } from "zod";
import { inWords } from "../rollout/missing.ts";
import type { RolloutCounters } from "../rollout/model/counters.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { abort, advance, type Change, halt, NotPossible, pause, replan, resume } from "../rollout/run.ts";
import { readStrategy } from "../rollout/strategy.ts";
import { loadFleet } from "../store/fleet.ts";
import {
  type Actor,
  createRollout,
  recordChange,
  recordReplan,
  retire,
  settleConfiguration,
  strategyOf,
} from "../store/rollouts.ts";
import type { Tx } from "./context.ts";
import { countOf } from "./lookups.ts";
import { type Call, type Operation, operation } from "./operation.ts";
import { listOf, pageQuery, placeOf } from "./paging.ts";
import { invalid, Problem } from "./problem.ts";
import { rollBack } from "./rollback.ts";
import { abortBody, actionBody, changeBody, createBody, PATH, TAG } from "./rollout-bodies.ts";
import { listFailures, retryRollout } from "./rollout-failures.ts";
import {
  findSteered,
  groupOf,
  type RolloutParams,
  rolloutRows,
  type Steered,
  showRollout,
  subjectOf,
  toViews,
} from "./rollout-lookups.ts";
import { rolloutObject, rolloutWithHistory } from "./rollout-views.ts";
import { checkRanges } from "./version-schemes.ts";

const listRollouts = operation({
  id: "listRollouts",
  method: "get",
  path: PATH,
  tag: TAG,
  summary: "The group's rollouts, the newest first",
  role: "viewer",
  query: z.object(pageQuery),
  answer: listOf("rollouts", rolloutObject),
  async handle({ read, params, query, now }) {
    const group = await groupOf(read, params);
    const all = read.selectFrom("rollouts").where("group_no", "=", group.no);
    const { limit, offset } = await placeOf(query, () => all.select("id").orderBy("no", "desc").execute());
    const newest = rolloutRows(read, group.no).orderBy("rollouts.no", "desc");
    const rows = await newest.limit(limit).offset(offset).execute();
    const totalCount = await countOf(all.select((eb) => eb.fn.countAll().as("count")));
    return { totalCount, count: rows.length, rollouts: await toViews(read, rows, group, now) };
  },
});

const postRollout = operation({
  id: "createRollout",
  method: "post",
  path: PATH,
  tag: TAG,
  summary: "Roll out what the group's channel points to, with a strategy of its own; the rollout there is makes place",
  role: "operator",
  body: createBody,
  status: 201,
  answer: rolloutWithHistory,
  async handle(call) {
    const id = await call.change(async (tx, now, audit) => {
      const made = await create(tx, call.params, call.body, call.who, now);
      const view = await showRollout(tx, { ...call.params, rollout: made }, now);
      await audit({ ...(await subjectOf(tx, call.params, view)), before: null, after: stateOf(view) });
      return made;
    });
    return showRollout(call.read, { ...call.params, rollout: id }, call.now);
  },
});

const getRollout = operation({
  id: "getRollout",
  method: "get",
  path: `${PATH}/:rollout`,
  tag: TAG,
  summary: "One rollout: stages with counters, health, what comes next and when, history",
  role: "viewer",
  answer: rolloutWithHistory,
  async handle(call) {
    const view = await showRollout(call.read, call.params, call.now);
    call.tag(view.revision);
    return view;
  },
});

const putRollout = operation({
  id: "updateRollout",
  method: "put",
  path: `${PATH}/:rollout`,
  tag: TAG,
  summary: "Change the stages that have not opened yet, the gate, and the limits",
  role: "operator",
  body: changeBody,
  answer: rolloutWithHistory,
  handle(call) {
    const { reason: why = "by hand", revision: seen, ...document } = call.body;
    return steer(call, seen, async (tx, { rollout, counters }, now) => {
      checkRanges(document, rollout.package.versionOrder, "");
      replan(rollout, readStrategy(document));
      await recordReplan(tx, rollout, document, why, counters, call.who, now);
    });
  },
});

/** An action that moves the rollout to another state or stage. */
function moving(
  name: string,
  summary: string,
  act: (rollout: Rollout, counters: RolloutCounters, now: number, reason: string) => Change,
): Operation {
  return operation({
    id: `${name}Rollout`,
    method: "post",
    path: `${PATH}/:rollout/${name}`,
    tag: TAG,
    summary,
    role: "operator",
    body: actionBody,
    bodyOptional: true,
    answer: rolloutWithHistory,
    handle(call) {
      const { reason: why = "by hand", revision: seen } = call.body;
      return steer(call, seen, async (tx, { rollout, counters }, now) => {
        await recordChange(tx, rollout, act(rollout, counters, now, why), counters, call.who, now);
      });
    },
  });
}

const abortRollout = operation({
  id: "abortRollout",
  method: "post",
  path: `${PATH}/:rollout/abort`,
  tag: TAG,
  summary: "End a rollout; with rollback, take its version back from the nodes that have it",
  role: "operator",
  body: abortBody,
  bodyOptional: true,
  answer: rolloutWithHistory,
  handle(call) {
    const { reason: why = "by hand", revision: seen, rollback, to } = call.body;
    if (to !== undefined && !rollback) throw invalid("to", "goes with rollback: true");
    return steer(call, seen, async (tx, { rollout, counters }, now) => {
      await recordChange(tx, rollout, abort(rollout, now, why), counters, call.who, now);
      if (rollback) await rollBack(tx, rollout, to ?? null, why, call.who, now);
    });
  },
});

export const rolloutOperations: readonly Operation[] = [
  listRollouts,
  postRollout,
  getRollout,
  putRollout,
  moving("pause", "Grant no more until it is resumed", (rollout, _, now, why) => pause(rollout, now, why)),
  moving("resume", "Go on: what failed so far is known to the gate from now on, closed slices are opened", resume),
  moving("advance", "Start a scheduled rollout, or open the next stage, without waiting", (rollout, _, now, why) =>
    advance(rollout, now, why),
  ),
  moving("halt", "Stop it like the health gate does", (rollout, _, now, why) => halt(rollout, now, why)),
  abortRollout,
  retryRollout,
  listFailures,
];

/** Does something to the rollout as it is now, says so in the audit log, and answers what has become of it. */
async function steer(
  call: Call<RolloutParams, unknown, unknown>,
  seen: number | undefined,
  work: (tx: Tx, present: Steered, now: number) => Promise<void>,
): Promise<z.input<typeof rolloutWithHistory>> {
  await call.change(async (tx, now, audit) => {
    const before = await showRollout(tx, call.params, now);
    await work(tx, await findSteered(tx, call.params, call.ifMatch, seen), now);
    const after = await showRollout(tx, call.params, now);
    await audit({ ...(await subjectOf(tx, call.params, after)), before: stateOf(before), after: stateOf(after) });
  });
  const view = await showRollout(call.read, call.params, call.now);
  call.tag(view.revision);
  return view;
}

/** What people decide about a rollout, for the audit log; its counters and the time's own moves are in its history. */
function stateOf({
  version,
  state,
  stage,
  revision: at,
  strategy,
  history,
}: z.input<typeof rolloutWithHistory>): object {
  return { version, state, stage, revision: at, strategy, reason: history.at(-1)?.reason ?? null };
}

/** Makes a rollout of what the group's channel points to; the one there is makes place for it. Answers its id. */
async function create(
  tx: Tx,
  params: { app: string; group: string },
  body: z.output<typeof createBody>,
  actor: Actor,
  now: number,
): Promise<string> {
  const row = await groupOf(tx, params);
  const fleet = await loadFleet(tx);
  const group = fleet.groupByNo.get(row.no);
  const target = group?.channel?.package ?? null;
  if (!group?.channel || target === null) {
    throw new NotPossible(`group "${row.name}" has nothing to roll out: its channel points to no package`);
  }
  const wanted = [target, ...group.channel.floors.map((floor) => floor.package)].find(
    ({ id }) => id === (body.package_id?.toLowerCase() ?? target.id),
  );
  if (wanted === undefined) {
    const detail = `package_id: channel "${group.channel.name}" points to ${target.version} (${target.id}); point it to the package that is to be rolled out`;
    throw new Problem(409, detail, { errors: [{ path: "package_id", message: "the channel does not point to it" }] });
  }
  if (wanted.missing.length > 0) {
    throw new NotPossible(`package ${wanted.version} is incomplete: it lacks ${inWords(wanted.missing)}`);
  }
  if (body.strategy != null) checkRanges(body.strategy, wanted.versionOrder, "strategy");
  const why = body.reason ?? "by hand";
  for (const present of fleet.rollouts) {
    const same = present.groupNo === row.no && present.undoes === null && present.package.no === wanted.no;
    if (same) await retire(tx, present, `another rollout takes its place: ${why}`, actor, now);
  }
  const id = await createRollout(tx, {
    groupNo: row.no,
    packageNo: wanted.no,
    strategy: body.strategy ?? (await strategyOf(tx, row.no)),
    startAt: body.start_at ?? null,
    undoes: null,
    reason: why,
    actor,
    now,
  });
  await settleConfiguration(tx, actor, now);
  return id;
}
