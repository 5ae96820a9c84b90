/** Rollouts: one package going out to one group. Looked at, made, and steered. */
import { z } from "zod";
import { strategyFields, strategySchema } from "../fleet/strategy.ts";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { Rollout, RolloutCounters } from "../rollout/model.ts";
import { abort, advance, type Change, halt, NotPossible, pause, replan, resume } from "../rollout/run.ts";
import { readStrategy } from "../rollout/strategy.ts";
import { loadCounters } from "../store/counters.ts";
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
import { type Db, type Tx, timestamp } from "./context.ts";
import { etagOf, matches } from "./etag.ts";
import { countOf, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { type Call, type Operation, operation } from "./operation.ts";
import { listOf, numberAfter, pageQuery, placeOf, rangeOf } from "./paging.ts";
import { invalid, notFound, Problem } from "./problem.ts";
import { rollBack } from "./rollback.ts";
import { type RolloutRow, rolloutObject, rolloutWithHistory, toRolloutView } from "./rollout-views.ts";

const reason = z.string().min(1).max(1_000);
/** The revision that the caller has seen: if the rollout has moved since, nothing is done. `If-Match` is as good. */
const revision = z.number().int().min(1);

const createBody = z.strictObject({
  package_id: z.string().optional(),
  strategy: strategySchema.optional(),
  start_at: z.iso
    .datetime({ offset: true, error: "must be a time such as 2026-03-04T22:00:00Z" })
    .transform((text) => Date.parse(text))
    .optional(),
  reason: reason.optional(),
});

const actionBody = z.strictObject({ reason: reason.optional(), revision: revision.optional() });
const abortBody = actionBody.extend({ rollback: z.boolean().default(false), to: z.string().max(255).optional() });
const retryBody = actionBody.extend({ instances: z.array(z.string().max(128)).min(1).max(10_000).optional() });
const changeBody = z.strictObject({ ...strategyFields, reason: reason.optional(), revision });

const PATH = "/apps/:app/groups/:group/rollouts";
const TAG = "rollouts";
interface Params {
  readonly app: string;
  readonly group: string;
  readonly rollout: string;
}

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
      const view = await shown(tx, { ...call.params, rollout: made }, now);
      await audit({ ...(await subject(tx, call.params, view)), before: null, after: stateOf(view) });
      return made;
    });
    return shown(call.read, { ...call.params, rollout: id }, call.now);
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
    const view = await shown(call.read, call.params, call.now);
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

const retryRollout = operation({
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
      const { rollout } = await found(tx, call.params, call.ifMatch, seen);
      const nodes = await retryFailed(tx, rollout, instances ?? null);
      if (nodes > 0)
        await audit({
          ...(await subject(tx, call.params, rollout)),
          before: {},
          after: { retried: nodes, reason: why },
        });
      return nodes;
    });
    return { retried };
  },
});

const listFailures = operation({
  id: "listFailedNodes",
  method: "get",
  path: `${PATH}/:rollout/failures`,
  tag: TAG,
  summary: "The nodes that have failed in a rollout, and on what",
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
    const failed = failedNodes(read, row.no);
    const total = await countOf(failed.select((eb) => eb.fn.countAll().as("count")));
    const { limit, offset } = rangeOf(query);
    const after = await numberAfter(query, (id) => failed.select("no").where("id", "=", id).executeTakeFirst());
    const here = after === null ? failed.offset(offset) : failed.where("no", ">", after);
    const nodes = await here.selectAll().orderBy("no").limit(limit).execute();
    const instances = nodes.map((node) => ({
      id: node.id,
      alias: node.alias || node.machine_alias,
      oem: node.oem,
      arch: node.arch,
      version: node.version,
      state: node.status,
      failure: node.failure,
      error_code: node.error_code,
      attempt: node.attempt,
      since: timestamp(node.status_at),
    }));
    return { total, count: nodes.length, instances };
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
  call: Call<Params, unknown, unknown>,
  seen: number | undefined,
  work: (tx: Tx, present: Steered, now: number) => Promise<void>,
): Promise<z.input<typeof rolloutWithHistory>> {
  await call.change(async (tx, now, audit) => {
    const before = await shown(tx, call.params, now);
    await work(tx, await found(tx, call.params, call.ifMatch, seen), now);
    const after = await shown(tx, call.params, now);
    await audit({ ...(await subject(tx, call.params, after)), before: stateOf(before), after: stateOf(after) });
  });
  const view = await shown(call.read, call.params, call.now);
  call.tag(view.revision);
  return view;
}

async function subject(tx: Tx, { app, group }: Omit<Params, "rollout">, { id }: { readonly id: string }) {
  const { id: applicationId } = await findApplication(tx, app);
  return { subject: "rollout", id, applicationId, groupId: group.toLowerCase() };
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

async function groupOf(db: Db, params: { app: string; group: string }): Promise<GroupRow> {
  return findGroup(db, await findApplication(db, params.app), params.group);
}

function rolloutRows(db: Db, groupNo: number) {
  return db
    .selectFrom("rollouts")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .selectAll("rollouts")
    .select(["packages.id as package_id", "packages.version"])
    .where("rollouts.group_no", "=", groupNo);
}

async function findRollout(db: Db, group: GroupRow, id: string): Promise<RolloutRow> {
  const row = await rolloutRows(db, group.no).where("rollouts.id", "=", id.toLowerCase()).executeTakeFirst();
  if (row === undefined) throw notFound("rollout", id);
  return row;
}

async function toViews(db: Db, rows: readonly RolloutRow[], group: GroupRow, now: number) {
  const counters = await loadCounters(
    db,
    rows.map(({ no }) => no),
  );
  const fleet = await loadFleet(db);
  return rows.map((row) => toRolloutView(row, group.id, counters, fleet, now));
}

async function shown(db: Db, params: Params, now: number): Promise<z.input<typeof rolloutWithHistory>> {
  const group = await groupOf(db, params);
  const row = await findRollout(db, group, params.rollout);
  const [view] = await toViews(db, [row], group, now);
  if (view === undefined) throw notFound("rollout", params.rollout);
  const history = await db
    .selectFrom("rollout_history")
    .selectAll()
    .where("rollout_no", "=", row.no)
    .orderBy("no")
    .execute();
  return {
    ...view,
    history: history.map((line) => ({
      created_ts: timestamp(line.at),
      from_state: line.from_state,
      to_state: line.to_state,
      stage: line.stage + 1,
      actor: line.actor,
      reason: line.reason,
      counters: JSON.parse(line.counters),
    })),
  };
}

interface Steered {
  readonly rollout: Rollout;
  readonly counters: RolloutCounters;
}

/**
 * The rollout that is to be steered, as it is now.
 * @param seen the revision that the caller has seen, if the body says so.
 */
async function found(tx: Tx, params: Params, ifMatch: string | undefined, seen: number | undefined): Promise<Steered> {
  const row = await findRollout(tx, await groupOf(tx, params), params.rollout);
  if ((seen !== undefined && seen !== row.revision) || !matches(ifMatch, etagOf(row.revision))) {
    const detail = `the rollout has changed meanwhile: its revision is ${row.revision}, not ${seen ?? ifMatch}; read it again, and then decide`;
    throw new Problem(412, detail);
  }
  const rollout = (await loadFleet(tx)).rolloutByNo.get(row.no);
  if (rollout === undefined) throw new NotPossible(`the rollout is ${row.state}: another one has taken its place`);
  const { rollouts } = await loadCounters(tx, [row.no]);
  return { rollout, counters: rollouts.get(row.no) ?? emptyRolloutCounters() };
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

function failedNodes(db: Db, rolloutNo: number) {
  return db
    .selectFrom("nodes")
    .where("rollout_no", "=", rolloutNo)
    .where("failure", "is not", null)
    .where("status", "!=", "complete");
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
