/** Rollouts: one package going out to one group. Looked at, made, and steered. */
import type { Request, RequestHandler, Response, Router } from "express";
import { z } from "zod";
import { strategyFields, strategySchema } from "../fleet/strategy.ts";
import { emptyRolloutCounters } from "../rollout/counters.ts";
import type { Rollout, RolloutCounters } from "../rollout/model.ts";
import { abort, advance, type Change, halt, NotPossible, pause, replan, resume } from "../rollout/run.ts";
import { readStrategy } from "../rollout/strategy.ts";
import { loadCounters } from "../store/counters.ts";
import { loadFleet } from "../store/fleet.ts";
import { createRollout, moveRevision, recordChange, recordReplan, retire, strategyOf } from "../store/rollouts.ts";
import { type AdminContext, actorOf, type Db, type Tx, timestamp } from "./context.ts";
import { countOf, findApplication, findGroup, type GroupRow } from "./lookups.ts";
import { pageQuery, rangeOf } from "./paging.ts";
import { invalid, notFound, onlyMethods, Problem, validated } from "./problem.ts";
import { rollBack } from "./rollback.ts";
import { type RolloutRow, toRolloutView } from "./rollout-views.ts";

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

type Params = { app: string; group: string; rollout: string };
const PATH = "/apps/:app/groups/:group/rollouts";

export function rolloutRoutes(router: Router, context: AdminContext): void {
  const { store, clock } = context;

  router
    .route(PATH)
    .get(async (request, response) => {
      const page = validated(z.object(pageQuery), request.query);
      const group = await groupOf(store.read, request.params);
      const { limit, offset } = rangeOf(page);
      const rows = await rolloutRows(store.read, group.no)
        .orderBy("rollouts.no", "desc")
        .limit(limit)
        .offset(offset)
        .execute();
      const all = store.read.selectFrom("rollouts").where("group_no", "=", group.no);
      const totalCount = await countOf(all.select((eb) => eb.fn.countAll().as("count")));
      response.json({ totalCount, count: rows.length, rollouts: await toViews(store.read, rows, group, clock.now()) });
    })
    .post(async (request, response) => {
      const body = validated(createBody, request.body);
      const id = await store.write((tx) => create(tx, request.params, body, response, clock.now()));
      response.status(201).json(await shown(store.read, { ...request.params, rollout: id }, clock.now()));
    })
    .all(onlyMethods("GET", "POST"));

  router
    .route(`${PATH}/:rollout`)
    .get(async (request, response) => {
      const view = await shown(store.read, request.params, clock.now());
      response.set("ETag", `"${view.revision}"`).json(view);
    })
    .put(async (request, response) => {
      const { reason: why = "by hand", revision: seen, ...document } = validated(changeBody, request.body);
      await store.write(async (tx) => {
        const { rollout, counters } = await found(tx, request, seen);
        replan(rollout, readStrategy(document));
        await recordReplan(tx, rollout, document, why, counters, actorOf(response), clock.now());
      });
      response.json(await shown(store.read, request.params, clock.now()));
    })
    .all(onlyMethods("GET", "PUT"));

  /** An action that moves the rollout to another state or stage. */
  const acting =
    (
      act: (rollout: Rollout, counters: RolloutCounters, now: number, reason: string) => Change,
    ): RequestHandler<Params> =>
    async (request, response) => {
      const { reason: why = "by hand", revision: seen } = validated(actionBody, request.body ?? {});
      await store.write(async (tx) => {
        const { rollout, counters } = await found(tx, request, seen);
        const change = act(rollout, counters, clock.now(), why);
        await recordChange(tx, rollout, change, counters, actorOf(response), clock.now());
      });
      response.json(await shown(store.read, request.params, clock.now()));
    };
  const actions: Readonly<Record<string, RequestHandler<Params>>> = {
    pause: acting((rollout, _, now, why) => pause(rollout, now, why)),
    resume: acting(resume),
    advance: acting((rollout, _, now, why) => advance(rollout, now, why)),
    halt: acting((rollout, _, now, why) => halt(rollout, now, why)),
    abort: async (request, response) => {
      const { reason: why = "by hand", revision: seen, rollback, to } = validated(abortBody, request.body ?? {});
      if (to !== undefined && !rollback) throw invalid("to", "goes with rollback: true");
      const now = clock.now();
      await store.write(async (tx) => {
        const { rollout, counters } = await found(tx, request, seen);
        await recordChange(tx, rollout, abort(rollout, now, why), counters, actorOf(response), now);
        if (rollback) await rollBack(tx, rollout, to ?? null, why, actorOf(response), now);
      });
      response.json(await shown(store.read, request.params, now));
    },
    "retry-failed": async (request, response) => {
      const { revision: seen, instances } = validated(retryBody, request.body ?? {});
      const retried = await store.write(async (tx) => {
        const { rollout } = await found(tx, request, seen);
        return retryFailed(tx, rollout, instances ?? null);
      });
      response.json({ retried });
    },
  };
  for (const [name, handler] of Object.entries(actions)) {
    router.route(`${PATH}/:rollout/${name}`).post(handler).all(onlyMethods("POST"));
  }

  router
    .route(`${PATH}/:rollout/failures`)
    .get(async (request, response) => {
      const page = validated(z.object(pageQuery), request.query);
      const group = await groupOf(store.read, request.params);
      const row = await findRollout(store.read, group, request.params.rollout);
      const failed = failedNodes(store.read, row.no);
      const total = await countOf(failed.select((eb) => eb.fn.countAll().as("count")));
      const { limit, offset } = rangeOf(page);
      const nodes = await failed.selectAll().orderBy("no").limit(limit).offset(offset).execute();
      response.json({
        total,
        count: nodes.length,
        instances: nodes.map((node) => ({
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
        })),
      });
    })
    .all(onlyMethods("GET"));
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

async function shown(db: Db, params: Params, now: number) {
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

/** The rollout that is to be steered, as it is now. */
async function found(
  tx: Tx,
  request: Request<Params>,
  seen: number | undefined,
): Promise<{ rollout: Rollout; counters: RolloutCounters }> {
  const row = await findRollout(tx, await groupOf(tx, request.params), request.params.rollout);
  const expected = seen ?? revisionOf(request.headers["if-match"]);
  if (expected !== null && expected !== row.revision) {
    const detail = `the rollout has changed meanwhile: its revision is ${row.revision}, not ${expected}; read it again, and then decide`;
    throw new Problem(412, detail);
  }
  const rollout = (await loadFleet(tx)).rolloutByNo.get(row.no);
  if (rollout === undefined) throw new NotPossible(`the rollout is ${row.state}: another one has taken its place`);
  const { rollouts } = await loadCounters(tx, [row.no]);
  return { rollout, counters: rollouts.get(row.no) ?? emptyRolloutCounters() };
}

function revisionOf(ifMatch: string | undefined): number | null {
  if (ifMatch === undefined || ifMatch === "*") return null;
  const [, number] = /^(?:W\/)?"(\d{1,15})"$/.exec(ifMatch) ?? [];
  if (number === undefined) throw new Problem(400, 'If-Match: write the ETag that the rollout was read with, e.g. "7"');
  return Number(number);
}

/** Makes a rollout of what the group's channel points to; the one there is makes place for it. Answers its id. */
async function create(
  tx: Tx,
  params: { app: string; group: string },
  body: z.infer<typeof createBody>,
  response: Response,
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
  const actor = actorOf(response);
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
  await moveRevision(tx);
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
    .where("status", "in", ["failed", "timed-out", "rolled-back", "lost"])
    .$if(instances !== null, (query) => query.where("id", "in", instances ?? []))
    .executeTakeFirst();
  return Number(numUpdatedRows);
}
